from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely.geometry import MultiPolygon, box

from tasks.errors import SamplingError
from tasks.susceptibility.degrade import Degradation, degrade

UNTOUCHED = Degradation(false_share=0, missed_below_m2=0, merged_within_m=0)


def cells_of(outlines: gpd.GeoSeries, ground) -> tuple[np.ndarray, np.ndarray]:
    metric = outlines.to_crs(str(ground.geobox.crs)).centroid
    cols, rows = ~ground.geobox.transform @ (metric.x.to_numpy(), metric.y.to_numpy())
    return rows.astype(int), cols.astype(int)


def test_nothing_asked_changes_nothing_but_the_parts_outlines_have(kaghan, ground):
    same = degrade(kaghan.landslides, kaghan.aoi, ground, UNTOUCHED)
    assert set(same["origin"]) == {"mapped"}
    before, after = (frame.to_crs(32643).union_all() for frame in (kaghan.landslides, same))
    assert after.symmetric_difference(before).area < 1e-3 * before.area


def test_false_outlines_lie_in_channels_and_low_relief_and_touch_no_landslide(kaghan, ground):
    how = replace(UNTOUCHED, false_share=0.15)
    worse = degrade(kaghan.landslides, kaghan.aoi, ground, how, seed=3)
    false = worse[worse["origin"] == "false"]
    assert len(false) == round(0.15 * len(kaghan.landslides))
    assert not shapely.intersects(
        false.geometry.to_numpy()[:, None], kaghan.landslides.geometry.to_numpy()
    ).any()
    assert false.within(kaghan.aoi).all()
    places = cells_of(false.geometry, ground)
    level = ground.read("slope")[places] < how.level_deg
    in_channel = ground.read("channel_distance")[places] <= how.channel_m
    assert (level | in_channel).all()
    assert in_channel.sum() >= len(false) // 2


def test_small_landslides_are_missed(kaghan, ground):
    how = replace(UNTOUCHED, missed_below_m2=2000)
    left = degrade(kaghan.landslides, kaghan.aoi, ground, how)
    big = kaghan.landslides[kaghan.landslides.to_crs(32643).area >= 2000]
    assert 0 < len(big) < len(kaghan.landslides)
    difference = left.union_all().symmetric_difference(big.union_all())
    assert difference.area < 1e-3 * big.union_all().area


def test_neighbours_become_one_outline(kaghan, ground):
    squares = [box(350_000 + 50 * i, 3_832_000, 350_045 + 50 * i, 3_832_040) for i in range(3)]
    squares.append(box(352_000, 3_832_000, 352_040, 3_832_040))
    rows = gpd.GeoDataFrame(geometry=squares, crs=32643).to_crs(4326)
    near, far = (
        degrade(rows, kaghan.aoi, ground, replace(UNTOUCHED, merged_within_m=gap)) for gap in (4, 6)
    )
    assert (len(near), len(far)) == (4, 2)


def test_equal_seeds_degrade_equally(kaghan, ground):
    def falsely(seed: int) -> bytes:
        worse = degrade(kaghan.landslides, kaghan.aoi, ground, seed=seed)
        return worse.geometry.union_all().wkb

    assert falsely(1) == falsely(1) != falsely(2)


def test_false_outlines_that_find_no_room_are_refused(kaghan, ground):
    with pytest.raises(SamplingError, match="room for only 0 of"):
        degrade(kaghan.landslides, MultiPolygon(), ground)

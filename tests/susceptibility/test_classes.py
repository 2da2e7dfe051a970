from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import MultiPolygon, box

from tasks.errors import AssessmentError
from tasks.susceptibility.classes import (
    LevelCounts,
    as_shares,
    class_bounds,
    class_table,
    count_levels,
    natural_breaks,
    parse_breaks,
    success_rate,
)
from tasks.susceptibility.predict import predict_map


def test_breaks_fall_between_the_heaps():
    histogram = np.zeros(256, dtype=np.int64)
    for centre in (20, 70, 120, 170, 220):
        histogram[centre - 3 : centre + 4] = 100
    histogram[0] = 10**6
    np.testing.assert_array_equal(natural_breaks(histogram), [23, 73, 123, 173, 223])


def test_a_map_of_few_levels_has_as_many_classes():
    histogram = np.zeros(256, dtype=np.int64)
    histogram[[1, 255]] = 5
    np.testing.assert_array_equal(natural_breaks(histogram), [1, 255])


def test_quantiles_give_classes_of_equal_area():
    histogram = np.random.default_rng(0).integers(1, 100, 256)
    bounds = class_bounds("quantiles", histogram)
    held = np.diff(np.cumsum(histogram)[np.append(0, bounds)])
    assert len(bounds) == 5
    np.testing.assert_allclose(held / histogram[1:].sum(), 0.2, atol=0.01)


@pytest.mark.parametrize(
    ("breaks", "held", "wanted"),
    [
        ("quantiles", {1: 700, 2: 30, 6: 80, 200: 190}, [700, 110, 190]),
        ("quantiles", {1: 100, 255: 500}, [600]),
        ((0.001, 0.002, 0.5), {1: 700, 2: 30, 200: 190}, [700, 30, 190]),
    ],
    ids=["most ground safe", "most ground failing", "breaks within a level"],
)
def test_classes_that_cannot_be_told_apart_are_one_and_count_each_cell_once(breaks, held, wanted):
    histogram = np.zeros(256, np.int64)
    histogram[list(held)] = list(held.values())
    bounds = as_shares(class_bounds(breaks, histogram))
    counts = LevelCounts(histogram, histogram, 0 * histogram, 0 * histogram, 1.0)
    assert [row.area_km2 for row in class_table(counts, bounds)] == wanted


def test_the_operators_breaks_are_kept():
    assert parse_breaks("0.25,0.5") == (0.25, 0.5)
    np.testing.assert_array_equal(class_bounds((0.25, 0.5), np.ones(256, int)), [64, 128, 255])
    on_levels = tuple(np.arange(1, 254) / 254)
    np.testing.assert_array_equal(class_bounds(on_levels, np.ones(256, int)), np.arange(2, 256))


@pytest.mark.parametrize("wrong", ["jenks", "", "0.5,0.2", "0,0.5", "0.5,1", "0.5,0.5", "nan"])
def test_breaks_that_do_not_rise_between_0_and_1_are_refused(wrong):
    with pytest.raises(AssessmentError, match="take natural, quantiles, or up to 8 rising breaks"):
        parse_breaks(wrong)


class ByHeight:
    def __init__(self, at: int) -> None:
        self.at = at

    def predict(self, x):
        return x[:, self.at] > 2000


@pytest.fixture(scope="module")
def high_and_low(kaghan, tmp_path_factory):
    """A map of two classes: below and above 2000 m."""
    path = tmp_path_factory.mktemp("classes") / "map.tif"
    at = kaghan.stack.names.index("elevation")
    return predict_map(ByHeight(at), kaghan.stack, path, {}, breaks=(0.5,))


def table(made, landslides, observed):
    return class_table(count_levels(made.path, landslides, observed), made.bounds)


def test_the_table_counts_ground_and_landslides_in_each_class(kaghan, high_and_low):
    low, high = table(high_and_low, kaghan.landslides, kaghan.aoi)
    elevation = kaghan.stack.read("elevation")
    cell_km2 = kaghan.stack.geobox.resolution.x**2 / 1e6
    assert low.area_km2 == pytest.approx((elevation <= 2000).sum() * cell_km2)
    assert high.area_km2 == pytest.approx((elevation > 2000).sum() * cell_km2)
    assert low.area_share + high.area_share == pytest.approx(1)
    assert low.landslide_share + high.landslide_share == pytest.approx(1)
    crs = str(kaghan.stack.geobox.crs)
    slid = kaghan.landslides.geometry.to_crs(crs).clip(kaghan.stack.geobox.extent.geom)
    assert low.failed_km2 + high.failed_km2 == pytest.approx(slid.union_all().area / 1e6, rel=0.05)
    assert low.density == pytest.approx(low.failed_km2 / low.observed_km2)
    both = (low.failed_km2 + high.failed_km2) / (low.observed_km2 + high.observed_km2)
    assert high.frequency_ratio == pytest.approx(high.density / both)
    assert (low.low, low.high, high.high) == (0.0, 0.5, 1.0)


def test_ground_nobody_saw_is_mapped_and_not_counted_as_stable(kaghan, high_and_low):
    west, south, east, north = kaghan.aoi.bounds
    half = MultiPolygon([kaghan.aoi & box(west, south, (west + east) / 2, north)])
    whole = table(high_and_low, kaghan.landslides, kaghan.aoi)
    seen = table(high_and_low, kaghan.landslides, half)
    assert [row.area_km2 for row in seen] == [row.area_km2 for row in whole]
    assert sum(row.observed_km2 for row in seen) == pytest.approx(
        sum(row.area_km2 for row in whole) / 2, rel=0.02
    )
    overall = sum(row.failed_km2 for row in seen) / sum(row.observed_km2 for row in seen)
    for row in seen:
        assert row.frequency_ratio == pytest.approx(row.failed_km2 / row.observed_km2 / overall)


def test_landslides_off_the_map_are_in_none_of_its_classes(kaghan, high_and_low):
    beyond = kaghan.landslides.geometry.translate(0.5)
    every = gpd.GeoDataFrame(geometry=pd.concat([kaghan.landslides.geometry, beyond]), crs=4326)
    on_it = table(high_and_low, kaghan.landslides, kaghan.aoi)
    assert table(high_and_low, every, kaghan.aoi) == on_it


def test_deposits_are_neither_failed_nor_stable_ground(kaghan, high_and_low):
    kinds = np.where(np.arange(len(kaghan.landslides)) % 3, "landslide", "deposit")
    scars = table(high_and_low, kaghan.landslides[kinds == "landslide"], kaghan.aoi)
    both = table(high_and_low, kaghan.landslides.assign(kind=kinds), kaghan.aoi)
    every = table(high_and_low, kaghan.landslides, kaghan.aoi)
    for told, of_scars, of_all in zip(both, scars, every, strict=True):
        assert told.landslides == of_scars.landslides < of_all.landslides
        # outlines that lie over each other are few
        assert told.failed_km2 == pytest.approx(of_scars.failed_km2, rel=0.01)
        unfailed = told.observed_km2 - told.failed_km2
        assert unfailed == pytest.approx(of_all.observed_km2 - of_all.failed_km2)


def test_a_map_without_landslides_has_classes_without_density(kaghan, high_and_low):
    none = gpd.GeoDataFrame(geometry=[], crs=4326)
    for row in table(high_and_low, none, MultiPolygon()):
        assert (row.landslides, row.density, row.frequency_ratio) == (0, 0.0, 0.0)


def test_the_success_rate_is_the_share_of_failed_in_the_share_of_ground(kaghan, high_and_low):
    low, high = table(high_and_low, kaghan.landslides, kaghan.aoi)
    counts = count_levels(high_and_low.path, kaghan.landslides, kaghan.aoi)
    ground = high.observed_km2 / (low.observed_km2 + high.observed_km2)
    failed = high.failed_km2 / (low.failed_km2 + high.failed_km2)
    np.testing.assert_allclose(success_rate(counts), [[0, 0], [ground, failed], [1, 1]])
    nothing = gpd.GeoDataFrame(geometry=[], crs=4326)
    assert not success_rate(count_levels(high_and_low.path, nothing, kaghan.aoi)).any()

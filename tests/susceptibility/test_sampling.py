from __future__ import annotations

import shutil
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from rasterio.windows import Window
from shapely import contains_xy
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, Point, box
from shapely.geometry.base import BaseGeometry

from tasks.errors import AssessmentError, SamplingError
from tasks.susceptibility import sampling, stack
from tasks.susceptibility.sampling import (
    ABSENCE,
    LEAST_LANDSLIDES,
    STRATA,
    Samples,
    draw_samples,
)
from tasks.susceptibility.schemes import MOST_PER_LANDSLIDE, SCHEMES, find_scheme
from tasks.susceptibility.study import outline_doubts

SCARP = SCHEMES["scarp"]


def half_of(aoi: MultiPolygon) -> MultiPolygon:
    west, south, east, north = aoi.bounds
    return MultiPolygon([aoi.intersection(box(west, south, (west + east) / 2, north))])


def points(samples: Samples, of: bool) -> gpd.GeoSeries:
    chosen = samples.y == of
    return gpd.GeoSeries.from_xy(samples.easting[chosen], samples.northing[chosen])


def test_presences_lie_in_their_landslide(kaghan, samples):
    metric = kaghan.landslides.geometry.to_crs(str(kaghan.stack.geobox.crs))
    own = metric.iloc[samples.landslide[samples.y]].reset_index(drop=True)
    half_cell = 0.75 * kaghan.stack.geobox.resolution.x
    assert points(samples, True).set_crs(metric.crs).distance(own).max() <= half_cell
    assert samples.landslides > 100


def test_absences_lie_on_observed_unfailed_ground_outside_the_buffer(kaghan):
    observed = half_of(kaghan.aoi)
    drawn = draw_samples(kaghan.landslides, observed, kaghan.stack, replace(SCARP, buffer_m=100))
    crs = str(kaghan.stack.geobox.crs)
    seen = gpd.GeoSeries([observed], crs=4326).to_crs(crs).iloc[0]
    absent = points(drawn, False)
    assert contains_xy(seen, absent.x, absent.y).all()
    failed = kaghan.landslides.geometry.to_crs(crs).union_all()
    assert absent.distance(failed).min() > 100
    assert (drawn.landslide[~drawn.y] == ABSENCE).all()


def test_no_absence_is_a_cell_that_a_landslide_touches_however_near_it_may_lie(kaghan):
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, replace(SCARP, buffer_m=0))
    half = 0.49 * kaghan.stack.geobox.resolution.x
    cells = points(drawn, False).buffer(half, cap_style="square")
    failed = kaghan.landslides.geometry.to_crs(str(kaghan.stack.geobox.crs)).union_all()
    assert not cells.intersects(failed).any()


def test_ground_nobody_saw_gives_no_absence(kaghan):
    with pytest.raises(SamplingError, match="^0 cells are observed"):
        draw_samples(kaghan.landslides, MultiPolygon(), kaghan.stack)


def test_the_factors_are_those_of_the_cell(kaghan, samples):
    stack = kaghan.stack
    cols, rows = ~stack.geobox.transform @ (samples.easting, samples.northing)
    elevation = stack.read("elevation")[rows.astype(int), cols.astype(int)]
    np.testing.assert_array_equal(samples.x[:, samples.names.index("elevation")], elevation)
    assert np.isfinite(samples.x).all()
    assert samples.x.dtype == np.float32


@pytest.mark.parametrize("ratio", [0.5, 1, 2])
def test_the_ratio_of_absences_is_kept(kaghan, ratio):
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, replace(SCARP, ratio=ratio))
    assert (~drawn.y).sum() == round(ratio * drawn.y.sum())


def test_equal_seeds_draw_equal_cells_and_others_do_not(kaghan):
    def draw(seed: int) -> Samples:
        return draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, seed=seed)

    np.testing.assert_array_equal(draw(3).x, draw(3).x)
    assert not np.array_equal(draw(3).x, draw(4).x)


def test_a_giant_does_not_outvote_the_rest(example):
    drawn = draw_samples(example.landslides, example.aoi, example.stack)
    areas = example.landslides.to_crs(32632).area
    cells = np.bincount(drawn.landslide[drawn.y])
    assert areas.max() / 100 > 2 * SCARP.presence
    assert cells.max() == SCARP.presence


def test_all_landslides_together_give_no_more_cells_than_a_model_can_take(kaghan, monkeypatch):
    monkeypatch.setattr(sampling, "MAX_PRESENCES", 50)
    assert draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack).y.sum() == 50


def test_landslides_smaller_than_a_cell_are_doubted(kaghan):
    crs = str(kaghan.stack.geobox.crs)
    areas = kaghan.landslides.geometry.to_crs(crs).area
    small = (areas < kaghan.stack.geobox.resolution.x**2).sum()
    (doubt,) = outline_doubts(kaghan.landslides, kaghan.aoi, kaghan.stack)
    assert doubt.code == "landslides-below-cell"
    assert doubt.text.startswith(
        f"{small} of {len(areas)} landslides are smaller than a cell of 28"
    )
    large = kaghan.landslides[(areas > 1e4).to_numpy()]
    assert outline_doubts(large, kaghan.aoi, kaghan.stack) == ()


def test_landslides_outside_the_area_are_not_counted_among_those_too_small(kaghan):
    elsewhere = kaghan.landslides.translate(0.2).to_frame("geometry")
    both = gpd.GeoDataFrame(pd.concat([kaghan.landslides[["geometry"]], elsewhere]), crs=4326)
    alone = outline_doubts(kaghan.landslides, kaghan.aoi, kaghan.stack)
    assert outline_doubts(both, kaghan.aoi, kaghan.stack) == alone


def alike(kaghan, outline: BaseGeometry) -> gpd.GeoDataFrame:
    """The same outline at eight places, given about (0, 0) in metres."""
    x = np.linspace(349_500, 353_000, 8)
    metric = [translate(outline, place, 3_832_007.3) for place in x]
    return gpd.GeoDataFrame(geometry=metric, crs=str(kaghan.stack.geobox.crs)).to_crs(4326)


def test_a_landslide_smaller_than_a_cell_counts_once_and_not_where_a_factor_is_unknown(
    kaghan, tmp_path
):
    dots = alike(kaghan, Point(0, 0).buffer(2))
    drawn = draw_samples(dots, kaghan.aoi, kaghan.stack)
    np.testing.assert_array_equal(np.sort(drawn.landslide[drawn.y]), np.arange(8))
    holed = replace(kaghan.stack, path=shutil.copy(kaghan.stack.path, tmp_path / "factors.tif"))
    last = drawn.landslide == 7
    col, row = ~holed.geobox.transform @ (drawn.easting[last][0], drawn.northing[last][0])
    with rasterio.open(holed.path, "r+") as dataset:
        unknown = np.full((1, 1), np.nan, np.float32)
        dataset.write(unknown, 4, window=Window(int(col), int(row), 1, 1))
    drawn = draw_samples(dots, kaghan.aoi, holed)
    np.testing.assert_array_equal(np.sort(drawn.landslide[drawn.y]), np.arange(7))


def test_a_landslide_round_a_hollow_is_not_stood_for_by_the_hollow(kaghan):
    crescent = Point(0, 0).buffer(200) - Point(0, 0).buffer(150) - box(0, -30, 300, 30)
    scheme = replace(SCARP, presence="centroid")
    drawn = draw_samples(alike(kaghan, crescent), kaghan.aoi, kaghan.stack, scheme)
    outlines = alike(kaghan, crescent).to_crs(str(kaghan.stack.geobox.crs)).geometry
    away = points(drawn, True).set_crs(outlines.crs).distance(outlines.union_all())
    assert len(away) == 8 and away.max() <= 0.75 * kaghan.stack.geobox.resolution.x


def test_no_landslide_gives_ground_of_one_drawn_over_it(kaghan):
    """Inventories of several years show a body again; it must not part with itself."""
    once = kaghan.landslides.geometry.to_crs(str(kaghan.stack.geobox.crs))
    outlines = pd.concat([once, once.buffer(1)], ignore_index=True)
    twice = gpd.GeoDataFrame(geometry=outlines).to_crs(4326)
    drawn = draw_samples(twice, kaghan.aoi, kaghan.stack)
    place, number = outlines.sindex.query(points(drawn, of=True), predicate="within")
    last = pd.Series(number).groupby(place).max()
    assert len(last) > 500
    np.testing.assert_array_equal(drawn.landslide[drawn.y][last.index], last)


def test_landslides_off_the_terrain_are_left_out(kaghan):
    far = kaghan.landslides.copy()
    far.geometry = far.geometry.translate(xoff=5)
    with pytest.raises(SamplingError, match=rf"^0 of {len(far)} landslides"):
        draw_samples(far, kaghan.aoi, kaghan.stack)


@pytest.mark.parametrize("few", [0, 1, LEAST_LANDSLIDES - 1])
def test_too_few_landslides_are_counted(kaghan, few):
    biggest = kaghan.landslides.iloc[kaghan.landslides.to_crs(32643).area.argsort()[::-1][:few]]
    with pytest.raises(SamplingError, match=f"^{few} of {few} landslides .* {LEAST_LANDSLIDES}"):
        draw_samples(biggest, kaghan.aoi, kaghan.stack)


@pytest.mark.parametrize("presence", ["all", "highest", "centroid", 3])
def test_the_blocks_in_which_a_stack_is_read_leave_no_trace(kaghan, presence, monkeypatch):
    def draw(cells: int) -> Samples:
        monkeypatch.setattr(sampling, "_BLOCK_CELLS", cells)
        monkeypatch.setattr(stack, "BLOCK_PX", 50 if cells < 1000 else 512)
        scheme = replace(SCARP, presence=presence, strata="slope")
        return draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, scheme)

    whole, small = draw(1 << 19), draw(1)
    np.testing.assert_array_equal(whole.x, small.x)
    np.testing.assert_array_equal(whole.landslide, small.landslide)


def test_the_highest_cell_of_a_landslide_stands_for_it(kaghan):
    every, crown = (
        draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, replace(SCARP, presence=presence))
        for presence in (MOST_PER_LANDSLIDE, "highest")
    )
    at = crown.names.index("elevation")
    top = dict(zip(crown.landslide[crown.y], crown.x[crown.y, at], strict=True))
    assert len(top) == crown.y.sum() == every.landslides
    for number, highest in top.items():
        assert highest == every.x[every.landslide == number, at].max()


def test_a_centroid_stands_for_each_landslide_once(kaghan):
    scheme = replace(SCARP, presence="centroid")
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, scheme)
    owner = drawn.landslide[drawn.y]
    assert len(np.unique(owner)) == len(owner) > 100
    outlines = kaghan.landslides.geometry.to_crs(str(kaghan.stack.geobox.crs)).iloc[owner]
    away = points(drawn, True).set_crs(outlines.crs).distance(outlines.reset_index(drop=True))
    assert away.max() <= 0.75 * kaghan.stack.geobox.resolution.x


def test_a_deposit_teaches_neither_failure_nor_stability(kaghan):
    kinds = np.where(np.arange(len(kaghan.landslides)) % 2, "deposit", "scar")
    drawn = draw_samples(kaghan.landslides.assign(kind=kinds), kaghan.aoi, kaghan.stack)
    assert (drawn.landslide[drawn.y] % 2 == 0).all()
    failed = kaghan.landslides.geometry.to_crs(str(kaghan.stack.geobox.crs)).union_all()
    assert points(drawn, False).distance(failed).min() > SCARP.buffer_m


def test_absences_keep_to_slopes_as_steep_as_asked(kaghan):
    scheme = replace(SCARP, least_slope_deg=20.0)
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, scheme)
    slope = drawn.x[:, drawn.names.index("slope")]
    assert slope[~drawn.y].min() >= 20 > slope[drawn.y].min()


@pytest.mark.parametrize("factor", STRATA)
def test_absences_spread_evenly_over_strata(kaghan, factor):
    scheme = replace(SCARP, strata=factor, ratio=0.2)
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, scheme)
    values = drawn.x[~drawn.y, drawn.names.index(factor)]
    counts = np.unique(values // STRATA[factor], return_counts=True)[1]
    assert len(counts) > 3 and np.median(counts) == pytest.approx(counts.max(), abs=1)


def test_a_scheme_that_needs_a_factor_the_stack_lacks_says_which(kaghan):
    lacking = replace(kaghan.stack, factors=kaghan.stack.factors[2:])
    scheme = replace(SCARP, presence="highest", strata="slope")
    with pytest.raises(AssessmentError, match="needs the factor elevation and slope"):
        draw_samples(kaghan.landslides, kaghan.aoi, lacking, scheme)


@pytest.mark.parametrize(
    ("asked", "wrong"),
    [
        ({"name": "dai"}, "no sampling scheme is called 'dai'"),
        ({"name": "scarp", "presence": "top"}, "'top' says not which cells"),
        ({"name": "scarp", "presence": "0"}, "'0' says not which cells"),
        ({"name": "scarp", "strata": "aspect"}, "spread over 'aspect'"),
    ],
)
def test_a_misspelt_scheme_is_refused_with_what_there_is(asked, wrong):
    with pytest.raises(AssessmentError, match=wrong):
        find_scheme(asked.pop("name"), **asked)


def test_a_named_scheme_keeps_what_is_not_asked_otherwise():
    scheme = find_scheme("dai2023", presence="7", ratio=2.0)
    assert (scheme.presence, scheme.ratio, scheme.buffer_m) == (7, 2.0, 0.0)

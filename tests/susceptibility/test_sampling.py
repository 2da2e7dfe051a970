from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely import contains_xy
from shapely.geometry import MultiPolygon, Point, box

from tasks.errors import SamplingError
from tasks.susceptibility.sampling import (
    ABSENCE,
    CELLS_PER_LANDSLIDE,
    LEAST_LANDSLIDES,
    Samples,
    draw_samples,
)


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
    drawn = draw_samples(kaghan.landslides, observed, kaghan.stack, buffer_m=100)
    crs = str(kaghan.stack.geobox.crs)
    seen = gpd.GeoSeries([observed], crs=4326).to_crs(crs).iloc[0]
    absent = points(drawn, False)
    assert contains_xy(seen, absent.x, absent.y).all()
    failed = kaghan.landslides.geometry.to_crs(crs).union_all()
    assert absent.distance(failed).min() > 100
    assert (drawn.landslide[~drawn.y] == ABSENCE).all()


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
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, ratio=ratio)
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
    assert areas.max() / 100 > 2 * CELLS_PER_LANDSLIDE
    assert cells.max() == CELLS_PER_LANDSLIDE


def test_a_landslide_smaller_than_a_cell_counts_once(kaghan):
    crs = str(kaghan.stack.geobox.crs)
    x = np.linspace(349_500, 353_000, 8)
    dots = gpd.GeoSeries([Point(place, 3_832_007.3).buffer(2) for place in x], crs=crs).to_crs(4326)
    drawn = draw_samples(gpd.GeoDataFrame(geometry=dots), kaghan.aoi, kaghan.stack)
    np.testing.assert_array_equal(np.sort(drawn.landslide[drawn.y]), np.arange(8))


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

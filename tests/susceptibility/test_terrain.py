from __future__ import annotations

import numpy as np
import pytest

from tasks.susceptibility import terrain

RESOLUTION_M = 10.0
INNER = (slice(1, -1), slice(1, -1))


def grid(rows: int = 41, cols: int = 51) -> tuple[np.ndarray, np.ndarray]:
    """Easting and northing of cell centres, origin in the middle, northing falling down rows."""
    x = (np.arange(cols) - cols // 2) * RESOLUTION_M
    y = (rows // 2 - np.arange(rows)) * RESOLUTION_M
    return np.meshgrid(x, y)


@pytest.mark.parametrize(
    ("faces", "northness", "eastness"),
    [((0, 1), 1, 0), ((1, 0), 0, 1), ((0, -1), -1, 0), ((-1, -1), -(0.5**0.5), -(0.5**0.5))],
)
def test_a_tilted_plane_has_one_slope_one_aspect_and_no_curvature(faces, northness, eastness):
    x, y = grid()
    towards = np.array(faces) / np.hypot(*faces)
    plane = 500 - 0.5 * (towards[0] * x + towards[1] * y)
    d = terrain.derivatives(plane, RESOLUTION_M)
    np.testing.assert_allclose(terrain.slope_deg(d)[INNER], np.degrees(np.arctan(0.5)))
    np.testing.assert_allclose(terrain.northness(d)[INNER], northness, atol=1e-9)
    np.testing.assert_allclose(terrain.eastness(d)[INNER], eastness, atol=1e-9)
    np.testing.assert_allclose(terrain.plan_curvature(d)[INNER], 0, atol=1e-12)
    np.testing.assert_allclose(terrain.profile_curvature(d)[INNER], 0, atol=1e-12)


def test_a_dome_bends_along_its_contours_by_one_over_their_radius():
    x, y = grid()
    dome = 1000 - (x**2 + y**2) / 800
    d = terrain.derivatives(dome, RESOLUTION_M)
    radius = np.hypot(x, y)
    away = (radius > 0) & np.isfinite(d.p)
    np.testing.assert_allclose(terrain.plan_curvature(d)[away], 1 / radius[away], rtol=1e-6)
    gradient = radius[away] / 400
    expected = (1 / 400) / (1 + gradient**2) ** 1.5
    np.testing.assert_allclose(terrain.profile_curvature(d)[away], expected, rtol=1e-6)
    np.testing.assert_allclose(
        terrain.slope_deg(d)[away], np.degrees(np.arctan(gradient)), rtol=1e-6
    )


def test_a_bowl_bends_the_other_way_than_a_dome():
    x, y = grid()
    dome = terrain.derivatives(-(x**2 + y**2) / 800, RESOLUTION_M)
    bowl = terrain.derivatives((x**2 + y**2) / 800, RESOLUTION_M)
    for curvature in (terrain.plan_curvature, terrain.profile_curvature):
        np.testing.assert_allclose(curvature(bowl), -curvature(dome), atol=1e-12)


def test_level_ground_has_no_aspect_and_a_finite_wetness():
    level = np.full((20, 20), 7.0)
    d = terrain.derivatives(level, RESOLUTION_M)
    for measure in (terrain.slope_deg, terrain.northness, terrain.eastness, terrain.plan_curvature):
        assert np.all(measure(d)[INNER] == 0)
    wetness = terrain.wetness_index(level, terrain.slope_deg(d), RESOLUTION_M)
    assert np.isfinite(wetness[INNER]).all()


def test_one_unknown_cell_spoils_its_eight_neighbours_and_no_more():
    x, y = grid()
    dem = 100 + 0.1 * x + 0.2 * y
    dem[20, 25] = np.nan
    unknown = np.isnan(terrain.slope_deg(terrain.derivatives(dem, RESOLUTION_M)))
    expected = np.ones_like(unknown)
    expected[INNER] = False
    expected[19:22, 24:27] = True
    np.testing.assert_array_equal(unknown, expected)


def test_relief_and_position_leave_unknown_cells_out():
    x, _ = grid()
    dem = 0.3 * x
    dem[:, 0] = np.nan
    relief = terrain.local_relief(dem, 5)
    np.testing.assert_allclose(relief[:, 3:-2], 0.3 * 4 * RESOLUTION_M)
    np.testing.assert_allclose(relief[:, 1], 0.3 * 2 * RESOLUTION_M)
    position = terrain.topographic_position(dem, 5)
    np.testing.assert_allclose(position[2:-2, 3:-2], 0, atol=1e-9)
    np.testing.assert_allclose(position[2:-2, 1], -0.3 * RESOLUTION_M, atol=1e-9)
    for measure in (relief, position):
        assert np.isnan(measure[:, 0]).all()
        assert np.isfinite(measure[:, 1:]).all()


def test_wetness_and_stream_power_follow_their_formulas():
    area, slope = np.array([[100.0, 5000.0]]), np.array([[45.0, 30.0]])
    tangent = np.tan(np.radians(slope))
    wetness = terrain.wetness_index(area, slope, RESOLUTION_M)
    np.testing.assert_allclose(wetness, np.log(area / 10 / tangent))
    power = terrain.stream_power_index(area, slope, RESOLUTION_M)
    np.testing.assert_allclose(power, np.log(area / 10 * tangent))
    assert np.isfinite(terrain.stream_power_index(area, 0 * slope, RESOLUTION_M)).all()


def test_total_curvature_of_a_saddle_and_of_a_dome_is_that_of_their_second_derivatives():
    x, y = grid()
    saddle = terrain.derivatives(x * y / 500, RESOLUTION_M)
    np.testing.assert_allclose(terrain.total_curvature(saddle)[INNER], 2 / 500**2, rtol=1e-6)
    dome = terrain.derivatives(-(x**2 + y**2) / 800, RESOLUTION_M)
    np.testing.assert_allclose(terrain.total_curvature(dome)[INNER], 2 / 400**2, rtol=1e-6)


def test_a_plane_is_not_rugged_however_steep_and_a_cones_tip_is():
    x, y = grid()
    inner = np.s_[2:-2, 2:-2]
    steep = terrain.derivatives(3 * x + y, RESOLUTION_M)
    np.testing.assert_allclose(terrain.ruggedness(steep)[inner], 0, atol=1e-12)
    assert np.isnan(terrain.ruggedness(steep)[1]).all()
    cone = terrain.ruggedness(terrain.derivatives(-2 * np.hypot(x, y), RESOLUTION_M))
    assert np.nanargmax(cone) == np.ravel_multi_index((20, 25), cone.shape)
    # around the tip eight normals of slope 2 cancel sideways and the ninth stands upright
    assert 0.2 < cone[20, 25] < 1 - 1 / np.sqrt(5)


def test_a_gaussian_hill_has_the_slope_and_curvatures_of_its_formula():
    x, y = grid(81, 81)
    height, width = 100.0, 150.0
    hill = height * np.exp(-(x**2 + y**2) / (2 * width**2))
    d = terrain.derivatives(hill, RESOLUTION_M)
    ring = np.s_[40, 45:70]
    radius = x[ring]
    falls = hill[ring] * radius / width**2
    bends = hill[ring] * (radius**2 / width**4 - 1 / width**2)
    np.testing.assert_allclose(np.tan(np.radians(terrain.slope_deg(d)[ring])), falls, rtol=0.02)
    np.testing.assert_allclose(terrain.plan_curvature(d)[ring], 1 / radius, rtol=0.03)
    profile = -bends / (1 + falls**2) ** 1.5
    np.testing.assert_allclose(terrain.profile_curvature(d)[ring], profile, atol=4e-5)


def test_an_all_unknown_grid_stays_unknown():
    nothing = np.full((8, 8), np.nan)
    assert np.isnan(terrain.local_relief(nothing, 3)).all()
    assert np.isnan(terrain.topographic_position(nothing, 3)).all()

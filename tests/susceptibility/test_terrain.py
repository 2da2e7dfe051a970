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
    area = terrain.flow_accumulation_m2(level, RESOLUTION_M)
    wetness = terrain.wetness_index(area, terrain.slope_deg(d), RESOLUTION_M)
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


def test_all_the_water_of_a_plane_runs_down_its_columns():
    _, y = grid(rows=30, cols=9)
    area = terrain.flow_accumulation_m2(y, RESOLUTION_M)
    uphill_cells = np.arange(1, 31)
    np.testing.assert_allclose(area[:-1, 4], uphill_cells[:-1] * RESOLUTION_M**2)
    slope = np.full_like(area, 45.0)
    wetness = terrain.wetness_index(area, slope, RESOLUTION_M)
    np.testing.assert_allclose(wetness[:-1, 4], np.log(uphill_cells[:-1] * RESOLUTION_M), rtol=1e-6)


def test_a_valley_gathers_the_water_of_both_sides_and_a_pit_does_not_stop_it():
    x, y = grid()
    valley = np.abs(x) + 0.1 * y
    valley[20, 25] -= 30
    area = terrain.flow_accumulation_m2(valley, RESOLUTION_M)
    assert area[-1].max() > 0.95 * valley.size * RESOLUTION_M**2


def test_an_all_unknown_grid_stays_unknown():
    nothing = np.full((8, 8), np.nan)
    assert np.isnan(terrain.flow_accumulation_m2(nothing, RESOLUTION_M)).all()
    assert np.isnan(terrain.local_relief(nothing, 3)).all()
    assert np.isnan(terrain.topographic_position(nothing, 3)).all()

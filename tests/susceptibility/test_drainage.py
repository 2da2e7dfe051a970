from __future__ import annotations

from itertools import count

import numpy as np
import pyflwdir
import pytest
import rasterio
from rasterio.windows import Window

from tasks.susceptibility import flow_kernels as flow
from tasks.susceptibility.drainage import Drainage, Pulled, drain
from tasks.susceptibility.planes import Plane, tiles
from tasks.susceptibility.slope_units import Channels

CELL_M = 30.0
D8 = np.array([1, 2, 4, 8, 16, 32, 64, 128, 0], np.uint8)


@pytest.fixture
def drained(tmp_path):
    """A function that drains an elevation grid in tiles of a given side."""
    number = count()

    def drained(dem: np.ndarray, side: int) -> Drainage:
        folder = tmp_path / str(next(number))
        folder.mkdir()
        elevation = Plane.make(folder / "elevation", dem.shape, np.float32)
        elevation.write(dem, whole(elevation))
        return drain(elevation, tiles(dem.shape, side), folder)

    return drained


def whole(plane: Plane) -> Window:
    return Window(0, 0, plane.shape[1], plane.shape[0])


def everywhere(drainage: Drainage, pulled: Pulled) -> np.ndarray:
    values = np.empty(drainage.filled.shape)
    for number, window in enumerate(drainage.windows):
        values[window.toslices()] = pulled.of_tile(number)
    return values


def grids(drainage: Drainage) -> dict[str, np.ndarray]:
    channels = Channels.of(drainage, CELL_M)
    pulled = {
        "foot": channels.foot(),
        "distance": channels.distance(),
        "link": channels.link(),
        "side": channels.side(),
    }
    planes = {name: getattr(drainage, name) for name in ("filled", "directions", "cells")}
    return {name: plane.read(whole(plane)) for name, plane in planes.items()} | {
        name: everywhere(drainage, values) for name, values in pulled.items()
    }


def kaghan_dem(kaghan) -> np.ndarray:
    """A quarter of the DEM, half of it in whole metres so that much is level, with a hole."""
    with rasterio.open(kaghan.dem) as dataset:
        dem = dataset.read(1, window=Window(200, 300, 300, 400))
    dem[:, 150:] = np.round(dem[:, 150:] / 5) * 5
    dem[120:150, 80:100] = np.nan
    return dem


@pytest.mark.parametrize("side", [64, 97])
def test_tiles_do_not_show(kaghan, drained, side):
    dem = kaghan_dem(kaghan)
    at_once, tiled = grids(drained(dem, 1000)), grids(drained(dem, side))
    for name, values in at_once.items():
        np.testing.assert_allclose(tiled[name], values, rtol=1e-12, err_msg=name)


def test_depressions_area_and_height_are_those_of_pyflwdir(kaghan, drained):
    dem = kaghan_dem(kaghan)
    ours, known = grids(drained(dem, 128)), np.isfinite(dem)
    filled, _ = pyflwdir.dem.fill_depressions(np.where(known, dem, -9999), nodata=-9999.0)
    np.testing.assert_array_equal(ours["filled"][known], filled[known])
    directions = np.where(known, D8[ours["directions"].clip(max=8)], 247)
    theirs = pyflwdir.from_array(directions, ftype="d8", check_ftype=False)
    np.testing.assert_array_equal(
        ours["cells"][known], theirs.upstream_area("cell")[known].astype(np.float32)
    )
    channel = (ours["cells"] >= 250_000 / CELL_M**2) | (ours["directions"] == flow.OUT)
    height = theirs.hand(channel, ours["filled"])
    np.testing.assert_array_equal((ours["filled"] - ours["foot"])[known], height[known])


def test_no_water_is_lost_and_none_runs_in_circles(kaghan, drained):
    dem = kaghan_dem(kaghan)
    ours = grids(drained(dem, 100))
    leaves = ours["directions"] == flow.OUT
    assert ours["cells"][leaves].sum() == np.isfinite(dem).sum()
    assert not (ours["directions"] == flow.FLAT).any()


def test_all_the_water_of_a_plane_runs_down_its_columns(drained):
    plane = np.repeat(np.arange(30.0, 0, -1)[:, None], 9, axis=1)
    cells = grids(drained(plane, 16))["cells"]
    np.testing.assert_array_equal(cells[:-1, 4], np.arange(1, 30))


def test_a_pit_in_a_valley_does_not_stop_the_water_of_both_sides(drained):
    x, y = np.meshgrid(np.arange(-25, 26) * 10.0, np.arange(20, -21, -1) * 10.0)
    valley = np.abs(x) + 0.1 * y
    valley[20, 25] -= 30
    assert grids(drained(valley, 32))["cells"][-1].max() > 0.95 * valley.size


def test_level_ground_drains_the_shortest_way_to_its_edge(drained):
    level = np.full((40, 40), 7.0)
    ours = grids(drained(level, 16))
    assert not (ours["directions"] == flow.FLAT).any()
    rows, cols = np.indices(level.shape)
    from_edge = np.minimum.reduce([rows, cols, 39 - rows, 39 - cols])
    down, right = (step[ours["directions"] % 8] for step in (flow.DOWN, flow.RIGHT))
    inner = from_edge > 0
    landing = from_edge[(rows + down)[inner], (cols + right)[inner]]
    np.testing.assert_array_equal(landing, from_edge[inner] - 1)


def test_a_straight_valley_has_two_slope_units_and_the_heights_of_its_walls(drained):
    """A channel runs south in the middle; both walls fall straight to it."""
    x, y = np.meshgrid(np.arange(-20, 21), np.arange(200, 0, -1))
    valley = 10.0 * np.abs(x) + 0.01 * y
    ours = grids(drained(valley, 64))
    below = np.s_[20:-1]  # where the channel has begun
    np.testing.assert_allclose(
        (ours["filled"] - ours["foot"])[below], 10.0 * np.abs(x)[below], atol=0.5
    )
    np.testing.assert_allclose(ours["distance"][below], CELL_M * np.abs(x)[below], rtol=1e-12)
    assert len(np.unique(ours["link"][below])) == 1
    np.testing.assert_array_equal(
        ours["side"][below], (x < 0)[below]
    )  # facing south, west is right


@pytest.mark.parametrize(("cell_m", "cells"), [(25.0, 400), (50.0, 100), (100.0, 50)])
def test_a_channel_begins_at_a_quarter_of_a_square_kilometre_or_at_fifty_cells(
    drained, cell_m, cells
):
    assert Channels.of(drained(np.eye(3), 4), cell_m).least_cells == cells


def test_a_slope_unit_drains_to_one_side_of_one_stretch_of_channel(kaghan, drained):
    ours = grids(drained(kaghan_dem(kaghan), 128))
    known = np.isfinite(ours["link"])
    unit = 2 * ours["link"][known] + ours["side"][known]
    _, sizes = np.unique(unit, return_counts=True)
    assert 20 < len(sizes) < 2000
    assert set(np.unique(ours["side"][known])) == {0, 1}

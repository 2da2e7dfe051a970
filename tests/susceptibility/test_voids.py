from __future__ import annotations

import numpy as np
import pytest

from tasks.susceptibility.planes import Plane, tiles
from tasks.susceptibility.stack import BLOCK_PX
from tasks.susceptibility.voids import LARGE_CELLS, mend


@pytest.fixture
def mended(tmp_path):
    """A function that mends an elevation grid in tiles of a given side."""

    def mended(dem: np.ndarray, side: int) -> tuple[np.ndarray, int, int]:
        (whole,) = tiles(dem.shape, 10_000)
        raw = Plane.make(tmp_path / "raw", dem.shape, np.float32)
        raw.write(dem, whole)
        target = Plane.make(tmp_path / "mended", dem.shape, np.float32)
        bridged, zeros = mend(raw, target, tiles(dem.shape, side))
        return target.read(whole), bridged, zeros

    return mended


def plane(rows: int = 150, cols: int = 170) -> np.ndarray:
    return np.add.outer(2.0 * np.arange(rows), 0.5 * np.arange(cols)) + 1


def test_a_plane_is_bridged_exactly_whatever_the_tiles(mended):
    dem = plane()
    holed = dem.copy()
    holed[60:75, 58:70] = np.nan
    holed[100, 20:90] = np.nan
    for side in (64, 1000):
        whole, bridged, zeros = mended(holed, side)
        np.testing.assert_allclose(whole, dem, rtol=1e-6)
        assert (bridged, zeros) == (15 * 12 + 70, 0)


def test_a_hole_as_large_as_the_limit_or_open_to_the_edge_stays(mended):
    holed = plane()
    holed[20:36, 20:36] = np.nan
    holed[100:110, :5] = holed[60:70, -5:] = np.nan
    holed[:5, 100:110] = holed[-5:, 60:70] = np.nan
    assert (~np.isfinite(holed[20:36, 20:36])).sum() == LARGE_CELLS
    whole, bridged, _ = mended(holed, 64)
    np.testing.assert_array_equal(whole, holed.astype(np.float32))
    assert bridged == 0


def test_a_hole_of_zeros_in_a_mountain_is_no_ground_either(mended):
    dem = plane() + 1000
    dem[40:70, 50:80] = 0
    dem[120, 120:130] = 0
    for side in (64, 1000):
        whole, bridged, zeros = mended(dem, side)
        assert np.isnan(whole[40:70, 50:80]).all()
        assert (whole[120, 120:130] == 0).all()
        assert (bridged, zeros) == (0, 900)


def test_cells_read_alone_are_those_of_their_layer_and_blocks_cover_the_grid(kaghan, monkeypatch):
    monkeypatch.setattr("tasks.susceptibility.stack.BLOCK_PX", BLOCK_PX // 8)
    stack = kaghan.stack
    random = np.random.default_rng(0)
    rows, cols = (random.integers(0, side, 500) for side in stack.geobox.shape)
    values = stack.at(rows, cols)
    seen = np.zeros(stack.geobox.shape, np.int64)
    for window, block in stack.blocks(cells=5000):
        seen[window.toslices()] += 1
        np.testing.assert_array_equal(block[1], stack.read("slope", window))
    assert (seen == 1).all()
    for number, name in enumerate(stack.names):
        np.testing.assert_array_equal(values[:, number], stack.read(name)[rows, cols])

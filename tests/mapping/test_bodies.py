"""Outlines must not tell in what bands the scene was read."""

import numpy as np
import pytest
import rasterio.features
import shapely
from scipy import ndimage
from shapely.geometry import shape

from tasks.mapping.bodies import ScoreWindow, connected_bodies, fill_holes


def read(mask, levels=None):
    """The window that some rows and columns of a mask make."""
    levels = mask.astype(np.uint8) * 200 + 1 if levels is None else levels

    def place(at):
        rows, columns = at
        away = np.zeros_like(mask[at])
        return ScoreWindow(rows.start, columns.start, levels[at], mask[at], away, away)

    return place


def bodies_in_bands(mask, height, levels=None):
    everything = slice(0, mask.shape[1])
    rows = range(0, len(mask), height)
    return connected_bodies(read(mask, levels)((slice(r, r + height), everything)) for r in rows)


def as_gdal_outlines(mask):
    traced = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return {shapely.normalize(shape(outline)).wkb for outline, _ in traced}


def snake(rows, columns):
    """One body that runs to and fro through every row."""
    mask = np.zeros((rows, columns), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    return mask


def rings(size):
    """Rings inside rings, each a body of its own."""
    y, x = np.mgrid[:size, :size]
    return np.maximum(abs(y - size // 2), abs(x - size // 2)) % 2 == 1


def checkers(size):
    """Pixels that meet at corners only, alone or held together by a bar."""
    mask = np.indices((size, size)).sum(axis=0) % 2 == 0
    mask[size // 2] = True
    return mask


def diagonal_holes(size):
    """A body that meets itself at corners: chains of holes that touch diagonally."""
    mask = np.ones((size, size), bool)
    inner = np.arange(1, size - 1)
    mask[inner, inner] = mask[inner[::2], inner[::-1][::2]] = False
    return mask


def speckle(seed):
    noise = np.random.default_rng(seed)
    return noise.random(noise.integers(1, 25, 2)) < noise.uniform(0.2, 0.9)


def blobs(seed):
    noise = np.random.default_rng(seed).standard_normal((25, 30))
    return ndimage.gaussian_filter(noise, 1.5) > 0


MASKS = {
    "snake": snake(21, 13),
    "rings": rings(25),
    "checkers": checkers(17),
    "diagonal holes": diagonal_holes(20),
    "all": np.ones((7, 9), bool),
    "one pixel": np.ones((1, 1), bool),
} | {f"{make.__name__} {seed}": make(seed) for make in (speckle, blobs) for seed in range(10)}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_every_band_height_gives_the_outlines_of_the_whole_array(mask):
    expected = as_gdal_outlines(mask)
    whole = bodies_in_bands(mask, len(mask))
    for height in range(1, len(mask) + 1):
        found = bodies_in_bands(mask, height)
        assert found.equals(whole), height
    outlines = whole["outline"].to_numpy()
    assert shapely.is_valid(outlines).all()
    assert len(outlines) == len(expected)
    assert {shapely.normalize(outline).wkb for outline in outlines} == expected


def test_a_body_holds_what_its_pixels_hold_however_it_is_cut():
    levels = np.random.default_rng(5).integers(1, 256, (80, 60)).astype(np.uint8)
    mask = levels > 110
    labels, count = ndimage.label(mask)
    index = np.arange(1, count + 1)
    for height in (1, 7, 80):
        found = bodies_in_bands(mask, height, levels)
        np.testing.assert_array_equal(found["pixels"], ndimage.sum(mask, labels, index))
        np.testing.assert_array_equal(found["level_sum"], ndimage.sum(levels, labels, index))
        np.testing.assert_array_equal(found["level_max"], ndimage.maximum(levels, labels, index))


def test_no_positive_pixel_is_no_body():
    found = bodies_in_bands(np.zeros((5, 4), bool), 2)
    assert found.empty
    assert "outline" in found


def test_holes_below_the_limit_are_filled_and_larger_ones_stay():
    mask = np.ones((20, 20), bool)
    mask[2:4, 2:4] = mask[8:14, 8:14] = False
    found = fill_holes(bodies_in_bands(mask, 20), 5, read(mask))
    (outline,) = found["outline"]
    assert outline.area == 400 - 36
    assert found["pixels"].tolist() == [400 - 36 - 4]


def test_a_body_inside_a_filled_hole_joins_the_one_around():
    mask = rings(13)
    levels = np.full(mask.shape, 150, np.uint8)
    levels[6:8, 6:8] = 250
    around = bodies_in_bands(mask, 4, levels)
    assert len(around) == 3
    found = fill_holes(around, 1000, read(mask, levels))
    (outline,) = found["outline"]
    assert not outline.interiors
    assert found["pixels"].tolist() == [mask.sum()]
    assert found["level_max"].tolist() == [levels[mask].max()]


def test_a_hole_where_nobody_looked_is_not_filled():
    mask = np.ones((12, 12), bool)
    mask[3:6, 3:6] = mask[8:10, 8:10] = False
    levels = np.full(mask.shape, 200, np.uint8)
    levels[4, 4] = 0
    found = fill_holes(bodies_in_bands(mask, 12, levels), 100, read(mask, levels))
    (outline,) = found["outline"]
    assert [hole.bounds for hole in outline.interiors] == [(3, 3, 6, 6)]

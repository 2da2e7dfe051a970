"""What an operator holds out in space: districts, blocks, or basins from a file."""

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box

from tasks.errors import AssessmentError, SamplingError
from tasks.susceptibility.folds import splits
from tasks.susceptibility.holding import parse_holding


@pytest.fixture
def basins(tmp_path):
    """The west and the middle third of the points' ground; no basin holds the east."""
    path = tmp_path / "basins.gpkg"
    thirds = [box(-1, -1, 1000, 3300), box(1000, -1, 2000, 3300)]
    gpd.GeoDataFrame(geometry=thirds, crs="EPSG:32717").to_crs(4326).to_file(path)
    return path


def test_each_basin_of_a_file_is_held_out_in_turn(points, basins):
    folds = parse_holding(str(basins)).folds(points, "EPSG:32717", 0)
    west, middle = (fold.test for fold in splits(points, folds)[0])
    assert folds.said == "each of 2 areas in turn"
    assert points.easting[west].max() < 1000 < points.easting[middle].min() < 2000
    assert len(west) + len(middle) == (points.easting < 2000).sum()


def test_ground_in_no_basin_is_learned_from_and_never_held_out(points, basins):
    folds = parse_holding(str(basins)).folds(points, "EPSG:32717", 0)
    outside = np.flatnonzero(points.easting > 2001)
    for fold in splits(points, folds)[0]:
        assert np.isin(outside, fold.train).all() and not np.isin(outside, fold.test).any()


def test_samples_of_one_basin_alone_are_refused(points, tmp_path):
    path = tmp_path / "one.gpkg"
    gpd.GeoDataFrame(geometry=[box(-1, -1, 9e3, 9e3)], crs="EPSG:32717").to_file(path)
    with pytest.raises(SamplingError, match="lie in 1 of the 1 areas of .*one.gpkg, and at least"):
        parse_holding(str(path)).folds(points, "EPSG:32717", 0)


def test_blocks_have_the_side_asked_for_and_districts_are_the_default(points):
    blocks = parse_holding("blocks:800").folds(points, "EPSG:32717", 0)
    assert blocks.said == "blocks of 800 m dealt to 5 folds, 3 times"
    assert "districts" in parse_holding("districts").folds(points, "EPSG:32717", 0).said


@pytest.mark.parametrize(
    "text", ["blocks", "blocks:", "blocks:-5", "blocks:0.9", "nowhere.gpkg", "basins"]
)
def test_what_cannot_be_held_out_is_refused_before_any_work(text):
    with pytest.raises(AssessmentError, match=f"'{text}' cannot be held out; take districts,"):
        parse_holding(text)

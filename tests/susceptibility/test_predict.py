from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from rio_cogeo import cog_validate
from sklearn.ensemble import RandomForestClassifier

from tasks.errors import StorageError
from tasks.susceptibility import predict, stack
from tasks.susceptibility.fit import fit_forest
from tasks.susceptibility.predict import classes_path, natural_breaks, predict_map
from tasks.susceptibility.stack import FactorStack


@pytest.fixture(scope="module")
def forest(samples) -> RandomForestClassifier:
    return fit_forest(samples, seed=0)


@pytest.fixture(scope="module")
def holed(kaghan, tmp_path_factory) -> FactorStack:
    """The stack with one factor unknown in a square."""
    path = tmp_path_factory.mktemp("holed") / "factors.tif"
    shutil.copy(kaghan.stack.path, path)
    with rasterio.open(path, "r+") as dataset:
        nowhere = np.full((20, 20), np.nan, np.float32)
        dataset.write(nowhere, 4, window=Window(70, 40, 20, 20))
    return replace(kaghan.stack, path=path)


@pytest.fixture(scope="module")
def written(forest, holed, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("products") / "susceptibility.tif"
    return predict_map(forest, holed, path, {"SCARP_DIGEST": "abc"})


def test_the_map_holds_the_forests_probability(written, forest, holed):
    with rasterio.open(written) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert dataset.tags()["SCARP_DIGEST"] == "abc"
        assert dataset.transform == holed.geobox.transform
        assert dataset.crs.to_epsg() == 32643
        levels = dataset.read(1, masked=True)
        values = levels * dataset.scales[0] + dataset.offsets[0]
    rows, cols = np.nonzero(holed.known())
    expected = forest.predict_proba(holed.at(rows, cols))[:, 1]
    np.testing.assert_allclose(values[rows, cols], expected, atol=0.5 / 254 + 1e-9)


def test_cells_that_lack_a_factor_have_no_value(written, holed):
    for path in (written, classes_path(written)):
        with rasterio.open(path) as dataset:
            assert dataset.nodata == 0
            np.testing.assert_array_equal(dataset.read(1) > 0, holed.known())


def test_both_maps_are_valid_cogs(written):
    for path in (written, classes_path(written)):
        assert cog_validate(path) == (True, [], [])


def test_classes_cut_the_map_at_their_bounds(written):
    with rasterio.open(written) as score, rasterio.open(classes_path(written)) as classes:
        bounds = json.loads(classes.tags()["CLASS_BOUNDS"])
        levels, numbers = score.read(1), classes.read(1)
    assert len(bounds) == 5 and bounds == sorted(bounds)
    values = (levels.astype(float) - 1) / 254
    for number in range(1, 6):
        inside = values[numbers == number]
        low = bounds[number - 2] if number > 1 else -1
        assert low - 0.001 < inside.min() and inside.max() <= bounds[number - 1] + 0.001


def test_bands_do_not_show(written, forest, holed, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "_BAND_CELLS", 3000)
    monkeypatch.setattr(stack, "BLOCK_PX", 48)
    again = predict_map(forest, holed, tmp_path / "susceptibility.tif", {"SCARP_DIGEST": "abc"})
    assert again.read_bytes() == written.read_bytes()
    assert classes_path(again).read_bytes() == classes_path(written).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_named(forest, kaghan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/susceptibility.tif"):
        predict_map(forest, kaghan.stack, tmp_path / "file" / "susceptibility.tif", {})


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

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

from tasks.errors import StorageError
from tasks.susceptibility import predict, stack
from tasks.susceptibility.applicability import Applicability, fit_applicability
from tasks.susceptibility.learners import Model, fit_model
from tasks.susceptibility.predict import (
    THRESHOLD_TAG,
    MapSummary,
    applicability_path,
    classes_path,
    predict_map,
    uncertainty_path,
)
from tasks.susceptibility.stack import FactorStack


@pytest.fixture(scope="module")
def forest(samples) -> Model:
    return fit_model("rf", samples)


@pytest.fixture(scope="module")
def applicability(samples) -> Applicability:
    folds = np.digitize(samples.northing, np.quantile(samples.northing, [0.2, 0.4, 0.6, 0.8]))
    return fit_applicability(samples, {"slope": 0.1, "elevation": 0.05, "relief": -0.1}, folds)


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
def summary(forest, holed, applicability, tmp_path_factory) -> MapSummary:
    path = tmp_path_factory.mktemp("products") / "susceptibility.tif"
    tags = {"SCARP_DIGEST": "abc"}
    return predict_map(forest, holed, path, tags, applicability=applicability)


@pytest.fixture(scope="module")
def written(summary) -> Path:
    return summary.path


def every(path: Path) -> list[Path]:
    return [path, classes_path(path), uncertainty_path(path), applicability_path(path)]


def test_the_map_holds_the_forests_probability(written, forest, holed):
    with rasterio.open(written) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert dataset.tags()["SCARP_DIGEST"] == "abc"
        assert dataset.transform == holed.geobox.transform
        assert dataset.crs.to_epsg() == 32643
        levels = dataset.read(1, masked=True)
        values = levels * dataset.scales[0] + dataset.offsets[0]
        # QGIS takes what scales to the number of nodata for nodata.
        assert dataset.scales[0] + dataset.offsets[0] > dataset.nodata == 0
    rows, cols = np.nonzero(holed.known())
    expected = forest.predict(holed.at(rows, cols))
    np.testing.assert_allclose(values[rows, cols], expected, atol=0.5 / 254 + 1e-9)


def test_cells_that_lack_a_factor_have_no_value(written, holed):
    for path in (written, classes_path(written)):
        with rasterio.open(path) as dataset:
            assert dataset.nodata == 0
            np.testing.assert_array_equal(dataset.read(1) > 0, holed.known())


def test_every_map_is_a_valid_cog(written):
    for path in every(written):
        assert cog_validate(path) == (True, [], [])
        with rasterio.open(path) as dataset:
            assert dataset.tags()["SCARP_DIGEST"] == "abc"


def test_the_uncertainty_is_the_spread_of_the_trees(written, forest, holed):
    with rasterio.open(uncertainty_path(written)) as dataset:
        levels = dataset.read(1, masked=True)
        values = levels * dataset.scales[0] + dataset.offsets[0]
    rows, cols = np.nonzero(holed.known())
    expected = forest.predict_with_spread(holed.at(rows, cols))[1]
    np.testing.assert_allclose(values[rows, cols], expected, atol=0.5 / 254 + 1e-6)
    assert 0 < values.mean() < 0.5


def test_the_map_says_where_it_applies(written, summary, applicability, holed):
    with rasterio.open(applicability_path(written)) as dataset:
        index, inside = dataset.read()
        assert float(dataset.tags()[THRESHOLD_TAG]) == pytest.approx(applicability.threshold)
    rows, cols = np.nonzero(holed.known())
    expected = applicability.dissimilarity(holed.at(rows, cols))
    np.testing.assert_allclose(index[rows, cols], expected, rtol=1e-6)
    np.testing.assert_array_equal(inside[rows, cols], expected <= applicability.threshold)
    assert np.isnan(index[~holed.known()]).all() and np.isnan(inside[~holed.known()]).all()
    assert summary.applicable_share == pytest.approx(inside[rows, cols].mean())
    assert summary.cells == len(rows)


def test_a_model_without_members_has_no_map_of_their_spread(samples, kaghan, tmp_path):
    class Slope:
        def predict(self, x):
            return x[:, samples.names.index("slope")] / 90

    made = predict_map(Slope(), kaghan.stack, tmp_path / "map.tif", {}, breaks=(0.2, 0.4))
    assert {path.name for path in tmp_path.iterdir()} == {"map.tif", "map_classes.tif"}
    assert made.bounds == (0.197, 0.398, 1.0) and made.applicable_share is None
    with rasterio.open(classes_path(made.path)) as dataset:
        numbers = dataset.read(1)
    slope = kaghan.stack.read("slope")
    levels = np.rint(slope / 90 * 254) / 254
    np.testing.assert_array_equal(
        numbers[slope > 0], (np.digitize(levels, [0.2, 0.4]) + 1)[slope > 0]
    )


def test_classes_cut_the_map_at_their_bounds(written):
    with rasterio.open(written) as score, rasterio.open(classes_path(written)) as classes:
        bounds = json.loads(classes.tags()["CLASS_BOUNDS"])
        levels, numbers = score.read(1), classes.read(1)
        colours = classes.colormap(1)
    assert colours[1] == (0xFF, 0xF7, 0xD6, 255) and colours[5] == (0x4D, 0x1A, 0x00, 255)
    assert colours[0][3] == 0  # nothing is drawn where nothing is known
    assert len(bounds) == 5 and bounds == sorted(bounds)
    values = (levels.astype(float) - 1) / 254
    for number in range(1, 6):
        inside = values[numbers == number]
        low = bounds[number - 2] if number > 1 else -1
        assert low - 0.001 < inside.min() and inside.max() <= bounds[number - 1] + 0.001


def test_blocks_do_not_show(written, forest, holed, applicability, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "_BLOCK_CELLS", 3000)
    monkeypatch.setattr(stack, "BLOCK_PX", 48)
    told = []
    again = predict_map(
        forest,
        holed,
        tmp_path / "susceptibility.tif",
        {"SCARP_DIGEST": "abc"},
        applicability=applicability,
        progress=lambda done, total: told.append((done, total)),
    )
    for here, there in zip(every(again.path), every(written), strict=True):
        with rasterio.open(here) as one, rasterio.open(there) as other:
            np.testing.assert_array_equal(one.read(), other.read())
            assert one.tags() == other.tags()
    assert len(list(tmp_path.iterdir())) == 4
    assert len(told) > 5 and told[-1] == (holed.known().size,) * 2


def test_a_folder_that_cannot_be_made_is_named(forest, kaghan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/susceptibility.tif"):
        predict_map(forest, kaghan.stack, tmp_path / "file" / "susceptibility.tif", {})

"""The network that looks around a cell, on ground whose surroundings matter and on Kaghan."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from scipy.ndimage import uniform_filter
from sklearn.metrics import roc_auc_score

from models.patchnet import HALO
from tasks.errors import AssessmentError
from tasks.publish.products import quantise
from tasks.susceptibility.dependence import partial_dependence
from tasks.susceptibility.folds import taken
from tasks.susceptibility.learners import cells_around, fit_model
from tasks.susceptibility.predict import predict_map
from tasks.susceptibility.sampling import ABSENCE, Samples, draw_samples

SIDE = 2 * HALO + 1


@pytest.fixture(scope="module")
def hollows() -> Samples:
    """Cells that fail where the mean of 7 x 7 is high; their own value tells little of it."""
    random = np.random.default_rng(5)
    field = random.normal(size=(2, 120, 120)).astype(np.float32)
    field[1] = random.integers(1, 4, (120, 120))
    failing = uniform_filter(field[0], 7) > 0
    rows, cols = random.integers(0, 120, (2, 900))
    wide = np.pad(field, ((0, 0), (HALO, HALO), (HALO, HALO)), constant_values=np.nan)
    x = np.stack([wide[:, r : r + SIDE, c : c + SIDE] for r, c in zip(rows, cols, strict=True)])
    y = failing[rows, cols]
    number = np.where(y, np.arange(900), ABSENCE)
    return Samples(("height", "rock"), x, y, cols * 10.0, rows * 10.0, number, frozenset({"rock"}))


def test_a_network_learns_from_the_ground_around_a_cell(hollows):
    train, test = np.arange(600), np.arange(600, 900)
    around = fit_model("cnn", taken(hollows, train)).predict(hollows.x[test])
    alone = fit_model("hgb", taken(hollows.alone(), train)).predict(hollows.own[test])
    assert around.shape == (300,) and around.min() >= 0 and around.max() <= 1
    assert roc_auc_score(hollows.y[test], around) > 0.85
    assert roc_auc_score(hollows.y[test], alone) < 0.65


def test_equal_seeds_fit_equal_networks_and_an_unknown_rock_stops_none(hollows):
    seen = taken(hollows, np.flatnonzero(hollows.own[:, 1] != 3)[:200])
    first, again, other = (fit_model("cnn", seen, seed).predict(hollows.x) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all() and not np.array_equal(first, other)


def test_partial_dependence_raises_all_the_ground_around(hollows):
    height = partial_dependence(fit_model("cnn", hollows), hollows)["height"]
    assert height.susceptibility[0] < 0.2 and height.susceptibility[-1] > 0.8


def test_a_map_by_windows_is_what_each_cells_own_patch_gives(kaghan, tmp_path):
    drawn = draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack, halo=cells_around("cnn"))
    np.testing.assert_array_equal(
        drawn.own, draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack).x
    )
    model = fit_model("cnn", taken(drawn, np.arange(0, len(drawn.y), 5)))
    path = tmp_path / "map.tif"
    made = predict_map(model, kaghan.stack, path, {}, halo=drawn.halo)
    with rasterio.open(path) as dataset:
        places = zip(drawn.easting, drawn.northing, strict=True)
        mapped = np.concatenate(list(dataset.sample(places))).astype(int)
    by_patch = quantise(model.predict(drawn.x)).astype(int)
    assert made.cells == kaghan.stack.known().sum()
    assert np.abs(mapped - by_patch).max() <= 1 and (mapped == by_patch).mean() > 0.99


def test_beyond_the_grid_nothing_is_known(kaghan):
    rows, cols = np.array([0, 40]), np.array([0, 50])
    around = kaghan.stack.at(rows, cols, HALO)
    np.testing.assert_array_equal(around[:, :, HALO, HALO], kaghan.stack.at(rows, cols))
    assert np.isnan(around[0, :, :HALO]).all() and np.isnan(around[0, :, :, :HALO]).all()
    _, whole = next(kaghan.stack.blocks(halo=HALO))
    np.testing.assert_array_equal(whole[:, 40 : 40 + SIDE, 50 : 50 + SIDE], around[1])


def test_points_without_surroundings_are_refused(points):
    with pytest.raises(AssessmentError, match="looks at 9 x 9 cells around each, of which"):
        fit_model("cnn", replace(points))

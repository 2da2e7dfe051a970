from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tasks.susceptibility.collinearity import collinearity


def test_numbers_have_pearsons_r_and_the_inflation_of_a_regression(samples):
    found = collinearity(samples.x, samples.names)
    np.testing.assert_allclose(
        found.association, np.corrcoef(samples.x.T.astype(np.float64)), atol=1e-6
    )
    for number, inflation in enumerate(found.inflation):
        others = np.delete(samples.x.astype(np.float64), number, axis=1)
        explained = LinearRegression().fit(others, samples.x[:, number])
        r2 = explained.score(others, samples.x[:, number])
        assert inflation == pytest.approx(1 / (1 - r2), rel=0.01)
    assert found.samples == len(samples.y)


def test_classes_are_measured_as_classes():
    random = np.random.default_rng(0)
    rock = random.integers(0, 3, 3000)
    height = np.array([10.0, 20.0, 90.0])[rock]  # told by the class, but not by its number
    cover = np.where(random.random(3000) < 0.8, rock * 7, random.integers(0, 3, 3000) * 7)
    noise = random.random(3000)
    x = np.column_stack([rock * 100 + 5, height + noise, cover, noise])
    names = ("rock", "height", "cover", "noise")
    found = collinearity(x, names, {"rock", "cover"})
    assert found.association[0, 1] > 0.999
    assert 0.7 < found.association[0, 2] < 0.95
    assert found.association[0, 3] < 0.05 > abs(found.association[2, 3])
    assert found.categorical == (True, False, True, False)


def test_a_class_of_two_labels_has_the_inflation_of_a_number():
    random = np.random.default_rng(1)
    rock = random.integers(0, 2, 500)
    x = np.column_stack([rock, rock + random.normal(size=500), random.random(500)])
    names = ("rock", "height", "noise")
    as_class = collinearity(x, names, {"rock"}).inflation
    np.testing.assert_allclose(as_class, collinearity(x, names).inflation, rtol=1e-6)


def test_a_factor_told_whole_by_others_has_no_finite_inflation():
    random = np.random.default_rng(2)
    a, b, c = random.random((3, 200))
    found = collinearity(np.column_stack([a, b, a + b, c]), ("a", "b", "sum", "c"))
    assert np.isinf(found.inflation[:3]).all()
    assert found.inflation[3] == pytest.approx(1, abs=0.05)
    written = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert written["vif"][:3] == [None, None, None]
    assert written["association"][0][2] == pytest.approx(found.association[0, 2], abs=1e-4)

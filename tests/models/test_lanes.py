"""The exponential that every scan rests on, as processors with and without AVX-512 compute it."""

import numpy as np
import pytest
from numba import njit

from models import lanes


def compiled():
    """2**(x·y) of sixteen numbers at a time, compiled anew for the processor `lanes` sees."""

    @njit(error_model="numpy")
    def apply(x, y, out):
        for i in range(0, x.size, lanes.LANES):
            lanes.store(out, i, lanes.exp2(lanes.load(x, i), lanes.load(y, i)))

    return apply


@pytest.mark.parametrize(
    "avx512",
    [
        pytest.param(
            True,
            marks=pytest.mark.skipif(not lanes._AVX512, reason="this processor has no AVX-512"),
        ),
        False,
    ],
)
def test_the_exponential_is_right_on_every_processor(avx512, monkeypatch):
    monkeypatch.setattr(lanes, "_AVX512", avx512)
    dice = np.random.default_rng(0)
    x = np.concatenate([dice.uniform(0, 4, 4096), [0, 0, 1e-7, 1]]).astype(np.float32)
    y = np.concatenate([dice.uniform(-30, 0, 4096), [0, -1, -1, -0.5]]).astype(np.float32)
    x, y = np.resize(x, 4112), np.resize(y, 4112)
    found = np.empty_like(x)
    compiled()(x, y, found)
    wanted = np.exp2(x.astype(float) * y.astype(float))
    # 4e-7 of the polynomial, and the rounding of a product of up to 120 in float32
    assert np.max(np.abs(found / wanted - 1)) < 4e-6
    near = np.abs(x * y) < 1
    assert np.max(np.abs(found / wanted - 1)[near]) < 5e-7
    assert (found[x * y == 0] == 1).all()


@pytest.mark.parametrize("avx512", [True, False])
def test_what_is_too_small_for_float32_is_nothing_to_speak_of(avx512, monkeypatch):
    if avx512 and not lanes._AVX512:
        pytest.skip("this processor has no AVX-512")
    monkeypatch.setattr(lanes, "_AVX512", avx512)
    x = np.full(16, 1.0, np.float32)
    y = -np.logspace(np.log10(127), 7, 16).astype(np.float32)
    found = np.empty_like(x)
    compiled()(x, y, found)
    assert (found >= 0).all() and (found <= 2.0**-126).all()

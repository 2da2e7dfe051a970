import pytest
import torch

from models.errors import ModelError
from models.tiles import prepare


def test_tiles_that_fit_pass_untouched():
    x = torch.randn(2, 3, 64, 32)
    filled, valid = prepare(x, None, bands=3, multiple=32)
    assert filled is x and valid is None


def test_filling_up_adds_invalid_zeros_to_the_right_and_below():
    x = torch.ones(1, 2, 3, 5)
    filled, valid = prepare(x, None, bands=2, multiple=4)
    assert filled.shape == (1, 2, 4, 8)
    assert filled.sum() == x.sum() and valid.sum() == 15
    assert valid[0, 0, :3, :5].all()


def test_invalid_pixels_become_zero_whatever_they_held():
    x = torch.tensor([[[[1.0, torch.nan]]]])
    filled, valid = prepare(x, x.isfinite(), bands=1, multiple=1)
    assert filled.tolist() == [[[[1.0, 0.0]]]] and valid.tolist() == [[[[True, False]]]]


@pytest.mark.parametrize(
    ("x", "valid", "says"),
    [
        (torch.zeros(1, 4, 8, 8), None, r"give \(n, 3, h, w\)"),
        (torch.zeros(3, 8, 8), None, r"give \(n, 3, h, w\)"),
        (torch.zeros(0, 3, 8, 8), None, "none of them 0"),
        (torch.full((1, 3, 8, 8), torch.inf), None, "NaN or infinity"),
        (torch.zeros(1, 3, 8, 8).half(), None, "float16"),
        (
            torch.zeros(1, 3, 8, 8),
            torch.ones(1, 1, 8, 8),
            "valid must be bool .* not torch.float32",
        ),
        (torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 9).bool(), r"not torch.bool \(1, 1, 8, 9\)"),
    ],
)
def test_tiles_that_cannot_be_scored_are_named(x, valid, says):
    with pytest.raises(ModelError, match=says):
        prepare(x, valid, bands=3, multiple=32)

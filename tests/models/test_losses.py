import math

import pytest
import torch

from models import losses
from models.errors import ModelError
from models.recipes import Recipe

MIX = {"dynamic_weighted_ce": 0.4, "focal": 0.4, "lovasz": 0.2}


def scgc(logits, truth, valid=None):
    """SCGC-Net's composite, Eq. 26, with the weights its grid search found."""
    return Recipe(losses=MIX).loss(logits, truth, valid)


ALL = [losses.bce, losses.dynamic_weighted_ce, losses.focal, losses.lovasz, scgc]


def image(*values):
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def logit(*probabilities):
    return torch.logit(image(*probabilities))


def test_bce_is_the_mean_negative_log_likelihood():
    loss = losses.bce(logit(0.8, 0.4), image(1, 0))
    assert loss.item() == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)


def test_dynamic_weights_balance_the_classes_of_each_image():
    # 1 landslide pixel in 4: w1 = 4 / 2, w0 = 4 / 6
    loss = losses.dynamic_weighted_ce(logit(0.5, 0.5, 0.5, 0.5), image(1, 0, 0, 0))
    assert loss.item() == pytest.approx((2 + 3 * 4 / 6) * math.log(2) / 4)


def test_dynamic_weights_are_bounded_and_differ_between_images():
    rare = torch.zeros(1, 1, 10, 10, dtype=torch.float64)
    rare[0, 0, 0, 0] = 1
    batch, half = torch.cat([rare, rare]), torch.zeros(2, 1, 10, 10, dtype=torch.float64)
    batch[1, 0, :5] = 1
    loss = losses.dynamic_weighted_ce(half, batch)
    weights = (10 + 99 * 100 / 198) + (50 + 50)
    assert loss.item() == pytest.approx(weights * math.log(2) / 200)


def test_focal_turns_down_what_is_already_right():
    loss = losses.focal(logit(0.9, 0.3), image(1, 0))
    assert loss.item() == pytest.approx(-(0.1**2 * math.log(0.9) + 0.3**2 * math.log(0.7)) / 2)
    assert losses.focal(logit(0.9), image(1), exponent=0).item() == pytest.approx(-math.log(0.9))


def test_lovasz_of_a_hand_worked_example():
    # errors 0.6 (miss), 0.4 (false), 0.2 (hit); landslide IoU falls 1 -> 1/2 -> 1/3 -> 0,
    # background IoU falls 1 -> 1/2 -> 0
    loss = losses.lovasz(logit(0.4, 0.4, 0.8), image(1, 0, 1))
    landslide = 0.6 * 1 / 2 + 0.4 * (1 / 2 - 1 / 3) + 0.2 * 1 / 3
    background = 0.6 * 1 / 2 + 0.4 * 1 / 2
    assert loss.item() == pytest.approx((landslide + background) / 2)


def test_lovasz_at_certain_predictions_is_one_minus_the_mean_iou():
    truth, mapped = image(1, 1, 1, 0, 0, 0), image(1, 1, 0, 1, 0, 0)
    loss = losses.lovasz((mapped - 0.5) * 200, truth)
    assert loss.item() == pytest.approx(1 - 2 / 4)


def test_scgc_mixes_the_three_as_the_paper_found_best():
    z, y = logit(0.4, 0.4, 0.8), image(1, 0, 1)
    mix = (
        0.4 * losses.dynamic_weighted_ce(z, y)
        + 0.4 * losses.focal(z, y)
        + 0.2 * losses.lovasz(z, y)
    )
    assert scgc(z, y).item() == pytest.approx(mix.item())


@pytest.mark.parametrize("loss", ALL)
def test_ground_nobody_saw_teaches_nothing_even_where_it_is_nan(loss):
    z = torch.tensor([[[[2.0, -1.0, math.nan, 0.5]]]], requires_grad=True)
    truth = torch.tensor([[[[1, 0, 1, 0]]]])
    seen = torch.tensor([[[[True, True, False, True]]]])
    value = loss(z, truth, seen)
    value.backward()
    alone = loss(z.detach()[seen].view(1, 1, 1, 3), truth[seen].view(1, 1, 1, 3))
    assert value.item() == pytest.approx(alone.item())
    assert z.grad[~seen].item() == 0 and z.grad.isfinite().all()


@pytest.mark.parametrize("loss", ALL)
@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_a_tile_of_one_class_and_extreme_logits_stay_finite(loss, truth):
    z = torch.tensor([[[[-200.0, 200.0]]]], requires_grad=True)
    value = loss(z, torch.full_like(z, truth))
    value.backward()
    assert value.isfinite() and z.grad.isfinite().all()


@pytest.mark.parametrize("loss", ALL)
def test_nothing_seen_costs_nothing(loss):
    z = torch.ones(2, 1, 3, 3, requires_grad=True)
    value = loss(z, torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3, dtype=torch.bool))
    value.backward()
    assert value.item() == 0 and not z.grad.any()


@pytest.mark.parametrize("loss", ALL)
def test_half_precision_logits_are_weighed_in_float32(loss):
    z = torch.randn(1, 1, 8, 8, generator=torch.manual_seed(0))
    truth = z > 0.5
    value = loss(z.bfloat16(), truth)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(z.bfloat16().float(), truth).item())


@pytest.mark.parametrize("loss", ALL)
def test_gradients_agree_with_finite_differences(loss):
    z = torch.randn(2, 1, 3, 4, dtype=torch.float64, generator=torch.manual_seed(3))
    truth = torch.rand(2, 1, 3, 4, generator=torch.manual_seed(4)) < 0.3
    assert torch.autograd.gradcheck(lambda x: loss(x, truth), z.requires_grad_())


def test_shapes_that_differ_are_named():
    with pytest.raises(ModelError, match=r"truth \(1, 3, 3\)"):
        losses.bce(torch.zeros(1, 1, 3, 3), torch.zeros(1, 3, 3))

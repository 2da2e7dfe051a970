import math

import numpy as np
import pytest

from models.errors import ModelError
from models.metrics import Confusion, confusion, macro, pr_auc

# 3 hits, 1 false alarm, 2 misses, 4 rightly empty
TRUTH = np.array([[1, 1, 1, 0, 0], [1, 1, 0, 0, 0]])
MAPPED = np.array([[1, 1, 1, 1, 0], [0, 0, 0, 0, 0]], bool)


def test_counts_and_ratios_follow_the_papers_equations():
    image = confusion(TRUTH, MAPPED)
    assert image == Confusion(tp=3, fp=1, fn=2, tn=4)
    assert image.precision == 3 / 4
    assert image.recall == 3 / 5
    assert image.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))
    assert image.iou == 3 / 6
    assert image.accuracy == 7 / 10


def test_ground_nobody_saw_counts_nowhere():
    seen = np.ones_like(MAPPED)
    seen[1] = False
    assert confusion(TRUTH, MAPPED, seen) == Confusion(tp=3, fp=1, fn=0, tn=1)


def test_pooling_tiles_equals_scoring_the_whole():
    rng = np.random.default_rng(1)
    truth, mapped = rng.random((64, 64)) < 0.1, rng.random((64, 64)) < 0.1
    pooled = confusion(truth[:40], mapped[:40]) + confusion(truth[40:], mapped[40:])
    assert pooled == confusion(truth, mapped)


def test_empty_truth_is_undefined_and_a_blind_network_scores_zero():
    empty = confusion(np.zeros((2, 2)), np.zeros((2, 2), bool))
    assert math.isnan(empty.precision) and math.isnan(empty.recall) and math.isnan(empty.iou)
    blind = Confusion(tp=0, fp=0, fn=5, tn=5)
    assert (blind.precision, blind.recall, blind.f1, blind.iou) == (0, 0, 0, 0)


def test_macro_average_is_image_wise_and_leaves_empty_images_out():
    small, large = Confusion(1, 0, 1, 98), Confusion(60, 20, 0, 20)
    false_alarm = Confusion(0, 50, 0, 50)
    scores = macro([small, large, false_alarm], pr_aucs=[0.4, 0.8, math.nan])
    assert scores.precision == pytest.approx((1 + 0.75) / 2)
    assert scores.recall == pytest.approx((0.5 + 1) / 2)
    assert scores.iou == pytest.approx((0.5 + 0.75) / 2)
    assert scores.f1 == pytest.approx((2 / 3 + 120 / 140) / 2)
    assert scores.pr_auc == pytest.approx(0.6)
    assert (scores.images, scores.images_without_landslide) == (2, 1)


def test_macro_over_nothing_is_undefined():
    scores = macro([Confusion(0, 3, 0, 7)])
    assert math.isnan(scores.f1) and scores.pr_auc is None and scores.images == 0


def test_pr_auc_of_a_hand_worked_ranking():
    # ranked: hit (P 1, R 1/2), miss, hit (P 2/3, R 1): 1/2 * 1 + 1/2 * 2/3
    truth, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.7, 0.6, 0.1])
    assert pr_auc(truth, score) == pytest.approx(5 / 6)


def test_pr_auc_of_a_constant_score_is_the_share_of_landslides():
    assert pr_auc(TRUTH, np.full(TRUTH.shape, 0.3)) == pytest.approx(0.5)


def test_pr_auc_ignores_what_is_invalid_and_is_undefined_without_landslides():
    score = np.array([0.9, np.nan, 0.1])
    assert pr_auc(np.array([1, 1, 0]), score, np.array([True, False, True])) == 1
    assert math.isnan(pr_auc(np.zeros(3), np.array([0.1, 0.2, 0.3])))


@pytest.mark.parametrize(
    ("score", "says"),
    [
        (lambda: confusion(TRUTH * 255, MAPPED), "truth holds 255"),
        (lambda: confusion(np.full((2, 5), np.nan), MAPPED), "truth holds nan"),
        (lambda: confusion(TRUTH, MAPPED[:, :4]), "differ in shape"),
        (lambda: confusion(TRUTH, MAPPED.astype(float)), "predicted is float64"),
        (lambda: confusion(TRUTH, MAPPED, np.ones((2, 5), int)), "valid is int64"),
        (lambda: pr_auc(TRUTH, np.where(TRUTH, np.nan, 0.5)), "NaN or infinity"),
        (lambda: macro([Confusion(1, 0, 0, 0)], pr_aucs=[]), "0 PR-AUC values for 1 images"),
    ],
)
def test_bad_input_is_named(score, says):
    with pytest.raises(ModelError, match=says):
        score()

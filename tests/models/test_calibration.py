import math

import numpy as np
import pytest

from models.calibration import ScoreCounts, expected_calibration_error, sureness
from models.metrics import pr_auc


def counted(truth, score, tiles=1):
    counts = ScoreCounts()
    for true, guess in zip(np.split(truth, tiles), np.split(score, tiles), strict=True):
        counts.add(true, guess, np.ones(true.shape, bool))
    return counts


@pytest.mark.parametrize("scale", [1, 1e-5])
def test_pooled_pr_auc_of_many_tiles_is_that_of_all_pixels_at_once(scale):
    dice = np.random.default_rng(0)
    truth = dice.random((8, 50)) < 0.2
    score = (scale * (0.4 * dice.random((8, 50)) + 0.3 * truth)).astype(np.float32)
    assert counted(truth, score, 4).pr_auc() == pytest.approx(pr_auc(truth, score), abs=1e-4)


def sure(score):
    return sureness(float(score.sum()), float((score**2).sum()))


def test_sureness_is_that_of_what_stands_out_however_rare_it_is():
    ground = np.full((100, 100), 0.001, np.float32)
    rare, frequent = ground.copy(), ground.copy()
    rare[0, :20], frequent[:20] = 0.8, 0.8
    assert sure(rare) == pytest.approx(0.8 * 16 / (16 + 9.98), abs=0.001)
    assert sure(frequent) == pytest.approx(0.8, abs=0.005)
    assert sure(ground) == pytest.approx(0.001, rel=0.01)
    assert sure(0 * ground) == 0


def test_the_ends_of_the_scale_are_counted():
    counts = ScoreCounts()
    counts.add(np.array([True, False]), np.array([1, 0], np.float32), np.ones(2, bool))
    first, *_, last = counts.reliability()
    assert (first["pixels"], first["mean_score"], first["observed"]) == (1, 0, 0)
    assert (last["pixels"], last["mean_score"], last["observed"]) == (1, 1, 1)


def test_scores_that_mean_what_they_say_have_no_calibration_error():
    dice = np.random.default_rng(1)
    score = dice.random((400, 400)).astype(np.float32)
    bins = counted(dice.random((400, 400)) < score, score).reliability()
    assert expected_calibration_error(bins) < 0.01
    assert [row["observed"] for row in bins] == pytest.approx(np.arange(0.05, 1, 0.1), abs=0.02)


def test_the_error_is_the_gap_weighted_by_pixels():
    # 3 pixels say 0.9 and one is right; 1 pixel says 0.1 and is wrong
    truth = np.array([[True, False, False, True]])
    score = np.array([[0.9, 0.9, 0.9, 0.1]], np.float32)
    error = expected_calibration_error(counted(truth, score).reliability())
    assert error == pytest.approx((3 * (0.9 - 1 / 3) + 1 * (1 - 0.1)) / 4, abs=1e-4)


def test_what_nobody_saw_is_not_counted_and_without_landslides_there_is_no_curve():
    counts = ScoreCounts()
    counts.add(np.zeros((2, 2), bool), np.full((2, 2), 0.5, np.float32), np.eye(2) > 0)
    assert sum(row["pixels"] for row in counts.reliability()) == 2
    assert math.isnan(counts.pr_auc())
    assert math.isnan(expected_calibration_error(ScoreCounts().reliability()))

import numpy as np
import pytest

from models.objects import CLASSES_PX, match, object_scores


def mask(*boxes, size=40):
    drawn = np.zeros((size, size), bool)
    for top, bottom, left, right in boxes:
        drawn[top:bottom, left:right] = True
    return drawn


def test_a_landslide_mapped_by_a_third_overlaps_enough_but_fits_too_little():
    tile = match(mask((0, 10, 0, 10)), mask((0, 10, 0, 3)))
    (true,), (mapped,) = tile.true, tile.mapped
    assert (true.iou, true.covered, true.size) == (0.3, 0.3, 100)
    assert (mapped.iou, mapped.covered, mapped.size) == (0.3, 1, 30)
    scores = object_scores([tile], CLASSES_PX)
    assert scores["overlap_0.3"] == {"precision": 1, "recall": 1, "f1": 1, "found": 1}
    assert scores["iou_0.5"] == {"precision": 0, "recall": 0, "f1": 0, "found": 0}


def test_iou_of_one_half_is_found():
    scores = object_scores([match(mask((0, 10, 0, 10)), mask((0, 10, 0, 5)))], CLASSES_PX)
    assert scores["iou_0.5"]["recall"] == 1


def test_one_mapped_body_over_two_landslides_fits_only_one_of_them():
    tile = match(mask((0, 10, 0, 10), (0, 4, 12, 16)), mask((0, 10, 0, 16)))
    assert [body.covered for body in tile.true] == [1, 1]
    assert [body.iou for body in tile.true] == [100 / 160, 16 / 160]
    scores = object_scores([tile], CLASSES_PX)
    assert scores["iou_0.5"]["recall"] == 0.5 and scores["iou_0.5"]["precision"] == 1


def test_pixels_that_touch_at_a_corner_are_one_landslide():
    assert len(match(mask((0, 5, 0, 5), (5, 9, 5, 9)), mask()).true) == 1


def test_recall_is_told_by_size_in_square_metres():
    truth = mask((0, 2, 0, 2), (10, 30, 10, 30))
    scores = object_scores([match(truth, mask((10, 30, 10, 30))).scaled(9.0)], (500.0, np.inf))
    small, large = scores["by_size"]
    assert (small["true"], small["recall_overlap_0.3"]) == (1, 0)
    assert (large["true"], large["recall_overlap_0.3"], large["to"]) == (1, 1, None)


def test_nothing_true_has_no_recall_and_nothing_mapped_scores_zero():
    assert object_scores([match(mask(), mask((0, 5, 0, 5)))], CLASSES_PX)["iou_0.5"]["f1"] is None
    assert object_scores([match(mask((0, 5, 0, 5)), mask())], CLASSES_PX)["iou_0.5"]["f1"] == 0


def test_bodies_agree_with_a_slow_count_on_random_masks():
    from scipy.ndimage import label

    dice = np.random.default_rng(3)
    truth, mapped = dice.random((2, 60, 60)) < 0.3
    tile = match(truth, mapped)
    (one, n), (other, m) = (label(each, np.ones((3, 3))) for each in (truth, mapped))
    for number, body in enumerate(tile.true, start=1):
        inside = one == number
        ious = [(inside & (other == k)).sum() / (inside | (other == k)).sum() for k in
                np.unique(other[inside]) if k]  # fmt: skip
        assert body.iou == pytest.approx(max(ious, default=0))
        assert body.covered == pytest.approx((inside & mapped).sum() / inside.sum())
    assert len(tile.true) == n and len(tile.mapped) == m

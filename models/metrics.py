"""Pixel scores of the landslide class, as LDM-Net Eq. 6-11 and SCGC-Net Eq. 21-25 define them.

SCGC-Net prints IoU with TN in its denominator (Eq. 24); its own tables follow TP / (TP + FP + FN),
which is what is computed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

Mask = NDArray[np.bool_]
Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True)
class Confusion:
    """Pixel counts against the truth; add those of several images to pool them (micro average).

    A ratio whose denominator is empty is NaN, with one exception: precision is 0 where there are
    landslides but none was predicted, so that a blind network cannot raise its average.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: Confusion) -> Confusion:
        """Pool the pixels of two images."""
        return Confusion(
            self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn
        )

    @property
    def has_landslide(self) -> bool:
        """Whether the truth holds any landslide pixel."""
        return self.tp + self.fn > 0

    @property
    def precision(self) -> float:
        """TP / (TP + FP), LDM-Net Eq. 6."""
        if self.tp + self.fp == 0 and self.has_landslide:
            return 0.0
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """TP / (TP + FN), LDM-Net Eq. 7."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, LDM-Net Eq. 8, as 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """TP / (TP + FP + FN), LDM-Net Eq. 9."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def mean_iou(self) -> float:
        """Mean of the IoU of landslide and of background, GDCLD Eq. 5 with its two classes."""
        return (self.iou + _ratio(self.tn, self.tn + self.fp + self.fn)) / 2

    @property
    def accuracy(self) -> float:
        """Overall accuracy (TP + TN) / all, SCGC-Net Eq. 25."""
        return _ratio(self.tp + self.tn, self.tp + self.fp + self.fn + self.tn)


@dataclass(frozen=True)
class MacroScores:
    """Unweighted means over the images that hold landslides (LDM-Net Eq. 10), and how many did.

    `pr_auc` is None unless every image was given one. All means are NaN when no image counts.
    """

    precision: float
    recall: float
    f1: float
    iou: float
    pr_auc: float | None
    images: int
    images_without_landslide: int


def confusion(truth: NDArray[Any], predicted: Mask, valid: Mask | None = None) -> Confusion:
    """Count pixels of one image, or of a stack taken as one.

    Args:
        truth: landslide mask of any shape, bool or a number type holding only 0 and 1.
        predicted: bool, same shape, true where a landslide was mapped.
        valid: bool, same shape, true where the ground was seen; the rest counts nowhere.

    Raises:
        ModelError: the shapes differ, `truth` holds something else than 0 and 1, or the other
            two are not bool.
    """
    true, guess = _seen(truth, _bool(predicted, "predicted"), valid)
    tp = int(np.count_nonzero(true & guess))
    fp = int(np.count_nonzero(guess)) - tp
    fn = int(np.count_nonzero(true)) - tp
    return Confusion(tp, fp, fn, true.size - tp - fp - fn)


def pr_auc(truth: NDArray[Any], score: NDArray[Any], valid: Mask | None = None) -> float:
    """Area under the precision-recall curve of one image (LDM-Net Eq. 11), as average precision.

    The step sum is taken rather than the trapezoid, which draws straight lines between points of
    the curve that no threshold can reach and so flatters the network.

    Args:
        truth: landslide mask of any shape, bool or a number type holding only 0 and 1.
        score: same shape, any float; only its order counts.
        valid: bool, same shape, true where the ground was seen.

    Returns:
        A value in 0-1, or NaN when no valid pixel is a landslide.

    Raises:
        ModelError: the shapes differ, `truth` is not 0 and 1, or a valid score is not finite.
    """
    # Imported where it is used: two inventories are compared without it.
    from sklearn.metrics import average_precision_score

    true, seen_score = _seen(truth, score, valid)
    if not np.isfinite(seen_score).all():
        raise ModelError("score holds NaN or infinity in valid pixels; mark them invalid instead")
    return float(average_precision_score(true, seen_score)) if true.any() else nan


def macro(images: Iterable[Confusion], pr_aucs: Iterable[float] | None = None) -> MacroScores:
    """Average image by image; images without a landslide in the truth are left out and counted.

    Args:
        images: one confusion an image.
        pr_aucs: the images' areas under the precision-recall curve, in the same order.

    Raises:
        ModelError: `pr_aucs` is not as long as `images`.
    """
    every = list(images)
    held = [image.has_landslide for image in every]
    counted = [image for image in every if image.has_landslide]
    return MacroScores(
        precision=_mean([image.precision for image in counted]),
        recall=_mean([image.recall for image in counted]),
        f1=_mean([image.f1 for image in counted]),
        iou=_mean([image.iou for image in counted]),
        pr_auc=None if pr_aucs is None else _mean_where(list(pr_aucs), held),
        images=len(counted),
        images_without_landslide=len(every) - len(counted),
    )


def _seen(
    truth: NDArray[Any], other: NDArray[Pixel], valid: Mask | None
) -> tuple[Mask, NDArray[Pixel]]:
    """The valid pixels of both, flat, the truth as bool."""
    shapes = {truth.shape, other.shape, truth.shape if valid is None else valid.shape}
    if len(shapes) > 1:
        raise ModelError(f"truth {truth.shape}, prediction {other.shape} and valid differ in shape")
    if valid is not None:
        truth, other = truth[_bool(valid, "valid")], other[valid]
    strange = truth[(truth != 0) & (truth != 1)]
    if strange.size:
        raise ModelError(f"truth holds {strange.flat[0]} beside 0 and 1; pass a mask (truth > 0)")
    return truth.ravel().astype(np.bool_), other.ravel()


def _bool(mask: NDArray[Any], name: str) -> Mask:
    if mask.dtype != np.bool_:
        raise ModelError(f"{name} is {mask.dtype}, not bool; compare it with a threshold first")
    return mask


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else nan


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else nan


def _mean_where(values: list[float], held: list[bool]) -> float:
    if len(values) != len(held):
        raise ModelError(f"{len(values)} PR-AUC values for {len(held)} images; give one an image")
    return _mean([value for value, keep in zip(values, held, strict=True) if keep])

"""How well outlines lie: boundary F1 within a tolerance in pixels (Csurka et al. 2013)."""

from __future__ import annotations

from math import nan

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from models.metrics import Mask


def boundary_f1(truth: Mask, mapped: Mask, valid: Mask, tolerance_px: float) -> float:
    """F1 of the boundary pixels of one tile.

    A boundary pixel is one of a landslide with a neighbour by a side that is none; the edges of
    the tile and of what was seen are no boundaries. Precision is the share of mapped boundary
    pixels at most `tolerance_px` (Euclidean) from a true one, recall the reverse.

    Args:
        truth: bool (h, w).
        mapped: bool (h, w).
        valid: bool (h, w), where somebody looked.
        tolerance_px: how far is still right.

    Returns:
        0-1; NaN where the truth has no boundary.
    """
    true, guess = _boundary(truth, valid), _boundary(mapped, valid)
    if not true.any():
        return nan
    if not guess.any():
        return 0.0
    precision = float((distance_transform_edt(~true)[guess] <= tolerance_px).mean())
    recall = float((distance_transform_edt(~guess)[true] <= tolerance_px).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: Mask, valid: Mask) -> Mask:
    inside = mask & valid
    return np.asarray(inside & ~binary_erosion(inside | ~valid, border_value=1))

"""How far two images of the same ground lie apart, to a part of a pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from tasks.errors import RasterError

BAND = "red"
WINDOW_PX = 64
LEAST_SEEN = 0.95
# Windows spread over the image; more change the median by less than it is worth.
MAX_WINDOWS = 100
LEAST_WINDOWS = 3
UPSAMPLE = 50
# Less than this is not worth resampling an image for, and is about what the check can tell.
WORTH_MOVING_PX = 0.3
# Windows that disagree by more than this do not know the shift.
MOST_SPREAD_PX = 0.5


@dataclass(frozen=True)
class Shift:
    """Where the ground of one image must be moved to lie on that of another.

    Pixels to the east and to the south: medians over windows; `spread_px` is the median of their
    distance from it, `pixel_m` the size of a pixel.
    """

    east_px: float
    south_px: float
    spread_px: float
    windows: int
    pixel_m: float

    @property
    def length_px(self) -> float:
        """How far, in pixels."""
        return math.hypot(self.east_px, self.south_px)

    @property
    def is_sure(self) -> bool:
        """Whether enough windows agree."""
        return self.windows >= LEAST_WINDOWS and self.spread_px <= MOST_SPREAD_PX

    @property
    def is_worth_moving(self) -> bool:
        """Whether an image should be resampled for it."""
        return self.is_sure and self.length_px > WORTH_MOVING_PX


def measure_shift(image: Path, reference: Path) -> Shift | None:
    """How far the ground in an image must move to lie on that of a reference on the same grid.

    Phase correlation, refined to 1/50 px (Guizar-Sicairos, Thurman & Fienup 2008, by scikit-image),
    in windows of 64 × 64 px that both images show: the median of what they say.

    Args:
        image: raster with described bands and a mask, as `prepare_mosaic` makes it.
        reference: another, of the same shape and transform.

    Returns:
        The shift; None where no window is seen in both.

    Raises:
        RasterError: the grids differ.
    """
    from skimage.registration import phase_cross_correlation  # slow, and seldom needed

    with rasterio.open(image) as moving, rasterio.open(reference) as still:
        if (moving.shape, moving.transform) != (still.shape, still.transform):
            raise RasterError(f"{image} and {reference} are not on one grid; prepare them so")
        numbers = [raster.descriptions.index(BAND) + 1 for raster in (moving, still)]
        shifts = []
        for window in _windows(*moving.shape):
            seen = (moving.dataset_mask(window=window) > 0) & (
                still.dataset_mask(window=window) > 0
            )
            if seen.mean() < LEAST_SEEN:
                continue
            pair = [
                _tapered(raster.read(number, window=window), seen)
                for raster, number in zip((still, moving), numbers, strict=True)
            ]
            if all(values.any() for values in pair):
                found, _, _ = phase_cross_correlation(*pair, upsample_factor=UPSAMPLE)
                shifts.append(found)
        pixel_m = float(abs(moving.transform.a))
    if not shifts:
        return None
    south, east = np.median(shifts, axis=0)
    spread = np.median(np.hypot(*(np.array(shifts) - (south, east)).T))
    return Shift(float(east), float(south), float(spread), len(shifts), pixel_m)


def _windows(rows: int, cols: int) -> list[Window]:
    """Windows side by side or overlapping by half, at most `MAX_WINDOWS`, spread evenly."""
    size = min(WINDOW_PX, rows, cols)
    step = max(size // 2, 1)
    all_of_them = [
        Window(col, row, size, size)
        for row in range(0, rows - size + 1, step)
        for col in range(0, cols - size + 1, step)
    ]
    return all_of_them[:: max(math.ceil(len(all_of_them) / MAX_WINDOWS), 1)]


def _tapered(values: NDArray[np.generic], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Differences from the mean, faded out to the window's edges, 0 where nobody saw the ground."""
    numbers = values.astype(np.float64)
    numbers = np.where(seen, numbers - numbers[seen].mean(), 0.0)
    taper = np.hanning(len(numbers) + 2)[1:-1]
    return numbers * taper[:, None] * taper

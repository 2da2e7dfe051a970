"""How pixels become the numbers a network saw in training, whatever a sensor counts in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# A band whose deviation is a smaller part of its mean has no contrast but that of rounding.
_FLAT = 1e-6


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each band over a scene's valid pixels.

    The deviation of a band without contrast is 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, pixels: NDArray[Any]) -> Statistics:
        """Of pixels (bands, n), at least one, any number type."""
        known = pixels.astype(np.float64)
        mean, std = known.mean(axis=1), known.std(axis=1)
        std[std < _FLAT * np.maximum(1, np.abs(mean))] = 0
        return cls(tuple(mean.tolist()), tuple(std.tolist()))


def quantiles_of(pixels: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    """What a card keeps of normalised pixels (bands, n): 33 quantiles of each band."""
    bands = np.quantile(pixels, np.linspace(0, 1, 33), axis=1).T
    return tuple(tuple(round(float(value), 4) for value in band) for band in bands)


@dataclass(frozen=True)
class Normalisation:
    """How pixels become the numbers the network saw in training.

    `scene-standard`: (x - mean) / std per band with the statistics of the scene's valid pixels,
    clipped. Scene-relative, so that 8-bit pictures and reflectances of any sensor look alike.

    `quantiles`, (bands, levels), are those of the training pixels so normalised, before clipping,
    at even steps from the least to the most; empty where they were not kept.
    """

    kind: Literal["scene-standard"] = "scene-standard"
    clip: float = 5.0
    quantiles: tuple[tuple[float, ...], ...] = ()

    def apply(self, pixels: NDArray[Any], statistics: Statistics) -> NDArray[np.float32]:
        """Normalise a window.

        Args:
            pixels: (bands, h, w), any number type; NaN or infinite where invalid.
            statistics: of the scene's valid pixels; a band without contrast becomes 0.

        Returns:
            float32 (bands, h, w) within ±clip, 0 where a pixel is not finite.
        """
        std = np.asarray(statistics.std, np.float32)[:, None, None]
        mean = np.asarray(statistics.mean, np.float32)[:, None, None]
        z = (pixels.astype(np.float32) - mean) / np.where(std > 0, std, np.inf)
        z = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.clip(z, -self.clip, self.clip), np.float32)

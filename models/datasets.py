"""Labelled image tiles to train on and to score against."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError

Split = Literal["train", "validation"]


# Where training data lie, as west, south, east, north in degrees; drawn generously round the
# districts that Ghorbanzadeh et al. 2022 name, since the tiles themselves carry no position.
REGIONS = {
    "Iburi, Hokkaido, Japan": (141.6, 42.4, 142.4, 43.0),
    "Kodagu, India": (75.3, 11.9, 76.2, 12.9),
    "Rasuwa, Nepal": (85.0, 27.9, 85.9, 28.5),
    "Taitung, Taiwan": (120.6, 22.1, 121.7, 23.6),
}


@dataclass(frozen=True)
class Tiles:
    """Square tiles of one sensor, all of one size.

    Attributes:
        pixels: uint8 (n, h, w, bands).
        masks: bool (n, h, w), True on a landslide.
        bands: common names, in order.
        gsd_m: ground size of a pixel.
    """

    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    bands: tuple[str, ...]
    gsd_m: float

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, which: NDArray[np.bool_]) -> Tiles:
        """The tiles where `which` (n,) is True."""
        return Tiles(self.pixels[which], self.masks[which], self.bands, self.gsd_m)


def landslide4sense(folder: Path, split: Split) -> Tiles:
    """Landslide4Sense as 8-bit Sentinel-2 RGB at 10 m (Ghorbanzadeh et al. 2022).

    Args:
        folder: holds `train.npz` and `validation.npz`: `x` uint8 (n, 128, 128, 3), `y` the masks
            with eight pixels to a byte (n, 128, 16).
        split: which of the two.

    Raises:
        ModelError: the file is missing, unreadable or of another layout.
    """
    path = folder / f"{split}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            pixels, packed = archive["x"], archive["y"]
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: not a Landslide4Sense archive with x and y ({error})") from error
    masks = np.unpackbits(packed, axis=2).astype(bool)
    if pixels.dtype != np.uint8 or pixels.shape != (*masks.shape, 3):
        raise ModelError(f"{path}: x {pixels.dtype} {pixels.shape} does not fit y {masks.shape}")
    return Tiles(pixels, masks, ("red", "green", "blue"), 10.0)


def hold_out(tiles: Tiles, every: int = 10, block: int = 20) -> tuple[Tiles, Tiles]:
    """Split into (to learn from, to choose on): each `every`-th run of `block` tiles is held out.

    Runs rather than single tiles, because neighbours in the archive are often neighbours on the
    ground.
    """
    held = np.arange(len(tiles)) // block % every == every - 1
    return tiles.take(~held), tiles.take(held)

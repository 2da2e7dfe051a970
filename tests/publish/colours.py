"""What is to be seen in a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.image import imread


def share_of(colour: str, png: Path) -> float:
    """Share of a picture's pixels that are nearly of a colour."""
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float((np.abs(imread(png)[..., :3] - wanted).max(axis=2) < 0.08).mean())

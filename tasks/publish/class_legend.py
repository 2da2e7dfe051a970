"""What the classes of a susceptibility map are called, and their colours."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_hex

CLASS_NAMES = ("very low", "low", "moderate", "high", "very high")
_SHADES = LinearSegmentedColormap.from_list(
    "susceptibility", ("#fff7d6", "#fec44f", "#ec7014", "#a63603", "#4d1a00")
)


def class_names(count: int) -> tuple[str, ...]:
    """What so many classes are called, the least susceptible first."""
    if count == len(CLASS_NAMES):
        return CLASS_NAMES
    ends = {1: "1, least susceptible", count: f"{count}, most susceptible"}
    return tuple(ends.get(number, str(number)) for number in range(1, count + 1))


def class_colours(count: int) -> tuple[str, ...]:
    """The colours of so many classes as #rrggbb, the least susceptible first."""
    return tuple(str(to_hex(shade)) for shade in _SHADES(np.linspace(0, 1, count)))

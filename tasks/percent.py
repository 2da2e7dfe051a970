"""How a part of a whole is said."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share in per cent: whole from 10 %, two digits below, one decimal at the upper end.

    What is neither nothing nor all is never said to be 0 % or 100 %.
    """
    if 0 < share < 1:
        if share < 0.0001:
            return "< 0.01 %"
        if share < 0.0995:
            return f"{100 * share:.2g} %"
        if share >= 0.995:
            return f"{min(100 * share, 99.9):.1f} %"
    return f"{100 * share:.0f} %"

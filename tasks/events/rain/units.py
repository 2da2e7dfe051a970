"""Units of rain, as files spell them."""

from __future__ import annotations

import re

from tasks.errors import RasterError

RAIN_NAMES = re.compile(r"rain|precip|prcp|^tp$|^pr$|^rr$", re.IGNORECASE)

# What is not above this stands for missing rain, declared or not: -99, -999, -9999, -9999.9.
FILL = -99.0

# Millimetres in one unit of an amount, and millimetres per hour in one of a rate.
_AMOUNTS = {"mm": 1.0, "kg m-2": 1.0, "kg/m2": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}
_RATES = {
    "mm/h": 1.0,
    "mm h-1": 1.0,
    "mm/day": 1 / 24,
    "mm day-1": 1 / 24,
    "mm s-1": 3600.0,
    "mm/s": 3600.0,
    "kg m-2 s-1": 3600.0,
    "kg/m2/s": 3600.0,
    "m s-1": 3.6e6,
}
_SPELLINGS = (
    (r"\*\*|\^|[()\[\]]", ""),
    (r"[·.*_](?=[a-z])", " "),
    (r"(?<=/)\s+|\s+(?=/)", ""),
    (r"millimet(er|re)s?", "mm"),
    (r"\b(met(er|re)s?)\b", "m"),
    (r"\binch(es)?\b", "in"),
    (r"\b(hr|hour)s?\b", "h"),
    (r"\b(d|days)\b", "day"),
    (r"\b(sec|second)s?\b", "s"),
    (r"\s*\bper\b\s*", "/"),
    (r"\s+", " "),
)


def millimetres(units: str, where: str) -> tuple[float, bool]:
    """Factor to mm (or mm/h) of the units of rain, and whether they are a rate.

    Args:
        units: as a file writes them, such as `mm`, `0.1 mm`, `kg m-2 s-1` or `mm/hr`.
        where: what to call their place in messages.

    Raises:
        RasterError: the units are none of rain, or empty.
    """
    plain = units.strip().lower()
    for spelling, replacement in _SPELLINGS:
        plain = re.sub(spelling, replacement, plain)
    number = re.match(r"\d*\.?\d+", plain := plain.strip())
    scale = float(number[0]) if number else 1.0
    unit = plain[number.end() if number else 0 :].strip()
    if unit in _AMOUNTS:
        return scale * _AMOUNTS[unit], False
    if unit in _RATES:
        return scale * _RATES[unit], True
    said = f"has units {units!r}, which are none of rain" if units.strip() else "names no units"
    raise RasterError(f'{where} {said}; say them, as in units = "0.1 mm" or units = "mm/h"')

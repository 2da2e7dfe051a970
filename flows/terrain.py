"""The factors an operator asked for, derived over an area of interest."""

from __future__ import annotations

from pathlib import Path

from flows.options import SusceptibilityOptions
from tasks.imagery.rasters import file_sha256
from tasks.susceptibility.factors import derive_factors
from tasks.susceptibility.stack import FactorStack
from tasks.types import AreaOfInterest


def terrain_inputs(options: SusceptibilityOptions, aoi: AreaOfInterest) -> dict[str, str]:
    """Each file the factors are made from, with its checksum.

    Raises:
        RasterError: a file cannot be read.
    """
    assert options.dem is not None
    return {"dem": file_sha256(options.dem)}


def derive_stack(options: SusceptibilityOptions, aoi: AreaOfInterest, path: Path) -> FactorStack:
    """Derive the factors into a file.

    Raises:
        RasterError: a file cannot be used.
    """
    assert options.dem is not None
    return derive_factors(options.dem, aoi.geometry, path)

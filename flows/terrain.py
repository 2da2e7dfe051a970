"""The factors an operator asked for, derived over an area of interest."""

from __future__ import annotations

from pathlib import Path

from flows.options import SusceptibilityOptions
from tasks.errors import RasterError
from tasks.imagery.hosts import is_remote
from tasks.susceptibility.dem import dem_digest, find_dem
from tasks.susceptibility.factor_file import FactorTable
from tasks.susceptibility.factors import TERRAIN, check_dem, derive_factors, read_factors
from tasks.susceptibility.stack import FactorStack
from tasks.types import AreaOfInterest


def check_terrain(options: SusceptibilityOptions, aoi: AreaOfInterest) -> None:
    """Refuse, before any work, what cannot be used here; a server is asked for elevation only once.

    Raises:
        RasterError: the DEM is missing, unreadable, without CRS, or lies elsewhere.
        FactorError: the factor file, or what it names, cannot be read.
    """
    _table(options)
    dem = elevation_of(options)
    if not is_remote(str(dem)):
        check_dem(find_dem(dem, aoi.geometry), aoi.geometry)


def terrain_inputs(options: SusceptibilityOptions, aoi: AreaOfInterest) -> dict[str, str]:
    """Each file the factors are made from, with its checksum.

    Raises:
        RasterError: a file cannot be read.
        FactorError: the factor file, or what it names, cannot be read.
    """
    inputs = {"dem": dem_digest(find_dem(elevation_of(options), aoi.geometry))}
    return inputs | {"factors": _table(options).digest} if options.factors else inputs


def derive_stack(options: SusceptibilityOptions, aoi: AreaOfInterest, path: Path) -> FactorStack:
    """Derive the factors into a file.

    Raises:
        RasterError: a file cannot be used.
        FactorError: a layer of the factor file cannot be used.
    """
    return derive_factors(elevation_of(options), aoi.geometry, path, table=_table(options))


def _table(options: SusceptibilityOptions) -> FactorTable:
    return read_factors(options.factors) if options.factors else TERRAIN


def elevation_of(options: SusceptibilityOptions) -> str | Path:
    """The elevation asked for.

    Raises:
        RasterError: there is none.
    """
    if options.dem is None:
        raise RasterError("susceptibility is learned from the terrain: add --dem FILE")
    return options.dem

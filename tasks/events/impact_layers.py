"""The ground that expected impact is computed on, named in one small TOML file.

    [nowicki_jessee]                 # the layers of the USGS model, in degrees
    slope = "global_grad.tif"
    slope_unit = "gradient"          # or "degrees"
    lithology = "GLIM_replace.tif"   # coefficients of Nowicki Jessee et al. (2018), not classes
    landcover = "globcover_replace.tif"
    cti = "global_cti_fil.grd"

    [newmark]                        # a DEM, and one strength for all of it
    dem = "dem.tif"
    cohesion_kpa = 12.0
    friction_deg = 30.0
    unit_weight_kn_m3 = 15.7         # these three as in Jibson et al. (2000) if not given
    thickness_m = 2.4
    saturation = 0.0

Paths are relative to the file; either table may be left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.errors import RulesError
from tasks.files import read_toml

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NowickiJesseeLayers(_Table):
    """Rasters in geographic coordinates; one that names no CRS is taken for EPSG:4326."""

    slope: Path
    slope_unit: Literal["gradient", "degrees"]
    lithology: Path
    landcover: Path
    cti: Path


class Strength(_Table):
    """The DEM, and what holds its slopes: see `tasks.susceptibility.physical`."""

    dem: Path | None = None
    cohesion_kpa: Annotated[float, Field(ge=0, le=1000)]
    friction_deg: Annotated[float, Field(gt=0, lt=90)]
    unit_weight_kn_m3: _Positive = 15.7
    thickness_m: _Positive = 2.4
    saturation: Annotated[float, Field(ge=0, le=1)] = 0.0


class ImpactLayers(_Table):
    """What an operator has configured; None where a model's table is left out."""

    nowicki_jessee: NowickiJesseeLayers | None = None
    newmark: Strength | None = None


Layers = TypeVar("Layers", bound=_Table)


def read_layers(path: Path) -> ImpactLayers:
    """Read which layers there are.

    Raises:
        RulesError: the file cannot be read, is not TOML, holds an unknown or senseless field, or
            names a layer that is not a file.
    """
    given = read_toml(path, RulesError)
    try:
        layers = ImpactLayers.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RulesError(f"{path}: {place}: {first['msg']}; see docs/events.md") from error
    return ImpactLayers(
        nowicki_jessee=_beside(path, layers.nowicki_jessee), newmark=_beside(path, layers.newmark)
    )


def _beside(path: Path, table: Layers | None) -> Layers | None:
    """The same table with its paths made whole."""
    if table is None:
        return None
    found = {name: path.parent / value for name, value in table if isinstance(value, Path)}
    for name, file in found.items():
        if not file.is_file():
            raise RulesError(f"{path}: {name} = {file} is not a file; give its path from {path}")
    return table.model_copy(update=found)

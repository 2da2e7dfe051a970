"""The operator's list of factors: one TOML file that names the terrain factors and further layers.

    terrain = ["elevation", "slope", "relief"]     # or "all"; by default the first ten
    slope_units = true                             # by default none are written

    [[layer]]
    name = "lithology"
    path = "geology.gpkg"                          # relative to this file
    role = "class"
    attribute = "Name"

`docs/susceptibility.md` describes every key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tasks.datasets import dataset_sha256
from tasks.errors import FactorError
from tasks.files import read_toml

# What a susceptibility study usually has; a table without one of these names says so.
USUAL = (
    "lithology",
    "land_cover",
    "fault_distance",
    "road_distance",
    "river_distance",
    "ndvi",
    "rain_total",
    "rain_intensity",
    "pga",
    "epicentre_distance",
)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    unit: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return ()


class _FileEntry(_Entry):
    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return (self.path,)


class ClassEntry(_FileEntry):
    """Labels: a raster of whole numbers, or a vector layer by one of its columns."""

    role: Literal["class"]
    attribute: str = ""
    layer: str = ""
    band: int = Field(1, ge=1)
    nodata: float | None = None
    classes: dict[int, str] = {}
    resampling: Literal["nearest", "mode"] | None = None


class ContinuousEntry(_FileEntry):
    """Numbers of a raster: of one band, or the sum, mean, greatest or least of all."""

    role: Literal["continuous"]
    band: int = Field(1, ge=1)
    bands: Literal["sum", "mean", "max", "min"] | None = None
    nodata: float | None = None
    resampling: Literal["nearest", "bilinear", "cubic", "average"] | None = None


class NdviEntry(_FileEntry):
    """NDVI of an image whose bands are described `red` and `nir`."""

    role: Literal["ndvi"]


class DistanceEntry(_Entry):
    """Distance to the nearest feature of a vector layer, or to one point (longitude, latitude)."""

    role: Literal["distance"]
    path: Path | None = None
    layer: str = ""
    point: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _of_one_thing(self) -> DistanceEntry:
        if (self.path is None) == (self.point is None):
            raise ValueError("give either path or point = [longitude, latitude]")
        if self.point and not (abs(self.point[0]) <= 360 and abs(self.point[1]) <= 90):
            named = f"{self.point[0]:g}, {self.point[1]:g}"
            raise ValueError(
                f"point = [{named}] is no place on Earth; give [longitude, latitude] in degrees"
            )
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it reads."""
        return (self.path,) if self.path else ()


class ShakingEntry(_FileEntry):
    """Shaking of a ShakeMap (`grid.xml` or `raster.zip`)."""

    role: Literal["shaking"]
    measure: Literal["pga", "pgv", "mmi"]


class Strength(BaseModel):
    """Strength of a slope's ground: cohesion in kPa, friction angle in degrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohesion_kpa: float = Field(ge=0)
    friction_deg: float = Field(ge=0, lt=90)


class NewmarkEntry(_FileEntry):
    """Newmark displacement under a ShakeMap's PGA; strengths the same everywhere or by class."""

    role: Literal["newmark"]
    strength: Strength
    by: str = ""
    strengths: dict[str, Strength] = {}
    thickness_m: float = Field(2.4, gt=0)
    saturation: float = Field(0.0, ge=0, le=1)


Entry = Annotated[
    ClassEntry | ContinuousEntry | NdviEntry | DistanceEntry | ShakingEntry | NewmarkEntry,
    Field(discriminator="role"),
]
ROLES = ("class", "continuous", "ndvi", "distance", "shaking", "newmark")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    terrain: tuple[str, ...] | Literal["all"] | None = None
    slope_units: bool = False
    layer: tuple[Entry, ...] = ()

    @field_validator("layer")
    @classmethod
    def _each_once(cls, layers: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
        names = [layer.name for layer in layers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two layers are called {name}")
        return layers


@dataclass(frozen=True)
class FactorTable:
    """Which factors to derive: `terrain` by name, and further `layers`; and slope units."""

    terrain: tuple[str, ...]
    layers: tuple[Entry, ...] = ()
    slope_units: bool = False

    @property
    def absent(self) -> tuple[str, ...]:
        """The usual layers that are not among these."""
        given = {layer.name for layer in self.layers}
        return tuple(name for name in USUAL if name not in given)

    @property
    def digest(self) -> str:
        """SHA-256 over every entry and the bytes of every file."""
        entries: list[Any] = [self.terrain, self.slope_units]
        for layer in self.layers:
            files = [dataset_sha256(file) for file in layer.files]
            entries.append([layer.model_dump_json(exclude={"path"}), files])
        return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def read_factor_file(path: Path, measures: Sequence[str], usual: Sequence[str]) -> FactorTable:
    """Read a list of factors.

    Args:
        path: TOML file; the paths in it are relative to its folder.
        measures: names of the terrain factors there are.
        usual: those to derive where the file does not say.

    Raises:
        FactorError: it is missing, no TOML, names what does not exist or says it wrongly.
    """
    content = read_toml(path, FactorError)
    try:
        table = _Table.model_validate(content)
    except ValidationError as error:
        raise FactorError(_sentence(path, content, error)) from error
    terrain = tuple(measures) if table.terrain == "all" else table.terrain
    terrain = tuple(usual) if terrain is None else terrain
    names = [layer.name for layer in table.layer]
    if not terrain and not names:
        raise FactorError(f"factor file {path} names no factor: name some, or leave terrain out")
    for name in terrain:
        if terrain.count(name) > 1:
            raise FactorError(f"factor file {path}: terrain names {name} twice; name it once")
        if name not in measures:
            raise FactorError(
                f"factor file {path}: there is no terrain factor {name}; choose from "
                f"{', '.join(measures)}"
            )
        if name in names:
            raise FactorError(f"factor file {path}: layer {name} is called like a terrain factor")
    layers = tuple(_placed(layer, path) for layer in table.layer)
    return FactorTable(tuple(terrain), layers, table.slope_units)


def _placed(layer: Entry, table: Path) -> Entry:
    """An entry with its path as it is from here, found to exist."""
    if not layer.files:
        return layer
    placed = table.parent / layer.files[0]
    if not placed.is_file():
        raise FactorError(
            f"factor file {table}: layer {layer.name} names {layer.files[0]}, and {placed} "
            f"{'is a folder' if placed.is_dir() else 'does not exist'}; mend the path or take the "
            "layer out"
        )
    return layer.model_copy(update={"path": placed})


def _sentence(path: Path, content: dict[str, Any], error: ValidationError) -> str:
    """The first complaint, with the layer it is about."""
    first = error.errors()[0]
    keys = [str(key) for key in first["loc"]]
    what = first["msg"].removeprefix("Value error, ")
    if first["type"].startswith("union_tag"):
        given = first["ctx"].get("tag")
        what = f"role {given!r} is none of" if given else "says no role: it is one of"
        what += f" {', '.join(ROLES)}"
    if keys[0] == "terrain":
        return f'factor file {path}: terrain must be "all" or a list of names in quotes'
    layers = content.get("layer", [])
    if not isinstance(layers, list):
        return f"factor file {path}: write each layer under a heading [[layer]] of its own"
    if len(keys) > 1 and keys[0] == "layer":
        layer = layers[int(keys[1])]
        named = layer.get("name", keys[1]) if isinstance(layer, dict) else keys[1]
        field = " ".join(key for key in keys[2:] if key != layer.get("role"))
        return f"factor file {path}: layer {named}: {field} {what}".replace("  ", " ")
    return f"factor file {path}: {'.'.join(keys)}: {what}"

"""Catalogs known by name: where they are, how their bands are called, how their files are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tasks.errors import AccessError, CatalogError
from tasks.files import read_toml
from tasks.imagery.hosts import host_of, read_with

SHIPPED = Path(__file__).with_name("profiles.toml")
MaskKind = Literal["scl", "qa_pixel", "udm2", "fmask", "oa_fmask"]


class CollectionProfile(BaseModel):
    """What a collection's items leave unsaid (see `profiles.toml`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bands: dict[str, str] = Field(default_factory=dict)
    mask: MaskKind | None = None
    gsd_m: float | None = Field(default=None, gt=0)
    scale: float | None = None
    offset: float | None = None


class Profile(BaseModel):
    """One catalog (see `profiles.toml`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["stac", "planet"] = "stac"
    url: str
    hosts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    gdal: dict[str, str] = Field(default_factory=dict)
    collections: dict[str, CollectionProfile] = Field(default_factory=dict)
    radar: dict[str, CollectionProfile] = Field(default_factory=dict)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Its own host and those its files may lie on."""
        return (host_of(self.url), *self.hosts)

    def gdal_options(self, name: str, environment: Mapping[str, str]) -> dict[str, str]:
        """The options GDAL reads the files with, secrets filled in from the environment.

        Raises:
            AccessError: a variable it needs is not set.
        """
        missing = [variable for variable in self.needs if not environment.get(variable)]
        if missing:
            raise AccessError(
                f"source {name} needs {' and '.join(missing)} in the environment; set it"
            )
        return {
            option: environment.get(value[1:], "") if value.startswith("$") else value
            for option, value in self.gdal.items()
        }

    def read_files(self, name: str, environment: Mapping[str, str]) -> None:
        """From now on read this catalog's files with its options.

        Raises:
            AccessError: a variable it needs is not set.
        """
        read_with(self.hosts, self.gdal_options(name, environment))


def read_profiles(path: Path | None = None) -> dict[str, Profile]:
    """Read the catalogs known by name.

    Args:
        path: TOML file of further profiles, which replace shipped ones of the same name.

    Raises:
        CatalogError: the file is missing, is not TOML or holds what a profile has not.
    """
    profiles = _read(SHIPPED)
    return profiles | _read(path) if path else profiles


def _read(path: Path) -> dict[str, Profile]:
    profiles = {}
    for name, given in read_toml(path, CatalogError).items():
        try:
            profiles[name] = Profile.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, (name, *first["loc"])))
            raise CatalogError(f"{path}: {field}: {first['msg']}; mend the profile") from error
    return profiles

"""Where scenes come from, by what the operator writes after `--source`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tasks.errors import CatalogError
from tasks.imagery.folder import SUFFIXES, FolderSource
from tasks.imagery.hosts import is_remote, read_with
from tasks.imagery.profiles import CollectionProfile, Profile, read_environment, read_profiles
from tasks.imagery.protocol import Source, Span
from tasks.imagery.stac import StacSource
from tasks.types import AreaOfInterest, Scene


@dataclass(frozen=True)
class Access:
    """What a source may need beyond its name.

    Attributes:
        profiles: catalogs known by name (`tasks.imagery.profiles`).
        hosts: hosts the operator trusts beside those of the source; `*` stands for any part.
        collections: the operator's choice of collections; those of the profile, or all, if empty.
    """

    profiles: Mapping[str, Profile] = field(default_factory=read_profiles)
    hosts: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


def open_source(source: str, access: Access) -> Source:
    """Find out what kind of source a text means.

    Args:
        source: name of a profile; URL of a STAC API or catalog; path of a `catalog.json`, of a
            folder that holds one, of a folder of GeoTIFFs, or of one GeoTIFF.
        access: what it may need to be read.

    Raises:
        AccessError: credentials it needs are missing.
        CatalogError: it does not exist.
    """
    name, profile = _profile(source, access.profiles)
    if profile:
        return _profiled(name, profile, access)
    path = Path(source)
    catalog = path if path.suffix == ".json" else path / "catalog.json"
    if is_remote(source) or catalog.is_file():
        known = () if is_remote(source) else _known_hosts(access.profiles)
        return StacSource(
            source if is_remote(source) else str(catalog),
            (*known, *access.hosts),
            {name: CollectionProfile() for name in access.collections},
        )
    if not path.exists():
        raise CatalogError(
            f"{source} does not exist and is no profile ({', '.join(sorted(access.profiles))}); "
            f"give a STAC catalog, a folder, an image ({', '.join(SUFFIXES)}) or a profile's name"
        )
    return FolderSource(path)


def find_scenes(
    source: str,
    aoi: AreaOfInterest,
    start: datetime,
    end: datetime,
    collections: Sequence[str] = (),
) -> list[Scene]:
    """Find the scenes of any free source that meet an area and a span of time (see `open_source`).

    Returns:
        Scenes in order of acquisition, their pixels ready to be read.

    Raises:
        CatalogError: the source does not hold what it must.
        RasterError: a local file is missing, truncated or without CRS.
        TransientError: the server timed out, dropped or answered 429 or 5xx.
    """
    opened = open_source(source, Access(collections=tuple(collections)))
    return list(opened.search(aoi, Span(start, end)).scenes)


def _profile(source: str, profiles: Mapping[str, Profile]) -> tuple[str, Profile | None]:
    """The profile of that name or address, if there is one."""
    for name, profile in profiles.items():
        if source == name or source.rstrip("/") == profile.url.rstrip("/"):
            return name, profile
    return "", None


def _profiled(name: str, profile: Profile, access: Access) -> Source:
    hosts = (*profile.allowed_hosts, *access.hosts)
    read_with(profile.hosts, read_environment(name, profile))
    collections = profile.collections
    if access.collections:
        empty = CollectionProfile()
        collections = {key: profile.collections.get(key, empty) for key in access.collections}
    return StacSource(profile.url, hosts, collections)


def _known_hosts(profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    """Hosts of all profiles: a catalog kept on disk may name the files of any of them."""
    return tuple(host for profile in profiles.values() for host in profile.allowed_hosts)

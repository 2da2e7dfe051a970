"""Where scenes come from, by what the operator writes after `--source`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tasks.errors import CatalogError, NoImageryError
from tasks.imagery.cache import Cache, Download
from tasks.imagery.folder import SUFFIXES, FolderSource
from tasks.imagery.hosts import host_of, is_remote
from tasks.imagery.orders import Ledger, Patience
from tasks.imagery.profiles import CollectionProfile, Profile, read_profiles
from tasks.imagery.protocol import Found, Source, Span
from tasks.imagery.stac import StacSource, holds_items
from tasks.types import AreaOfInterest


@dataclass(frozen=True)
class Keeping:
    """Where what is fetched or paid for is kept.

    Attributes:
        cache: of files.
        ledger: of orders.
        folder: where files are put for this event.
    """

    cache: Cache
    ledger: Ledger
    folder: Path


@dataclass(frozen=True)
class Access:
    """What a source may need beyond its name.

    Attributes:
        environment: variables that hold keys and tokens.
        keeping: needed by sources whose files are fetched whole.
        patience: how long to wait for orders.
        profiles: catalogs known by name (`tasks.imagery.profiles`).
        hosts: hosts the operator trusts beside those of the source; `*` stands for any part.
        collections: the operator's choice of collections; those of the profile, or all, if empty.
    """

    profiles: Mapping[str, Profile] = field(default_factory=read_profiles)
    hosts: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    keeping: Keeping | None = None
    patience: Patience = Patience()


def open_source(source: str, access: Access) -> Source:
    """Find out what kind of source a text means.

    Args:
        source: name of a profile; URL of a STAC API or catalog, or of one GeoTIFF, which is
            fetched; path of a `catalog.json`, of a folder that holds one or that holds STAC items,
            of one item, of a folder of GeoTIFFs, or of one GeoTIFF.
        access: what it may need to be read.

    Raises:
        AccessError: credentials it needs are missing.
        CatalogError: it does not exist.
        RasterError, StorageError, TransientError: the GeoTIFF cannot be fetched.
    """
    name, profile = profile_of(source, access.profiles)
    if profile:
        return _profiled(name, profile, access)
    if is_fetched_whole(source):
        return FolderSource(_fetched(source, access))
    path = Path(source)
    catalog = path if path.suffix == ".json" else path / "catalog.json"
    items = path.is_dir() and not catalog.is_file() and holds_items(path)
    if is_remote(source) or catalog.is_file() or items:
        known = () if is_remote(source) else _known_hosts(access.profiles)
        local = str(path if items else catalog)
        return StacSource(
            source if is_remote(source) else local,
            (*known, *access.hosts),
            {name: CollectionProfile() for name in access.collections},
        )
    if not path.exists():
        raise CatalogError(
            f"{source} does not exist and is no profile ({', '.join(sorted(access.profiles))}); "
            f"give a STAC catalog, a folder, an image ({', '.join(SUFFIXES)}) or a profile's name"
        )
    return FolderSource(path)


def is_one_image(source: str) -> bool:
    """Whether a source is one file of pixels, which will never hold more than it does now."""
    if is_remote(source):
        return urlsplit(source).path.lower().endswith(SUFFIXES)
    return source.lower().endswith(SUFFIXES) and Path(source).is_file()


def is_fetched_whole(source: str) -> bool:
    """Whether a source is an image on a server, of which nothing is known before it is fetched."""
    return is_remote(source) and is_one_image(source)


def obtain(source: Source, aoi: AreaOfInterest, span: Span) -> Found:
    """Find the scenes that meet an area in a span of time and make them ready to be read.

    Returns:
        The scenes; everything refused or survived on the way to them.

    Raises:
        NoImageryError: there are items, and none could be had.
        ScarpError: see the source's `search` and `fetch`.
    """
    found = source.search(aoi, span)
    ready = source.fetch(found.scenes, aoi)
    refused = (*found.refused, *ready.refused)
    if refused and not ready.scenes:
        raise NoImageryError(
            f"none of {len(refused)} scenes could be had; the first, {refused[0].scene.id}: "
            f"{refused[0].reason}",
            refused,
        )
    return Found(ready.scenes, refused, (*found.incidents, *ready.incidents))


def profile_of(source: str, profiles: Mapping[str, Profile]) -> tuple[str, Profile | None]:
    """The profile of that name or address, if there is one."""
    for name, profile in profiles.items():
        if source == name or source.rstrip("/") == profile.url.rstrip("/"):
            return name, profile
    return "", None


def _profiled(name: str, profile: Profile, access: Access) -> Source:
    hosts = (*profile.allowed_hosts, *access.hosts)
    profile.read_files(name, access.environment)
    if profile.kind == "planet":
        # Half a second that nobody else should wait for.
        from tasks.imagery.planet import PlanetSource

        keeping, key = _keeping(name, access), access.environment["PL_API_KEY"]
        return PlanetSource(
            key,
            keeping.ledger,
            keeping.cache,
            keeping.folder,
            profile.url,
            hosts,
            patience=access.patience,
        )
    collections = profile.collections
    if access.collections:
        empty = CollectionProfile()
        collections = {key: profile.collections.get(key, empty) for key in access.collections}
    return StacSource(profile.url, hosts, collections)


def _fetched(url: str, access: Access) -> Path:
    """One image from afar, kept on disk."""
    keeping, name = _keeping(url, access), PurePosixPath(urlsplit(url).path).name
    hosts = (host_of(url), *access.hosts)
    return keeping.cache.fetch(Download(url, hosts), keeping.folder / name)


def _keeping(source: str, access: Access) -> Keeping:
    if access.keeping is None:
        raise CatalogError(f"{source} is fetched whole, which needs a place to keep it")
    return access.keeping


def _known_hosts(profiles: Mapping[str, Profile]) -> tuple[str, ...]:
    """Hosts of all profiles: a catalog kept on disk may name the files of any of them."""
    return tuple(host for profile in profiles.values() for host in profile.allowed_hosts)

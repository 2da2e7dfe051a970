"""A source of imagery, with what the settings and the environment add to its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from prefect.blocks.system import Secret

from flows.options import ResponseOptions
from flows.world import World
from infra.settings import Settings
from tasks.imagery.cache import Cache
from tasks.imagery.orders import Ledger
from tasks.imagery.profiles import Profile, read_profiles
from tasks.imagery.protocol import Source
from tasks.imagery.sources import Access, Keeping, is_fetched_whole, open_source, profile_of

PROFILES = "imagery.toml"
PLANET_KEY, PLANET_BLOCK = "PL_API_KEY", "planet-api-key"


def source_of(world: World, event_id: str, options: ResponseOptions) -> Source:
    """Open the source an operator named.

    Raises:
        ScarpError: see `tasks.imagery.sources.open_source` and `read_profiles`.
    """
    access = access_to(
        world,
        event_id,
        options.source,
        options.profiles,
        options.allow_hosts,
        options.collections,
    )
    return open_source(options.source, access)


def check_source(world: World, event_id: str, options: ResponseOptions) -> None:
    """See that a source can be opened, as far as that fetches nothing.

    Raises:
        ScarpError: as `source_of`.
    """
    if not is_fetched_whole(options.source):
        source_of(world, event_id, options)


def access_to(
    world: World,
    event_id: str,
    source: str,
    profiles: Path | None,
    allow_hosts: tuple[str, ...],
    collections: tuple[str, ...] = (),
) -> Access:
    """What it takes to read a source.

    Raises:
        CatalogError: the file of profiles cannot be used.
    """
    settings = Settings()
    own = world.home / PROFILES
    known = read_profiles(profiles or (own if own.is_file() else None))
    cache = Cache(world.home / "imagery", int(settings.imagery_cache_gb * 1e9))
    ledger = Ledger(world.engine, settings.imagery_quota_km2)
    return Access(
        known,
        allow_hosts,
        collections,
        _environment(profile_of(source, known)[1]),
        Keeping(cache, ledger, world.home / "work" / event_id / "imagery"),
    )


def _environment(profile: Profile | None) -> Mapping[str, str]:
    """The environment, with Planet's key from Prefect's secret block where it is not in it."""
    if profile is None or profile.kind != "planet" or os.environ.get(PLANET_KEY):
        return os.environ
    try:
        key = Secret.load(PLANET_BLOCK).get()  # type: ignore[union-attr]
    except ValueError:
        return os.environ
    return {**os.environ, PLANET_KEY: str(key)}

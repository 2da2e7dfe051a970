"""Flows run on a true Prefect server, started once, over a store of each test's own.

What reads SCARP_HOME when it is imported is imported in the fixtures: this file is read before the
tests' own SCARP_HOME is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import text

from tests.conftest import EXAMPLE

if TYPE_CHECKING:
    from flows.options import ResponseOptions
    from flows.world import World
    from tests.flows.feeds import Feed

EVENT = "emilia-romagna-2023"


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def server(prefect) -> Iterator[httpx.Client]:
    """A client of the Prefect server, which asks again as Prefect's own does.

    The server says 503 where its SQLite is locked, which its own work can cause at any moment.
    """
    from prefect.client.base import PrefectHttpxSyncClient
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    with PrefectHttpxSyncClient(base_url=address, timeout=60, raise_on_all_errors=False) as client:
        yield client


@pytest.fixture
def world(settings, monkeypatch) -> Iterator[World]:
    """An empty store and data folder, as the flows find them."""
    import flows.world

    monkeypatch.setenv("SCARP_HOME", str(settings.home))
    monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)
    opened = flows.world.open_world()
    yield opened
    opened.engine.dispose()
    flows.world._open.cache_clear()


@pytest.fixture
def registered(world) -> World:
    """A world in which the bundled event is registered."""
    from flows.register import register_event
    from tasks.events.request import read_event

    register_event(read_event(EXAMPLE / "event.json"), EXAMPLE / "aoi.geojson")
    return world


@pytest.fixture
def feed() -> Iterator[Feed]:
    """A server of feeds."""
    from tests.flows.feeds import serving

    with serving() as feed:
        yield feed


@pytest.fixture
def options() -> ResponseOptions:
    from flows.options import ResponseOptions

    return ResponseOptions(source=str(EXAMPLE / "catalog.json"), dem=EXAMPLE / "dem.tif")


def rows(world: World, query: str) -> list[tuple]:
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]

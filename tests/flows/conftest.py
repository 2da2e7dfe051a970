"""Flows run on a true Prefect server, started once, over a store of each test's own."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

import flows.world
from flows.options import ResponseOptions
from flows.register import register_event
from flows.world import World
from tasks.events.request import read_event
from tests.conftest import EXAMPLE

EVENT = "emilia-romagna-2023"


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=300):
        yield


@pytest.fixture
def world(settings, monkeypatch) -> Iterator[World]:
    """An empty store and data folder, as the flows find them."""
    monkeypatch.setenv("SCARP_HOME", str(settings.home))
    monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)
    opened = flows.world.open_world()
    yield opened
    opened.engine.dispose()
    flows.world._open.cache_clear()


@pytest.fixture
def registered(world) -> World:
    """A world in which the bundled event is registered."""
    register_event(read_event(EXAMPLE / "event.json"), EXAMPLE / "aoi.geojson")
    return world


@pytest.fixture
def options() -> ResponseOptions:
    return ResponseOptions(source=str(EXAMPLE / "catalog.json"), dem=EXAMPLE / "dem.tif")


def rows(world: World, query: str) -> list[tuple]:
    with world.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]

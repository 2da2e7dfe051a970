"""The console over a true PostGIS, with the bundled example mapped; a server, tokens, a browser."""

import shutil
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from tests.conftest import EXAMPLE, entered, new_world
from tests.console.machine import wait_for
from tests.console.serving import serving

EVENT = "emilia-romagna-2023"
ROLES = ("viewer", "reviewer", "operator")
SWIFTSHADER = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
XSS = "<script>window.struck=1</script><img src=x onerror=window.struck=1>"


@pytest.fixture(scope="session")
def responded(cluster_home, tmp_path_factory):
    """A world in which the example was responded to, and a copy of its home as it was then."""
    from flows.options import ResponseOptions
    from flows.register import register_event
    from flows.respond import respond
    from tasks.events.request import read_event

    with new_world(cluster_home, tmp_path_factory.mktemp("console")) as settings:
        with entered(settings):
            register_event(read_event(EXAMPLE / "event.json"), EXAMPLE / "aoi.geojson", ask=False)
            # The first weights find so few landslides that the map has a doubt to show.
            options = ResponseOptions(
                source=str(EXAMPLE / "catalog.json"),
                dem=EXAMPLE / "dem.tif",
                weights="ldm-net-tiny",
            )
            respond(EVENT, options)
        kept = tmp_path_factory.mktemp("kept") / "home"
        yield settings, shutil.copytree(settings.home, kept)


@pytest.fixture(scope="module")
def settings(cluster_home, responded):
    """A copy of that world, untouched; SCARP_* name it while the module runs."""
    from flows.world import open_world

    done, kept = responded
    # The store knows files by their whole path: the home stays where it was.
    shutil.rmtree(done.home)
    shutil.copytree(kept, done.home)
    template = make_url(done.database_url).database
    with new_world(cluster_home, done.home, template) as settings, entered(settings):
        forget()
        yield settings
        engine = open_world().engine
        # A connection that is given back to a pool after its end would never be closed.
        wait_for(lambda: engine.pool.checkedout() == 0)
        forget()


def forget():
    """What is remembered of a store by its ids, which another store has as well here."""
    from console.web import ask, tiles
    from flows import overview

    for remembered in (ask._reader, tiles._tile, tiles._points):
        remembered.cache_clear()
    overview._standing.clear()


@pytest.fixture(scope="module")
def mapped(settings):
    """How many landslides were found in the example."""
    from flows.world import open_world

    question = text("SELECT landslide_count FROM scarp.v_inventories WHERE version = 1")
    with open_world().engine.connect() as connection:
        count = connection.execute(question).scalar_one()
    assert count > 9, "too few for what is done with them"
    return count


@pytest.fixture(scope="module")
def app(settings):
    from console.service.app import create_app
    from console.web.site import create_site
    from flows.world import open_world
    from infra.roles import role_url

    service = create_app(role_url(settings, "reader"), open_world().products)
    return create_site(service, basemap=None, open_to_read=True)


@pytest.fixture(scope="module")
def address(app):
    with serving(app) as address:
        yield address


@pytest.fixture(scope="module")
def tokens(settings):
    """A token of each role, its holder called like it."""
    return {role: make_token(role, role) for role in ROLES}


def make_token(name, role, **lasting):
    from flows.world import open_world
    from tasks.access.tokens import add_token

    span = timedelta(**(lasting or {"days": 1}))
    with open_world().engine.begin() as connection:
        return add_token(connection, name, role, span, datetime.now(UTC))[0]


@pytest.fixture(scope="module")
def clients(address, tokens):
    """A client of each role, as a script asks: no cookie, no page."""
    made = {
        role: httpx.Client(
            base_url=address, timeout=60, headers={"Authorization": f"Bearer {token}"}
        )
        for role, token in tokens.items()
    }
    yield made
    for client in made.values():
        client.close()


@pytest.fixture(scope="module")
def chromium():
    """A headless browser that draws maps without a graphics card.

    Its driver runs an event loop, beside which other modules could run none of theirs.
    """
    from playwright.sync_api import sync_playwright

    program = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    assert program, "install Chromium: apt-get install chromium"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(SWIFTSHADER))
        yield browser
        browser.close()


@contextmanager
def visiting(chromium, address, token=None, **options):
    """A page that counts what leaves the machine, and what goes wrong in it; gives both."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, **options)
    if token:
        context.add_cookies([{"name": "scarp_token", "value": token, "url": address}])
    page = context.new_page()
    page.outside, page.wrong = [], []
    page.on(
        "request",
        lambda one: (
            None
            if one.url.startswith((address, "data:", "blob:"))
            else page.outside.append(one.url)
        ),
    )
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    try:
        yield page
    finally:
        context.close()


def ready(page):
    """Wait until the page's map is there."""
    page.wait_for_selector("body[data-map=ready]", timeout=60_000)

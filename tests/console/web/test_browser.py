"""The console in a true browser: nothing leaves the machine, and everybody can use it."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import geopandas as gpd
import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from shapely.geometry import MultiPolygon, box

from infra.ports import free_port
from tests.console.machine import SCARP, wait_for
from tests.console.web.conftest import EVENT, XSS, ready, visiting

PAGES = {
    "events": "/events",
    "event": f"/events/{EVENT}",
    "review": f"/events/{EVENT}/review",
    "susceptibility": f"/events/{EVENT}/susceptibility",
    "ask": "/ask?question=SELECT+number,+area_m2,+geom+FROM+v_landslides",
    "register": "/register",
    "difference": f"/events/{EVENT}/diff?before=1&after=1",
    "log": "/log",
}
WITHOUT_MAP = ("log", "difference")
GRAVE = ("serious", "critical")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_asks_nobody_else(chromium, address, tokens, name):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(address + PAGES[name])
        if name not in WITHOUT_MAP:
            ready(page)
            page.wait_for_selector("canvas.maplibregl-canvas")
        found = Axe().run(page).response["violations"]
        grave = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in GRAVE]
        assert grave == []
        assert page.outside == [] and page.wrong == []


def test_the_login_is_accessible_and_leads_to_where_one_wanted(chromium, address, tokens):
    with visiting(chromium, address) as page:
        page.goto(f"{address}/ask")
        assert "/login?next=/ask" in page.url
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in GRAVE] == []
        page.fill("input[name=token]", tokens["viewer"])
        page.press("input[name=token]", "Enter")
        page.wait_for_url("**/ask")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_telephone(chromium, address, tokens, name):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(address + PAGES[name])
        if name not in WITHOUT_MAP:
            ready(page)
        assert overflow(page) <= 0


def test_what_never_ends_is_broken_on_a_telephone(chromium, address, tokens, settings):
    endless = "Gutenberg" * 14
    store_endless(endless)
    paths = ["/login", "/nowhere", "/events", "/events/nowhere", f"/events/{endless}"]
    paths += [f"/events/{endless}/{rest}" for rest in ("review", "diff?before=1&after=2")]
    with visiting(chromium, address, tokens["operator"]) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        for path in paths:
            page.goto(address + path)
            if page.query_selector("#for-the-map"):
                ready(page)
            assert overflow(page) <= 0, f"{path}: {widest(page)}"
            if path == "/events":
                assert page.locator(".list .state").first.bounding_box()["x"] < 390


def widest(page):
    """The elements that stick out of the window."""
    return page.evaluate(
        "[...document.querySelectorAll('main *, header *')].filter(one => "
        "one.getBoundingClientRect().right > innerWidth && !one.closest('.scroll'))"
        ".map(one => one.outerHTML.slice(0, 80))"
    )


def overflow(page):
    """By how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def store_endless(word):
    """An event of two versions, one reviewed, whose every text is a word without an end."""
    from flows.register import register_event
    from flows.world import open_world
    from tasks.inventory.review import Reviewer, reject
    from tasks.inventory.runs import start_run
    from tasks.inventory.store import store_inventory
    from tasks.types import Doubt, Event, Provenance

    register_event(
        Event(word, "earthquake", word, datetime(2026, 1, 5, tzinfo=UTC), 142, 43, 6.0), ask=False
    )
    slide = gpd.GeoDataFrame({"scene_id": [word]}, geometry=[box(142, 43, 142.01, 43.01)], crs=4326)
    with open_world().engine.begin() as connection:
        run_id = start_run(connection, Provenance(word, {}), "by-hand", None, "")
        for version in ("1", "2"):
            stored = store_inventory(
                connection,
                event_id=word,
                run_id=run_id,
                digest=f"{word} {version}",
                method=word,
                threshold=None,
                minimum_mapping_unit_m2=0,
                observed=MultiPolygon([box(141.9, 42.9, 142.1, 43.1)]),
                landslides=slide,
                doubts=[Doubt(word, word)],
                publish=True,
            )
        reject(connection, stored.id, [1], Reviewer(word, word))


def test_everything_is_reached_by_the_keyboard(chromium, address, tokens):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(f"{address}/events/{EVENT}")
        ready(page)
        wanted = set(
            page.eval_on_selector_all(
                "main :is(a[href], button, select, input:not([type=hidden]))",
                "all => all.filter((one) => one.offsetParent).map((one) => one.outerHTML)",
            )
        )
        reached = set()
        for _ in range(2 * len(wanted) + 40):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.outerHTML"))
        assert wanted - reached == set()


def test_the_swipe_shows_one_picture_and_the_other(chromium, address, tokens):
    with visiting(chromium, address, tokens["viewer"]) as page:
        page.goto(f"{address}/events/{EVENT}")
        ready(page)
        swipe = page.locator("#swipe")
        swipe.focus()
        asked = []
        page.on("request", lambda one: asked.append(one.url))
        for _ in range(40):
            page.keyboard.press("ArrowRight")
        page.wait_for_selector("#left-map canvas")
        page.wait_for_selector("#map[style*='40%']")
        page.wait_for_timeout(1000)
        assert any(f"/products/{EVENT}/before/tiles" in url for url in asked)
        assert page.wrong == []


def test_a_reviewer_is_told_of_another_and_of_a_console_that_is_gone(chromium, address, tokens):
    first = {"Authorization": f"Bearer {tokens['reviewer']}"}
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(f"{address}{PAGES['review']}")
        ready(page)
        path = f"{address}{PAGES['review']}"
        (number, *_) = [
            one["number"] for one in httpx.get(f"{path}/queue", headers=first).json()["queue"]
        ]
        act = {"action": "confirm", "number": number}
        assert httpx.post(path, json=act, headers=first).status_code == 200
        page.keyboard.press("r")
        expect(page.locator("#said")).to_have_text(
            re.compile(rf"{number} was confirmed by .* UTC$")
        )
        page.context.set_offline(True)
        page.keyboard.press("r")
        expect(page.locator("#said")).to_contain_text("the console does not answer")


def test_what_has_no_confidence_is_not_drawn_as_certain(chromium, address, tokens):
    fill = """async () => {
        const { addLandslides } = await import("/static/map.mjs");
        const layers = {};
        const map = { addSource() {}, on() {}, addLayer(one) { layers[one.id] = one; } };
        addLandslides(map, "an-event", 1, {});
        return layers.landslides.paint["fill-color"];
    }"""
    with visiting(chromium, address, tokens["viewer"]) as page:
        page.goto(f"{address}/events/{EVENT}")
        (_, condition, ramp, otherwise) = page.evaluate(fill)
        assert condition == ["has", "confidence"] and otherwise not in ramp
        assert "without confidence" in page.inner_text(".legend")


def test_a_slope_is_clicked_and_explains_itself(chromium, address, tokens):
    with visiting(chromium, address, tokens["viewer"]) as page:
        page.goto(f"{address}/events/{EVENT}/susceptibility")
        ready(page)
        for layer in (
            "susceptibility",
            "susceptibility_uncertainty",
            "susceptibility_applicability",
        ):
            page.select_option("#layer", layer)
            assert page.is_visible(f".legend[data-layer={layer}]")
        page.locator("#map canvas").click(position={"x": 300, "y": 250})
        page.wait_for_selector("#why table")
        assert "slope" in page.inner_text("#why")
        assert page.wrong == []


def test_the_print_of_an_event_has_its_map_and_no_buttons(chromium, address, tokens):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(f"{address}/events/{EVENT}")
        page.emulate_media(media="print")
        expect(page.locator("img.onlyprint")).to_be_visible()
        assert page.is_visible("text=Seen clear")
        for hidden in (".bar", ".acts", "#swipe"):
            assert not page.is_visible(hidden)
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_an_area_is_drawn_on_the_map(chromium, address, tokens):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(f"{address}/register")
        ready(page)
        page.click("#draw")
        canvas = page.locator("#map canvas.maplibregl-canvas")
        corners = [(400, 120), (500, 120), (500, 200), (400, 200), (400, 120)]
        for x, y in corners:
            canvas.click(position={"x": x, "y": y})
            page.wait_for_timeout(350)  # else two clicks are a double click
        expect(page.locator("#aoi")).not_to_have_value("")
        area = json.loads(page.input_value("#aoi"))
        assert area["type"] == "MultiPolygon"
        assert len(area["coordinates"][0][0]) == 5


def test_an_area_is_drawn_across_the_antimeridian(chromium, address, tokens):
    with visiting(chromium, address, tokens["operator"]) as page:
        page.goto(f"{address}/register")
        ready(page)
        page.fill("input[name=longitude]", "179.9")
        page.fill("input[name=latitude]", "-16.5")
        page.press("input[name=latitude]", "Tab")
        page.click("#draw")
        box = page.locator("#map").bounding_box()
        canvas = page.locator("#map canvas.maplibregl-canvas")
        middle, height = box["width"] / 2, box["height"] / 2
        for x, y in ((-150, -80), (300, -80), (300, 80), (-150, 80), (-150, -80)):
            canvas.click(position={"x": middle + x, "y": height + y})
            page.wait_for_timeout(350)
        expect(page.locator("#aoi")).not_to_have_value("")
        east = [corner[0] for corner in json.loads(page.input_value("#aoi"))["coordinates"][0][0]]
        assert min(east) < 180 < max(east)
        fields = {"id": "storm-taveuni", "title": "A storm", "occurred_at": "2026-01-01T00:00:00Z"}
        for name, value in fields.items():
            page.fill(f"input[name={name}]", value)
        page.select_option("select[name=kind]", "rainfall")
        page.click("button.main")
        page.wait_for_selector("text=Nothing is stored yet")
        ready(page)


def test_no_text_of_an_event_runs_as_a_script(chromium, address, tokens, settings):
    from flows.register import register_event
    from tasks.types import Event

    moment = datetime(2026, 1, 3, tzinfo=UTC)
    register_event(Event("quake-xss", "earthquake", XSS, moment, 142, 43, 6.0), ask=False)
    with visiting(chromium, address, tokens["operator"]) as page:
        for path in ("/events", "/events/quake-xss"):
            page.goto(address + path)
            ready(page)
            assert page.evaluate("window.struck") is None
        assert page.wrong == []


def test_a_page_says_that_the_database_is_down_and_comes_back(chromium, tmp_path):
    """A world of its own, whose database is stopped and started under an open console."""
    home = tmp_path / "home"
    tmp_path.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k != "SCARP_DATABASE_URL"}
    environment["SCARP_HOME"] = str(home)

    def scarp(*words):
        done = subprocess.run(
            [*SCARP, *words], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    token = json.loads(scarp("token", "add", "ann", "--role", "operator", "--json"))["token"]
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-c", SCARP[2], "serve", "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def answers():
            try:
                return httpx.get(f"{address}/conformance").status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(answers)
        with visiting(chromium, address, token) as page:
            page.goto(f"{address}/events")
            assert page.is_visible("text=No event is registered yet")
            scarp("db", "stop", "--force")
            page.goto(f"{address}/events")
            assert page.is_visible("text=The database does not answer")
            answer = httpx.get(f"{address}/collections/scarp.v_events/items")
            assert answer.status_code == 503 and "does not answer" in answer.json()["detail"]
            scarp("db", "start")
            page.wait_for_selector("text=No event is registered yet", timeout=30_000)
    finally:
        server.terminate()
        server.wait()
        scarp("db", "stop", "--force")

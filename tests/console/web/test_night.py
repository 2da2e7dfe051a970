"""A night: an event is registered in a browser, watched, inspected, reviewed, and downloaded.

Everything is the real thing: `scarp up` with its server and workers, PostGIS, the bundled images, a
headless Chromium. SCARP_SCREENSHOTS names a folder for the pictures of the README.
"""

import json
import os
import re
from pathlib import Path

import pyogrio
import pytest

from tests.conftest import EXAMPLE
from tests.console.machine import running, wait_for
from tests.console.web.conftest import EVENT, ready, visiting

# Three processes start one after the other, on a machine that may have other work.
PATIENCE_MS = 240_000


@pytest.fixture(scope="module")
def machine():
    with running("scarp-night-") as machine:
        yield machine


def photograph(page, name, **options):
    if folder := os.environ.get("SCARP_SCREENSHOTS"):
        page.wait_for_timeout(1500)  # tiles that are still on their way
        page.screenshot(path=Path(folder) / f"{name}.png", **options)


def review_five(page):
    """By keyboard: three confirmed, one rejected, one drawn anew, undone and confirmed."""
    said = page.locator("#said")
    acts = {"c": "confirmed", "r": "rejected"}
    for key in "ccrc":
        before = page.inner_text("#landslide h2")
        page.keyboard.press(key)
        said.filter(has_text=acts[key]).wait_for()
        page.locator("#landslide h2").filter(has_not_text=before).wait_for()
    page.keyboard.press("e")
    page.locator("#drawing").wait_for()
    photograph(page, "console_review")
    page.keyboard.press("Enter")
    said.filter(has_text="drawn anew").wait_for()
    page.keyboard.press("u")
    said.filter(has_text="undone").wait_for()
    page.keyboard.press("c")
    said.filter(has_text="confirmed").wait_for()


def test_from_the_call_to_the_file(machine, chromium, tmp_path):
    code, out, error = machine.scarp("token", "add", "ann", "--role", "operator", "--json")
    assert code == 0, error
    address = machine.console
    with visiting(chromium, address, accept_downloads=True) as page:
        page.goto(address)
        page.fill("input[name=token]", json.loads(out)["token"])
        page.click("button.main")

        # register: by file, previewed with its area and scenes
        page.click("text=Register an event")
        page.set_input_files("input[name=event_file]", EXAMPLE / "event.json")
        page.set_input_files("input[name=aoi_file]", EXAMPLE / "aoi.geojson")
        page.fill("input[name=source]", str(EXAMPLE / "catalog.json"))
        page.fill("input[name=dem]", str(EXAMPLE / "dem.tif"))
        page.click("text=Preview")
        page.wait_for_selector("text=Nothing is stored yet")
        assert page.is_visible("text=S2_L2A_4120_20230523")
        ready(page)
        photograph(page, "console_preview")
        page.click("text=Register, and respond")

        # watch it run: the page changes by itself, nothing is pressed
        page.wait_for_selector("text=Nothing is mapped yet: nobody looked.")
        page.wait_for_selector(".state.responding", timeout=PATIENCE_MS)
        facts = page.locator("#status .facts dd")
        facts.filter(has_text=re.compile(r"^\s*[1-9]\d*\b")).first.wait_for(timeout=PATIENCE_MS)
        facts.filter(has_text=re.compile(r"^\s*0\.\d\d\s*0\.\d\d–")).first.wait_for(
            timeout=PATIENCE_MS
        )
        page.wait_for_selector(".state.published", timeout=PATIENCE_MS)
        mapped = int(page.inner_text("#status .facts dd >> nth=0").split()[0])
        report = machine.home / "products" / EVENT / "report.html"
        wait_for(report.exists)

        # inspect
        page.reload()
        ready(page)
        page.locator("#swipe").focus()
        for _ in range(50):
            page.keyboard.press("ArrowRight")
        page.wait_for_selector("#left-map canvas")
        photograph(page, "console_event")
        photograph(page, "console_event_whole", full_page=True)
        page.click("text=Susceptibility >> nth=0")
        ready(page)
        page.locator("#map canvas").click(position={"x": 320, "y": 260})
        page.wait_for_selector("#why table", timeout=60_000)
        photograph(page, "console_susceptibility")

        # review five polygons and publish what stands
        page.goto(f"{address}/events/{EVENT}")
        page.click("text=Review landslides")
        ready(page)
        review_five(page)
        page.locator("#share").filter(has_text=f"{500 // mapped} %").wait_for()
        page.click("text=Publish what stands")

        # see the new version
        page.wait_for_selector("tr.current th:has-text('2')")
        assert page.is_visible("text=Compare 1 → 2")
        assert page.inner_text("#status .facts dd >> nth=0").startswith(str(mapped - 1))
        page.click("text=Compare 1 → 2")
        page.wait_for_selector("img[alt='Map of the changes']")
        page.go_back()

        # download and open the GeoPackage
        with page.expect_download() as taken:
            page.click("a.chip:text-is('gpkg')")
        path = tmp_path / "taken.gpkg"
        taken.value.save_as(path)
        landslides = pyogrio.read_dataframe(path, layer="landslides")
        assert len(landslides) == mapped - 1
        assert set(landslides["reviewed_by"].dropna()) == {"ann"}
        assert len(pyogrio.read_dataframe(path, layer="observed_area")) == 1

        page.goto(f"{address}/events")
        ready(page)
        photograph(page, "console_events")
        page.goto(f"{address}/ask")
        page.click("text=The ten largest, on the map")
        ready(page)
        photograph(page, "console_ask")
        page.goto(f"{address}/log")
        for word in ("register", "review", "publish reviews"):
            assert page.is_visible(f"td:text-is('{word}')")
        assert page.outside == [] and page.wrong == []

"""The console with an event of 20,000 landslides: opened in a browser, and by 50 viewers at once.

    PYTHONPATH=. python benchmarks/console.py ../shared/data/hokkaido2018 [--json]

Real outlines (the Hokkaido scars, moved about) in a private cluster, with a picture of the ground
as large as the area at 20 m; `scarp serve` runs as a process of its own. A browser opens the event
page, and the landslide tiles of every zoom that hold any are fetched. Then each viewer, for
`SECONDS`, opens the page with what it loads, and every `LOOK_S` on average pans: two tiles of
landslides and two of the picture, of zoom 8 to 14. Writes results/console.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import rasterio
from inventory import begin, elsewhere, measured_scars, offset, publish
from morecantile import tms
from playwright.sync_api import sync_playwright
from rasterio.transform import from_bounds
from record import machine, write

from infra import postgres
from infra.ports import free_port
from infra.schema import open_engine
from infra.settings import Settings
from tasks.access.tokens import add_token
from tasks.publish.products import written_aside
from tasks.publish.quicklook import picture_of

LANDSLIDES = 20_000
PLACE = 79
ZOOMS = range(8, 15)
VIEWERS, SECONDS, LOOK_S = 50, 60, 3.0
GRID = tms.get("WebMercatorQuad")


def main() -> None:
    """Fill, serve, open, ask, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    about = machine()
    home = Path(tempfile.mkdtemp(prefix="scarp-console-"))
    home.chmod(0o755)
    environment = {**os.environ, "SCARP_HOME": str(home)}
    try:
        places, token = fill(home, asked.data)
        port = free_port()
        command = [sys.executable, "-c", "from console.cli import main; main()", "serve"]
        server = subprocess.Popen([*command, "--port", str(port)], env=environment)
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for(f"{base}/conformance")
            opened = open_page(base, token)
            tiles = fetch_tiles(base, token, places)
            print(opened, *tiles, sep="\n", flush=True)
            viewers = asyncio.run(look(base, token, places))
        finally:
            server.terminate()
            server.wait()
    finally:
        postgres.stop(home, force=True)
        shutil.rmtree(home)
    result = about | {
        "landslides": LANDSLIDES,
        "page": opened,
        "tiles": tiles,
        "viewers": viewers,
        "load_after": os.getloadavg(),
    }
    print(viewers)
    if asked.json:
        write("console", result)


def fill(home: Path, data: Path) -> tuple[list[tuple[float, float]], str]:
    """An event with its landslides and a picture; returns where they are, and a token."""
    engine = open_engine(Settings(home=home, database_url=None))
    slides = elsewhere(measured_scars(data), LANDSLIDES, PLACE, 0.02)
    about = begin(engine, PLACE)
    publish(engine, about, slides, "one")
    with engine.begin() as connection:
        made, _ = add_token(connection, "viewer", "viewer", timedelta(days=1), datetime.now(UTC))
    engine.dispose()
    draw(home / "products" / about[0] / "after.tif", data / "scene_rgb_3m.tif")
    inside = slides.geometry.representative_point()
    return list(zip(inside.x, inside.y, strict=True)), made


def draw(path: Path, scene: Path) -> None:
    """A picture of the event's area: the Hokkaido scene, laid side by side until it is full."""
    east, north = offset(PLACE)
    bounds = (141.7 + east, 42.4 + north, 143.6 + east, 43.0 + north)
    height, width = 3300, 7800
    with rasterio.open(scene) as source:
        pixels = source.read([1, 2, 3])
    times = (1, -(-height // pixels.shape[1]), -(-width // pixels.shape[2]))
    path.parent.mkdir(parents=True)
    with written_aside(path) as aside:
        raw = aside.with_suffix(".raw.tif")
        profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": 3, "crs": "EPSG:4326"}
        grid = {"width": width, "height": height, "transform": from_bounds(*bounds, width, height)}
        with rasterio.open(raw, "w", **profile, **grid, tiled=True) as made:
            made.write(np.tile(pixels, times)[:, :height, :width])
        picture_of(raw, aside)
        raw.unlink()


def wait_for(url: str) -> None:
    """Until the service answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(url).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(url)


def open_page(base: str, token: str) -> dict[str, float]:
    """Open the event page five times in fresh contexts: seconds until it can be used, the median.

    `interactive_s` is until the page answers to input (domInteractive, then two frames drawn);
    `map_s` until the map has the area and asks for its tiles.
    """
    times = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1280, "height": 900})
            context.add_cookies([{"name": "scarp_token", "value": token, "url": base}])
            page = context.new_page()
            began = time.perf_counter()
            page.goto(f"{base}/events/event-{PLACE}", wait_until="domcontentloaded")
            page.evaluate(
                "() => new Promise((done) => "
                "requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            interactive = time.perf_counter() - began
            page.wait_for_selector("body[data-map=ready]")
            times.append((interactive, time.perf_counter() - began))
            context.close()
        browser.close()
    interactive, drawn = np.median(times, axis=0)
    return {"interactive_s": round(float(interactive), 2), "map_s": round(float(drawn), 2)}


def landslide_tile(base: str, place: tuple[float, float], zoom: int) -> str:
    """What the page asks for (`addLandslides` in map.mjs)."""
    tile = GRID.tile(*place, zoom)
    return f"{base}/events/event-{PLACE}/versions/1/tiles/{zoom}/{tile.x}/{tile.y}"


def fetch_tiles(base: str, token: str, places: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """Every landslide tile of zoom 8 to 11, and 100 of each zoom beyond: how large, how long."""
    rows = []
    draws = random.Random(0)
    for zoom in ZOOMS:
        urls = sorted({landslide_tile(base, place, zoom) for place in places})
        urls = urls if zoom < 12 else draws.sample(urls, min(100, len(urls)))
        took, sizes = [], []
        with httpx.Client(timeout=30, cookies={"scarp_token": token}) as client:
            for url in urls:
                began = time.perf_counter()
                answer = client.get(url).raise_for_status()
                took.append(1000 * (time.perf_counter() - began))
                sizes.append(len(answer.content) / 1000)
        rows.append(
            {
                "zoom": zoom,
                "tiles": len(urls),
                "largest_kb": round(max(sizes), 1),
                "p95_ms": round(float(np.percentile(took, 95)), 1),
            }
        )
    return rows


async def look(base: str, token: str, places: list[tuple[float, float]]) -> dict[str, Any]:
    """Viewers at once; milliseconds until each answer was there, by what was asked for."""
    took: dict[str, list[float]] = {"page": [], "landslides": [], "picture": []}
    limits = httpx.Limits(max_connections=6)
    cookie = {"Cookie": f"scarp_token={token}"}

    async def ask(client: httpx.AsyncClient, kind: str, url: str) -> None:
        began = time.perf_counter()
        answer = await client.get(url)
        took[kind].append(1000 * (time.perf_counter() - began))
        if answer.status_code not in (200, 204):
            raise RuntimeError(f"{url}: {answer.status_code}")

    async def viewer(number: int) -> None:
        draws = random.Random(number)
        await asyncio.sleep(draws.uniform(0, 10))
        async with httpx.AsyncClient(limits=limits, timeout=60, headers=cookie) as client:
            page = f"{base}/events/event-{PLACE}"
            await ask(client, "page", page)
            await asyncio.gather(
                ask(client, "page", f"{page}/ground.geojson"), ask(client, "page", f"{base}/events")
            )
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                zoom, place = draws.choice(ZOOMS), draws.choice(places)
                beside = (place[0] + 0.7 * 360 / 2**zoom, place[1])
                asked = []
                for where in (place, beside):
                    tile = GRID.tile(*where, zoom)
                    picture = f"{base}/products/event-{PLACE}/after/tiles/WebMercatorQuad"
                    asked.append(ask(client, "landslides", landslide_tile(base, where, zoom)))
                    if abs(where[0] - (142.65 + offset(PLACE)[0])) < 0.9:
                        asked.append(
                            ask(client, "picture", f"{picture}/{zoom}/{tile.x}/{tile.y}.webp")
                        )
                await asyncio.gather(*asked)
                await asyncio.sleep(draws.uniform(0.5 * LOOK_S, 1.5 * LOOK_S))

    began = time.monotonic()
    await asyncio.gather(*(viewer(number) for number in range(VIEWERS)))
    asked = sum(len(one) for one in took.values())
    return {
        "viewers": VIEWERS,
        "answers": asked,
        "answers_per_s": round(asked / (time.monotonic() - began), 1),
        **{
            f"{kind}_p{share}_ms": round(float(np.percentile(one, share)), 1)
            for kind, one in took.items()
            for share in (50, 95)
        },
    }


if __name__ == "__main__":
    os.environ.pop("SCARP_DATABASE_URL", None)
    main()

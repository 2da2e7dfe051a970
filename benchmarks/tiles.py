"""Vector tiles of the service at a million landslides: how long and how large, zoom by zoom.

A private cluster is filled with 200 events of 5,000 landslides each over 12 by 12 degrees, and
`scarp serve`'s application answers over HTTP on loopback. Tiles asked for are those that hold a
landslide drawn at random, so none is empty. `python benchmarks/tiles.py [--json] [--landslides N]`
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from morecantile import tms
from record import machine, write
from sqlalchemy import Connection, Engine, text

from console.service.app import create_app
from infra import postgres
from infra.ports import free_port
from infra.roles import role_url
from infra.schema import open_engine
from infra.settings import Settings

EVENTS = 200
ZOOMS = range(8, 15)
TILES = 60
LANDSLIDES = 1_000_000

_EVENTS = """
INSERT INTO scarp.event (id, kind, title, occurred_at, point, source, source_version)
SELECT 'event-' || n, 'earthquake', 'Event ' || n, now(), centre, 'benchmark', ''
FROM (SELECT n, ST_SetSRID(ST_MakePoint(130 + 12 * random(), 32 + 12 * random()), 4326) AS centre
      FROM generate_series(1, :events) AS n) AS centres
"""
_AOIS = """
INSERT INTO scarp.aoi (event_id, how, geom, area_km2)
SELECT id, 'given', ST_Multi(ST_Expand(point, 0.4)), 7000 FROM scarp.event
"""
_RUNS = """
INSERT INTO scarp.run (id, event_id, flow, digest, inputs, parameters, weights_digest, code_commit)
SELECT gen_random_uuid(), id, 'benchmark', id, '{}', '{}', '', '' FROM scarp.event
"""
_INVENTORIES = """
INSERT INTO scarp.inventory (id, event_id, version, run_id, digest, method,
    minimum_mapping_unit_m2, observed, observed_km2, scene_ids, landslide_count, area_m2, doubts,
    licence, attribution)
SELECT gen_random_uuid(), run.event_id, 1, run.id, run.digest, 'imported', 0, aoi.geom, 7000, '{}',
    :each, 0, '[]', '', ''
FROM scarp.run JOIN scarp.aoi USING (event_id)
"""
# Lengths and areas of the distribution of Malamud et al. 2004, near enough: a power-law tail.
_LANDSLIDES = """
INSERT INTO scarp.landslide (inventory_id, number, kind, geom, area_m2, perimeter_m, review_state,
    score_mean, slope_mean_deg, volume_m3)
SELECT inventory_id, number, 'landslide',
    ST_Multi(ST_Buffer(ST_Translate(point, spread * cos(turn), spread * sin(turn)), radius / 1e5,
        'quad_segs=4')),
    pi() * radius ^ 2, 2 * pi() * radius, 'unreviewed', random(), 40 * random(), radius ^ 3
FROM (
    SELECT inventory.id AS inventory_id, number, event.point, 2 * pi() * random() AS turn,
        0.15 * sqrt(-2 * ln(1 - random())) AS spread, 12 * (1 - random()) ^ (-1 / 2.8) AS radius
    FROM scarp.inventory JOIN scarp.event ON event.id = inventory.event_id,
        generate_series(1, :each) AS number
) AS drawn
"""

_INSIDE = "SELECT count(*) FROM scarp.landslide WHERE geom && ST_MakeEnvelope(:w, :s, :e, :n, 4326)"


def main() -> None:
    """Fill, serve, ask, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="write benchmarks/results/tiles.json")
    parser.add_argument("--landslides", type=int, default=LANDSLIDES)
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="scarp-tiles-"))
    home.chmod(0o755)
    try:
        settings = Settings(home=home, database_url=None)
        engine = open_engine(settings)
        fill(engine, asked.landslides // EVENTS)
        rows = measure(settings, engine, home)
        engine.dispose()
    finally:
        postgres.stop(home, force=True)
        shutil.rmtree(home)
    for row in rows:
        print(
            f"z{row['zoom']:<3} p50 {row['p50_ms']:6.1f} ms   p95 {row['p95_ms']:6.1f} ms   "
            f"largest {row['largest_kb']:6.1f} kB   most landslides {row['most_landslides']}"
        )
    if asked.json:
        asked_for = {"landslides": asked.landslides, "events": EVENTS}
        write("tiles", machine() | asked_for | {"zooms": rows})


def fill(engine: Engine, each: int) -> None:
    """Put the events and their landslides into an empty store, and publish them."""
    with engine.begin() as connection:
        connection.execute(text("SELECT setseed(0.5)"))
        connection.execute(text(_EVENTS), {"events": EVENTS})
        for statement in (_AOIS, _RUNS):
            connection.execute(text(statement))
        connection.execute(text(_INVENTORIES), {"each": each})
        connection.execute(text(_LANDSLIDES), {"each": each})
        publish = "UPDATE scarp.inventory SET status = 'published', published_at = now()"
        connection.execute(text(publish))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def measure(settings: Settings, engine: Engine, home: Path) -> list[dict[str, Any]]:
    """Ask the service for tiles at every zoom, one after the other."""
    port = free_port()
    app = create_app(role_url(settings, "reader"), lambda event_id: home / event_id)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    try:
        with engine.connect() as connection, httpx.Client(timeout=60) as client:
            base = f"http://127.0.0.1:{port}/collections/scarp.v_landslides/tiles/WebMercatorQuad"
            return [_zoom(connection, client, base, zoom) for zoom in ZOOMS]
    finally:
        server.should_exit = True
        thread.join()


def _zoom(connection: Connection, client: httpx.Client, base: str, zoom: int) -> dict[str, Any]:
    grid = tms.get("WebMercatorQuad")
    places = connection.execute(
        text(
            "SELECT ST_X(ST_Centroid(geom)), ST_Y(ST_Centroid(geom)) FROM scarp.landslide "
            "WHERE id IN (SELECT (random() * (SELECT max(id) FROM scarp.landslide))::bigint "
            "FROM generate_series(1, :some)) LIMIT :some"
        ),
        {"some": TILES},
    ).all()
    took, sizes, most = [], [], 0
    client.get(f"{base}/{zoom}/0/0")
    for longitude, latitude in places:
        tile = grid.tile(longitude, latitude, zoom)
        box = grid.bounds(tile)
        started = time.perf_counter()
        answer = client.get(f"{base}/{zoom}/{tile.x}/{tile.y}")
        took.append(1000 * (time.perf_counter() - started))
        answer.raise_for_status()
        sizes.append(len(answer.content) / 1000)
        corners = {"w": box.left, "s": box.bottom, "e": box.right, "n": box.top}
        most = max(most, int(connection.scalar(text(_INSIDE), corners) or 0))
    return {
        "zoom": zoom,
        "tiles": len(took),
        "p50_ms": float(np.percentile(took, 50)),
        "p95_ms": float(np.percentile(took, 95)),
        "largest_kb": float(max(sizes)),
        "most_landslides": most,
    }


if __name__ == "__main__":
    os.environ.pop("SCARP_DATABASE_URL", None)
    main()

"""The store under a million landslides: loading, asking, publishing, comparing, and being killed.

    python benchmarks/inventory.py ../shared/data/hokkaido2018 [--landslides 1000000] [--json]

Real outlines (the Hokkaido scars) are laid out around the world, 5,000 an event, in a private
cluster of its own with its usual settings. Questions are asked as `scarp_reader`. The first half of
the events is loaded by one writer, the second by two at once. Writes results/inventory.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.synchronize import Event as Signal
from pathlib import Path
from typing import Any
from uuid import UUID

import geopandas as gpd
import numpy as np
import shapely
from record import machine, write
from shapely.geometry import MultiPolygon, box
from sqlalchemy import URL, Engine, create_engine, inspect, text

from infra import postgres
from infra.clients import dump, restore
from infra.roles import role_url
from infra.schema import database_url, open_engine, parse_url
from infra.settings import Settings
from tasks.events.registry import register
from tasks.inventory.compare import difference
from tasks.inventory.runs import start_run
from tasks.inventory.store import StoredInventory, read_reviewed, store_inventory
from tasks.mapping.attributes import measure
from tasks.types import AreaOfInterest, Event, Provenance

PER_EVENT = 5_000
VERSION = 20_000
QUESTIONS = 200
KILLED = ("writer", "server", "both")
STEP_DEG = 4.0
LINE_DEG = 0.05
FORK = multiprocessing.get_context("fork")


def measured_scars(data: Path) -> gpd.GeoDataFrame:
    """The scars of Hokkaido with their measures."""
    scars = gpd.read_file(data / "inventory.gpkg", layer="scars")[["geometry"]]
    about = {"kind": "scar", "score_mean": 0.75, "confidence": 0.6, "scene_id": "S2A_20180920"}
    return measure(scars.assign(**about, acquired_at=datetime(2018, 9, 20, tzinfo=UTC)))


def elsewhere(scars: gpd.GeoDataFrame, count: int, place: int, jitter: float) -> gpd.GeoDataFrame:
    """So many scars moved to the place of an event; more than there are go beside, 0.4° on."""
    rows = scars.iloc[np.arange(count) % len(scars)].reset_index(drop=True)
    outlines = rows.geometry.to_numpy()
    east, north = offset(place)
    beside = 0.4 * (np.arange(count) // len(scars))
    moved = np.random.default_rng(place).normal(0, jitter, (count, 2)) if jitter else 0.0
    shift = np.c_[east + beside, np.full(count, north)] + moved
    corners, owners = shapely.get_coordinates(outlines, return_index=True)
    return rows.set_geometry(shapely.set_coordinates(outlines.copy(), corners + shift[owners]))


def offset(place: int) -> tuple[float, float]:
    """Where an event lies from Hokkaido: a grid over the lands and seas between 60° N and S."""
    return (place % 80) * STEP_DEG - 300, (place // 80) * STEP_DEG - 95


def begin(engine: Engine, place: int) -> tuple[str, UUID, MultiPolygon]:
    """Register the event of a place and open a run."""
    east, north = offset(place)
    area = MultiPolygon([box(141.7 + east, 42.4 + north, 143.6 + east, 43.0 + north)])
    event = Event(
        id=f"event-{place}",
        kind="earthquake",
        title=f"Event {place}",
        occurred_at=datetime(2018, 9, 5, tzinfo=UTC),
        longitude=142 + east,
        latitude=42.7 + north,
        magnitude=6.6,
    )
    with engine.begin() as connection:
        register(connection, event, AreaOfInterest(area, "given"))
        run_id = start_run(connection, Provenance(event.id, {}), "benchmark", None, "benchmark")
    return event.id, run_id, area


def publish(
    engine: Engine, about: tuple[str, UUID, MultiPolygon], slides: gpd.GeoDataFrame, digest: str
) -> tuple[StoredInventory, float]:
    """Store and publish one version; returns it and the seconds until it was committed."""
    event_id, run_id, observed = about
    began = time.perf_counter()
    with engine.begin() as connection:
        stored = store_inventory(
            connection,
            event_id=event_id,
            run_id=run_id,
            digest=digest,
            method="ldm-net@sha256:benchmark",
            threshold=0.5,
            minimum_mapping_unit_m2=0,
            observed=observed,
            landslides=slides,
            doubts=[],
            publish=True,
        )
    return stored, time.perf_counter() - began


def load(settings: Settings, scars: gpd.GeoDataFrame, places: range) -> float:
    """Store one version an event; returns the seconds spent storing."""
    engine = open_engine(settings)
    seconds = 0.0
    for place in places:
        about = begin(engine, place)
        seconds += publish(engine, about, elsewhere(scars, PER_EVENT, place, 0), "one")[1]
    engine.dispose()
    return seconds


def load_two_at_once(settings: Settings, scars: gpd.GeoDataFrame, places: range) -> float:
    """The same by two processes; returns the seconds from start to end, outlines made included."""
    halves = [places[::2], places[1::2]]
    writers = [FORK.Process(target=load, args=(settings, scars, half)) for half in halves]
    began = time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    if any(writer.exitcode for writer in writers):
        raise SystemExit("a writer failed")
    return time.perf_counter() - began


def ask(reader: Engine, events: int) -> dict[str, Any]:
    """Put each question many times at random places; milliseconds, rows and indexes used."""
    dice = random.Random(0)
    questions: dict[str, Callable[[float, float], str]] = {
        "bbox and event": lambda x, y: (
            f"geom && ST_MakeEnvelope({x}, {y}, {x + 0.05}, {y + 0.05}, 4326)"
        ),
        "within 500 m of a line": lambda x, y: (
            f"scarp.near(geom, 'SRID=4326;LINESTRING({x} {y}, {x + LINE_DEG} {y + LINE_DEG})', 500)"
        ),
    }
    answers = {}
    for name, where in questions.items():
        took, rows = [], []
        for _ in range(QUESTIONS):
            place = dice.randrange(events)
            east, north = offset(place)
            x, y = dice.uniform(141.85, 142.05) + east, dice.uniform(42.6, 42.8) + north
            query = (
                "SELECT landslide_id, area_m2, review_state, ST_AsBinary(geom) "
                f"FROM scarp.v_landslides WHERE event_id = 'event-{place}' AND {where(x, y)}"
            )
            with reader.connect() as connection:
                began = time.perf_counter()
                rows.append(len(connection.execute(text(query)).all()))
                took.append(1000 * (time.perf_counter() - began))
        with reader.connect() as connection:
            plan = "\n".join(connection.scalars(text(f"EXPLAIN {query}")))
        answers[name] = {
            "p50_ms": round(float(np.percentile(took, 50)), 2),
            "p95_ms": round(float(np.percentile(took, 95)), 2),
            "rows_mean": round(float(np.mean(rows)), 1),
            "spatial_index_used": "landslide_geom_idx" in plan,
        }
    return answers


def compare(engine: Engine, stored: list[StoredInventory]) -> dict[str, Any]:
    """Read two versions back and tell them apart."""
    began = time.perf_counter()
    with engine.connect() as connection:
        before, after = (read_reviewed(connection, one.id) for one in stored)
    read = time.perf_counter()
    found = difference(before, after, stored[0].observed & stored[1].observed)
    return {
        "read_s": round(read - began, 2),
        "diff_s": round(time.perf_counter() - read, 2),
        "changes": {name: [one.before, one.after] for name, one in found.tallies.items()},
    }


def survive(settings: Settings, scars: gpd.GeoDataFrame, place: int, loads: int) -> dict[str, Any]:
    """Kill writer, server or both in turn at random moments of loads; count what is not whole."""
    engine = open_engine(settings)
    about = begin(engine, place)
    slides = elsewhere(scars, PER_EVENT, place, 0)
    _, usual = publish(engine, about, slides, "unharmed")
    dice = random.Random(1)
    nothing_yet = {"stored whole": 0, "nothing stored": 0, "partial or doubled": 0}
    ends: dict[str, Any] = {target: dict(nothing_yet) for target in KILLED}
    for number in range(loads):
        engine.dispose()
        ready = FORK.Event()
        told = (settings, about, slides, f"load {number}", ready)
        writer = FORK.Process(target=_write, args=told)
        writer.start()
        ready.wait()
        time.sleep(dice.uniform(0, 1.3 * usual))
        target = KILLED[number % len(KILLED)]
        if target != "writer":
            server = postgres.status(settings.home).pid
            if server is None:
                raise SystemExit("there is no server to kill")
            os.kill(server, signal.SIGKILL)
        if target != "server":
            writer.kill()
        writer.join()
        engine = open_engine(settings)
        first = _whole(engine, about[0], f"load {number}")
        publish(engine, about, slides, f"load {number}")
        again = _whole(engine, about[0], f"load {number}")
        sound = first in (0, PER_EVENT) and again == PER_EVENT
        end = "partial or doubled" if not sound else "stored whole" if first else "nothing stored"
        ends[target][end] += 1
    with engine.connect() as connection:
        published = (
            "SELECT count(*) FROM scarp.inventory WHERE event_id = :id AND status = 'published'"
        )
        ends["published at the end"] = connection.scalar(text(published), {"id": about[0]})
    engine.dispose()
    return ends


def _write(
    settings: Settings,
    about: tuple[str, UUID, MultiPolygon],
    slides: gpd.GeoDataFrame,
    digest: str,
    ready: Signal,
) -> None:
    # What the killed server's client has to say is not of interest.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    engine = open_engine(settings)
    ready.set()
    publish(engine, about, slides, digest)


def _whole(engine: Engine, event_id: str, digest: str) -> int:
    """Landslides of a load; -1 where the inventory counts others than it has."""
    query = text(
        "SELECT inventory.landslide_count, count(landslide.id) FROM scarp.inventory "
        "LEFT JOIN scarp.landslide ON landslide.inventory_id = inventory.id "
        "WHERE event_id = :id AND inventory.digest = :digest GROUP BY inventory.id"
    )
    with engine.connect() as connection:
        rows = connection.execute(query, {"id": event_id, "digest": digest}).all()
    if not rows:
        return 0
    ((said, found),) = rows
    return int(found) if said == found else -1


def round_trip(settings: Settings) -> dict[str, Any]:
    """Dump the store, drop it, restore it, and compare every row of every table."""
    url, path = parse_url(database_url(settings)), settings.home / "all.dump"
    shown = url.render_as_string(hide_password=False)
    before = fingerprints(url)
    began = time.perf_counter()
    dump(shown, path)
    dumped = time.perf_counter()
    owner = create_engine(url)
    with owner.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
    owner.dispose()
    emptied = time.perf_counter()
    restore(shown, path)
    return {
        "dump_s": round(dumped - began, 1),
        "restore_s": round(time.perf_counter() - emptied, 1),
        "dump_mb": round(path.stat().st_size / 1e6),
        "rows": sum(rows for rows, _ in before.values()),
        "identical": fingerprints(url) == before,
    }


def fingerprints(url: URL) -> dict[str, tuple[int, int]]:
    """Rows of each table, and the sum of their hashes, which no order changes."""
    engine = create_engine(url)
    with engine.connect() as connection:
        names = inspect(connection).get_table_names("scarp")
        counted = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)"
        found = {
            name: tuple(connection.execute(text(f"{counted} FROM scarp.{name} AS t")).one())
            for name in names
        }
    engine.dispose()
    return found


def main() -> None:
    """Build the world, measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of Hokkaido's inventory.gpkg")
    parser.add_argument("--landslides", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="print the record and nothing else")
    chosen = parser.parse_args()
    events = chosen.landslides // PER_EVENT
    record: dict[str, Any] = {"machine": machine(), "landslides": chosen.landslides}
    scars = measured_scars(chosen.data)
    with tempfile.TemporaryDirectory(prefix="scarp-inventory-") as folder:
        Path(folder).chmod(0o755)
        settings = Settings(home=Path(folder), database_url=None)
        open_engine(settings).dispose()
        try:
            record |= measure_all(settings, scars, events, chosen.kills)
        finally:
            postgres.stop(settings.home, force=True)
    path = write("inventory", record)
    print(
        json.dumps(record, indent=2) if chosen.json else f"{json.dumps(record, indent=2)}\n{path}"
    )


def measure_all(
    settings: Settings, scars: gpd.GeoDataFrame, events: int, kills: int
) -> dict[str, Any]:
    """Everything the record holds, in the order a store lives through it."""
    half = events // 2
    one = load(settings, scars, range(half))
    two = load_two_at_once(settings, scars, range(half, events))
    engine = open_engine(settings)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        size = connection.scalar(text("SELECT pg_total_relation_size('scarp.landslide')"))
    reader = create_engine(parse_url(role_url(settings, "reader")))
    record: dict[str, Any] = {
        "events": events,
        "corners_mean": round(float(shapely.get_num_coordinates(scars.geometry).mean()), 1),
        "table_and_indexes_mb": round(size / 1e6),
        "load_per_s": {
            "one writer, storing alone": round(half * PER_EVENT / one),
            "two writers, all included": round((events - half) * PER_EVENT / two),
        },
        "questions": ask(reader, events),
    }
    reader.dispose()
    about = begin(engine, events)
    versions = []
    for number in range(3):
        # Each version lacks other landslides and outlines the rest a few metres off.
        slides = elsewhere(scars, VERSION * 20 // 19, events, number * 2e-5)
        slides = slides[slides.index % 20 != number].head(VERSION)
        versions.append(publish(engine, about, slides, f"version {number}"))
    record["publish_20000_s"] = [round(seconds, 2) for _, seconds in versions]
    record["diff_20000"] = compare(engine, [stored for stored, _ in versions[1:]])
    engine.dispose()
    record["dump_and_restore"] = round_trip(settings)
    record["kills"] = survive(settings, scars, events + 1, kills)
    return record


if __name__ == "__main__":
    main()

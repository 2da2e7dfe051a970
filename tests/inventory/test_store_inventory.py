"""Inventories in a true PostGIS: versions, publishing, and what the schema itself refuses."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import LineString, MultiPolygon, Polygon, box
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

from infra.errors import DatabaseError
from tasks.errors import EventError, InventoryError, StoreError
from tasks.events.registry import register
from tasks.inventory.importing import read_area_file, read_inventory_file, store_import
from tasks.inventory.runs import start_run
from tasks.inventory.store import (
    find_inventory,
    get_inventory,
    list_inventories,
    read_landslides,
    read_screened,
    store_inventory,
)
from tasks.types import (
    AreaOfInterest,
    Doubt,
    Event,
    Provenance,
    Screening,
    geodesic_area_m2,
)
from tests.conftest import DATA

REFERENCE = DATA / "hokkaido2018" / "inventory.gpkg"
HOKKAIDO = Event(
    id="us2000h8ty",
    kind="earthquake",
    title="M 6.6 - Hokkaido Eastern Iburi",
    occurred_at=datetime(2018, 9, 5, 18, 7, 59, tzinfo=UTC),
    longitude=142.01,
    latitude=42.69,
    magnitude=6.6,
)
AREA = MultiPolygon([box(141.9, 42.6, 142.1, 42.8)])


def slides(count=3):
    corners = 142 + np.arange(count) / 1000
    outlines = [box(x, 42.7, x + 0.0005, 42.7005) for x in corners]
    return gpd.GeoDataFrame({"score_mean": [0.75] * count}, geometry=outlines, crs=4326)


@pytest.fixture
def run_id(engine):
    with engine.begin() as connection:
        register(connection, HOKKAIDO, AreaOfInterest(AREA, "given"))
        return start_run(connection, Provenance(HOKKAIDO.id, {"a": "b"}), "test", None, "c0ffee")


def store(connection, run_id, digest="one", **changes):
    arguments = {
        "event_id": HOKKAIDO.id,
        "run_id": run_id,
        "digest": digest,
        "method": "ldm-net@sha256:0123",
        "threshold": 0.5,
        "minimum_mapping_unit_m2": 300.0,
        "observed": AREA,
        "landslides": slides(),
        "doubts": [Doubt("old-scene", "taken 40 days after the event")],
        "publish": True,
    }
    return store_inventory(connection, **(arguments | changes))


def counts(engine):
    with engine.connect() as connection:
        return tuple(
            connection.scalar(text(f"SELECT count(*) FROM scarp.{table}"))
            for table in ("inventory", "landslide")
        )


def test_what_is_stored_comes_back(engine, run_id):
    given = slides().assign(
        kind="scar",
        slope_mean_deg=[30.0, np.nan, 12.5],
        scene_id=["s1", None, "s'2\"\t\\N"],
        amalgamated=[True, False, None],
        acquired_at=[datetime(2018, 9, 20, tzinfo=UTC), None, None],
    )
    with engine.begin() as connection:
        stored = store(connection, run_id, landslides=given, licence="CC BY 4.0")
    with engine.connect() as connection:
        assert get_inventory(connection, HOKKAIDO.id) == stored
        back = read_landslides(connection, stored.id)
    assert back.geometry.geom_equals(given.geometry).all()
    assert back["slope_mean_deg"].tolist()[::2] == [30.0, 12.5] and np.isnan(back.slope_mean_deg[1])
    assert back["scene_id"].dropna().tolist() == ["s1", "s'2\"\t\\N"]
    assert back["amalgamated"].isna().tolist() == [False, False, True]
    assert back["acquired_at"][0] == given["acquired_at"][0]
    assert set(back["kind"]) == {"scar"}
    assert stored.area_m2 == pytest.approx(sum(map(geodesic_area_m2, given.geometry)))
    assert stored.observed.equals(AREA) and stored.doubts[0].code == "old-scene"


def test_the_same_digest_is_stored_once(engine, run_id):
    with engine.begin() as connection:
        first = store(connection, run_id)
        assert store(connection, run_id) == first
        assert find_inventory(connection, HOKKAIDO.id, "one") == first
        assert find_inventory(connection, HOKKAIDO.id, "two") is None
    assert counts(engine) == (1, 3)


def test_an_inventory_that_found_nothing_is_a_success(engine, run_id):
    with engine.begin() as connection:
        stored = store(connection, run_id, landslides=slides(0))
        assert (stored.landslide_count, stored.area_m2, stored.status) == (0, 0.0, "published")
        assert len(read_landslides(connection, stored.id)) == 0


def test_columns_have_their_types_whatever_is_known_in_them(engine, run_id):
    with engine.begin() as connection:
        some = store(connection, run_id, "some", landslides=slides().assign(body=[7, None, 7]))
        none = store(connection, run_id, "none", landslides=slides(0))
        back, empty = (read_landslides(connection, one.id) for one in (some, none))
    assert back["body"].isna().tolist() == [False, True, False]
    assert str(back["body"].dtype) == "Int64"
    wanted = back.dtypes[["number", "body", "area_m2", "amalgamated", "acquired_at"]]
    assert empty.dtypes[wanted.index].equals(wanted)


def test_publishing_supersedes_the_version_before_and_a_draft_does_not(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, "one")
        store(connection, run_id, "two")
        draft = store(connection, run_id, "three", publish=False)
        versions = list_inventories(connection, HOKKAIDO.id)
        assert get_inventory(connection, HOKKAIDO.id).version == 2
        assert get_inventory(connection, HOKKAIDO.id, 3) == draft
    assert [(one.version, one.status) for one in versions] == [
        (1, "superseded"),
        (2, "published"),
        (3, "draft"),
    ]


def test_a_draft_stored_again_to_be_published_is_published(engine, run_id):
    with engine.begin() as connection:
        draft = store(connection, run_id, publish=False)
        published = store(connection, run_id, publish=True)
    assert (draft.status, published.status) == ("draft", "published")
    assert (published.id, published.version) == (draft.id, 1)


def test_an_observed_area_that_crosses_itself_is_refused(engine, run_id):
    with engine.begin() as connection, pytest.raises(InventoryError, match="observed area is not"):
        store(connection, run_id, observed=MultiPolygon([BOWTIE]))


def test_what_was_screened_is_kept_with_its_reason_and_is_no_landslide(engine, run_id):
    set_aside = slides().assign(
        screened_by=[None, "slope", None], screen_reason=[None, "mean slope 3.2° < 5°", None]
    )
    asked = Screening("slope", "mean slope below 5°", set_aside=1)
    with engine.begin() as connection:
        stored = store(connection, run_id, landslides=set_aside, screens=[asked])
        kept = read_landslides(connection, stored.id)
        screened = read_screened(connection, stored.id)
        shown = connection.scalars(text("SELECT number FROM scarp.v_landslides")).all()
        every = connection.scalars(text("SELECT number FROM scarp.v_landslides_all")).all()
        apart = connection.execute(text("SELECT number, screened_by FROM scarp.v_screened")).all()
        view = connection.scalar(text("SELECT screens FROM scarp.v_inventories"))
    assert stored.screens == (asked,) and view[0]["asked"] == asked.asked
    assert (stored.landslide_count, kept["number"].tolist()) == (2, [1, 3])
    assert stored.area_m2 == pytest.approx(kept["area_m2"].sum())
    assert "screened_by" not in kept
    assert screened["screen_reason"].tolist() == ["mean slope 3.2° < 5°"]
    assert (sorted(shown), sorted(every), apart) == ([1, 3], [1, 3], [(2, "slope")])


def test_a_screen_without_a_reason_is_refused(engine, run_id):
    silent = slides().assign(screened_by=["slope", None, None])
    with engine.begin() as connection, pytest.raises(InventoryError, match="screened"):
        store(connection, run_id, landslides=silent)


def test_analysts_see_the_published_landslides_only(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, "one", landslides=slides(3))
        store(connection, run_id, "two", landslides=slides(2))
        store(connection, run_id, "three", landslides=slides(5), publish=False)
        seen = connection.execute(text("SELECT version, kind FROM scarp.v_landslides")).all()
        every = connection.scalar(text("SELECT count(*) FROM scarp.v_landslides_all"))
        event = connection.execute(text("SELECT * FROM scarp.v_events")).one()
    assert [tuple(row) for row in seen] == [(2, "landslide")] * 2
    assert every == 10
    assert (event.published_version, event.landslide_count) == (2, 2)


ANOTHER = (
    "INSERT INTO scarp.landslide (inventory_id, number, kind, geom, area_m2, perimeter_m) "
    "SELECT inventory_id, 99, kind, geom, area_m2, perimeter_m FROM scarp.landslide LIMIT 1"
)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE scarp.inventory SET threshold = 0.1",
        "UPDATE scarp.inventory SET status = 'draft', published_at = NULL",
        "UPDATE scarp.inventory SET status = 'superseded', superseded_at = now(), method = 'other'",
        "DELETE FROM scarp.inventory",
        "TRUNCATE scarp.inventory CASCADE",
        "TRUNCATE scarp.landslide",
        "DELETE FROM scarp.landslide WHERE number = 1",
        "UPDATE scarp.landslide SET area_m2 = area_m2 + 1 WHERE number = 1",
        "UPDATE scarp.landslide SET geom = ST_Translate(geom, 0.1, 0)",
        "UPDATE scarp.landslide SET review_state = 'confirmed', reviewed_at = now()",
        ANOTHER,
    ],
)
def test_what_is_published_cannot_be_changed(engine, run_id, statement):
    with engine.begin() as connection:
        store(connection, run_id)
    with pytest.raises(IntegrityError, match="immutable|published|evidence"):  # noqa: SIM117
        with engine.begin() as connection:
            connection.execute(text(statement))
    assert counts(engine) == (1, 3)


def test_a_draft_can_be_thrown_away(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, publish=False)
        connection.execute(text("DELETE FROM scarp.inventory"))
    assert counts(engine) == (0, 0)


def test_two_published_versions_of_one_event_cannot_stand(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, "one")
        store(connection, run_id, "two", publish=False)
    publish = "UPDATE scarp.inventory SET status = 'published', published_at = now()"
    with pytest.raises(IntegrityError, match="inventory_one_published_idx"):  # noqa: SIM117
        with engine.begin() as connection:
            connection.execute(text(f"{publish} WHERE version = 2"))


def test_a_draft_is_not_published_while_another_adds_to_it_nor_with_more_than_it_says(
    engine, run_id
):
    with engine.begin() as connection:
        store(connection, run_id, publish=False)
    publish = text("UPDATE scarp.inventory SET status = 'published', published_at = now()")
    with engine.begin() as one:
        one.execute(text(ANOTHER))
        with pytest.raises(OperationalError, match="lock timeout"), engine.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            other.execute(publish)
    with pytest.raises(IntegrityError, match="says 3 landslides and holds 4"):  # noqa: SIM117
        with engine.begin() as other:
            other.execute(publish)


def test_an_inventory_begins_as_a_draft(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, publish=False)
    columns = "id, event_id, version, run_id, digest, method, minimum_mapping_unit_m2, observed"
    columns += ", observed_km2, scene_ids, landslide_count, area_m2, doubts, licence, attribution"
    given = columns.replace("id,", "gen_random_uuid(),", 1).replace("version", "2", 1)
    given = given.replace("digest", "'two'")
    born = f"INSERT INTO scarp.inventory ({columns}, status, published_at) SELECT {given}, "
    with pytest.raises(IntegrityError, match="draft first"), engine.begin() as connection:
        connection.execute(text(f"{born} 'published', now() FROM scarp.inventory"))


BOWTIE = Polygon([(142, 42.7), (142.01, 42.71), (142.01, 42.7), (142, 42.71)])


@pytest.mark.parametrize(
    ("landslides", "complaint"),
    [
        (slides().to_crs(32654), "EPSG:4326"),
        (slides().set_crs(None, allow_override=True), "no CRS"),
        (slides().set_geometry([BOWTIE, *slides().geometry[1:]]), "landslide 1 of 3 .*itself"),
        (slides().set_geometry([*slides().geometry[:2], Polygon()]), "landslide 3 of 3 .*polygon"),
        (slides().set_geometry([None, *slides().geometry[1:]]), "landslide 1 of 3 is not a poly"),
        (slides(1).set_geometry([box(42, 142, 43, 143)]), "not on Earth"),
        (slides(1).set_geometry([LineString([(0, 0), (1, 1)])]), "is not a polygon"),
        (slides(1).set_geometry([Polygon([(0, 0, 1), (1, 0, 1), (1, 1, 1)])]), "heights"),
        (slides().assign(score_mean=[0.1, 1.5, 0.2]), "landslide_score_mean_check"),
        (slides().assign(area_m2=[1.0, 0.0, 1.0]), "landslide 2 of 3 .*no area"),
        (slides().assign(area_m2=[1.0, 1.0, np.nan]), "landslide 3 of 3 .*no area_m2"),
        (slides().assign(volume_m3=[1.0, -1.0, 1.0]), "landslide_volume_m3_check"),
        (slides().assign(kind="mudslide"), "landslide_kind_check"),
        (slides().assign(scene_id="a\0b"), "NUL"),
        (slides().assign(slope_mean_deg=np.inf), "landslide_slope_mean_deg_check"),
    ],
)
def test_a_frame_that_cannot_be_stored_says_why_and_leaves_nothing(
    engine, run_id, landslides, complaint
):
    with pytest.raises(InventoryError, match=complaint):  # noqa: SIM117
        with engine.begin() as connection:
            store(connection, run_id, landslides=landslides)
    assert counts(engine) == (0, 0)


def test_an_event_or_a_version_that_does_not_exist_says_what_does(engine, run_id):
    with engine.begin() as connection:
        with pytest.raises(InventoryError, match="no published inventory; `scarp respond"):
            get_inventory(connection, HOKKAIDO.id)
        store(connection, run_id, publish=False)
        with pytest.raises(
            InventoryError, match=r"no inventory version 7; it has version 1 \(draf"
        ):
            get_inventory(connection, HOKKAIDO.id, 7)
        with pytest.raises(EventError, match="'nowhere' is not registered"):
            get_inventory(connection, "nowhere")
        with pytest.raises(EventError, match="'nowhere' is not registered"):
            store(connection, run_id, event_id="nowhere")


def test_two_writers_of_one_event_take_turns(engine, run_id):
    versions = []

    def write(digest):
        with engine.begin() as connection:
            versions.append(store(connection, run_id, digest).version)

    writers = [threading.Thread(target=write, args=(f"digest {n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(versions) == [1, 2, 3, 4]
    with engine.connect() as connection:
        assert get_inventory(connection, HOKKAIDO.id).version == 4


def test_writers_of_two_events_do_not_wait_for_each_other(engine, run_id):
    with engine.begin() as connection:
        register(connection, replace(HOKKAIDO, id="aftershock"), AreaOfInterest(AREA, "given"))
    with engine.begin() as one, engine.begin() as other:
        other.execute(text("SET LOCAL lock_timeout = '5s'"))
        store(one, run_id)
        assert store(other, run_id, event_id="aftershock").version == 1
    assert counts(engine) == (2, 6)


KILLED = """
import sys, uuid
sys.path[:0] = [{tests!r}, {root!r}]
from sqlalchemy import create_engine
import test_store_inventory as test
import tasks.inventory.bulk as module

pieces = module._pieces
module.PIECE = 2000
def slowly(*arguments):
    for number, piece in enumerate(pieces(*arguments)):
        if number == 1:
            print("half way", flush=True)
            sys.stdin.read()
        yield piece
module._pieces = slowly
with create_engine({url!r}).begin() as connection:
    test.store(connection, uuid.UUID({run_id!r}), landslides=test.slides(4000))
"""


def test_a_writer_killed_half_way_leaves_nothing_and_the_next_one_goes_on(settings, engine, run_id):
    here = Path(__file__).parent
    script = KILLED.format(
        tests=str(here),
        root=str(here.parents[1]),
        url=engine.url.render_as_string(hide_password=False),
        run_id=str(run_id),
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"half way\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert counts(engine) == (0, 0)
    with engine.begin() as connection:
        assert store(connection, run_id, landslides=slides(4000)).version == 1
    assert counts(engine) == (1, 4000)


def test_the_hokkaido_reference_goes_in_and_comes_out_whole(engine, run_id):
    with engine.begin() as connection:
        store(connection, run_id, "automatic")
        imported = read_inventory_file(REFERENCE, "scars", "scar")
        stored = store_import(
            connection,
            event_id=HOKKAIDO.id,
            run_id=run_id,
            digest="reference",
            imported=imported,
            observed=read_area_file(REFERENCE, "interpreted_area"),
            attribution="K. Kita, GSI",
        )
        back = read_landslides(connection, stored.id)
        assert get_inventory(connection, HOKKAIDO.id).version == 1
    assert (stored.version, stored.method, stored.status) == (2, "imported", "draft")
    assert len(back) == 6116 and not stored.doubts
    area = sum(map(geodesic_area_m2, imported.landslides.geometry))
    assert back["area_m2"].sum() == pytest.approx(area, rel=1e-9)
    assert sum(map(geodesic_area_m2, back.geometry)) == pytest.approx(area, rel=1e-9)


def test_without_the_area_looked_at_an_import_carries_a_doubt(engine, run_id, tmp_path):
    slides().to_file(tmp_path / "slides.gpkg")
    with engine.begin() as connection:
        stored = store_import(
            connection,
            event_id=HOKKAIDO.id,
            run_id=run_id,
            digest="hull",
            imported=read_inventory_file(tmp_path / "slides.gpkg"),
            observed=None,
            elsewhere=1,
        )
    assert [doubt.code for doubt in stored.doubts] == ["partial-coverage", "outlines-elsewhere"]
    assert stored.doubts[1].text.startswith("1 of 3 outlines lie outside")
    assert stored.observed.covers(slides().union_all())


def test_a_server_lost_half_way_ends_in_one_sentence_and_leaves_nothing(engine, run_id):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';"
            "CREATE TRIGGER die BEFORE INSERT ON scarp.landslide FOR EACH ROW "
            "WHEN (NEW.number = 500) EXECUTE FUNCTION die()"
        )
    with pytest.raises((StoreError, DatabaseError), match="the database"):  # noqa: SIM117
        with engine.begin() as connection:
            store(connection, run_id, landslides=slides(1000))
    assert counts(engine) == (0, 0)

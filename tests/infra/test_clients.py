"""A store dumped and restored is the same store; a dump that is not whole changes nothing."""

import os
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import psycopg
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from infra import clients
from infra.errors import DatabaseError, SchemaError
from infra.schema import current_revision, open_engine, parse_url
from tasks.events.registry import find_event, list_events, register
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.types import AreaOfInterest, Event, Provenance

STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")


@pytest.fixture
def url(settings, engine):
    landslides = gpd.GeoDataFrame(geometry=[box(11.9, 44.2, 11.91, 44.21)], crs=4326)
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        store_inventory(
            connection,
            event_id=STORM.id,
            run_id=start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee"),
            digest="one",
            method="manual",
            threshold=None,
            minimum_mapping_unit_m2=0.0,
            observed=AREA.geometry,
            landslides=landslides,
            doubts=[],
            publish=True,
        )
    return settings.database_url


def rows(engine):
    with engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT t::text FROM scarp.{table} AS t")).all()
            for table in ("event", "aoi", "event_history", "run", "inventory", "landslide")
        ]


def test_what_was_dumped_comes_back(settings, engine, url, tmp_path):
    before = rows(engine)
    dump = clients.dump(url, tmp_path / "scarp.dump")
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
    clients.restore(url, dump)
    open_engine(settings).dispose()
    assert rows(engine) == before
    assert all(before)


def test_a_dump_that_cannot_be_written_says_why(url, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "x.dump", Path("/proc/x.dump"), Path()):
        with pytest.raises(DatabaseError, match=f"cannot dump to '?{path}"):
            clients.dump(url, path)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(DatabaseError, match=r"x\.dump: .*Read-only file system"):
        clients.dump(url, tmp_path / "nowhere" / "x.dump")


def test_a_restore_replaces_what_came_after_the_dump(engine, url, tmp_path):
    dump = clients.dump(url, tmp_path / "scarp.dump")
    with engine.begin() as connection:
        register(connection, Event(**vars(STORM) | {"id": "later"}), AREA)
    clients.restore(url, dump)
    with engine.connect() as connection:
        assert [known.event.id for known in list_events(connection)] == ["storm"]


def test_a_restored_store_still_guards_and_numbers_its_rows(engine, url, tmp_path):
    guards = text("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal")
    with engine.connect() as connection:
        before = connection.scalar(guards)
    clients.restore(url, clients.dump(url, tmp_path / "scarp.dump"))
    with engine.begin() as connection:
        assert register(connection, STORM, AREA) == "unchanged"
        register(connection, Event(**vars(STORM) | {"title": "Another name"}), AREA)
        history = connection.scalars(text("SELECT id FROM scarp.event_history ORDER BY id")).all()
        assert connection.scalar(guards) == before > 0
    assert history == [1, 2]


def test_a_torn_dump_changes_nothing(engine, url, tmp_path):
    dump = clients.dump(url, tmp_path / "scarp.dump")
    whole = dump.read_bytes()
    for size in (0, 100, len(whole) // 2):
        dump.write_bytes(whole[:size])
        with pytest.raises(DatabaseError, match=r"scarp\.dump is not a whole dump"):
            clients.restore(url, dump)
    with engine.connect() as connection:
        assert find_event(connection, "storm") == STORM


def test_a_restore_that_fails_at_its_last_step_changes_nothing(engine, url, tmp_path, monkeypatch):
    dump = clients.dump(url, tmp_path / "scarp.dump")
    with engine.begin() as connection:
        register(connection, Event(**vars(STORM) | {"id": "later"}), AREA)
    (tmp_path / "roles.sql").write_text("SELECT 1 / 0;")
    monkeypatch.setattr(clients, "ROLES_SQL", tmp_path / "roles.sql")
    with pytest.raises(DatabaseError, match="nothing was changed: .*division by zero"):
        clients.restore(url, dump)
    with engine.connect() as connection:
        assert {known.event.id for known in list_events(connection)} == {"storm", "later"}


def test_a_restore_does_not_wait_for_ever_for_somebody_who_reads(
    engine, url, tmp_path, monkeypatch
):
    dump = clients.dump(url, tmp_path / "scarp.dump")
    monkeypatch.setattr(clients, "LOCK_TIMEOUT", "-c lock_timeout=50ms")
    with engine.connect() as reader:
        find_event(reader, "storm")
        with pytest.raises(DatabaseError, match="nothing was changed: .*lock timeout"):
            clients.restore(url, dump)


def test_a_dump_of_a_newer_scarp_is_refused(engine, url, tmp_path):
    with engine.begin() as connection:
        connection.execute(text("UPDATE scarp.alembic_version SET version_num = '9999'"))
    dump = clients.dump(url, tmp_path / "scarp.dump")
    with engine.begin() as connection:
        connection.execute(text("UPDATE scarp.alembic_version SET version_num = '0001'"))
    with pytest.raises(SchemaError, match="schema 9999, newer than this Scarp"):
        clients.restore(url, dump)
    with engine.connect() as connection:
        assert current_revision(connection) == "0001"


def test_a_dump_of_another_database_is_refused(url, tmp_path):
    (tmp_path / "other.sql").write_text("SELECT 1;")
    with pytest.raises(DatabaseError, match=r"other\.sql is not a whole dump"):
        clients.restore(url, tmp_path / "other.sql")


def test_a_dump_that_cannot_be_written_leaves_no_file(url, tmp_path):
    with pytest.raises(DatabaseError, match=r"cannot dump to .*nowhere"):
        clients.dump(url, tmp_path / "nowhere" / "scarp.dump")
    with pytest.raises(DatabaseError, match=r"cannot dump to .*closed"):
        (tmp_path / "closed").mkdir()
        clients.dump(url, tmp_path / "closed")
    assert [path.name for path in tmp_path.iterdir()] == ["closed"]


def test_a_dump_takes_no_pipe_away_and_goes_where_a_link_leads(url, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatabaseError, match="pipe': name a file, such as"):
        clients.dump(url, tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "newest.dump").symlink_to("monday.dump")
    clients.dump(url, tmp_path / "newest.dump")
    assert (tmp_path / "newest.dump").is_symlink()
    assert (tmp_path / "monday.dump").read_bytes().startswith(b"PGDMP")


def test_a_password_goes_into_the_environment_and_not_on_the_command_line(url):
    with_password = parse_url(url).difference_update_query(["passfile"]).set(password="p@ss/w:rd")
    words, environment = clients.command("psql", with_password.render_as_string(False))
    assert environment["PGPASSWORD"] == "p@ss/w:rd"
    assert not any("p@ss" in word or "p%40ss" in word for word in words)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        psycopg.connect(words[-1], password=environment["PGPASSWORD"])

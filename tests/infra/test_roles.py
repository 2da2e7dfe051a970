"""Each role logs in to a true server and tries what it may and what it must not do."""

from datetime import UTC, datetime

import geopandas as gpd
import psycopg
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from infra.clients import dump, restore, without_password
from infra.errors import DatabaseError
from infra.roles import role_url
from infra.schema import parse_url
from infra.settings import Settings
from tasks.events.registry import register
from tasks.inventory.runs import finish_run, start_run
from tasks.inventory.store import get_inventory, store_inventory
from tasks.types import AreaOfInterest, Event, Provenance

STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")
VIEWS = ("events", "inventories", "landslides", "landslides_all", "observed_area", "reviews")
VIEWS += ("runs", "screened", "susceptibility", "decisions", "prior_maps")
NO_PRIVILEGE, GUARDED = "42501", "23000"
A_READER_MUST_NOT = [
    "SELECT * FROM scarp.landslide",
    "SELECT * FROM scarp.review",
    "SELECT * FROM scarp.alembic_version",
    "INSERT INTO scarp.v_observed_area (event_id) VALUES ('storm')",
    "UPDATE scarp.v_inventories SET method = 'mine'",
    "DELETE FROM scarp.v_inventories",
    "TRUNCATE scarp.event CASCADE",
    "CREATE TABLE scarp.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE OR REPLACE VIEW scarp.v_events AS SELECT 1",
    "DROP SCHEMA scarp CASCADE",
    "SET ROLE scarp_writer",
    "SET ROLE scarp_owner",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "SELECT pg_read_file('/etc/passwd')",
]
A_WRITER_MUST_NOT = [
    "DELETE FROM scarp.landslide",
    "DELETE FROM scarp.event",
    "TRUNCATE scarp.landslide",
    "UPDATE scarp.landslide SET area_m2 = 1",
    "UPDATE scarp.inventory SET method = 'other'",
    "UPDATE scarp.alembic_version SET version_num = '0001'",
    "ALTER TABLE scarp.landslide DISABLE TRIGGER ALL",
    "ALTER TABLE scarp.landslide DROP CONSTRAINT landslide_geom_valid_check",
    "DROP TABLE scarp.landslide CASCADE",
    "CREATE TABLE scarp.mine (a int)",
    "CREATE ROLE mine",
    "SET session_replication_role = replica",
    "SET ROLE scarp_owner",
]


def map_storm(engine):
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
        stored = store_inventory(
            connection,
            event_id=STORM.id,
            run_id=run_id,
            digest="one",
            method="manual",
            threshold=None,
            minimum_mapping_unit_m2=0,
            observed=AREA.geometry,
            landslides=gpd.GeoDataFrame(geometry=[box(11.9, 44.2, 11.91, 44.21)], crs=4326),
            doubts=[],
            publish=True,
        )
        finish_run(connection, run_id, "succeeded")
    return stored


@pytest.fixture
def log_in(cluster_home, settings, engine):
    """Connections to this test's database as a role, with the password of the role's own file."""
    database = parse_url(settings.database_url).database
    opened = []

    def connect(role):
        url = parse_url(role_url(Settings(home=cluster_home), role)).set(database=database)
        opened.append(create_engine(url))
        return opened[-1]

    yield connect
    for role_engine in opened:
        role_engine.dispose()


def refused(engine, statement):
    """The SQLSTATE with which a statement is refused."""
    with pytest.raises(DBAPIError) as refusal, engine.begin() as connection:
        connection.execute(text(statement))
    return refusal.value.orig.sqlstate


def test_a_reader_reads_every_view(engine, log_in):
    map_storm(engine)
    with log_in("reader").connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == "scarp_reader"
        for view in VIEWS:
            connection.execute(text(f"SELECT * FROM scarp.v_{view}")).all()
        near = "scarp.near(geom, 'SRID=4326;POINT(11.9049 44.205)', 500)"
        assert connection.scalar(text(f"SELECT count(*) FROM scarp.v_landslides WHERE {near}")) == 1


def test_a_reader_does_nothing_else(engine, log_in):
    map_storm(engine)
    reader = log_in("reader")
    answers = {statement: refused(reader, statement) for statement in A_READER_MUST_NOT}
    assert answers == dict.fromkeys(A_READER_MUST_NOT, NO_PRIVILEGE)


def test_a_writer_stores_and_publishes(log_in):
    writer = log_in("writer")
    stored = map_storm(writer)
    with writer.connect() as connection:
        assert get_inventory(connection, STORM.id) == stored


def test_a_writer_neither_deletes_nor_weakens_a_guard(engine, log_in):
    map_storm(engine)
    writer = log_in("writer")
    answers = {statement: refused(writer, statement) for statement in A_WRITER_MUST_NOT}
    assert set(answers.values()) == {NO_PRIVILEGE, GUARDED}, answers
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM scarp.v_landslides")) == 1


def test_roles_keep_their_rights_when_a_dump_is_restored(settings, engine, log_in, tmp_path):
    map_storm(engine)
    restore(settings.database_url, dump(settings.database_url, tmp_path / "scarp.dump"))
    with log_in("reader").connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM scarp.v_landslides")) == 1
    assert refused(log_in("reader"), "SELECT * FROM scarp.landslide") == NO_PRIVILEGE


def test_the_url_of_a_role_names_a_file_that_only_its_owner_reads(cluster_home):
    url = parse_url(role_url(Settings(home=cluster_home), "reader"))
    passfile = (cluster_home / "postgres" / "pgpass-reader").resolve()
    assert url.query["passfile"] == str(passfile)
    assert passfile.stat().st_mode & 0o777 == 0o600
    password = passfile.read_text().strip().split(":")[-1]
    assert password not in url.render_as_string(hide_password=False)
    assert role_url(Settings(home=cluster_home), "reader") == url.set(
        drivername="postgresql"
    ).render_as_string(hide_password=False)


def test_no_log_of_the_server_holds_the_password_of_a_role(cluster_home, engine):
    settings, log = Settings(home=cluster_home), cluster_home / "postgres" / "server.log"
    seen = len(log.read_bytes())
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER DATABASE scarp SET log_statement = 'ddl'"))
        role_url(settings, "reader")
        connection.execute(text("ALTER DATABASE scarp RESET log_statement"))
    logged = log.read_bytes()[seen:].decode()
    password = (cluster_home / "postgres" / "pgpass-reader").read_text().strip().split(":")[-1]
    assert "LOGIN PASSWORD" in logged and password not in logged


def test_on_a_server_of_ones_own_the_user_takes_the_role(settings):
    with psycopg.connect(without_password(role_url(settings, "reader"))) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("scarp_reader",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM scarp.landslide")


def test_a_user_who_may_not_take_the_role_is_told_what_to_have_run(settings, engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE newcomer LOGIN PASSWORD 'test'"))
        connection.execute(text("GRANT USAGE ON SCHEMA scarp TO newcomer"))
        connection.execute(text("GRANT SELECT ON scarp.alembic_version TO newcomer"))
    own = parse_url(settings.database_url).set(username="newcomer", password="test")
    url = own.difference_update_query(["passfile"]).render_as_string(hide_password=False)
    with pytest.raises(DatabaseError, match="newcomer can neither .*GRANT scarp_writer, scarp_rea"):
        role_url(Settings(database_url=url), "reader")
    with engine.begin() as connection:
        connection.execute(text("DROP OWNED BY newcomer"))
        connection.execute(text("DROP ROLE newcomer"))

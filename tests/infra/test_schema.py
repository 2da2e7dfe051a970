"""The schema: built by its migrations, equal to the code's tables, explained column by column."""

import multiprocessing
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import geopandas as gpd
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from shapely.geometry import MultiPolygon, box
from sqlalchemy import insert, text

import tasks.access.tables  # noqa: F401  joins the metadata
import tasks.imagery.tables  # noqa: F401
from infra.describe import describe_views
from infra.errors import DatabaseError, SchemaError
from infra.schema import (
    alembic_config,
    current_revision,
    known_revisions,
    migrate,
    open_engine,
    parse_url,
    upgrade,
)
from infra.settings import Settings
from tasks.events.registry import register
from tasks.inventory import tables
from tasks.inventory.review import Reviewer, confirm, reject
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.susceptibility.tables import susceptibility
from tasks.types import AreaOfInterest, Event, Provenance

DOCUMENT = Path(__file__).parents[2] / "docs" / "database.md"
STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = AreaOfInterest(MultiPolygon([box(11.8, 44.1, 12.0, 44.3)]), "given")
ENDS = ("", "_low", "_high")
COLUMNS = """
    SELECT relname AS relation, relkind AS kind, attname AS name,
        col_description(attrelid, attnum) AS words, obj_description(attrelid) AS relation_words
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'scarp'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0
        AND NOT attisdropped AND relname <> 'alembic_version'
    ORDER BY relname, attnum
"""


def columns(engine):
    with engine.connect() as connection:
        return connection.execute(text(COLUMNS)).all()


def test_times_are_in_utc_whatever_zone_the_server_is_in(engine, settings):
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        name = engine.url.database
        connection.execute(text(f"ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'"))
    engine.dispose()
    other = open_engine(settings)
    with other.connect() as connection:
        moment = connection.scalar(text("SELECT occurred_at FROM scarp.v_events"))
    other.dispose()
    assert f"{moment:%Y-%m-%d %H:%M}" == "2023-05-17 00:00"


def test_the_migrations_build_the_tables_the_code_uses(engine):
    with engine.connect() as connection:
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "scarp",
            "version_table_schema": "scarp",
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, tables.metadata) == []


def test_the_migrations_build_the_constraints_the_code_states(engine):
    constraints = text(
        "SELECT conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = 'scarp'::regnamespace"
    )
    with engine.connect() as connection:
        built = dict(connection.execute(constraints).all())
        command.downgrade(alembic_config(connection), "base")
        tables.metadata.create_all(connection)
        stated = dict(connection.execute(constraints).all())
        connection.rollback()
    assert stated == {name: words for name, words in built.items() if name in stated}
    assert {name for name in built.keys() - stated.keys() if name.endswith("_check")} == set()


def test_every_geometry_of_a_view_says_its_type(engine):
    silent = text(
        "SELECT f_table_name, f_geometry_column FROM geometry_columns "
        "WHERE f_table_schema = 'scarp' AND (type = 'GEOMETRY' OR srid <> 4326)"
    )
    with engine.connect() as connection:
        assert connection.execute(silent).all() == []


def test_every_table_view_and_column_is_explained(engine):
    silent = [row for row in columns(engine) if not row.words or not row.relation_words]
    assert silent == []


def test_the_document_explains_every_view_as_the_database_does(engine):
    with engine.connect() as connection:
        assert DOCUMENT.read_text().split("## The views\n\n")[1] == describe_views(connection)


def test_the_documents_questions_can_be_asked(engine):
    questions = re.search(r"```sql\n(.*?)```", DOCUMENT.read_text(), flags=re.S)
    assert questions
    statements = [part for part in questions[1].split(";\n") if part.strip()]
    assert len(statements) == 3
    with engine.connect() as connection:
        for statement in statements:
            assert connection.exec_driver_sql(statement).all() == []


def test_down_and_up_again_with_rows_in_place(engine):
    with engine.begin() as connection:
        register(connection, STORM, AREA)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "base")
        left = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'scarp'::regnamespace "
                "UNION SELECT proname FROM pg_proc WHERE pronamespace = 'scarp'::regnamespace"
            )
        )
        assert set(left) == {"alembic_version", "alembic_version_pkc"}
    migrate(engine)
    with engine.begin() as connection:
        assert register(connection, STORM, AREA) == "registered"


def test_without_screens_what_they_set_aside_goes_and_the_rest_stays(engine):
    run = Provenance(STORM.id, {})
    outlines = [box(11.9, 44.2, 11.91, 44.21), box(11.92, 44.2, 11.93, 44.21)]
    found = gpd.GeoDataFrame(
        {"length_m": 800.0, "length_axis": "downslope", "screened_by": [None, "slope"]},
        geometry=outlines,
        crs=4326,
    ).assign(screen_reason=[None, "too flat"])
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        store_inventory(
            connection,
            event_id=STORM.id,
            run_id=start_run(connection, run, "test", None, "c0ffee"),
            digest="one",
            method="manual",
            threshold=None,
            minimum_mapping_unit_m2=0,
            observed=AREA.geometry,
            landslides=found,
            doubts=[],
            publish=True,
        )
    count = text(
        "SELECT landslide_count, number FROM scarp.v_landslides JOIN scarp.v_inventories "
        "USING (inventory_id)"
    )
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0001")
        assert connection.execute(count).all() == [(1, 1)]
    migrate(engine)
    with engine.begin() as connection:
        assert connection.execute(count).all() == [(1, 1)]
        axis = text("SELECT length_axis FROM scarp.v_landslides")
        assert connection.scalar(axis) == "longest"


def test_without_reviews_what_was_confirmed_or_rejected_stays_so(engine):
    run = Provenance(STORM.id, {})
    outlines = [box(11.9 + x / 100, 44.2, 11.905 + x / 100, 44.21) for x in range(3)]
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        stored = store_inventory(
            connection,
            event_id=STORM.id,
            run_id=start_run(connection, run, "test", None, "c0ffee"),
            digest="one",
            method="manual",
            threshold=None,
            minimum_mapping_unit_m2=0,
            observed=AREA.geometry,
            landslides=gpd.GeoDataFrame(geometry=outlines, crs=4326),
            doubts=[],
            publish=True,
        )
        confirm(connection, stored.id, [1], Reviewer("ann"))
        reject(connection, stored.id, [2], Reviewer("bob"))
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0002")
    states = text("SELECT number, review_state, reviewed_by FROM scarp.v_landslides_all ORDER BY 1")
    known = [(1, "confirmed", "ann"), (2, "rejected", "bob"), (3, "unreviewed", None)]
    with engine.begin() as connection:
        assert connection.execute(states).all() == known
    migrate(engine)
    with engine.begin() as connection:
        assert connection.execute(states).all() == known
        stand = text("SELECT number FROM scarp.v_landslides ORDER BY 1")
        assert connection.scalars(stand).all() == [1, 3]
        confirm(connection, stored.id, [2], Reviewer("ann"))
        assert connection.scalars(stand).all() == [1, 2, 3]


def test_states_and_ids_survive_the_way_down_and_up(engine):
    quake = Event("one", "earthquake", "One", datetime(2024, 1, 1, tzinfo=UTC), 11.9, 44.2)
    with engine.begin() as connection:
        register(connection, replace(quake, alternate_ids=("us1", "EQ1")), AREA)
        register(connection, replace(quake, id="two", alternate_ids=("us2",)), AREA)
        register(connection, replace(quake, id="both", alternate_ids=("us2", "us1")), AREA)
    with engine.begin() as connection:
        command.downgrade(alembic_config(connection), "0003")
        known = text("SELECT event_id, state, alternate_ids FROM scarp.v_events ORDER BY 1")
        assert connection.execute(known).all() == [
            ("one", "active", ["us1", "EQ1", "two", "us2", "both"]),
            ("two", "cancelled", []),
        ]
    migrate(engine)
    with engine.connect() as connection:
        # Below, nothing says that the cancelled one was merged: it is an event of its own again.
        assert connection.execute(known).all() == [
            ("one", "registered", ["us1", "EQ1", "us2", "both"]),
            ("two", "cancelled", []),
        ]
    assert [row for row in columns(engine) if not row.words or not row.relation_words] == []


def test_maps_survive_the_way_down_and_up_but_for_those_carried_over(engine):
    with engine.begin() as connection:
        register(connection, STORM, AREA)
        run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
        inventory = store_inventory(
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
        for digest, inventory_id in (("own", inventory.id), ("carried", None)):
            connection.execute(
                insert(susceptibility).values(
                    id=uuid4(),
                    event_id=STORM.id,
                    inventory_id=inventory_id,
                    kind="carried" if inventory_id is None else "fitted",
                    run_id=run_id,
                    digest=digest,
                    path="map.tif",
                    factors=[],
                    sampling={},
                    model="rf",
                    roc={},
                    importance={},
                    doubts=[],
                    current=True,
                    **{f"auc_{of}{end}": 0.7 for of in ("spatial", "random") for end in ENDS},
                )
            )
    stored = text("SELECT digest, version, auc_spatial FROM scarp.v_susceptibility ORDER BY 1")
    with engine.begin() as connection:
        assert connection.execute(stored).all() == [("carried", None, 0.7), ("own", 1, 0.7)]
        command.downgrade(alembic_config(connection), "0004")
        assert connection.execute(stored).all() == [("own", 1, 0.7)]
        assert [row for row in columns(engine) if not row.words] == []
    migrate(engine)
    kinds = text("SELECT digest, kind, auc_gap FROM scarp.v_susceptibility")
    with engine.connect() as connection:
        assert connection.execute(kinds).all() == [("own", "fitted", 0.0)]


@pytest.mark.parametrize("latitude", [-80, -33, 0, 44, 89])
def test_near_is_distance_on_the_ellipsoid_whatever_the_place(engine, latitude):
    query = text(
        "WITH places AS (SELECT ST_SetSRID(ST_MakeLine("
        "ST_Point(20 + random(), :latitude + random() / 2),"
        "ST_Point(20 + 3 * random(), :latitude + random())), 4326) AS place"
        " FROM generate_series(1, 20)), "
        "geoms AS (SELECT ST_SetSRID(ST_Expand(ST_Point("
        "17 + 8 * random(), :latitude - 0.5 + 1.5 * random()), 0.001), 4326) AS geom"
        " FROM generate_series(1, 40)), "
        "asked AS (SELECT scarp.near(geom, place, :metres) AS near, "
        "ST_DWithin(geom::geography, place::geography, :metres) AS truth FROM places, geoms) "
        "SELECT count(*) FILTER (WHERE near <> truth), count(*) FROM asked"
    )
    with engine.connect() as connection:
        connection.execute(text("SELECT setseed(0.5)"))
        for metres in (0, 120, 5_000, 250_000):
            asked = {"latitude": latitude, "metres": metres}
            assert tuple(connection.execute(query, asked).one()) == (0, 800), metres


def test_migrating_an_up_to_date_schema_changes_nothing(engine):
    with engine.begin() as connection:
        register(connection, STORM, AREA)
    migrate(engine)
    with engine.begin() as connection:
        assert current_revision(connection) == known_revisions()[-1]
        assert register(connection, STORM, AREA) == "unchanged"


def _open(settings):
    engine = open_engine(settings)
    with engine.connect() as connection:
        revision = current_revision(connection)
    engine.dispose()
    return revision


def test_processes_that_find_an_empty_database_at_once_migrate_it_once(settings, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
        connection.execute(text("DROP EXTENSION postgis"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert set(pool.map(_open, [settings] * 2)) == {known_revisions()[-1]}


def test_a_migration_that_fails_leaves_no_schema(engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
    with pytest.raises(RuntimeError), engine.begin() as connection:
        upgrade(connection)
        raise RuntimeError("the power failed")
    with engine.connect() as connection:
        assert current_revision(connection) is None


def test_the_newest_revision_is_alembics_head(engine):
    with engine.connect() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [
            known_revisions()[-1]
        ]


def test_a_schema_newer_than_the_code_is_left_alone(settings, engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE scarp.alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="schema 9999, newer than this Scarp .*upgrade Scarp"):
        open_engine(settings)


def test_an_up_to_date_schema_is_opened_without_alembic(settings):
    script = (
        "import sys; from pathlib import Path; from infra.schema import open_engine; "
        "from infra.settings import Settings; open_engine(Settings()).dispose(); "
        "assert 'alembic' not in sys.modules"
    )
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": root, "SCARP_DATABASE_URL": settings.database_url or ""}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("postgresql://ann:s3cret@127.0.0.1:1/maps", "maps at 127.0.0.1:1: .*refused"),
        ("postgresql://ann:s3cret@127.0.0.1:1/maps?connect_timeout=2", "127.0.0.1:1"),
        ("host=127.0.0.1 password=s3cret", "not a URL; expected postgresql://"),
        ("mysql://ann:s3cret@127.0.0.1/maps", "names a mysql database"),
        ("postgresql://ann:s3cret@127.0.0.1:port/maps", "not a URL"),
    ],
)
def test_a_url_that_leads_nowhere_says_so_without_its_password(tmp_path, url, complaint):
    with pytest.raises(DatabaseError, match=complaint) as refusal:
        open_engine(Settings(home=tmp_path, database_url=url))
    assert "s3cret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_database_that_does_not_exist_is_named(settings, tmp_path):
    url = parse_url(settings.database_url or "").set(database="nowhere")
    with pytest.raises(DatabaseError, match="nowhere at 127.0.0.1:.*does not exist"):
        open_engine(Settings(home=tmp_path, database_url=url.render_as_string()))


def test_a_server_without_postgis_says_who_must_add_it(settings, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA scarp CASCADE"))
        connection.execute(text("DROP EXTENSION postgis"))
        connection.execute(text("DROP ROLE IF EXISTS newcomer"))
        connection.execute(text("CREATE ROLE newcomer LOGIN PASSWORD 'test'"))
    url = parse_url(settings.database_url or "").set(username="newcomer", password="test")
    url = url.difference_update_query(["passfile"])
    with pytest.raises(DatabaseError, match="PostGIS cannot be added .*CREATE EXTENSION postgis"):
        open_engine(Settings(database_url=url.render_as_string(hide_password=False)))
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE newcomer"))


def test_a_connection_lost_on_the_way_ends_in_one_sentence(settings, engine):
    with engine.connect() as victim:
        pid = victim.scalar(text("SELECT pg_backend_pid()"))
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(DatabaseError, match="cannot reach the database .*terminating"):
            victim.execute(text("SELECT 1"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_a_full_disk_of_the_database_is_called_so(engine):
    full = "DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$"
    named = f"the disk of the database {engine.url.database} at 127.0.0.1:.* is full"
    with engine.connect() as connection, pytest.raises(DatabaseError, match=named):
        connection.execute(text(full))


def test_any_postgresql_scheme_is_taken():
    for scheme in ("postgres", "postgresql", "postgresql+psycopg2", "postgresql+asyncpg"):
        assert parse_url(f"{scheme}://u@h/d").drivername == "postgresql+psycopg"

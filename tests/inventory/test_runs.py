import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.errors import EventError, StoreError
from tasks.events.registry import register
from tasks.inventory.runs import (
    LOST,
    close_left,
    finish_run,
    open_runs,
    record_judgements,
    sign_of_life,
    start_run,
)
from tasks.types import AreaOfInterest, Event, Provenance, Scene, SceneJudgement

RAIN = Event(
    id="emilia-romagna-2023",
    kind="rainfall",
    title="Emilia-Romagna",
    occurred_at=datetime(2023, 5, 17, tzinfo=UTC),
    longitude=11.9,
    latitude=44.2,
    rainfall_mm=200.0,
)
AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])
MADE_FROM = Provenance(RAIN.id, {"S2A_1": "sha256:1"}, {"threshold": 0.5, "window_px": 512}, "w8")


@pytest.fixture
def connection(engine):
    with engine.begin() as connection:
        register(connection, RAIN, AreaOfInterest(AREA, "given"))
        yield connection


def scene(name, checksum="1"):
    return Scene(
        id=name,
        provider="earth-search",
        collection="sentinel-2-l2a",
        item_id=name,
        acquired_at=datetime(2023, 5, 23, 10, tzinfo=UTC),
        gsd_m=10.0,
        bands=("red", "green", "blue"),
        crs="EPSG:32632",
        footprint=AREA,
        hrefs={"red": "B04.tif"},
        checksum=checksum,
    )


def v_run(connection):
    return connection.execute(text("SELECT * FROM scarp.v_runs")).one()


def test_a_flow_run_that_begins_again_closes_what_its_lost_process_left_open(connection):
    lost = start_run(connection, MADE_FROM, "map_landslides", "prefect-1", "c0ffee")
    by_hand = start_run(connection, MADE_FROM, "map_landslides", None, "c0ffee")
    again = start_run(connection, MADE_FROM, "map_landslides", "prefect-1", "c0ffee")
    assert open_runs(connection) == {again: "prefect-1"}
    rows = connection.execute(text("SELECT run_id, outcome, error FROM scarp.v_runs"))
    outcomes = {row.run_id: (row.outcome, row.error) for row in rows}
    assert outcomes == {lost: ("failed", LOST), by_hand: (None, None), again: (None, None)}
    with pytest.raises(StoreError, match="not open"):
        finish_run(connection, lost, "succeeded")


def test_a_run_keeps_what_it_was_made_from(connection):
    run_id = start_run(connection, MADE_FROM, "map_landslides", "prefect-1", "c0ffee")
    row = v_run(connection)
    assert (row.run_id, row.digest, row.outcome) == (run_id, MADE_FROM.digest, None)
    assert (row.inputs, row.parameters) == (MADE_FROM.inputs, MADE_FROM.parameters)
    assert (row.weights_digest, row.code_commit) == ("w8", "c0ffee")


def test_a_run_ends_once(connection):
    run_id = start_run(connection, MADE_FROM, "map_landslides", None, "c0ffee")
    finish_run(connection, run_id, "succeeded_empty")
    row = v_run(connection)
    assert row.outcome == "succeeded_empty" and row.ended_at >= row.started_at
    with pytest.raises(StoreError, match="already ended"):
        finish_run(connection, run_id, "failed", "too late")
    with pytest.raises(StoreError, match="unknown"):
        finish_run(connection, uuid4(), "succeeded")


def test_a_failed_run_keeps_the_reason(connection):
    run_id = start_run(connection, MADE_FROM, "map_landslides", None, "c0ffee")
    finish_run(connection, run_id, "failed", "B04.tif\0 is truncated")
    assert v_run(connection).error == "B04.tif is truncated"


def test_a_run_needs_a_registered_event(connection):
    with pytest.raises(EventError, match="'nowhere' is not registered"):
        start_run(connection, Provenance("nowhere", {}), "map_landslides", None, "c0ffee")


def test_judgements_recorded_twice_stand_once(connection):
    run_id = start_run(connection, MADE_FROM, "map_landslides", None, "c0ffee")
    judged = [
        SceneJudgement(scene("S2A_1"), 0.93, True, "clear"),
        SceneJudgement(scene("S2A_2"), 0.02, False, "98 % cloud"),
    ]
    record_judgements(connection, run_id, judged)
    record_judgements(connection, run_id, judged)
    assert (v_run(connection).scenes_used, v_run(connection).scenes_refused) == (1, 1)
    refused = connection.execute(
        text("SELECT reason, clear_fraction FROM scarp.run_scene WHERE NOT used")
    ).one()
    assert tuple(refused) == ("98 % cloud", 0.02)


def test_one_scene_in_two_runs_is_one_row_and_other_bytes_are_another(connection):
    for checksum in ("1", "1", "2"):
        run_id = start_run(connection, MADE_FROM, "map_landslides", None, "c0ffee")
        judged = SceneJudgement(scene("S2A_1", checksum), 0.9, True, "clear")
        record_judgements(connection, run_id, [judged])
    assert connection.scalar(text("SELECT count(*) FROM scarp.scene")) == 2


RUNNER = """
import sys
from sqlalchemy import create_engine
from flows.runs import recorded_run
from tasks.types import Provenance
made_from = Provenance("emilia-romagna-2023", {})
with recorded_run(create_engine(sys.argv[1]), made_from, "map") as run_id:
    print(run_id, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def runner(engine):
    """Another process with an open run."""
    with engine.begin() as connection:
        register(connection, RAIN, AreaOfInterest(AREA, "given"))
    command = [sys.executable, "-c", RUNNER, engine.url.render_as_string(hide_password=False)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        yield process, UUID(process.stdout.readline().strip())
        process.kill()


def end_of(engine, run_id):
    with engine.connect() as connection:
        asked = text("SELECT outcome, error FROM scarp.v_runs WHERE run_id = :run_id")
        return tuple(connection.execute(asked, {"run_id": run_id}).one())


def closed(engine, others=()):
    with engine.begin() as connection:
        return close_left(connection, others)


def test_a_run_whose_process_was_killed_has_failed_and_one_that_lives_goes_on(engine, runner):
    process, run_id = runner
    assert closed(engine) == []
    process.kill()
    process.wait()
    assert closed(engine, {run_id}) == []
    while not (left := closed(engine)):
        """PostgreSQL has yet to see that the session is gone."""
    assert left == [run_id]
    assert end_of(engine, run_id) == ("failed", LOST)


def test_a_run_taken_for_lost_when_its_session_ended_ends_as_its_process_says(engine):
    with engine.begin() as connection:
        register(connection, RAIN, AreaOfInterest(AREA, "given"))
        run_id = start_run(connection, MADE_FROM, "map", None, "c0ffee")
    others = "pid <> pg_backend_pid() AND datname = current_database()"
    with sign_of_life(engine, run_id):
        with engine.connect() as connection:
            connection.execute(
                text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            )
        assert closed(engine) == [run_id]
        while end_of(engine, run_id) != (None, None):
            """Its process has yet to see that its session is gone."""
        with engine.begin() as connection:
            finish_run(connection, run_id, "succeeded")
    assert closed(engine) == []
    assert end_of(engine, run_id) == ("succeeded", None)

"""`scarp inventory review`, `diff` and `lineage` on a database of their own."""

import json
from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text
from typer.testing import CliRunner

from console.cli import app
from flows import world
from flows.dossier import read_dossier
from tasks.errors import InventoryError, ReviewConflictError
from tasks.events.registry import register
from tasks.inventory.runs import start_run
from tasks.inventory.store import store_inventory
from tasks.types import AreaOfInterest, Event, Provenance

STORM = Event("storm", "rainfall", "A storm", datetime(2023, 5, 17, tzinfo=UTC), 11.9, 44.2)
AREA = MultiPolygon([box(11.8, 44.1, 12.0, 44.3)])


def slide(x, width=0.0008):
    return box(11.9 + x / 1000, 44.2, 11.9 + x / 1000 + width, 44.2005)


@pytest.fixture
def scarp_inventory(settings, engine, monkeypatch):
    """Run a command on a store with two versions of a storm's inventory."""
    monkeypatch.setenv("SCARP_HOME", str(settings.home))
    monkeypatch.setenv("SCARP_DATABASE_URL", settings.database_url)
    with engine.begin() as connection:
        register(connection, STORM, AreaOfInterest(AREA, "given"))
        run_id = start_run(connection, Provenance(STORM.id, {}), "test", None, "c0ffee")
        for digest, xs in (("one", [0, 1, 2]), ("two", [0, 1, 6])):
            store_inventory(
                connection,
                event_id=STORM.id,
                run_id=run_id,
                digest=digest,
                method="manual",
                threshold=None,
                minimum_mapping_unit_m2=0,
                observed=AREA,
                landslides=gpd.GeoDataFrame(geometry=[slide(x) for x in xs], crs=4326),
                doubts=[],
                publish=True,
            )

    def run(*words, group=("inventory",)):
        result = CliRunner().invoke(app, [*group, *(str(word) for word in words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    yield run
    world.open_world().engine.dispose()


def drawn(path, *outlines):
    gpd.GeoDataFrame(geometry=list(outlines), crs=4326).to_file(path)
    return path


def test_a_review_from_confirming_to_undoing(scarp_inventory, engine, tmp_path):
    by = ("--by", "ann", "--json")
    scarp_inventory("review", "storm", "--confirm", "1-2", "--reject", "3", *by)
    scarp_inventory(
        "review", "storm", "--edit", 1, drawn(tmp_path / "a.gpkg", slide(0, 0.001)), *by
    )
    scarp_inventory("review", "storm", "--add", drawn(tmp_path / "b.geojson", slide(8)), *by)
    halves = drawn(tmp_path / "c.gpkg", slide(8, 0.0004), slide(8.4, 0.0004))
    scarp_inventory("review", "storm", "--split", 4, halves, *by)
    said = json.loads(scarp_inventory("review", "storm", "--merge", "5,6", *by))
    assert said["reviews"][0]["numbers"] == [5, 6, 7]
    assert said["progress"] == {
        "unreviewed": 0,
        "confirmed": 1,
        "edited": 2,
        "rejected": 1,
        "replaced": 3,
        "newest": 6,
    }
    scarp_inventory("review", "storm", "--undo", 6, *by)
    with engine.connect() as connection:
        numbers = connection.scalars(text("SELECT number FROM scarp.v_landslides"))
        assert sorted(numbers) == [1, 2, 5, 6]
    assert "undo 6" in scarp_inventory("review", "storm", "--log")
    assert "100 % reviewed: 1 confirmed" in scarp_inventory("review", "storm", "--progress")


def test_the_list_counts_what_stands_beside_what_was_stored(scarp_inventory):
    assert "stored" not in scarp_inventory("list", "storm")
    scarp_inventory("review", "storm", "--reject", "1-2", "--by", "ann")
    lines = json.loads(scarp_inventory("list", "storm", "--json"))
    assert all(datetime.fromisoformat(one["created_at"]).tzinfo for one in lines)
    assert [(one["landslides"], one["landslides_as_stored"]) for one in lines] == [(3, 3), (1, 3)]
    assert lines[1]["area_km2"] < lines[1]["area_km2_as_stored"] == lines[0]["area_km2"]
    told = scarp_inventory("list", "storm")
    (row,) = [line.split("│") for line in told.splitlines() if line.startswith("│ 2")]
    assert "stored" in told and [cell.strip() for cell in row[4:6]] == ["1", "3"]
    assert "landslides_as_reviewed" not in scarp_inventory("show", "storm")
    told = json.loads(scarp_inventory("show", "storm", "--json"))
    assert told["landslides_as_reviewed"] == len(told["landslides"]["features"]) == 1


def test_a_review_is_stored_whole_or_not_at_all(scarp_inventory):
    with pytest.raises(InventoryError, match="no landslide 9"):
        scarp_inventory("review", "storm", "--confirm", "1", "--reject", "9", "--by", "ann")
    assert "0 % reviewed" in scarp_inventory("review", "storm")


def test_the_second_reviewer_is_told_and_can_go_on(scarp_inventory):
    scarp_inventory("review", "storm", "--confirm", "1", "--by", "ann")
    with pytest.raises(ReviewConflictError, match="by ann at .* --seen 1"):
        scarp_inventory("review", "storm", "--reject", "1", "--by", "bob")
    scarp_inventory("review", "storm", "--reject", "1", "--by", "bob", "--seen", 1)


@pytest.mark.parametrize("numbers", ["one", "1-", "-3", "1,,2", "1-10000000"])
def test_numbers_that_cannot_be_read_say_how_to_write_them(scarp_inventory, numbers):
    with pytest.raises(InventoryError, match="names"):
        scarp_inventory("review", "storm", f"--confirm={numbers}", "--by", "ann")


def test_a_range_that_runs_backwards_is_turned_round(scarp_inventory):
    with pytest.raises(InventoryError, match="5-2 runs backwards; write 2-5"):
        scarp_inventory("review", "storm", "--confirm", "5-2", "--by", "ann")


def test_a_measure_that_is_not_known_is_a_dash(scarp_inventory):
    shown = scarp_inventory("show", "storm")
    assert "–" in shown and "nan" not in shown and "NaT" not in shown


def test_an_edit_needs_one_outline(scarp_inventory, tmp_path):
    two = drawn(tmp_path / "two.gpkg", slide(0), slide(1))
    with pytest.raises(InventoryError, match=r"two\.gpkg holds 2 outlines"):
        scarp_inventory("review", "storm", "--edit", 1, two, "--by", "ann")


def test_a_diff_tells_what_changed_and_draws_it(scarp_inventory, tmp_path):
    told = json.loads(scarp_inventory("diff", "storm", 1, 2, "-o", tmp_path / "map.gpkg", "--json"))
    assert told["tallies"]["appeared"]["after"] == told["tallies"]["vanished"]["before"] == 1
    assert {"change": "unchanged", "before": [1], "after": [1]}.items() <= told["changes"][
        0
    ].items()
    assert len(gpd.read_file(tmp_path / "map.gpkg", layer="changes")) == 4
    assert "appeared" in scarp_inventory("diff", "storm", 1, 2)
    scarp_inventory("diff", "storm", 1, 2, "-o", tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_every_comparison_takes_versions_as_reviewed_and_the_one_before_a_review_as_mapped(
    scarp_inventory,
):
    def judged(version, reference):
        words = ["evaluate", "storm", "--reference", reference, "--version", version, "--json"]
        return json.loads(scarp_inventory(*words, group=()))["scores"]["object_recall"]

    def error(version, against):
        words = ["quality", "storm", "--version", version, "--against", against, "--json"]
        return json.loads(scarp_inventory(*words))["mapping"]["error"]

    assert judged(2, 1) == pytest.approx(2 / 3)
    assert error(2, 1) == pytest.approx(1 / 2, abs=0.01)
    scarp_inventory("review", "storm", "--reject", "3", "--by", "ann")
    scarp_inventory("review", "storm", "--publish")
    assert judged(3, 2) == pytest.approx(2 / 3), "what was rejected was mapped"
    assert error(3, 2) == pytest.approx(1 / 3, abs=0.01)
    assert judged(1, 2) == pytest.approx(1), "what was rejected is no reference"
    assert error(2, 1) == pytest.approx(1 / 3, abs=0.01)


def test_a_lineage_names_the_landslide_in_every_version(scarp_inventory):
    steps = json.loads(scarp_inventory("lineage", "storm", 2, "--json"))
    assert [(step["version"], step["numbers"]) for step in steps] == [(1, [2]), (2, [2])]
    assert "unchanged" in scarp_inventory("lineage", "storm", 2)


def test_a_reviewed_version_says_who_mapped_it_and_how_much_nobody_looked_at(scarp_inventory):
    scarp_inventory("review", "storm", "--confirm", "1", "--by", "ann")
    scarp_inventory("review", "storm", "--publish")
    told = {one["version"]: one["made_by"] for one in json.loads(scarp_inventory("list", "--json"))}
    assert told[2] == "manual"
    assert told[3] == "manual; reviewed: 1 confirmed, 0 drawn or edited, 2 not reviewed"


def test_what_reviewers_made_of_a_version_can_be_published_as_the_next(scarp_inventory, engine):
    with pytest.raises(InventoryError, match="nobody has reviewed version 2"):
        scarp_inventory("review", "storm", "--publish")
    scarp_inventory("review", "storm", "--reject", "1", "--merge", "2,3", "--by", "ann")
    made = json.loads(scarp_inventory("review", "storm", "--publish", "--json"))["published"]
    assert (made["version"], made["method"], made["landslides"]) == (3, "reviewed", 1)
    told = json.loads(scarp_inventory("diff", "storm", 2, 3, "--json"))["tallies"]
    assert (told["vanished"]["before"], told["merged"]["before"], told["merged"]["after"]) == (
        1,
        2,
        1,
    )
    again = json.loads(scarp_inventory("review", "storm", "--version", 2, "--publish", "--json"))
    assert again["published"]["version"] == 3
    with engine.connect() as connection:
        life = [(one.change, one.reason) for one in read_dossier(connection, "storm").history]
        seen = connection.execute(text("SELECT * FROM scarp.v_landslides")).one()
        run = connection.execute(text("SELECT * FROM scarp.v_runs WHERE flow <> 'test'")).one()
    assert (seen.version, seen.number, seen.review_state, seen.reviewed_by) == (
        3,
        1,
        "edited",
        "ann",
    )
    assert life[-1] == ("published", "inventory version 3, reviewed")
    assert (run.inputs, run.parameters) == ({"inventory": "two"}, {"newest_review": 2})

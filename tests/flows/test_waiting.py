"""Waiting for clear imagery, on the real dates of Emilia-Romagna and at simulated times."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
import shapely
from shapely.geometry import MultiPolygon, box

from flows.map_landslides import map_landslides
from flows.options import ResponseOptions
from flows.respond import respond
from flows.standing import keep_for_looks, options_of
from flows.waiting import draft_doubt, terms_of
from tasks.errors import BadInputError, NoImageryError, RasterError
from tasks.events.request import read_event
from tasks.events.turns import due
from tasks.imagery.waits import Wait, find_wait
from tasks.types import AreaOfInterest
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows

pytestmark = pytest.mark.usefixtures("prefect")

VERSIONS = "SELECT version, status FROM scarp.inventory ORDER BY version"


@pytest.fixture
def options():
    """Without elevation: no susceptibility is wanted here."""
    return ResponseOptions(source=str(EXAMPLE / "catalog.json"))


def may(day, hour=0):
    return datetime(2023, 5, day, hour, tzinfo=UTC)


@pytest.fixture
def in_two_halves(tmp_path):
    """The clear scene of 23 May seen in two pieces: the west on the 23rd, the rest on the 28th."""
    catalog = json.loads((EXAMPLE / "catalog.json").read_text())
    catalog["links"] = [link for link in catalog["links"] if link["rel"] != "item"]
    source = next((EXAMPLE / "scenes" / "2023-05-23").glob("*.json"))
    for day, columns in ((23, slice(0, 70)), (28, slice(None))):
        item = json.loads(source.read_text())
        item["id"] = f"piece-{day}"
        item["properties"]["datetime"] = f"2023-05-{day}T00:00:00Z"
        for name, asset in item["assets"].items():
            asset["href"] = str((source.parent / asset["href"]).resolve())
            for key in [key for key in asset if key.startswith("file:")]:
                del asset[key]
            if name.lower() == "scl":
                asset["href"] = str(_cloud_outside(asset["href"], columns, tmp_path / f"{day}.tif"))
        (tmp_path / f"{day}.json").write_text(json.dumps(item))
        catalog["links"].append({"rel": "item", "href": f"./{day}.json"})
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    return str(tmp_path / "catalog.json")


def _cloud_outside(path, columns, destination):
    with rasterio.open(path) as mask:
        classes, profile = mask.read(1), mask.profile
    seen = classes.copy()
    classes[:] = 9
    classes[:, columns] = seen[:, columns]
    with rasterio.open(destination, "w", **profile | {"driver": "GTiff"}) as raster:
        raster.write(classes, 1)
    return destination


def test_three_days_after_the_rain_it_waits_publishes_nothing_and_will_look_again(
    registered, options
):
    wait = respond(EVENT, options, may(19))
    assert isinstance(wait, Wait)
    assert (wait.since, wait.next_look_at, wait.seen_share) == (may(19), may(19, 12), 0.0)
    assert wait.deadline == datetime(2023, 6, 15, tzinfo=UTC)
    reasons = {looked.scene_id[-8:]: looked.reason for looked in wait.scenes}
    assert all("cloud 100 %" in reasons[day] for day in ("20230513", "20230518"))
    assert not registered.products(EVENT).exists()
    assert rows(registered, VERSIONS) == []
    assert rows(registered, "SELECT count(*) FROM scarp.v_runs") == [(0,)]
    ((state, share, unseen),) = rows(
        registered,
        "SELECT state, seen_share, ST_Equals(geom, aoi) FROM scarp.v_waiting "
        "JOIN (SELECT event_id, aoi FROM scarp.v_events) AS event USING (event_id)",
    )
    assert (state, share, unseen) == ("registered", 0, True)
    with registered.engine.connect() as connection:
        assert due(connection, may(19, 11)) == []
        (look,) = due(connection, may(19, 12))
    assert look.event_id == EVENT
    assert "look again for clear imagery, until 2023-06-15" in look.reason
    assert options_of(registered, EVENT) == options


def test_whoever_looks_next_finds_the_files_of_screens(registered, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rivers.gpkg", "map:2024.gpkg"):
        (tmp_path / name).touch()
    screens = ("water=rivers.gpkg:lakes", "built=map:2024.gpkg", "bare-before=0.4")
    keep_for_looks(registered, EVENT, options.model_copy(update={"screens": screens}))
    layers = (f"water={tmp_path}/rivers.gpkg:lakes", f"built={tmp_path}/map:2024.gpkg")
    assert options_of(registered, EVENT).screens == (*layers, "bare-before=0.4")


def test_an_event_whose_folder_is_still_empty_waits_for_its_first_image(registered, tmp_path):
    folder = tmp_path / "scenes"
    folder.mkdir()
    empty = ResponseOptions(source=str(folder))
    wait = respond(EVENT, empty, may(19))
    assert isinstance(wait, Wait) and wait.next_look_at == may(19, 12)
    assert wait.reason.startswith(f"{folder}: scenes of ") and "found: 0" in wait.reason
    with pytest.raises(NoImageryError, match=f"{folder}: .* found: 0"):
        respond(EVENT, empty, datetime(2023, 6, 15, tzinfo=UTC))
    image = write_picture(EXAMPLE / "scenes" / "2023-05-23", folder / "20230523.tif")
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    wait = respond(EVENT, empty, may(24))
    assert isinstance(wait, Wait) and "20230523.tif cannot be read" in wait.reason
    with pytest.raises(BadInputError, match="may be truncated"):
        respond(EVENT, empty, datetime(2023, 6, 15, tzinfo=UTC))
    with pytest.raises(RasterError, match="may be truncated"):
        respond(EVENT, ResponseOptions(source=str(image)), may(24))
    image.write_bytes(whole)
    assert respond(EVENT, empty, may(24)).mapped.inventory.scene_ids == (image.stem,)


def write_picture(scene, path):
    """Three bands of a scene of the example as one GeoTIFF."""
    bands = []
    for name in ("B04", "B03", "B02"):
        with rasterio.open(scene / f"{name}.tif") as band:
            bands.append(band.read(1))
            profile = band.profile | {"driver": "GTiff", "count": 3, "photometric": "RGB"}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.stack(bands))
    return path


def test_on_the_first_clear_day_it_publishes_and_later_dates_make_no_duplicate(registered, options):
    respond(EVENT, options, may(19))
    response = respond(EVENT, options, may(23, 12))
    assert response.mapped.inventory.status == "published"
    (scene,) = response.mapped.rasters.mosaic.scenes
    assert scene.acquired_at == may(23)
    with registered.engine.connect() as connection:
        assert find_wait(connection, EVENT).outcome == "seen"
        assert due(connection, may(31)) == []
    for later in (may(31), datetime(2023, 9, 30, tzinfo=UTC)):
        again = map_landslides(EVENT, options, later)
        assert again.inventory == response.mapped.inventory
    assert rows(registered, VERSIONS) == [(1, "published")]


def test_what_is_seen_now_is_drafted_and_only_what_is_seen_later_is_mapped_anew(
    registered, options, in_two_halves
):
    halves = options.model_copy(update={"source": in_two_halves, "minimum_clear": 0.2})
    first = respond(EVENT, halves, may(24))
    draft = first.mapped.inventory
    assert draft.status == "draft"
    (told,) = [doubt.text for doubt in draft.doubts if doubt.code == "draft-waits"]
    assert "80 % of the area is wanted" in told and "unseen are 0.7" in told
    assert first.report.exists()
    again = map_landslides(EVENT, halves, may(25))
    assert again.inventory == draft

    second = respond(EVENT, halves, may(29)).mapped
    assert rows(registered, VERSIONS) == [(1, "draft"), (2, "published")]
    assert [scene.item_id for scene in second.rasters.mosaic.scenes] == ["piece-23", "piece-28"]
    with rasterio.open(first.mapped.rasters.score) as before:
        old, place = before.read(1), before.transform
    with rasterio.open(second.rasters.score) as after:
        new = after.read(1)
        assert after.transform == place
    assert (new[old > 0] == old[old > 0]).all()
    assert (new > 0).sum() > 1.5 * (old > 0).sum()
    gained = shapely.difference(second.inventory.observed, draft.observed)
    assert gained.area == pytest.approx(second.inventory.observed.area - draft.observed.area)
    assert map_landslides(EVENT, halves, may(30)).inventory == second.inventory


def test_a_look_that_sees_nothing_forgets_nothing_that_was_seen(
    registered, options, in_two_halves, tmp_path
):
    (tmp_path / "empty").mkdir()
    nothing = ResponseOptions(source=str(tmp_path / "empty"))
    halves = options.model_copy(update={"source": in_two_halves, "minimum_clear": 0.2})
    draft = respond(EVENT, halves, may(24))
    again = respond(EVENT, nothing, may(25))
    assert isinstance(again, Wait) and again.since == may(24)
    assert again.seen_share == draft.mapped.wait.seen_share > 0.4
    respond(EVENT, halves, may(29))
    with pytest.raises(NoImageryError, match="found: 0"):
        respond(EVENT, nothing, may(30))
    ((state, waits),) = rows(
        registered,
        "SELECT state, (SELECT count(*) FROM scarp.v_waiting WHERE outcome IS NULL) "
        "FROM scarp.v_events",
    )
    assert (state, waits) == ("published", 0)


def test_at_the_deadline_what_was_seen_is_published(registered, options, in_two_halves):
    update = {"source": in_two_halves, "minimum_clear": 0.2, "until": may(24), "wait_days": 10}
    asked = options.model_copy(update=update)
    draft = map_landslides(EVENT, asked, may(24)).inventory
    assert draft.status == "draft"
    with registered.engine.connect() as connection:
        assert find_wait(connection, EVENT).lasts
    late = map_landslides(EVENT, asked, may(26)).inventory
    assert (late.version, late.status) == (1, "published")
    (waits,) = [doubt for doubt in draft.doubts if doubt.code == "draft-waits"]
    assert [doubt for doubt in draft.doubts if doubt != waits] == list(late.doubts)
    with registered.engine.connect() as connection:
        assert find_wait(connection, EVENT).outcome == "deadline"


def test_when_nothing_was_seen_by_the_deadline_the_response_fails_with_the_reason(
    registered, options
):
    brief = options.model_copy(update={"wait_days": 4, "look_hours": 48})
    wait = respond(EVENT, brief, may(19))
    assert wait.next_look_at == wait.deadline == may(20)
    with pytest.raises(NoImageryError, match="best clear coverage 0 %"):
        respond(EVENT, brief, may(20))
    with registered.engine.connect() as connection:
        ended = find_wait(connection, EVENT)
    assert (ended.outcome, ended.since, ended.ended_at) == ("deadline", may(19), may(20))


def test_an_image_given_by_hand_is_all_there_will_be(options, tmp_path):
    event = read_event(EXAMPLE / "event.json")
    image = tmp_path / "flight.tif"
    image.touch()
    given = options.model_copy(update={"source": str(image)})
    assert terms_of(event, options).ask_for_more(0.3, may(24))
    assert not terms_of(event, given).ask_for_more(0.3, may(24))


def test_a_draft_names_the_large_parts_it_has_not_seen_and_counts_the_crumbs(options):
    aoi = AreaOfInterest(MultiPolygon([box(11.5, 44.3, 11.6, 44.4)]), "given")
    crumb = box(11.51, 44.35, 11.5101, 44.3501)
    seen = MultiPolygon([box(11.5, 44.3, 11.55, 44.4) - crumb])
    terms = terms_of(read_event(EXAMPLE / "event.json"), options)
    said = draft_doubt(aoi, seen, terms).text
    assert said.endswith("unseen are 44 km² round 44.350° N 11.575° E and 1 smaller part")


def test_a_draft_names_parts_south_and_west_as_such(options):
    aoi = AreaOfInterest(MultiPolygon([box(-72.2, -17.0, -72.0, -16.9)]), "given")
    seen = MultiPolygon([box(-72.2, -17.0, -72.1, -16.9)])
    terms = terms_of(read_event(EXAMPLE / "event.json"), options)
    assert draft_doubt(aoi, seen, terms).text.endswith("round 16.950° S 72.050° W")


def test_a_sliver_of_rounding_is_nothing_that_a_draft_has_not_seen(options):
    aoi = AreaOfInterest(MultiPolygon([box(11.5, 44.3, 11.6, 44.4)]), "given")
    sliver = box(11.52, 44.31, 11.5200001, 44.39)
    seen = MultiPolygon([box(11.5, 44.3, 11.55, 44.4) - sliver])
    terms = terms_of(read_event(EXAMPLE / "event.json"), options)
    assert draft_doubt(aoi, seen, terms).text.endswith("round 44.350° N 11.575° E")

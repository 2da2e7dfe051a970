"""Registering through the form: by id, by hand, by file; previewed, then stored once."""

import json
import re
import zipfile
from html import unescape

import geopandas as gpd
import pytest
from shapely.geometry import box, mapping, shape
from sqlalchemy import text

from tests.conftest import DATA, EXAMPLE
from tests.console.web.conftest import XSS

PAGE = {"Accept": "text/html"}
HAND = {
    "id": "storm-by-hand",
    "kind": "rainfall",
    "title": "A storm",
    "occurred_at": "2023-05-16T00:00:00Z",
    "longitude": "11.58",
    "latitude": "44.33",
    "aoi": json.dumps(mapping(box(11.5, 44.3, 11.6, 44.4))),
}


@pytest.fixture
def operator(clients):
    return clients["operator"]


def events():
    from flows.world import open_world

    with open_world().engine.connect() as connection:
        return set(connection.scalars(text("SELECT id FROM scarp.event")))


def preview(client, form=None, **files):
    return client.post("/register/preview", data=form or {}, files=files, headers=PAGE)


def confirm(client, page):
    hidden = re.search(r'name="described" value="([^"]*)"', page.text)[1]
    return client.post("/register", data={"described": unescape(hidden)}, headers=PAGE)


def area_of(event_id):
    from flows.world import open_world
    from tasks.events.registry import find_aoi

    with open_world().engine.connect() as connection:
        return find_aoi(connection, event_id).geometry


def test_an_event_described_by_hand_is_previewed_then_stored(operator):
    before = events()
    page = preview(operator, HAND | {"source": str(EXAMPLE / "catalog.json")})
    assert page.status_code == 200 and events() == before
    assert "Nothing is stored yet" in page.text and "would be registered" in page.text
    assert "S2_L2A_4120_20230523" in page.text  # the scenes that would be looked at
    done = confirm(operator, page)
    assert done.status_code == 303 and done.headers["location"] == "/events/storm-by-hand"
    assert events() == before | {"storm-by-hand"}
    assert area_of("storm-by-hand").equals(box(11.5, 44.3, 11.6, 44.4))
    again = preview(operator, HAND)
    assert "registered already" in again.text
    moved = preview(operator, HAND | {"longitude": "11.6", "aoi": ""})
    assert "would be updated" in moved.text and "moved 1.6 km" in moved.text


def test_a_page_saved_from_comcat_is_taken(operator):
    saved = DATA / "feeds" / "usgs_comcat" / "classes_summary_01_ci3144585.json"
    page = preview(operator, event_file=(saved.name, saved.read_bytes()))
    assert page.status_code == 200, page.text
    assert "would be registered" in page.text and "ci3144585" in page.text


def test_files_of_an_event_and_its_area_are_taken(operator):
    page = preview(
        operator,
        event_file=("event.json", (EXAMPLE / "event.json").read_bytes()),
        aoi_file=("aoi.geojson", (EXAMPLE / "aoi.geojson").read_bytes()),
    )
    assert page.status_code == 200 and "registered already" in page.text


def shapefile(folder, with_prj):
    frame = gpd.GeoDataFrame(geometry=[box(11.5, 44.3, 11.6, 44.4)], crs="EPSG:4326")
    frame.to_file(folder / "area.shp")
    path = folder / "area.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for part in folder.glob("area.*"):
            if part.suffix != ".zip" and (with_prj or part.suffix != ".prj"):
                packed.write(part, part.name)
    return path.read_bytes()


def test_a_zipped_shapefile_is_an_area(operator, tmp_path):
    form = HAND | {"id": "storm-zipped", "aoi": ""}
    page = preview(operator, form, aoi_file=("area.zip", shapefile(tmp_path, True)))
    confirm(operator, page)
    assert area_of("storm-zipped").equals(box(11.5, 44.3, 11.6, 44.4))


def test_a_shapefile_without_prj_is_refused_and_the_form_keeps_what_was_written(operator, tmp_path):
    before = events()
    form = HAND | {"id": "storm-no-prj", "aoi": ""}
    page = preview(operator, form, aoi_file=("area.zip", shapefile(tmp_path, False)))
    assert page.status_code == 400
    assert "area.zip names no CRS" in unescape(page.text)
    assert 'value="storm-no-prj"' in page.text and events() == before


def test_an_area_across_the_antimeridian_is_split_there(operator):
    drawn = {
        "type": "Polygon",
        "coordinates": [[[179, -17], [181, -17], [181, -16], [179, -16], [179, -17]]],
    }
    form = HAND | {"id": "storm-fiji", "longitude": "179.9", "latitude": "-16.5"}
    page = preview(operator, form | {"aoi": json.dumps(drawn)})
    assert page.status_code == 200, page.text
    confirm(operator, page)
    parts = sorted(part.bounds for part in area_of("storm-fiji").geoms)
    assert parts == [(-180, -17, -179, -16), (179, -17, 180, -16)]


def test_an_image_on_a_server_is_not_fetched_for_a_preview(operator):
    page = preview(operator, HAND | {"source": "https://nowhere.example/scene.tif"})
    assert page.status_code == 200 and "read when the event is responded to" in page.text


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"aoi": "{"}, "cannot be read as an area"),
        ({"aoi": json.dumps(mapping(shape({"type": "Point", "coordinates": [1, 1]})))}, "Point"),
        ({"aoi": ""}, "no area of interest"),
        ({"longitude": "500"}, "longitude"),
        ({"occurred_at": "2023-05-16"}, "time zone"),
        ({"kind": "flood"}, "kind"),
        ({"id": "../etc"}, "id"),
        ({"magnitude": "6"}, "magnitude"),
        ({"source": "/nowhere/at/all"}, "/nowhere/at/all"),
        ({"source": "planet"}, "PL_API_KEY"),
        ({"dem": "/nowhere/dem.tif"}, "--source"),
    ],
)
def test_what_cannot_be_registered_is_said_and_nothing_stored(operator, change, why):
    before = events()
    page = preview(operator, HAND | {"id": "storm-wrong"} | change)
    assert page.status_code == 400
    assert why in unescape(page.text)
    assert "scarp-form-" not in page.text
    assert events() == before


def test_a_comcat_that_does_not_answer_is_said(operator, monkeypatch):
    monkeypatch.setenv("SCARP_COMCAT_URL", "http://127.0.0.1:9/query")
    page = preview(operator, {"comcat": "us2000h8ty"})
    assert page.status_code == 400 and "saved from ComCat" in unescape(page.text)


def test_texts_of_an_event_are_texts_on_every_page(operator):
    form = HAND | {"id": "storm-xss", "title": XSS}
    page = preview(operator, form)
    confirm(operator, page)
    operator.post("/events/storm-xss/hold", data={"reason": XSS})
    for path in ("/events", "/events/storm-xss", "/events/storm-xss/status", "/log"):
        shown = operator.get(path, headers=PAGE).text
        assert "<script>window" not in shown and "<img src=x" not in shown, path
    assert "<script>window" not in page.text

"""Planet through its real SDK against a stand-in (`planet_standin`), and a true PostGIS."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from shapely.geometry import MultiPolygon, box
from sqlalchemy import text

from tasks.errors import AccessError, NoImageryError, QuotaError
from tasks.imagery.cache import Cache
from tasks.imagery.orders import Ledger, Patience
from tasks.imagery.planet import PlanetSource, worth_their_price
from tasks.imagery.profiles import read_profiles
from tasks.imagery.protocol import Span
from tasks.imagery.rasters import open_band
from tasks.imagery.sources import Access, Keeping, obtain, open_source
from tasks.types import AreaOfInterest
from tests.imagery.planet_standin import Planet, strip_items

KEY = "PLAK0123456789abcdef"
AOI = AreaOfInterest(MultiPolygon([box(46.90, 8.40, 46.93, 8.41)]), "given")
JANUARY = Span(datetime(2022, 1, 20, tzinfo=UTC), datetime(2022, 2, 1, tzinfo=UTC))
HASTE = Patience(waits_s=(0.01, 0.01), poll_s=0.01, deadline_s=20)


@pytest.fixture
def planet(tmp_path) -> Planet:
    folder = tmp_path / "planet"
    folder.mkdir()
    return Planet(folder, KEY, strip_items(AOI.geometry, 6))


@pytest.fixture
def source(planet, serve, engine, tmp_path) -> Callable[..., PlanetSource]:
    """Scarp's side, for an event of a name; everything else is shared."""
    url = serve(planet.folder, planet.routes).url

    def make(event: str = "one", quota_km2: float = 100.0, key: str = KEY) -> PlanetSource:
        profiles = read_profiles()
        profiles["planet"] = profiles["planet"].model_copy(update={"url": url})
        cache = Cache(tmp_path / "cache", stall_s=0.5, wait_s=0.01)
        keeping = Keeping(cache, Ledger(engine, quota_km2), tmp_path / event)
        environment = {"PL_API_KEY": key} if key else {}
        access = Access(profiles, environment=environment, keeping=keeping, patience=HASTE)
        return open_source("planet", access)

    return make


def ledger_rows(engine):
    with engine.connect() as connection:
        return connection.execute(
            text("SELECT state, item_ids[1] AS item, message FROM scarp.imagery_order ORDER BY 2")
        ).all()


def test_scenes_are_ordered_clipped_downloaded_and_opened(planet, source, engine):
    found = obtain(source(), AOI, JANUARY)
    assert [scene.item_id for scene in found.scenes] == [item["id"] for item in planet.items]
    assert found.refused == found.incidents == ()
    (order,) = [order for order in planet.orders.values() if order["name"] == planet.posted[0]]
    assert order["products"][0]["product_bundle"] == "analytic_sr_udm2"
    assert [next(iter(tool)) for tool in order["tools"]] == ["clip", "harmonize"]
    scene = found.scenes[0]
    with open_band(scene, "red") as red, open_band(scene, "blue") as blue:
        assert (red.scales, red.nodata) == ((0.0001,), 0)
        assert (red.read() != blue.read()).any()
    with open_band(scene, "udm2") as mask:
        assert mask.count == 8
    assert {row.state for row in ledger_rows(engine)} == {"success"}


def test_a_second_event_pays_for_nothing_and_asks_no_file_again(planet, source):
    first = obtain(source("one"), AOI, JANUARY)
    posted, asked = list(planet.posted), len(planet.asked)
    part = AreaOfInterest(MultiPolygon([box(46.901, 8.401, 46.929, 8.409)]), "given")
    for aoi in (AOI, part):
        second = obtain(source("two"), aoi, JANUARY)
        assert [scene.checksum for scene in second.scenes] == [
            scene.checksum for scene in first.scenes
        ]
    assert planet.posted == posted
    assert planet.asked[asked:] == ["POST /data/v1/quick-search"] * 2


def test_every_fault_once_in_one_event(planet, source, engine, caplog):
    caplog.set_level(logging.DEBUG)
    ids = [item["id"] for item in planet.items]
    planet.faults = {
        "search 401": "",
        "search 500": "",
        "list 429": "",
        "place 503": "",
        "taken but 500": "",
        "poll 502": "",
        f"{ids[0]} stall": "",
        f"{ids[1]} checksum": "",
        f"{ids[2]} outcome": "partial",
        f"{ids[3]} outcome": "failed",
        f"{ids[4]} 403": "",
    }
    found = obtain(source(), AOI, JANUARY)
    assert planet.faults == {}
    assert [scene.item_id for scene in found.scenes] == [ids[i] for i in (0, 1, 2, 5)]
    assert [("udm2" in scene.bands) for scene in found.scenes] == [True, True, False, True]
    assert len(planet.posted) == len(set(planet.posted)) == 5
    reasons = {refused.scene.item_id: refused.reason for refused in found.refused}
    assert "failed: it was a failed" in reasons[ids[3]]
    assert "HTTP 403" in reasons[ids[4]]
    assert "no access to assets" in reasons[ids[4]]
    told = " ".join(found.incidents)
    for fault in ("401", "500", "429", "503", "502", "in part", "failed", "403", "broke off"):
        assert fault in told
    assert "has the md5" in told
    stalled = [line for line in planet.asked if f"{ids[0]}_3B_Analytic" in line]
    assert [("bytes=" in line) for line in stalled] == [False, True]
    states = {row.item: row.state for row in ledger_rows(engine)}
    assert [states[id_] for id_ in ids] == [
        "success",
        "success",
        "partial",
        "failed",
        "refused",
        "success",
    ]
    everything = caplog.text + told + " ".join(reasons.values()) + str(ledger_rows(engine))
    assert f"{KEY}" not in everything + repr(source())
    assert "secret-" not in everything

    again = obtain(source("again"), AOI, JANUARY)
    assert len(again.scenes) == 5
    assert len(planet.posted) == len(set(planet.posted)) == 6


def test_a_process_killed_after_its_order_was_taken_leaves_none_to_be_placed_again(
    planet, source, engine, tmp_path
):
    """The child dies of SIGKILL between Planet taking the order and the ledger hearing of it."""
    made = source()
    script = f"""
import sys
from datetime import datetime
from pathlib import Path
from shapely.geometry import MultiPolygon, box
from sqlalchemy import create_engine
from tasks.imagery.cache import Cache
from tasks.imagery.orders import Ledger, Patience
from tasks.imagery.planet import PlanetSource
from tasks.imagery.protocol import Span
from tasks.imagery.sources import obtain
from tasks.types import AreaOfInterest
source = PlanetSource({KEY!r}, Ledger(create_engine({url_of(engine)!r}), 100.0),
    Cache(Path({str(tmp_path / "cache")!r})), Path({str(tmp_path / "one")!r}), {made.url!r},
    ("127.0.0.1",))
aoi = AreaOfInterest(MultiPolygon([box(46.90, 8.40, 46.93, 8.41)]), "given")
times = [datetime.fromisoformat(text) for text in {[str(JANUARY.start), str(JANUARY.end)]!r}]
obtain(source, aoi, Span(*times))
"""
    child = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    planet.on_order = child.kill
    assert child.wait(timeout=120) == -9
    planet.on_order = lambda: None
    assert len(planet.posted) == 1
    assert {row.state for row in ledger_rows(engine)} == {"planned"}
    assert len(obtain(made, AOI, JANUARY).scenes) == 6
    assert len(planet.posted) == len(set(planet.posted)) == 6


def url_of(engine):
    return engine.url.render_as_string(hide_password=False)


def test_the_quota_stops_before_anything_is_ordered(planet, source, engine):
    with pytest.raises(QuotaError, match=r"3\.7 km² .* 0\.0 of this month's 3\.0 km² are used"):
        obtain(source(quota_km2=3.0), AOI, JANUARY)
    assert planet.posted == []
    assert ledger_rows(engine) == []
    obtain(source(quota_km2=4.0), AOI, JANUARY)
    elsewhere = replace(AOI, geometry=MultiPolygon([box(46.90, 8.405, 46.93, 8.415)]))
    with pytest.raises(QuotaError, match=r"3\.7 of this month's 4\.0 km² are used"):
        obtain(source(quota_km2=4.0), elsewhere, JANUARY)


def test_what_is_paid_for_is_used_where_the_quota_permits_no_more(planet, source):
    later = planet.items[3:]
    planet.items = planet.items[:3]
    bought = obtain(source(quota_km2=2.0), AOI, JANUARY).scenes
    posted = list(planet.posted)
    planet.items += later
    found = obtain(source(quota_km2=2.0), AOI, JANUARY)
    assert found.scenes == bought and planet.posted == posted
    assert [one.scene.item_id for one in found.refused] == [item["id"] for item in later]
    said = "of this month's 2.0 km² are used; nothing was ordered"
    assert said in found.refused[0].reason and said in found.incidents[-1]
    assert len(obtain(source(quota_km2=4.0), AOI, JANUARY).scenes) == 6


@pytest.mark.parametrize(
    ("key", "reason"), [("", "source planet needs PL_API_KEY"), ("PLAKexpired", "wrong or expired")]
)
def test_a_key_that_is_missing_or_expired_is_said(source, key, reason):
    with pytest.raises(AccessError, match=reason) as raised:
        obtain(source(key=key), AOI, JANUARY)
    assert "PLAKexpired" not in str(raised.value)


def test_an_asset_that_the_key_does_not_permit_refuses_its_scene_only(planet, source):
    planet.items[0]["_permissions"].remove("assets.ortho_udm2:download")
    found = obtain(source(), AOI, JANUARY)
    (refused,) = found.refused
    assert refused.reason == f"Planet: item {planet.items[0]['id']}: the key permits no ortho_udm2."
    assert len(found.scenes) == len(planet.posted) == 5


def test_when_nothing_can_be_had_the_first_reason_is_given(planet, source):
    planet.faults = {f"{item['id']} outcome": "failed" for item in planet.items}
    with pytest.raises(NoImageryError, match="none of 6 scenes could be had; .* failed"):
        obtain(source(), AOI, JANUARY)


def test_only_scenes_that_are_worth_their_price_are_ordered(planet, source):
    scenes = source().search(AOI, JANUARY).scenes
    whole = MultiPolygon([AOI.geometry.buffer(0.01).envelope])
    clear = replace(scenes[5], id="clear", footprint=whole, cloud_cover=1.0)
    hazy = replace(scenes[5], id="hazy", footprint=whole, cloud_cover=60.0)
    chosen, left = worth_their_price([hazy, scenes[0], clear], AOI)
    assert [scene.id for scene in chosen] == ["clear"]
    assert [refused.scene.id for refused in left] == [scenes[0].id, "hazy"]
    chosen, _ = worth_their_price([hazy, scenes[0]], AOI)
    assert [scene.id for scene in chosen] == ["hazy", scenes[0].id]


@pytest.mark.parametrize(
    "parts",
    [
        [box(179.9, -17, 180, -16.9), box(-180, -17, -179.9, -16.9)],
        [box(west, 45, west + 0.01, 45.01) for west in (0, 2, 4, 6, 8)],
    ],
)
def test_every_part_of_an_area_is_ordered(planet, source, parts):
    found = source().search(AOI, JANUARY).scenes[0]
    scenes = [replace(found, id=str(part), footprint=MultiPolygon([part])) for part in parts]
    _, left = worth_their_price(scenes, AreaOfInterest(MultiPolygon(parts), "given"))
    assert left == []


def test_what_cloud_hid_against_expectation_is_ordered_of_the_next_day(planet, source):
    (item,) = strip_items(AOI.geometry, 1)
    days = ["20220125", "20220126", "20220127", "20220128"]
    planet.items = [json.loads(json.dumps(item)) for _ in days]
    for day, copy in zip(days, planet.items, strict=True):
        copy["id"] = f"{day}_075500_67_1061"
        copy["properties"] |= {
            "acquired": f"{day[:4]}-{day[4:6]}-{day[6:]}T07:55:00Z",
            "clear_percent": 95,
        }
    planet.cloudy = {one["id"] for one in planet.items[:2]}
    looks = []
    for number in range(1, 5):
        until = datetime(2022, 1, 25 + number, tzinfo=UTC)
        found = obtain(source(), AOI, Span(JANUARY.start, until))
        looks.append([scene.item_id[:8] for scene in found.scenes])
    assert looks == [days[:1], days[:2], days[:3], days[:3]]
    assert len(planet.posted) == 3
    (left,) = found.refused
    assert left.scene.item_id.startswith(days[3]) and "not ordered" in left.reason

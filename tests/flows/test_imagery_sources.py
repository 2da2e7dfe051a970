"""Sources as flows open them: faults survived and told, keys from the edge, scenes refused."""

import json
import shutil
from datetime import UTC, datetime
from functools import partial

import pytest
from prefect.blocks.system import Secret
from shapely.geometry import box, mapping

import flows.sources
from flows.map_landslides import look_for_scenes
from flows.options import ResponseOptions
from flows.register import register_event
from flows.respond import respond
from flows.runs import failure_recorded
from tasks.errors import AccessError
from tasks.events.registry import find_aoi, find_event
from tasks.imagery.cache import Cache
from tasks.imagery.orders import Patience
from tasks.imagery.sources import Access
from tasks.types import Event, Provenance
from tests.conftest import EXAMPLE
from tests.flows.conftest import EVENT, rows
from tests.imagery.conftest import serve  # noqa: F401  a fixture
from tests.imagery.planet_standin import Planet, strip_items

pytestmark = pytest.mark.usefixtures("prefect")

KEY = "PLAK0123456789abcdef"
AREA = box(46.90, 8.40, 46.91, 8.404)
STORM = Event("storm", "rainfall", "A storm", datetime(2022, 1, 20, tzinfo=UTC), 46.905, 8.402)
HASTE = Patience(waits_s=(0.01, 0.01), poll_s=0.01, deadline_s=60)


def test_the_event_completes_nothing_is_ordered_twice_and_the_report_lists_what_happened(
    world,
    serve,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    planet = Planet(tmp_path, KEY, strip_items(AREA, 6))
    ids = [item["id"] for item in planet.items]
    planet.faults = dict.fromkeys(
        ("search 401", "search 500", "list 429", "place 503", "taken but 500", "poll 502"), ""
    )
    planet.faults |= {f"{ids[0]} stall": "", f"{ids[1]} checksum": "", f"{ids[4]} 403": ""}
    planet.faults |= {f"{ids[2]} outcome": "partial", f"{ids[3]} outcome": "failed"}
    profiles, aoi = tmp_path / "imagery.toml", tmp_path / "aoi.geojson"
    url = serve(tmp_path, planet.routes).url
    profiles.write_text(f'[planet]\nkind = "planet"\nurl = "{url}"\nneeds = ["PL_API_KEY"]\n')
    aoi.write_text(json.dumps(mapping(AREA)))
    monkeypatch.setenv("PL_API_KEY", KEY)
    monkeypatch.setattr(flows.sources, "Access", partial(Access, patience=HASTE))
    monkeypatch.setattr(flows.sources, "Cache", partial(Cache, stall_s=0.5, wait_s=0.01))

    register_event(STORM, aoi)
    until = datetime(2022, 2, 1, tzinfo=UTC)
    response = respond(STORM.id, ResponseOptions(source="planet", profiles=profiles, until=until))

    assert planet.faults == {}
    assert len(planet.posted) == len(set(planet.posted)) == 5
    used = [scene.item_id for scene in response.mapped.rasters.mosaic.scenes]
    assert sorted(used) == [ids[i] for i in (0, 1, 2, 5)]
    report = response.report.read_text()
    for told in (
        "HTTP 401",
        "HTTP 429",
        "HTTP 500",
        "HTTP 502",
        "HTTP 503",
        "broke off",
        "has the md5",
        "in part",
        "it was a failed",
        "no access to assets",
    ):
        assert told in report
    states = rows(world, "SELECT state, count(*) FROM scarp.imagery_order GROUP BY 1 ORDER BY 1")
    assert states == [("failed", 1), ("partial", 1), ("refused", 1), ("success", 3)]
    kept = str(rows(world, "SELECT run::text, scene::text FROM scarp.run, scarp.scene")) + report
    assert KEY not in kept
    assert "secret-" not in kept


@pytest.mark.parametrize("source", ["planet", "https://api.planet.com/"])
def test_the_key_may_come_from_a_prefect_block(world, monkeypatch, source):
    monkeypatch.delenv("PL_API_KEY", raising=False)
    options = ResponseOptions(source=source)
    Secret(value=KEY).save("planet-api-key")
    assert flows.sources.source_of(world, "storm", options).key == KEY
    Secret.delete("planet-api-key")
    with pytest.raises(AccessError, match="needs PL_API_KEY"):
        flows.sources.source_of(world, "storm", options)


def test_a_run_that_failed_tells_no_token(registered):
    source = "https://ann:secret@stac.example.org/v1?token=secret"
    asked = Provenance(EVENT, {"source": source}, {"source": source, "coverage": 0.8})
    with pytest.raises(AccessError), failure_recorded(registered.engine, asked, "x"):
        raise AccessError("not for you")
    ((run,),) = rows(registered, "SELECT to_jsonb(r) FROM scarp.v_runs r WHERE flow = 'x'")
    shown = {"source": "https://stac.example.org/v1"}
    assert (run["inputs"], run["parameters"]) == (shown, shown | {"coverage": 0.8})


def test_a_scene_that_cannot_be_read_is_refused_and_the_others_are_judged(
    registered, options, tmp_path
):
    copied = shutil.copytree(EXAMPLE / "scenes", tmp_path / "scenes")
    shutil.copy(EXAMPLE / "catalog.json", tmp_path)
    mask = copied / "2023-05-23" / "SCL.tif"
    mask.write_bytes(b"x" * mask.stat().st_size)
    with registered.engine.connect() as connection:
        event, aoi = find_event(connection, EVENT), find_aoi(connection, EVENT)
    chosen = options.model_copy(update={"source": str(tmp_path)})
    imagery = look_for_scenes(registered, event, aoi, chosen, datetime.now(UTC))
    assert len(imagery.judgements) == 15
    (refused,) = [one for one in imagery.judgements if one.scene.item_id.endswith("20230523")]
    assert not refused.used
    assert "SCL.tif cannot be read" in refused.reason

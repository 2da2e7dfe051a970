"""What is expected of an event is computed by the configured layers, stored once, and found."""

import os

import pytest

from tests.conftest import DATA

LOMA_PRIETA = DATA / "usgs_groundfailure_loma_prieta"
IDENTITY = "us:19891018000415:1586791501000"


@pytest.fixture
def quake():
    from tasks.events.request import event_from_fields

    return event_from_fields(
        {
            "id": "nc216859",
            "kind": "earthquake",
            "occurred_at": "1989-10-18T00:04:15Z",
            "longitude": -121.88,
            "latitude": 37.04,
            "magnitude": 6.9,
        }
    )


@pytest.fixture
def configured(tmp_path, monkeypatch):
    inputs = os.path.relpath(LOMA_PRIETA / "model_inputs", tmp_path)
    path = tmp_path / "layers.toml"
    path.write_text(
        "[nowicki_jessee]\n"
        f'slope = "{inputs}/global_grad.tif"\nslope_unit = "gradient"\n'
        f'lithology = "{inputs}/GLIM_replace.tif"\n'
        f'landcover = "{inputs}/globcover_replace.tif"\n'
        f'cti = "{inputs}/global_cti_fil.grd"\n'
    )
    monkeypatch.setenv("SCARP_IMPACT", str(path))
    return path


def expect(world, quake):
    from flows.prior import expect_landslides
    from tasks.events.shakemap import read_shakemap
    from tasks.events.shaken import shakemap_aoi

    shaking = read_shakemap(LOMA_PRIETA / "grid.xml")
    return expect_landslides(world, quake, shakemap_aoi(shaking), shaking, IDENTITY)


def register(world, quake):
    from tasks.events.registry import register as store
    from tasks.events.shaken import magnitude_distance_aoi

    with world.engine.begin() as connection:
        store(connection, quake, magnitude_distance_aoi(quake))


def test_the_prior_map_is_made_before_the_event_and_stored_once(configured, world, quake):
    from tasks.events.priors import find_priors, store_prior

    expected = expect(world, quake)
    assert expected.impact.path.is_relative_to(world.products(quake.id))
    register(world, quake)
    with world.engine.begin() as connection:
        stored = [store_prior(connection, quake.id, expected) for _ in range(2)]
        assert find_priors(connection, quake.id) == stored[:1]
    assert stored[0] == stored[1]
    assert stored[0].impact == expected.impact
    assert stored[0].source_version == IDENTITY


def test_what_is_stored_is_not_computed_again(configured, world, quake):
    from tasks.events.priors import store_prior

    register(world, quake)
    expected = expect(world, quake)
    with world.engine.begin() as connection:
        stored = store_prior(connection, quake.id, expected)
    written = stored.impact.path.stat().st_mtime_ns
    assert expect(world, quake) == stored
    assert stored.impact.path.stat().st_mtime_ns == written
    stored.impact.path.unlink()
    assert expect(world, quake).impact == expected.impact
    assert stored.impact.path.exists()


def test_other_layers_make_another_expectation(configured, world, quake):
    with_layers = expect(world, quake)
    configured.write_text("")
    without = expect(world, quake)
    assert with_layers.digest != without.digest
    assert without.impact.model == "malamud-2004"
    assert without.impact.path is None


def test_a_senseless_setting_is_named(configured, world, quake):
    from tasks.errors import RulesError

    configured.unlink()
    with pytest.raises(RulesError, match=r"layers\.toml cannot be read"):
        expect(world, quake)


@pytest.fixture
def page():
    """Loma Prieta as ComCat tells of an event, its ShakeMap on the feed's own host."""

    def page(feed):
        grid = feed.put("/grid.xml", (LOMA_PRIETA / "grid.xml").read_bytes())
        sent = 624672300000
        shakemap = {
            "source": "us",
            "code": "19891018000415",
            "updateTime": sent,
            "status": "UPDATE",
            "properties": {"version": "1"},
            "contents": {"download/grid.xml": {"url": grid}},
        }
        about = {
            "mag": 6.9,
            "place": "Loma Prieta, California",
            "time": 624672255000,
            "updated": sent,
            "status": "reviewed",
            "type": "earthquake",
            "ids": ",nc216859,",
            "products": {"shakemap": [shakemap]},
        }
        point = {"type": "Point", "coordinates": [-121.88, 37.04, 18.0]}
        return {"type": "Feature", "id": "nc216859", "properties": about, "geometry": point}

    return page


def test_a_watched_event_is_ranked_by_its_shakemap_and_keeps_the_prior_map(configured, world, page):
    from flows.feeds import Watch
    from flows.watch import look_once
    from tasks.events.priors import find_priors
    from tasks.events.registry import find_registered
    from tasks.events.rules import read_rules
    from tests.flows.feeds import at, serving

    with serving() as feed:
        url = feed.put("/detail.geojson", page(feed))
        looked = look_once(Watch(world, "usgs", url, read_rules()), at(624672360000))
    (decision,) = looked.decisions
    assert decision.decision == "registered"
    assert decision.priority == pytest.approx(36.92, rel=1e-3)
    with world.engine.connect() as connection:
        known = find_registered(connection, "nc216859")
        (prior,) = find_priors(connection, "nc216859")
    assert known.priority == decision.priority
    assert known.aoi.how.startswith("ShakeMap us:19891018000415")
    assert prior.source_version == "us:19891018000415:624672300000"
    assert prior.impact.path.exists()


def test_broken_layers_never_stop_an_event(configured, world, page):
    from flows.feeds import Watch
    from flows.watch import look_once
    from tasks.events.rules import read_rules
    from tests.flows.feeds import at, serving

    configured.write_text('[nowicki_jessee]\nslope = "missing.tif"')
    with serving() as feed:
        url = feed.put("/detail.geojson", page(feed))
        looked = look_once(Watch(world, "usgs", url, read_rules()), at(624672360000))
    (decision,) = looked.decisions
    assert decision.decision == "registered"
    assert decision.priority is None
    assert "what to expect is not known" in decision.reason


def test_an_event_registered_by_hand_is_ranked_by_its_magnitude(world, quake):
    from flows.register import register_event
    from tasks.events.impact import malamud_area_km2
    from tasks.events.priors import find_priors
    from tasks.events.registry import find_registered

    assert register_event(quake, dry=True).expected == register_event(quake).expected
    register_event(quake)
    with world.engine.connect() as connection:
        known = find_registered(connection, quake.id)
        (prior,) = find_priors(connection, quake.id)
    assert known.priority == prior.impact.expected_km2
    assert 0 < known.priority < malamud_area_km2(6.9)


def test_the_rules_say_how_an_area_is_drawn_from_a_shakemap(configured, world, page, tmp_path):
    from flows.feeds import Watch
    from flows.watch import look_once
    from tasks.events.registry import find_registered
    from tasks.events.rules import read_rules
    from tests.flows.feeds import at, serving

    rules = tmp_path / "rules.toml"
    rules.write_text("[earthquake]\naoi_mmi = 7.5\naoi_buffer_m = 2000\n")
    with serving() as feed:
        url = feed.put("/detail.geojson", page(feed))
        look_once(Watch(world, "usgs", url, read_rules(rules)), at(624672360000))
    with world.engine.connect() as connection:
        how = find_registered(connection, "nc216859").aoi.how
    assert "intensity of at least 7.5, and 2000 m round it" in how

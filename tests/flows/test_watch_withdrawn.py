"""ShakeMaps that an event's page lists no more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tasks.events import operator
from tests.flows.conftest import rows
from tests.flows.feeds import NOW, entry, ms
from tests.flows.looks import GRID, LOMA_PRIETA, RULES, decisions, known, look, shakemap

ORIGIN = {
    "source": "ci",
    "code": "ci38457511",
    "updateTime": ms(NOW - timedelta(minutes=50)),
    "preferredWeight": 100,
}


@pytest.fixture
def grids(feed):
    for minutes in (1, 2, 3):
        feed.put(f"/grid_{minutes}.xml", GRID.read_bytes())


def page(minutes, *shakemaps, **properties):
    """The event's page as updated so many minutes after the clock's hour began."""
    products = {"origin": [ORIGIN], "shakemap": list(shakemaps)}
    updated = ms(NOW + timedelta(minutes=minutes))
    return entry(**LOMA_PRIETA, **{"products": products, "updated": updated} | properties)


def by(source, told):
    return told | {"source": source}


def in_use(world):
    return [one for (one,) in rows(world, "SELECT identity FROM scarp.shakemap WHERE in_use")]


def test_a_page_that_lists_no_shakemap_any_more_withdraws_the_one_there_was(world, feed, grids):
    look(world, feed, page(1, shakemap(feed, 1)))
    assert known(world).aoi.how.startswith("ShakeMap")
    [made] = look(world, feed, page(5))
    assert made.decision == "updated" and made.respond_at == NOW
    assert made.source_version == f"us:ci38457511:{ms(NOW) + 300_000}"
    assert f"us no longer offers its ShakeMap us:ci38457511:{ms(NOW) + 60_000}" in made.reason
    assert "area: provisional" in made.reason
    assert known(world).aoi.how.startswith("provisional") and in_use(world) == []
    assert rows(world, "SELECT withdrawn FROM scarp.shakemap") == [(True,)]
    assert decisions(look(world, feed, page(5))) == []
    assert decisions(look(world, feed, page(5), now=NOW - timedelta(minutes=1))) == ["unchanged"]


def test_a_page_without_the_product_but_with_others_withdraws_it_too(world, feed, grids):
    look(world, feed, page(1, shakemap(feed, 1)))
    [made] = look(world, feed, page(5, products={"origin": [ORIGIN]}))
    assert made.decision == "updated" and "no longer offers" in made.reason


def test_a_shakemap_whose_status_becomes_delete_is_withdrawn(world, feed, grids):
    ours, theirs = shakemap(feed, 1), by("atlas", shakemap(feed, 2))
    look(world, feed, page(2, ours, theirs))
    [made] = look(world, feed, page(5, ours, theirs | {"status": "DELETE"}))
    assert made.decision == "updated" and "atlas no longer offers" in made.reason
    assert in_use(world) == [f"us:ci38457511:{ms(NOW) + 60_000}"]
    [made] = look(world, feed, page(6, ours | {"status": "delete"}))
    assert made.decision == "updated" and known(world).aoi.how.startswith("provisional")


def test_the_shakemap_of_another_contributor_takes_the_place_of_one_withdrawn(world, feed, grids):
    ours, theirs = shakemap(feed, 1), by("atlas", shakemap(feed, 2))
    look(world, feed, page(2, ours, theirs))
    assert in_use(world) == [f"atlas:ci38457511:{ms(NOW) + 120_000}"]
    [made] = look(world, feed, page(5, ours))
    assert made.decision == "updated" and "atlas no longer offers" in made.reason
    assert in_use(world) == [f"us:ci38457511:{ms(NOW) + 60_000}"]
    assert known(world).aoi.how.startswith("ShakeMap")


def test_one_that_was_not_used_goes_without_asking_for_a_response(world, feed, grids):
    ours, theirs = shakemap(feed, 1), by("atlas", shakemap(feed, 2))
    look(world, feed, page(2, ours, theirs))
    [made] = look(world, feed, page(5, theirs))
    assert made.decision == "updated" and "us no longer offers" in made.reason
    assert made.respond_at is None
    assert in_use(world) == [f"atlas:ci38457511:{ms(NOW) + 120_000}"]
    assert len(rows(world, "SELECT 1 FROM scarp.response_request")) == 1


@pytest.mark.parametrize(
    "said", [{"products": None}, {"products": {}}], ids=["a summary", "a page without products"]
)
def test_silence_of_what_lists_no_products_withdraws_nothing(world, feed, grids, said):
    look(world, feed, page(1, shakemap(feed, 1)))
    [made] = look(world, feed, page(5, **said))
    assert made.decision == "updated" and "no longer" not in made.reason
    assert known(world).aoi.how.startswith("ShakeMap") and len(in_use(world)) == 1


def test_a_page_that_was_sent_earlier_withdraws_nothing_and_brings_nothing_back(world, feed, grids):
    look(world, feed, page(3, shakemap(feed, 1)))
    assert decisions(look(world, feed, page(2))) == ["unchanged"]
    assert len(in_use(world)) == 1
    look(world, feed, page(5))
    assert decisions(look(world, feed, page(3, shakemap(feed, 1)))) == ["unchanged"]
    assert in_use(world) == [] and known(world).aoi.how.startswith("provisional")


def test_a_late_page_of_one_contributor_does_not_withdraw_the_newer_of_another(world, feed, grids):
    theirs = by("atlas", shakemap(feed, 2))
    look(world, feed, page(2, theirs))
    [made] = look(world, feed, page(2, shakemap(feed, 1)))
    assert made.decision == "unchanged" and "sent before" in made.reason
    assert in_use(world) == [f"atlas:ci38457511:{ms(NOW) + 120_000}"]


def test_what_is_withdrawn_gives_way_to_one_that_could_not_be_fetched_yet(world, feed, grids):
    look(world, feed, page(1, shakemap(feed, 1)))
    feed.statuses["/grid_2.xml"] = 503
    [made] = look(world, feed, page(5, by("atlas", shakemap(feed, 2))))
    assert "us no longer offers" in made.reason and "could not be fetched" in made.reason
    assert known(world).aoi.how.startswith("provisional") and in_use(world) == []


def test_a_shakemap_that_shows_no_ground_shaken_hard_takes_the_place_of_the_one_before(
    world, feed, grids
):
    look(world, feed, page(1, shakemap(feed, 1)))
    hard = RULES.model_copy(
        update={"earthquake": RULES.earthquake.model_copy(update={"aoi_pga_g": 5.0})}
    )
    [made] = look(world, feed, page(5, shakemap(feed, 2)), rules=hard)
    assert "no ground has a PGA of at least 5 g" in made.reason
    assert known(world).aoi.how.startswith("provisional") and in_use(world) == []


def test_a_grid_fetched_by_a_late_page_leaves_the_newest_word_the_newest(world, feed, grids):
    feed.statuses["/grid_1.xml"] = 503
    look(world, feed, page(5, shakemap(feed, 1)))
    del feed.statuses["/grid_1.xml"]
    assert decisions(look(world, feed, page(3, shakemap(feed, 1)))) == ["updated"]
    assert known(world).reported_at == NOW + timedelta(minutes=5) and len(in_use(world)) == 1


@pytest.mark.parametrize("minutes", [9, 5], ids=["by a newer page", "by a page of the same time"])
def test_a_shakemap_that_is_listed_again_is_used_again(world, feed, grids, minutes):
    look(world, feed, page(1, shakemap(feed, 1)))
    look(world, feed, page(5))
    [made] = look(world, feed, page(minutes, shakemap(feed, 1)))
    assert made.decision == "updated" and "us offers its ShakeMap" in made.reason
    assert made.respond_at and known(world).aoi.how.startswith("ShakeMap")
    assert rows(world, "SELECT withdrawn, in_use FROM scarp.shakemap") == [(False, True)]


def test_a_pinned_shakemap_stays_when_its_page_drops_it(world, feed, grids):
    look(world, feed, page(1, shakemap(feed, 1)))
    first = f"us:ci38457511:{ms(NOW) + 60_000}"
    with world.engine.begin() as connection:
        operator.choose(connection, "ci38457511", first, "checked by hand", RULES.earthquake)
    [made] = look(world, feed, page(5))
    assert "no longer offers" in made.reason and f"{first} is pinned" in made.reason
    assert made.respond_at is None and in_use(world) == [first]
    with world.engine.begin() as connection:
        operator.choose(connection, "ci38457511", "newest", "after all", RULES.earthquake)
    assert in_use(world) == [] and known(world).aoi.how.startswith("provisional")

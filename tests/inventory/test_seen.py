"""What part of an area was seen."""

import pytest
from shapely.geometry import MultiPolygon, box

from tasks.inventory.seen import seen_share, unseen_of

AREA = box(11, 44, 11.02, 44.02)
PIXEL = box(11.01, 44.01, 11.0101, 44.0101)


def test_what_was_observed_elsewhere_is_not_seen_of_the_area():
    assert seen_share(AREA, box(0, 0, 10, 10)) == 0
    assert seen_share(AREA, box(11.01, 44, 20, 50)) == pytest.approx(0.5)


def test_one_pixel_that_was_not_seen_keeps_the_area_from_being_seen_whole():
    seen = AREA - PIXEL
    assert 0.9999 < seen_share(AREA, seen) < 1
    assert unseen_of(AREA, seen).equals(PIXEL)


def test_slivers_along_pixel_edges_count_as_seen():
    assert seen_share(AREA, AREA.buffer(-1e-7)) == 1
    assert unseen_of(AREA, AREA.buffer(-1e-7)).is_empty
    assert seen_share(AREA, MultiPolygon()) == 0

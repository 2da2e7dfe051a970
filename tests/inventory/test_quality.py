import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import MultiPolygon, Polygon, box

from tasks.errors import InventoryError
from tasks.inventory.importing import read_area_file, read_inventory_file
from tasks.inventory.quality import describe, match_areas
from tasks.mapping.attributes import measure
from tasks.publish.map_figures import match_figure
from tasks.publish.size_figures import size_figure
from tests.conftest import DATA

GROUND = box(142, 42, 142.02, 42.02)


def slides(*outlines, amalgamated=None):
    frame = gpd.GeoDataFrame(geometry=list(outlines), crs=4326)
    flags = pd.array(amalgamated or [None] * len(outlines), dtype="boolean")
    return measure(frame, None).assign(amalgamated=flags)


@pytest.fixture(scope="module")
def hokkaido():
    scars = read_inventory_file(DATA / "hokkaido2018" / "inventory.gpkg", "scars", "scar")
    return measure(scars.landslides, None).assign(amalgamated=pd.array([None] * 6116, "boolean"))


def test_a_real_inventory_is_described(hokkaido):
    told = describe(hokkaido, outline_error_m=1.5)
    assert told.count == 6116
    assert told.area_m2 == hokkaido["area_m2"].sum()
    assert told.area_error_m2 == pytest.approx(1.5 * hokkaido["perimeter_m"].sum())
    assert told.volume_m3.low < told.volume_m3.value < told.volume_m3.high
    assert told.sizes.distribution.distribution.rollover_m2 == pytest.approx(1690, rel=0.01)
    assert told.sizes.magnitude.counted == pytest.approx(3.786, abs=0.001)


def test_the_outline_of_a_hole_is_as_unsure_as_any():
    around, within = box(142, 42, 142.004, 42.004), box(142.001, 42.001, 142.003, 42.003)
    ring, whole, hole = (
        describe(slides(outline), outline_error_m=5).area_error_m2
        for outline in (around - within, around, within)
    )
    assert ring == pytest.approx(whole + hole)


def test_an_error_nobody_knows_is_not_made_up():
    told = describe(slides(box(142, 42, 142.001, 42.001)))
    assert (told.outline_error_m, told.area_error_m2) == (None, None)


def test_an_empty_inventory_is_described_too():
    told = describe(slides())
    assert (told.count, told.area_m2, told.amalgamated_share) == (0, 0, 0)


def test_branching_outlines_and_flagged_ones_count_as_amalgamated():
    fan = Polygon([(3, 0), (0, 8), (3, 2), (3, 8), (3.2, 8), (3.2, 2), (6, 8)])
    fan = Polygon(np.array(fan.exterior.coords) * 1e-3 + [142, 42])
    told = describe(slides(fan, box(143, 42, 143.001, 42.001), box(144, 42, 144.01, 42.001)))
    assert told.amalgamated_count == 1
    flagged = slides(box(142, 42, 142.001, 42.001), amalgamated=[True])
    assert describe(flagged).amalgamated_share == 1


def test_the_mapping_error_is_what_only_one_of_two_inventories_has():
    first = slides(box(142, 42, 142.002, 42.001))
    second = slides(box(142.001, 42, 142.003, 42.001))
    match = match_areas(first, second, GROUND)
    assert match.match == pytest.approx(1 / 3, rel=1e-6)
    assert match.error == pytest.approx(2 / 3, rel=1e-6)


def test_what_lies_outside_the_common_ground_is_no_mismatch():
    first = slides(box(142, 42, 142.001, 42.001))
    second = slides(box(142, 42, 142.001, 42.001), box(142.03, 42, 142.04, 42.01))
    assert match_areas(first, second, GROUND).error == pytest.approx(0, abs=1e-12)


def test_outlines_that_overlap_count_once():
    first = slides(box(142, 42, 142.001, 42.001), box(142, 42, 142.001, 42.001))
    assert match_areas(first, first, GROUND).first_m2 == pytest.approx(first["area_m2"][0])


@pytest.mark.parametrize(
    ("ground", "said"),
    [(MultiPolygon(), "no ground in common"), (box(142.01, 42.01, 142.02, 42.02), "neither")],
)
def test_inventories_that_cannot_be_compared_say_why(ground, said):
    first = slides(box(142, 42, 142.001, 42.001))
    with pytest.raises(InventoryError, match=said):
        match_areas(first, first, ground)


def test_the_figures_are_drawn(tmp_path, hokkaido):
    some, told = hokkaido.head(500), describe(hokkaido)
    sizes = size_figure(tmp_path / "sizes.png", list(hokkaido["area_m2"]), 0, told.sizes)
    area = read_area_file(DATA / "hokkaido2018" / "inventory.gpkg", "interpreted_area")
    moved = some.set_geometry(some.translate(xoff=1e-4))
    match = match_figure(tmp_path / "match.png", some, moved, area, ("one", "other"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (sizes, match))

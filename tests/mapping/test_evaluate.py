import geopandas as gpd
import pytest
from shapely.geometry import GeometryCollection, Point, box

from tasks.errors import InventoryError
from tasks.mapping.evaluate import compare_inventories

WEST, NORTH = 700000, 4912000


def on_the_ground(*boxes):
    shapes = [box(WEST + w, NORTH + s, WEST + e, NORTH + n) for w, s, e, n in boxes]
    return gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32632").to_crs("EPSG:4326")


GROUND = on_the_ground((0, 0, 1000, 1000)).geometry[0]


def test_half_of_a_landslide_mapped_gives_half_the_recall_and_full_precision():
    agreement = compare_inventories(
        on_the_ground((100, 100, 200, 300)), on_the_ground((100, 100, 300, 300)), GROUND, 2
    )
    assert agreement.pixels.recall == pytest.approx(0.5, abs=0.01)
    assert agreement.pixels.precision == pytest.approx(1, abs=0.01)
    assert agreement.pixels.f1 == pytest.approx(2 / 3, abs=0.01)
    assert agreement.found_count == agreement.reference_count == 1


def test_only_ground_that_both_saw_counts():
    half = on_the_ground((0, 0, 500, 1000)).geometry[0]
    agreement = compare_inventories(
        on_the_ground((600, 100, 700, 200)), on_the_ground((800, 100, 900, 200)), half, 5
    )
    assert agreement.pixels.tp + agreement.pixels.fp + agreement.pixels.fn == 0
    assert agreement.reference_count == 0
    assert agreement.compared_km2 == pytest.approx(0.5, rel=1e-3)


def test_a_landslide_mapped_by_less_than_a_third_is_not_found():
    agreement = compare_inventories(
        on_the_ground((100, 100, 150, 300)),
        on_the_ground((100, 100, 300, 300), (500, 500, 600, 600)),
        GROUND,
        2,
    )
    assert agreement.found_count == 0
    assert agreement.object_recall == 0


def test_an_empty_prediction_scores_zero_recall():
    nothing = gpd.GeoDataFrame(geometry=[], crs="EPSG:4326")
    agreement = compare_inventories(nothing, on_the_ground((100, 100, 300, 300)), GROUND, 5)
    assert agreement.pixels.recall == 0


def test_inventories_without_common_ground_are_refused():
    touching = GeometryCollection([Point(12, 44)])
    with pytest.raises(InventoryError, match="share no observed ground"):
        compare_inventories(on_the_ground((0, 0, 9, 9)), on_the_ground((0, 0, 9, 9)), touching, 5)

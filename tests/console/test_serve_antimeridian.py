"""The service over an event that lies on both sides of the antimeridian."""

from datetime import UTC, datetime

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, box

from tests.conftest import entered_world
from tests.console.test_serve import LANDSLIDES, TILES, decoded, service  # noqa: F401

EAST, WEST = box(179.99, -16.8, 179.995, -16.795), box(-179.995, -16.8, -179.99, -16.795)


@pytest.fixture(scope="module")
def settings(cluster_home, tmp_path_factory):
    """A world with a landslide on each side, published."""
    from flows.import_inventory import PolygonSource, import_inventory
    from flows.register import register_event
    from tasks.types import Event

    home = tmp_path_factory.mktemp("serve")
    with entered_world(cluster_home, home) as settings:
        area, slides = home / "aoi.gpkg", home / "slides.gpkg"
        around = MultiPolygon([box(179.9, -17, 180, -16.5), box(-180, -17, -179.9, -16.5)])
        gpd.GeoDataFrame(geometry=[around], crs=4326).to_file(area)
        gpd.GeoDataFrame(geometry=[EAST, WEST], crs=4326).to_file(slides)
        moment = datetime(2020, 12, 17, tzinfo=UTC)
        storm = Event("yasa", "rainfall", "Cyclone Yasa", moment, 179.95, -16.8)
        register_event(storm, area, ask=False)
        import_inventory("yasa", PolygonSource(slides, observed_file=area), publish=True)
        yield settings


def test_a_box_finds_both_sides(service):  # noqa: F811
    for bbox, found in (("179,-20,-179,-10", 2), ("179,-20,180,-10", 1), ("-170,-20,170,-10", 0)):
        answer = service.get(f"{LANDSLIDES}/items", params={"bbox": bbox}).json()
        assert answer["numberMatched"] == found, bbox


def test_a_tile_of_the_world_shows_no_box_round_the_earth(service):  # noqa: F811
    (box_of_it,) = decoded(service.get(f"{TILES}/0/0/0")).geometry
    assert box_of_it.area < 0.01 * 4096**2
    assert {part.centroid.x > 2048 for part in box_of_it.geoms} == {True, False}

import geopandas
import pytest
import shapely
from shapely.geometry import MultiPolygon, Point, box, shape

from tasks.errors import AreaError
from tasks.events.aoi import geodesic_disc
from tasks.events.land import land_within, on_land, outline_of_land
from tasks.types import geodesic_area_m2


def square(west, south, east, north):
    return MultiPolygon([box(west, south, east, north)])


@pytest.mark.parametrize(
    ("place", "lon", "lat", "dry"),
    [
        ("Santa Cruz Mountains", -122.0, 37.1, True),
        ("Monterey Bay", -122.0, 36.8, False),
        ("Atsuma, Hokkaido", 141.9, 42.73, True),
        ("off Tomakomai", 141.6, 42.4, False),
        ("Taveuni, Fiji", -179.97, -16.85, True),
        ("Vanua Levu, Fiji", 179.3, -16.6, True),
        ("Antarctica", 10.0, -80.0, True),
        ("Lake Victoria", 33.0, -1.0, True),
        ("Gulf of Guinea", 0.0, 0.0, False),
    ],
)
def test_land_is_told_from_sea(place, lon, lat, dry):
    land = on_land(geodesic_disc(lon, lat, 200_000), place) if dry else None
    if land is not None:
        assert land.contains(Point(lon, lat))
        return
    near = square(lon - 0.05, lat - 0.05, lon + 0.05, lat + 0.05)
    with pytest.raises(AreaError, match=f"{place} lies in the sea"):
        on_land(near, place)


def test_islands_are_kept():
    channel_islands = on_land(square(-120.6, 33.8, -119.3, 34.2), "the Channel Islands")
    assert len(channel_islands.geoms) >= 4
    assert geodesic_area_m2(channel_islands) / 1e6 == pytest.approx(507, rel=0.15)


def test_inland_nothing_is_cut():
    area = square(9.0, 46.5, 10.0, 47.0)
    assert on_land(area, "the Alps").normalize().equals_exact(area.normalize(), 1e-9)


def test_land_across_the_antimeridian_stays_split_there():
    fiji = on_land(geodesic_disc(179.9, -16.8, 100_000), "Fiji")
    assert fiji.is_valid
    assert fiji.bounds[0] == -180
    assert fiji.bounds[2] == 180


def test_an_operators_own_land_is_used_in_its_own_crs(tmp_path):
    path = tmp_path / "island.gpkg"
    island = geopandas.GeoSeries([box(-30, 0, -29, 1)], crs="EPSG:4326").to_crs("EPSG:3857")
    island.to_file(path)
    mine = on_land(square(-29.5, 0, -28, 1), "my island", path)
    assert mine.bounds == pytest.approx((-29.5, 0, -29, 1))
    with pytest.raises(AreaError, match=r"island\.gpkg"):
        on_land(square(10, 45, 11, 46), "the Po plain", path)


def test_a_land_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "land.gpkg").write_text("no land")
    for name in ("land.gpkg", "missing.gpkg"):
        with pytest.raises(AreaError, match=f"{name} cannot be read as polygons of land"):
            on_land(square(10, 45, 11, 46), "the Po plain", tmp_path / name)


def test_land_of_a_part_of_the_earth_is_as_true_as_the_shoreline_and_goes_round_it():
    whole = shape(land_within(178, -18, 182, -16))
    west, east = shape(land_within(178, -18, 180, -16)), shape(land_within(-180, -18, -178, -16))
    assert whole.is_valid and whole.area == pytest.approx(west.area + east.area, rel=1e-3)
    here = box(141, 42, 143, 43)
    fine, coarse = shape(land_within(*here.bounds)), shape(outline_of_land(0.2)) & here
    assert shapely.get_num_coordinates(fine) > 2 * shapely.get_num_coordinates(coarse)
    assert fine.area == pytest.approx(coarse.area, rel=0.1)

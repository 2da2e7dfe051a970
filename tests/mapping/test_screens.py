"""Screens on analytic ground and on true layers: what they set aside, and what they never do."""

import warnings

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from shapely.geometry import LineString, MultiPolygon, Point, box

from tasks.errors import ScreenError
from tasks.mapping.screens import (
    BareBeforeScreen,
    LayerScreen,
    SlopeScreen,
    check_screens,
    parse_screen,
    screen,
    screen_doubts,
)
from tests.conftest import DATA

WEST, NORTH = 700000, 4912000
UTM = "EPSG:32632"
AREA = gpd.GeoSeries([box(WEST, NORTH - 1000, WEST + 1000, NORTH)], crs=UTM).to_crs(4326)[0]
AREA = MultiPolygon([AREA])


def outlines(*boxes, **columns):
    """Outlines in EPSG:4326 of boxes in m east and south of the corner."""
    ground = [box(WEST + w, NORTH - s, WEST + e, NORTH - n) for w, n, e, s in boxes]
    return gpd.GeoDataFrame(columns, geometry=ground, crs=UTM).to_crs("EPSG:4326")


THREE = ((0, 0, 100, 100), (300, 0, 400, 100), (600, 0, 700, 100))


def screened(judged):
    return judged["screened_by"].fillna("").tolist()


def vector(path, *geometries, crs=UTM, layer="features"):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        gpd.GeoDataFrame(geometry=list(geometries), crs=crs).to_file(path, layer=layer)
    return path


def raster(path, *bands, crs=UTM, transform=None, **profile):
    rows, cols = bands[0].shape
    transform = transform or Affine(10, 0, WEST, 0, -10, NORTH)
    size = {"driver": "GTiff", "count": len(bands), "height": rows, "width": cols}
    dtype = bands[0].dtype
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path, "w", **size, dtype=dtype, crs=crs, transform=transform, **profile
        ) as output:
            output.write(np.stack(bands))
            if len(bands) > 1:
                output.descriptions = ("red", "green", "blue", "nir")[: len(bands)]
                output.write_mask(np.where(bands[0] > 0, 255, 0).astype(np.uint8))
    return path


def test_ground_too_level_to_slide_is_set_aside_with_its_slope_and_nothing_is_lost():
    found = outlines(*THREE, slope_mean_deg=[3.21, 12.0, np.nan], relief_share=1.0)
    judged, (record,) = screen(found, [SlopeScreen(5)])
    assert len(judged) == 3 and judged.geometry.equals(found.geometry)
    assert screened(judged) == ["slope", "", ""]
    assert judged["screen_reason"][0] == "mean slope 3.2°"
    assert (record.asked, record.set_aside, record.not_run) == ("mean slope below 5°", 1, "")


def test_a_slope_known_of_less_than_half_sets_nothing_aside():
    found = outlines(*THREE, slope_mean_deg=[1.0, 1.0, 1.0], relief_share=[0.6, 0.4, np.nan])
    judged, _ = screen(found, [SlopeScreen(5)])
    assert screened(judged) == ["slope", "", ""]


def test_without_screens_nothing_is_set_aside():
    judged, record = screen(outlines(*THREE), [])
    assert judged["screened_by"].isna().all() and record == ()


def test_the_first_screen_that_applies_in_the_order_given_is_the_reason(tmp_path):
    lake = vector(tmp_path / "lake.gpkg", box(WEST - 50, NORTH - 150, WEST + 450, NORTH))
    found = outlines(*THREE, slope_mean_deg=[1.0, 20.0, 30.0], relief_share=1.0)
    slope, water = SlopeScreen(5), LayerScreen("water", lake)
    judged, record = screen(found, [slope, water])
    assert screened(judged) == ["slope", "water", ""]
    assert [one.set_aside for one in record] == [1, 1]
    judged, record = screen(found, [water, slope])
    assert screened(judged) == ["water", "water", ""]
    assert [one.set_aside for one in record] == [2, 0]


def test_half_of_an_outline_on_water_sets_it_aside_and_less_does_not(tmp_path):
    lakes = vector(
        tmp_path / "lakes.gpkg",
        box(WEST, NORTH - 51, WEST + 100, NORTH),
        box(WEST + 300, NORTH - 49, WEST + 400, NORTH),
        # Two overlapping lakes count once where they overlap.
        box(WEST + 600, NORTH - 30, WEST + 700, NORTH),
        box(WEST + 600, NORTH - 40, WEST + 700, NORTH),
    )
    judged, _ = screen(outlines(*THREE), [LayerScreen("water", lakes)])
    assert screened(judged) == ["water", "", ""]
    assert judged["screen_reason"][0] == "51 % of it on water"


def test_a_layer_that_meets_no_outline_sets_nothing_aside(tmp_path):
    lake = vector(tmp_path / "lake.gpkg", box(WEST + 800, NORTH - 900, WEST + 900, NORTH - 800))
    judged, (record,) = screen(outlines(*THREE), [LayerScreen("water", lake)])
    assert screened(judged) == ["", "", ""] and record.set_aside == 0


def test_a_road_drawn_as_a_line_and_a_house_as_a_point_have_a_width(tmp_path):
    roads = vector(
        tmp_path / "roads.gpkg", LineString([(WEST, NORTH - 5), (WEST + 1000, NORTH - 5)])
    )
    on, across = outlines((0, 0, 200, 15), (300, 0, 310, 100)).geometry
    found = gpd.GeoDataFrame(geometry=[on, across], crs="EPSG:4326")
    judged, _ = screen(found, [LayerScreen("built", roads)])
    assert screened(judged) == ["built", ""]
    house = vector(tmp_path / "house.gpkg", Point(WEST + 8, NORTH - 8))
    judged, _ = screen(outlines((0, 0, 16, 16)), [LayerScreen("built", house)])
    assert screened(judged) == ["built"]


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_a_layer_in_another_crs_lies_where_it_lies(tmp_path, crs):
    lake = gpd.GeoSeries([box(WEST, NORTH - 100, WEST + 100, NORTH)], crs=UTM).to_crs(crs)[0]
    layer = vector(tmp_path / "lake.gpkg", lake, crs=crs)
    judged, _ = screen(outlines(*THREE), [LayerScreen("water", layer)])
    assert screened(judged) == ["water", "", ""]


def test_the_class_of_a_raster_counts_and_its_nodata_does_not(tmp_path):
    cover = np.full((100, 100), 30, np.uint8)
    cover[:10, :6], cover[:10, 30:40] = 80, 0
    path = raster(tmp_path / "cover.tif", cover, nodata=0)
    far = (5000, 0, 5100, 100)
    judged, (record,) = screen(outlines(*THREE, far), [parse_screen(f"water={path}:80")])
    assert screened(judged) == ["water", "", "", ""]
    assert judged["screen_reason"][0] == "60 % of it on water"
    assert record.asked == "at least 50% on water in cover.tif (80)"


def test_a_raster_stored_south_up_is_read_the_right_way_round(tmp_path):
    cover = np.full((100, 100), 30, np.uint8)
    cover[-10:, :10] = 80
    south_up = Affine(10, 0, WEST, 0, 10, NORTH - 1000)
    path = raster(tmp_path / "cover.tif", cover, transform=south_up)
    judged, _ = screen(outlines(*THREE), [LayerScreen("water", path, "80")])
    assert screened(judged) == ["water", "", ""]


def test_ground_bare_before_the_event_is_set_aside_and_ground_not_seen_then_is_not(tmp_path):
    red = np.full((100, 100), 1000, np.uint16)
    nir = np.full((100, 100), 4000, np.uint16)
    nir[:10, :10] = 1500
    red[:10, 60:66], nir[:10, 60:70] = 0, 1000
    image = raster(tmp_path / "before.tif", red, red, red, nir)
    bare = BareBeforeScreen(0.3, image)
    judged, (record,) = screen(outlines(*THREE), [bare])
    assert screened(judged) == ["bare-before", "", ""]
    assert judged["screen_reason"][0] == "NDVI 0.20 before the event"
    assert record.not_run == "" and screen_doubts([record]) == []


def test_a_screen_without_an_image_from_before_is_not_run_and_says_so(tmp_path):
    judged, record = screen(outlines(*THREE), [BareBeforeScreen(0.3)])
    assert judged["screened_by"].isna().all()
    assert record[0].set_aside == 0 and "no scene from before" in record[0].not_run
    (doubt,) = screen_doubts(record)
    assert doubt.code == "screen-not-run" and "bare-before" in doubt.text
    picture = np.full((10, 10), 90, np.uint8)
    image = raster(tmp_path / "picture.tif", picture, picture, picture, picture)
    assert "8-bit pictures" in BareBeforeScreen(0.3, image).missing


def test_no_landslides_at_all_are_screened_in_peace(tmp_path):
    lake = vector(tmp_path / "lake.gpkg", box(WEST, NORTH - 100, WEST + 100, NORTH))
    judged, record = screen(
        outlines(slope_mean_deg=[], relief_share=[]), [SlopeScreen(5), LayerScreen("water", lake)]
    )
    assert len(judged) == 0 and [one.set_aside for one in record] == [0, 0]


def test_real_faults_and_land_cover_are_layers(tmp_path):
    slides = gpd.read_file(DATA / "kaghan_lsat" / "landslides.gpkg").to_crs(4326)
    faults = parse_screen(f"built={DATA / 'kaghan_lsat' / 'Confirmed_faults.gpkg'}")
    cover = DATA / "kaghan_lsat" / "Landcover.tif"
    with rasterio.open(cover) as source:
        classes, counts = np.unique(source.read(1, masked=True).compressed(), return_counts=True)
    common = int(classes[counts.argmax()])
    area = MultiPolygon([box(*slides.total_bounds)])
    screens = [faults, LayerScreen("water", cover, str(common))]
    check_screens(screens, area)
    judged, record = screen(slides, screens)
    on_faults = judged[judged["screened_by"] == "built"]
    lines = gpd.read_file(faults.layer).to_crs(32643).union_all()
    assert (on_faults.to_crs(32643).distance(lines) < 10).all()
    assert 0 < len(on_faults) < 50
    assert 0 < record[1].set_aside < len(slides)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("slope", "needs a number from 0 to 90"),
        ("slope=steep", "needs a number from 0 to 90"),
        ("slope=120", "needs a number from 0 to 90"),
        ("slope=nan", "needs a number"),
        ("bare-before=7", "needs a number from -1 to 1"),
        ("water=", "write one of slope=DEGREES, water=FILE"),
        ("forest=x.gpkg", "'forest=x.gpkg' is none that Scarp knows"),
    ],
)
def test_a_misspelt_screen_is_refused_with_what_it_should_be(text, complaint):
    with pytest.raises(ScreenError, match=complaint):
        parse_screen(text)


def test_a_layer_that_cannot_be_used_is_refused_before_any_work(tmp_path):
    here = box(WEST, NORTH - 100, WEST + 100, NORTH)
    cover = np.full((10, 10), 80, np.uint8)
    two = vector(tmp_path / "two.gpkg", here, layer="rivers")
    vector(two, here, layer="lakes")
    empty = tmp_path / "empty.gpkg"
    gpd.GeoDataFrame(geometry=[], crs=UTM).to_file(empty, layer="none")
    broken = tmp_path / "broken.gpkg"
    broken.write_text("<html>not found</html>")
    refused = {
        f"water={tmp_path / 'missing.gpkg'}": "does not exist",
        f"water={two}": "has layers rivers, lakes; name one, as in two.gpkg:rivers",
        f"water={two}:roads": "cannot be read",
        f"water={empty}": "holds no features",
        f"water={broken}": "cannot be read",
        f"water={vector(tmp_path / 'bare.shp', here, crs=None)}": "has no CRS",
        f"water={raster(tmp_path / 'bare.tif', cover, crs=None)}:80": "has no CRS",
        f"built={raster(tmp_path / 'cover.tif', cover)}": "is a raster: name the class",
        f"built={vector(tmp_path / 'far.gpkg', box(0, 0, 9, 9), crs=4326)}": "lies elsewhere",
    }
    for text, complaint in refused.items():
        with pytest.raises(ScreenError, match=complaint):
            check_screens([parse_screen(text)], AREA)
    check_screens([parse_screen(f"water={two}:lakes"), parse_screen("slope=5")], AREA)


def test_a_colon_in_a_files_name_does_not_part_it(tmp_path):
    path = vector(tmp_path / "map:old.gpkg", box(WEST, NORTH - 100, WEST + 100, NORTH))
    assert parse_screen(f"water={path}").layer == path

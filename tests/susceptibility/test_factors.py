from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.warp import Resampling, calculate_default_transform, reproject
from shapely.affinity import translate
from shapely.geometry import MultiPolygon, box

from tasks.errors import RasterError
from tasks.susceptibility import factors
from tasks.susceptibility.factors import TERRAIN, check_dem, derive_factors


def warped(dem: Path, crs: str, target: Path) -> Path:
    with rasterio.open(dem) as source:
        transform, width, height = calculate_default_transform(
            source.crs, crs, source.width, source.height, *source.bounds
        )
        profile = source.profile | {
            "crs": crs,
            "transform": transform,
            "width": width,
            "height": height,
            "nodata": -9999,
            "dtype": "float32",
        }
        with rasterio.open(target, "w", **profile) as destination:
            reproject(
                rasterio.band(source, 1),
                rasterio.band(destination, 1),
                resampling=Resampling.bilinear,
            )
    return target


def rewritten(dem: Path, target: Path, values: np.ndarray | None = None, **profile: object) -> Path:
    with rasterio.open(dem) as source:
        changed = source.profile | profile
        data = source.read() if values is None else values
    with rasterio.open(target, "w", **changed) as destination:
        destination.write(data)
    return target


def test_a_projected_dem_keeps_its_own_cells(example):
    with rasterio.open(example.dem) as dem:
        elevation = dem.read(1)
        assert example.stack.geobox.transform == dem.transform
        assert example.stack.geobox.shape == dem.shape
    known = np.isfinite(example.stack.read("elevation"))
    assert known.mean() > 0.99
    np.testing.assert_array_equal(example.stack.read("elevation")[known], elevation[known])
    assert example.stack.names == TERRAIN.terrain
    assert example.stack.coverage > 0.999


def test_every_factor_is_in_its_range(kaghan):
    stack = kaghan.stack
    inside = np.isfinite(stack.read("elevation"))
    assert (stack.known() == inside).all(), "the margin feeds the neighbourhoods of the AOI's edge"
    assert np.nanmin(stack.read("slope")) >= 0 and np.nanmax(stack.read("slope")) < 90
    facing = np.hypot(stack.read("northness"), stack.read("eastness"))[inside]
    assert ((facing < 1e-6) | (np.abs(facing - 1) < 1e-5)).all()
    assert np.nanmin(stack.read("relief")) > 0
    cell = stack.geobox.resolution.x**2
    assert np.nanmin(stack.read("flow_accumulation")) == pytest.approx(np.log10(cell), abs=1e-5)


def test_reading_a_window_gives_what_reading_everything_gives(kaghan, tmp_path):
    with rasterio.open(kaghan.dem) as dem:
        whole = gpd.GeoSeries([box(*dem.bounds)], crs=dem.crs).to_crs(4326)
        everything = derive_factors(kaghan.dem, MultiPolygon(list(whole)), tmp_path / "factors.tif")
        left, top = (
            kaghan.stack.geobox.transform.c - dem.transform.c,
            dem.transform.f - kaghan.stack.geobox.transform.f,
        )
    row, col = round(top / dem.res[1]), round(left / dem.res[0])
    rows, cols = kaghan.stack.geobox.shape
    known = kaghan.stack.known()
    for name in set(TERRAIN.terrain) - {"flow_accumulation", "wetness"}:
        part = everything.read(name)[row : row + rows, col : col + cols]
        np.testing.assert_allclose(
            kaghan.stack.read(name)[known], part[known], rtol=1e-4, atol=1e-3, err_msg=name
        )


def test_a_geographic_dem_is_measured_in_metres(kaghan, tmp_path):
    dem = warped(kaghan.dem, "EPSG:4326", tmp_path / "degrees.tif")
    stack = derive_factors(dem, kaghan.aoi, tmp_path / "factors.tif")
    assert stack.geobox.crs.epsg == 32643
    for name in ("elevation", "slope", "relief"):
        expected = np.nanmedian(kaghan.stack.read(name))
        assert np.nanmedian(stack.read(name)) == pytest.approx(expected, rel=0.05), name


@pytest.mark.parametrize("crs", ["+proj=utm +zone=43 +datum=WGS84 +units=us-ft", "EPSG:3857"])
def test_a_dem_on_a_grid_in_feet_or_stretched_is_measured_in_metres(kaghan, tmp_path, crs):
    stack = derive_factors(
        warped(kaghan.dem, crs, tmp_path / "other.tif"), kaghan.aoi, tmp_path / "factors.tif"
    )
    assert stack.geobox.crs.epsg == 32643
    assert np.nanmedian(stack.read("slope")) == pytest.approx(
        np.nanmedian(kaghan.stack.read("slope")), rel=0.05
    )


def test_a_chosen_resolution_is_kept(kaghan, tmp_path):
    stack = derive_factors(kaghan.dem, kaghan.aoi, tmp_path / "factors.tif", resolution_m=50)
    assert stack.geobox.resolution.x == 50
    assert [doubt.code for doubt in stack.doubts] == ["dem-coarsened"]
    assert stack.coverage == pytest.approx(1, abs=0.01)


def test_cells_of_a_kilometre_have_their_slope_and_no_relief_to_speak_of(kaghan, tmp_path):
    with rasterio.open(kaghan.dem) as dem:
        whole = gpd.GeoSeries([box(*dem.bounds)], crs=dem.crs).to_crs(4326)
    stack = derive_factors(
        kaghan.dem, MultiPolygon(list(whole)), tmp_path / "factors.tif", resolution_m=1000
    )
    assert "slope" in stack.names and "relief" not in stack.names
    assert 0 < np.nanmedian(stack.read("slope")) < 30
    assert {"dem-coarsened", "factor-constant"} == {doubt.code for doubt in stack.doubts}


def test_a_stack_too_large_is_coarsened_by_doubling(kaghan, monkeypatch, tmp_path):
    monkeypatch.setattr(factors, "MAX_CELLS", 5_000)
    stack = derive_factors(kaghan.dem, kaghan.aoi, tmp_path / "factors.tif")
    assert stack.geobox.resolution.x == pytest.approx(4 * 28.554923, rel=1e-6)
    assert stack.geobox.shape[0] * stack.geobox.shape[1] < 1.1 * 5_000


def test_a_dem_of_half_the_area_gives_half_a_stack_and_says_so(example, tmp_path):
    west, _, east, _ = example.aoi.bounds
    beside = translate(example.aoi, xoff=(east - west) / 2)
    stack = derive_factors(example.dem, beside, tmp_path / "factors.tif")
    assert stack.coverage == pytest.approx(0.5, abs=0.03)
    assert stack.geobox.shape[1] == pytest.approx(64, abs=4)


@pytest.mark.parametrize("void", [-32768, -9999, 9999, 12_345])
def test_a_small_hole_is_bridged_even_where_nobody_declared_it_and_said_so(example, tmp_path, void):
    with rasterio.open(example.dem) as dem:
        values = dem.read()
    holed = values.copy()
    holed[0, 60:70, 60:70] = void
    dem = rewritten(example.dem, tmp_path / "voids.tif", holed)
    stack = derive_factors(dem, example.aoi, tmp_path / "factors.tif")
    bridge = stack.read("elevation")[60:70, 60:70]
    assert np.abs(bridge - values[0, 60:70, 60:70]).mean() < 5
    assert np.nanmax(stack.read("slope")) < 60
    (doubt,) = stack.doubts
    assert doubt.code == "dem-voids-filled"


def test_a_large_hole_stays_unknown(example, tmp_path):
    with rasterio.open(example.dem) as dem:
        values = dem.read()
    values[0, 50:80, 60:80] = -32768
    dem = rewritten(example.dem, tmp_path / "voids.tif", values)
    stack = derive_factors(dem, example.aoi, tmp_path / "factors.tif")
    assert np.isnan(stack.read("elevation")[50:80, 60:80]).all()
    assert np.nanmin(stack.read("elevation")) > 100
    assert stack.coverage == pytest.approx(1 - 600 / 128**2, abs=0.001)
    assert stack.doubts == ()


def test_a_sea_of_zeros_is_no_ground_and_a_few_zeros_are(example, tmp_path):
    with rasterio.open(example.dem) as dem:
        values = dem.read()
    values[0, :, :40] = 0
    values[0, 60, 60] = 0
    dem = rewritten(example.dem, tmp_path / "coast.tif", values)
    stack = derive_factors(dem, example.aoi, tmp_path / "factors.tif")
    elevation = stack.read("elevation")
    assert np.isnan(elevation[:, :40]).all()
    assert elevation[60, 60] == 0
    (doubt,) = stack.doubts
    assert doubt.code == "dem-zeros"


@pytest.mark.parametrize(
    ("unit", "factor", "told"),
    [
        ("ft", 0.3048, ["dem-in-feet"]),
        ("US survey foot", 1200 / 3937, ["dem-in-feet"]),
        ("dm", 0.1, []),
        ("Centimeters", 0.01, []),
    ],
)
def test_a_dem_that_says_its_unit_is_converted(example, tmp_path, unit, factor, told):
    with rasterio.open(example.dem) as dem:
        values = dem.read().astype("float32") / factor - 100
    dem = rewritten(example.dem, tmp_path / "feet.tif", values, dtype="float32")
    with rasterio.open(dem, "r+") as dataset:
        dataset.units, dataset.offsets = (unit,), (100,)
    stack = derive_factors(dem, example.aoi, tmp_path / "factors.tif")
    for name in ("elevation", "slope"):
        np.testing.assert_allclose(
            stack.read(name), example.stack.read(name), atol=0.01, equal_nan=True
        )
    assert [doubt.code for doubt in stack.doubts] == told


def test_a_dem_whose_heights_are_in_feet_by_its_crs_is_converted(example, tmp_path):
    dem = rewritten(example.dem, tmp_path / "feet.tif", crs="EPSG:32632+6360")
    mosaic = tmp_path / "feet.vrt"
    rasterio.shutil.copy(dem, mosaic, driver="VRT")
    # a GeoTIFF's unit is that of its CRS; a mosaic of others has but the CRS
    mosaic.write_text(re.sub("<UnitType>.*</UnitType>", "", mosaic.read_text()))
    stack = derive_factors(mosaic, example.aoi, tmp_path / "factors.tif")
    np.testing.assert_allclose(
        stack.read("elevation"), example.stack.read("elevation") * 1200 / 3937, rtol=1e-5
    )
    assert [doubt.code for doubt in stack.doubts] == ["dem-in-feet"]


def test_a_dem_higher_than_any_mountain_is_taken_to_be_in_feet(kaghan, tmp_path):
    with rasterio.open(kaghan.dem) as dem:
        values = dem.read() / 0.3048
    dem = rewritten(kaghan.dem, tmp_path / "peaks.tif", values)
    with pytest.raises(RasterError, match=r"peaks\.tif has heights up to 13\d{3}.*feet"):
        derive_factors(dem, kaghan.aoi, tmp_path / "factors.tif")


def test_heights_stored_in_tenths_of_a_metre_are_not_taken_for_feet(kaghan, tmp_path):
    with rasterio.open(kaghan.dem) as dem:
        tenths = np.round(np.nan_to_num(dem.read(masked=True).filled(0)) * 10).astype(np.int16)
    dem = rewritten(kaghan.dem, tmp_path / "tenths.tif", tenths, dtype="int16", nodata=0)
    with rasterio.open(dem, "r+") as dataset:
        dataset.scales = (0.1,)
    stack = derive_factors(dem, kaghan.aoi, tmp_path / "factors.tif")
    np.testing.assert_allclose(stack.read("elevation"), kaghan.stack.read("elevation"), atol=0.06)


def test_several_files_are_one_dem_each_in_its_unit_and_the_first_counts_where_two_overlap(
    kaghan, tmp_path
):
    with rasterio.open(kaghan.dem) as dem:
        cols, transform = dem.width, dem.transform
        values = dem.read().astype("float32")
    cut = 440
    folder = tmp_path / "sheets"
    folder.mkdir()
    east = transform @ rasterio.Affine.translation(cut, 0)
    inner = {"width": cols - cut, "transform": east, "dtype": "float32"}
    rewritten(kaghan.dem, folder / "east.tif", values[:, :, cut:], **inner)
    values[:, :, cut:] += 500
    rewritten(kaghan.dem, folder / "west.tif", values / 0.3048, dtype="float32")
    with rasterio.open(folder / "west.tif", "r+") as dataset:
        dataset.units = ("ft",)
    stack = derive_factors(folder, kaghan.aoi, tmp_path / "factors.tif")
    assert stack.coverage == pytest.approx(1)
    for name in ("elevation", "slope", "flow_accumulation"):
        np.testing.assert_allclose(
            stack.read(name), kaghan.stack.read(name), atol=1e-3, equal_nan=True, err_msg=name
        )
    assert stack.factors[0].source == "east.tif, west.tif"
    assert [doubt.code for doubt in stack.doubts] == ["dem-in-feet"]


def test_an_area_across_the_antimeridian_is_one_area(tmp_path):
    east, west = box(179.95, -16.6, 180, -16.5), box(-180, -16.6, -179.97, -16.5)
    dem = tmp_path / "taveuni.tif"
    rows = np.linspace(0, 800, 240, dtype=np.float32)[:, None]
    with rasterio.open(
        dem,
        "w",
        driver="GTiff",
        width=240,
        height=240,
        count=1,
        dtype="float32",
        crs="EPSG:32760",
        transform=rasterio.Affine(50, 0, 812_000, 0, -50, 8_174_000),
    ) as dataset:
        dataset.write(np.broadcast_to(rows, (1, 240, 240)))
    stack = derive_factors(dem, MultiPolygon([east, west]), tmp_path / "factors.tif")
    assert stack.geobox.shape[1] * 50 < 10_000
    assert stack.coverage > 0.9


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda dem, path: path, "does not exist"),
        (lambda dem, path: path.write_text("elevation"), "missing or damaged"),
        (lambda dem, path: path.write_bytes(dem.read_bytes()[:3000]), "missing or damaged"),
        (lambda dem, path: rewritten(dem, path, crs=None), "no CRS"),
        (lambda dem, path: rewritten(dem, path, crs="EPSG:32643"), "does not overlap"),
    ],
    ids=["missing", "not a raster", "truncated", "without CRS", "elsewhere"],
)
def test_a_dem_that_cannot_be_used_is_named(example, tmp_path, damage, says):
    dem = tmp_path / "relief.tif"
    damage(example.dem, dem)
    with pytest.raises(RasterError, match=rf"relief\.tif.*{says}"):
        derive_factors(dem, example.aoi, tmp_path / "factors.tif")


def test_a_dem_that_knows_next_to_nothing_is_refused(example, tmp_path):
    with rasterio.open(example.dem) as dem:
        values = np.full_like(dem.read(), -9999)
    values[0, :5, :5] = 200
    dem = rewritten(example.dem, tmp_path / "empty.tif", values, nodata=-9999)
    with pytest.raises(RasterError, match=r"empty\.tif knows 0\.\d+ % of the area"):
        derive_factors(dem, example.aoi, tmp_path / "factors.tif")


def test_a_dem_can_be_checked_before_work_starts(example, kaghan, tmp_path):
    check_dem(example.dem, example.aoi)
    with pytest.raises(RasterError, match=r"dem\.tif does not overlap"):
        check_dem(example.dem, kaghan.aoi)
    with pytest.raises(RasterError, match="missing or damaged"):
        check_dem(example.dem.parent, example.aoi)
    with rasterio.open(example.dem) as dem:
        profile = dem.profile | {"count": 3, "dtype": "uint8", "nodata": None, "photometric": "RGB"}
    with rasterio.open(tmp_path / "picture.tif", "w", **profile):
        pass
    with pytest.raises(RasterError, match=r"picture\.tif: is a picture in colours"):
        check_dem(tmp_path / "picture.tif", example.aoi)

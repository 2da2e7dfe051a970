import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import pytest
import rasterio
import shapely
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import array_bounds
from rasterio.warp import reproject, transform_bounds
from shapely.geometry import MultiPolygon, box

from tasks.errors import NoImageryError, RasterError, StorageError
from tasks.imagery.clouds import judge
from tasks.imagery.folder import read_folder
from tasks.imagery.mosaic import event_grid, prepare_mosaic
from tasks.imagery.protocol import Span
from tasks.imagery.stac import StacSource
from tasks.types import AreaOfInterest, geodesic_area_m2
from tests.conftest import DATA, EXAMPLE

HOKKAIDO = DATA / "hokkaido2018" / "scene_rgb_3m.tif"
NAMES = ("red", "green", "blue")


@pytest.fixture
def scenes(aoi):
    """The clear scene of 23 May 2023."""
    return on_day(EXAMPLE / "catalog.json", aoi, "2023-05-23")


@pytest.fixture
def gap(aoi):
    """The scene of 13 April 2023, in which cloud and its shadow hide 456 pixels."""
    return on_day(EXAMPLE / "catalog.json", aoi, "2023-04-13")


def on_day(catalog, aoi, day):
    start = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    found = StacSource(str(catalog)).search(aoi, Span(start, start + timedelta(days=1)))
    return list(found.scenes)


def read(path):
    with rasterio.open(path) as raster:
        return raster.read(), raster.dataset_mask() > 0


def grid_of(path):
    with rasterio.open(path) as raster:
        return raster.crs, raster.transform, raster.shape


def test_a_mosaic_of_one_scene_is_the_scene_where_it_is_clear(scenes, aoi, tmp_path):
    mosaic = prepare_mosaic(scenes, aoi, tmp_path)
    image, observed = read(mosaic.path)
    home = EXAMPLE / "scenes" / "2023-05-23"
    assert grid_of(mosaic.path) == grid_of(home / "B04.tif") == grid_of(mosaic.scene_index)
    for number, band in enumerate(("B04", "B03", "B02", "B08")):
        source, _ = read(home / f"{band}.tif")
        assert (image[number][observed] == source[0][observed]).all()
    classes, _ = read(home / "SCL.tif")
    assert (observed == (classes[0] != 2)).all()
    assert not image[:, ~observed].any()


def test_the_mosaic_says_what_its_bands_are(scenes, aoi, tmp_path):
    mosaic = prepare_mosaic(scenes, aoi, tmp_path)
    with rasterio.open(mosaic.path) as image, rasterio.open(mosaic.scene_index) as index:
        assert image.descriptions == ("red", "green", "blue", "nir")
        assert image.profile["tiled"]
        assert image.dtypes[0] == "uint16"
        assert image.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]
        assert (index.dtypes, index.nodata) == (("uint8",), 0)
    assert not list(tmp_path.glob("*.msk"))


def test_each_pixel_comes_from_the_first_scene_that_shows_it(gap, scenes, aoi, tmp_path):
    mosaic = prepare_mosaic([*gap, *scenes], aoi, tmp_path)
    index = read(mosaic.scene_index)[0][0]
    image, observed = read(mosaic.path)
    days = ("2023-04-13", "2023-05-23")
    clear = [np.isin(read(EXAMPLE / "scenes" / day / "SCL.tif")[0][0], [4, 5, 7]) for day in days]
    assert (index == np.where(clear[0], 1, np.where(clear[1], 2, 0))).all()
    assert (index == 2).sum() > 400
    assert ((index > 0) == observed).all()
    for number, day in enumerate(days, start=1):
        source = read(EXAMPLE / "scenes" / day / "B04.tif")[0][0]
        assert (image[0][index == number] == source[index == number]).all()


def test_the_observed_area_is_the_ground_of_the_clear_pixels(scenes, aoi, tmp_path):
    mosaic = prepare_mosaic(scenes, aoi, tmp_path)
    _, observed = read(mosaic.path)
    assert mosaic.observed.is_valid
    assert mosaic.observed.within(aoi.geometry.buffer(1e-9))
    unseen = geodesic_area_m2(aoi.geometry) - geodesic_area_m2(mosaic.observed)
    assert unseen == pytest.approx(100 * (~observed).sum(), abs=30)


def test_only_the_area_is_read_and_observed(scenes, aoi, tmp_path):
    west, south, east, north = aoi.geometry.bounds
    middle = ((west + east) / 2, (south + north) / 2)
    small = AreaOfInterest(MultiPolygon([shapely.Point(middle).buffer(0.002)]), "given")
    mosaic = prepare_mosaic(scenes, small, tmp_path)
    image, observed = read(mosaic.path)
    assert max(image.shape) < 50
    assert geodesic_area_m2(mosaic.observed) == pytest.approx(small.area_km2 * 1e6, rel=0.03)
    assert observed.mean() == pytest.approx(np.pi / 4, abs=0.05)


def test_an_area_smaller_than_a_pixel_is_seen_in_the_pixel_it_lies_in(scenes, tmp_path):
    corner = box(11.583, 44.332, 11.58302, 44.33202)
    mosaic = prepare_mosaic(scenes, AreaOfInterest(MultiPolygon([corner]), "given"), tmp_path)
    assert mosaic.observed.equals(MultiPolygon([corner]))


def test_the_same_input_makes_the_same_bytes(scenes, aoi, tmp_path):
    first, second = (prepare_mosaic(scenes, aoi, tmp_path / name) for name in "ab")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.scene_index.read_bytes() == second.scene_index.read_bytes()
    assert first.observed == second.observed


def test_an_offset_is_taken_off_so_that_scenes_compare(aoi, catalog, edit_items, scenes, tmp_path):
    def as_of_baseline_4(item):
        home = catalog.parent / "scenes" / item["properties"]["start_datetime"][:10]
        for key in ("B02", "B03", "B04", "B08"):
            path, asset = home / f"{key}.tif", item["assets"][key]
            with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
                raster.write(raster.read() + 1000)
            asset["raster:offset"] = -0.1
            asset["file:size"] = path.stat().st_size

    plain = prepare_mosaic(scenes, aoi, tmp_path / "plain")
    edit_items(as_of_baseline_4)
    shifted = prepare_mosaic(on_day(catalog, aoi, "2023-05-23"), aoi, tmp_path / "shifted")
    before, after = read(plain.path)[0], read(shifted.path)[0]
    assert before.dtype == after.dtype == np.uint16
    assert (before == after).all()


def test_scenes_of_unlike_scale_become_reflectance(aoi, gap, catalog, edit_items, tmp_path):
    def ten_times_coarser(item):
        for asset in item["assets"].values():
            if "raster:scale" in asset:
                asset["raster:scale"] = 0.001

    edit_items(ten_times_coarser)
    other = on_day(catalog, aoi, "2023-05-23")
    mosaic = prepare_mosaic([*gap, *other], aoi, tmp_path)
    image, _ = read(mosaic.path)
    index = read(mosaic.scene_index)[0][0]
    assert image.dtype == np.float32
    for number, day, scale in ((1, "2023-04-13", 1e-4), (2, "2023-05-23", 1e-3)):
        source = read(EXAMPLE / "scenes" / day / "B04.tif")[0][0]
        here = index == number
        assert here.any()
        assert image[0][here] == pytest.approx(source[here] * scale)


def test_a_scene_in_another_crs_lies_where_the_first_lies(aoi, scenes, write_tif, tmp_path):
    red, _ = read(EXAMPLE / "scenes" / "2023-05-23" / "B04.tif")
    crs, transform, shape = grid_of(EXAMPLE / "dem.tif")
    west, _, _, north = transform_bounds(crs, 32633, *array_bounds(*shape, transform))
    corner = rasterio.Affine(10, 0, west, 0, -10, north)
    turned, _ = reproject(
        red, np.zeros((1, 150, 150), np.uint16), src_transform=transform, src_crs=crs,
        dst_transform=corner, dst_crs=32633, dst_nodata=0, resampling=Resampling.bilinear,
    )  # fmt: skip
    path = write_tif(
        "zone33.tif", turned.repeat(3, axis=0), crs="EPSG:32633", transform=corner, nodata=0,
        descriptions=NAMES,
    )  # fmt: skip
    mosaic = prepare_mosaic([*read_folder(path).scenes, *scenes], aoi, tmp_path / "out")
    image, observed = read(mosaic.path)
    index = read(mosaic.scene_index)[0][0]
    with rasterio.open(mosaic.path) as raster:
        assert raster.crs.to_epsg() == 32632
        back, _ = reproject(
            image[0], np.zeros(shape, np.uint16), src_transform=raster.transform, src_crs=crs,
            dst_transform=transform, dst_crs=crs, resampling=Resampling.nearest,
        )  # fmt: skip
    assert (index == 1).mean() > 0.9
    assert observed.mean() > 0.95
    inner = (slice(4, -4), slice(4, -4))
    here, there = back[inner].ravel().astype(float), red[0][inner].ravel().astype(float)
    moved = red[0][4:-4, 6:-2].ravel().astype(float)
    assert np.corrcoef(here, there)[0, 1] > 0.95
    assert np.corrcoef(here, there)[0, 1] > np.corrcoef(here, moved)[0, 1] + 0.1


def test_the_grid_is_the_finest_scene_of_all(aoi, scenes, write_tif, tmp_path):
    coarse = np.full((3, 64, 64), 500, np.uint16)
    transform = rasterio.Affine(20, 0, 705_280, 0, -20, 4_912_640)
    (scene,) = read_folder(
        write_tif("coarse.tif", coarse, transform=transform, descriptions=NAMES)
    ).scenes
    mosaic = prepare_mosaic([scene, scenes[0]], aoi, tmp_path / "out")
    assert grid_of(mosaic.path) == grid_of(EXAMPLE / "dem.tif")
    image, observed = read(mosaic.path)
    assert image.shape[0] == 3
    assert observed.all()
    assert (image == 500).all()


def test_numbers_that_are_not_finite_are_not_observed(aoi, write_tif, tmp_path):
    image = np.ones((3, 128, 128), np.float32)
    image[0, :32], image[1, 32:64], image[2, 64:80] = np.nan, np.inf, -np.inf
    (scene,) = read_folder(write_tif("x.tif", image, descriptions=NAMES)).scenes
    mosaic = prepare_mosaic([scene], aoi, tmp_path / "out")
    values, observed = read(mosaic.path)
    assert np.isfinite(values).all()
    assert observed.mean() == pytest.approx(48 / 128)
    assert not observed[:80].any()


def test_nodata_of_any_band_is_not_observed(aoi, write_tif, tmp_path):
    image = np.full((3, 128, 128), 7, np.uint16)
    image[1, :64] = 0
    (scene,) = read_folder(write_tif("x.tif", image, nodata=0, descriptions=NAMES)).scenes
    _, observed = read(prepare_mosaic([scene], aoi, tmp_path / "out").path)
    assert not observed[:64].any()
    assert observed[64:].all()


def test_a_scale_of_0_is_none(aoi, write_tif, tmp_path):
    path = write_tif("x.tif", np.full((3, 128, 128), 700, np.uint16), descriptions=NAMES)
    with rasterio.open(path, "r+") as raster:
        raster.scales, raster.offsets = (0, 0, 0), (100, 100, 100)
    mosaic = prepare_mosaic(read_folder(path).scenes, aoi, tmp_path / "out")
    image, observed = read(mosaic.path)
    assert (image[:, observed] == 800).all()


def test_the_hokkaido_scene_comes_through_whole_and_its_white_collar_is_not_ground(tmp_path):
    (scene,) = read_folder(HOKKAIDO).scenes
    mosaic = prepare_mosaic([scene], AreaOfInterest(scene.footprint, "given"), tmp_path)
    image, observed = read(mosaic.path)
    given = read(HOKKAIDO)[0]
    white, black = (given == 255).all(axis=0), (given == 0).all(axis=0)
    assert white[0].all()
    assert black.sum() == 7
    np.testing.assert_array_equal(observed, ~(white | black))
    assert (image == given)[:, observed].all()


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("uint16", 0), ("uint16", 65535), ("int16", -9999), ("int16", -32768), ("float32", 0),
     ("float32", -9999), ("float32", np.finfo(np.float32).min)],
)  # fmt: skip
def test_a_collar_that_no_file_declares_was_seen_by_nobody(dtype, fill, aoi, write_tif, tmp_path):
    image = np.full((3, 128, 128), 700, dtype)
    image[:, :40] = fill
    image[1, 60, 60] = fill
    (scene,) = read_folder(write_tif("x.tif", image, descriptions=NAMES)).scenes
    mosaic = prepare_mosaic([scene], aoi, tmp_path / "out")
    with rasterio.open(mosaic.path) as made:
        seen = made.dataset_mask() > 0
    assert not seen[:40].any()
    assert seen[41:].all(), "a pixel that holds it in one colour alone is one"
    assert judge(scene, aoi).clear_fraction == pytest.approx(seen.mean(), abs=0.02)


@pytest.mark.parametrize(("crs", "kept"), [(3857, False), (3395, False), (2056, True)])
def test_metres_of_mercator_are_no_metres_on_the_ground(crs, kept, aoi, write_tif):
    middle = aoi.geometry.centroid
    east, north = Transformer.from_crs(4326, crs, always_xy=True).transform(middle.x, middle.y)
    over = rasterio.Affine(10, 0, east, 0, -10, north)
    image = np.full((3, 64, 64), 9, np.uint8)
    (scene,) = read_folder(write_tif("x.tif", image, crs=f"EPSG:{crs}", transform=over)).scenes
    assert (event_grid([scene], aoi).crs.epsg == crs) == kept


def test_an_image_whose_rows_run_north_is_mapped_as_the_same_turned_over(aoi, write_tif, tmp_path):
    image = np.random.default_rng(0).integers(1, 255, (3, 128, 128)).astype(np.uint8)
    (plain,) = read_folder(write_tif("a.tif", image)).scenes
    over = rasterio.Affine(10, 0, 705_280, 0, 10, 4_912_640 - 1280)
    (turned,) = read_folder(write_tif("b.tif", image[:, ::-1], transform=over)).scenes
    made = []
    for scene in (plain, turned):
        mosaic = prepare_mosaic([scene], aoi, tmp_path / scene.id)
        with rasterio.open(mosaic.path) as file:
            made.append((file.transform, file.read(), file.dataset_mask()))
    assert made[0][0] == made[1][0]
    np.testing.assert_array_equal(made[0][1], made[1][1])
    np.testing.assert_array_equal(made[0][2], made[1][2])


def test_an_area_across_the_antimeridian_is_observed_on_both_sides(write_tif, tmp_path):
    image = np.full((3, 300, 600), 9, np.uint8)
    transform = rasterio.Affine(10, 0, 816_000, 0, -10, 8_120_000)
    path = write_tif("fiji.tif", image, crs="EPSG:32760", transform=transform)
    (scene,) = read_folder(path).scenes
    assert len(scene.footprint.geoms) == 2
    mosaic = prepare_mosaic([scene], AreaOfInterest(scene.footprint, "given"), tmp_path / "out")
    assert mosaic.observed.is_valid
    assert len(mosaic.observed.geoms) == 2
    assert geodesic_area_m2(mosaic.observed) == pytest.approx(18e6, rel=5e-3)


def test_scenes_that_miss_the_area_are_no_imagery(scenes, tmp_path):
    away = AreaOfInterest(MultiPolygon([box(12, 45, 12.1, 45.1)]), "given")
    with pytest.raises(NoImageryError, match="meets the area"):
        prepare_mosaic(scenes, away, tmp_path)


def test_scenes_that_show_nothing_clear_are_no_imagery(aoi, tmp_path):
    clouded = on_day(EXAMPLE / "catalog.json", aoi, "2023-05-18")
    with pytest.raises(NoImageryError, match="no ground of the area clear"):
        prepare_mosaic(clouded, aoi, tmp_path)
    assert not list(tmp_path.iterdir())


def test_pictures_are_not_mixed_with_measurements(aoi, scenes, write_tif, tmp_path):
    (picture,) = read_folder(write_tif("x.tif", np.ones((3, 64, 64), np.uint8))).scenes
    with pytest.raises(RasterError, match="8-bit pictures cannot be mixed"):
        prepare_mosaic([picture, *scenes], aoi, tmp_path / "out")


def test_a_truncated_band_names_scene_and_file_and_leaves_nothing(aoi, catalog, tmp_path):
    scenes = on_day(catalog, aoi, "2023-05-23")
    band = catalog.parent / "scenes" / "2023-05-23" / "B03.tif"
    band.write_bytes(band.read_bytes()[:9000])
    with pytest.raises(RasterError, match=r"20230523, band green: .*B03\.tif cannot be read"):
        prepare_mosaic(scenes, aoi, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_failed_second_run_leaves_the_first_result(aoi, catalog, tmp_path):
    scenes = on_day(catalog, aoi, "2023-05-23")
    mosaic = prepare_mosaic(scenes, aoi, tmp_path / "out")
    before = mosaic.path.read_bytes()
    band = catalog.parent / "scenes" / "2023-05-23" / "B03.tif"
    band.write_bytes(band.read_bytes()[:9000])
    with pytest.raises(RasterError):
        prepare_mosaic(scenes, aoi, tmp_path / "out")
    assert mosaic.path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_named(aoi, scenes, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="mosaic"):
        prepare_mosaic(scenes, aoi, tmp_path / "file")


def test_a_disk_without_room_leaves_nothing(tmp_path):
    """The kernel refuses every byte of a file past 1 MB; the mosaic needs 5."""
    script = """
import resource, signal, sys
from pathlib import Path
from tasks.errors import StorageError
from tasks.imagery.folder import read_folder
from tasks.imagery.mosaic import prepare_mosaic
from tasks.types import AreaOfInterest
(scene,) = read_folder(Path(sys.argv[1])).scenes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
try:
    prepare_mosaic([scene], AreaOfInterest(scene.footprint, "given"), Path(sys.argv[2]))
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, HOKKAIDO, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"could not write {tmp_path}/mosaic.tif" in done.stdout
    assert not list(tmp_path.iterdir())


def test_memory_does_not_grow_with_the_scene(tmp_path):
    """6,000 × 6,000 px, 432 MB as floats, are prepared in under 400 MB all told."""
    script = """
import sys
from pathlib import Path
import numpy as np, rasterio
from rasterio.windows import Window
folder = Path(sys.argv[1])
profile = dict(driver="GTiff", width=6000, height=6000, count=3, dtype="uint8", tiled=True,
    compress="deflate", crs="EPSG:32632", transform=rasterio.Affine(3, 0, 700000, 0, -3, 4900000))
row = (np.arange(512 * 6000) % 200 + 20).astype(np.uint8).reshape(1, 512, 6000).repeat(3, axis=0)
with rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(folder / "big.tif", "w", **profile) as raster:
    for top in range(0, 6000, 512):
        height = min(512, 6000 - top)
        raster.write(row[:, :height], window=Window(0, top, 6000, height))
from tasks.imagery.folder import read_folder
from tasks.imagery.mosaic import prepare_mosaic
from tasks.types import AreaOfInterest

(scene,) = read_folder(folder / "big.tif").scenes
prepare_mosaic([scene], AreaOfInterest(scene.footprint, "given"), folder / "out")
# ru_maxrss would carry over the peak of the process this one was started from.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 400

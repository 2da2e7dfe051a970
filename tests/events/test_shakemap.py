import gzip
import json
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tasks.errors import RasterError
from tasks.events.shakemap import read_shakemap, read_shakemap_info

DATA = Path(__file__).parents[3] / "shared" / "data"
GRID = DATA / "usgs_groundfailure_loma_prieta" / "grid.xml"
REPLAY = DATA / "feeds" / "usgs_comcat" / "replay"


@pytest.fixture(scope="module")
def loma_prieta():
    return read_shakemap(GRID)


@pytest.fixture
def changed(tmp_path):
    def changed(old, new, count=1):
        text = GRID.read_text()
        assert old in text
        path = tmp_path / "grid.xml"
        path.write_text(text.replace(old, new, count))
        return path

    return changed


def same_shaking(one, other, rtol=1e-6):
    for layer in ("mmi", "pga_g", "pgv_cm_s"):
        np.testing.assert_allclose(getattr(one, layer), getattr(other, layer), rtol=rtol)
    assert one.affine.almost_equals(other.affine, 1e-9)


def test_the_grid_is_read_in_g_and_cm_s_from_north_to_south(loma_prieta):
    first = (loma_prieta.pga_g[0, 0], loma_prieta.pgv_cm_s[0, 0], loma_prieta.mmi[0, 0])
    assert first == pytest.approx((0.1809, 12.66, 6.052))
    assert loma_prieta.pga_g.shape == (29, 49)
    assert loma_prieta.pga_g.dtype == np.float32
    assert loma_prieta.longitudes[[0, -1]] == pytest.approx([-122.5, -121.3])
    assert loma_prieta.latitudes[[0, -1]] == pytest.approx([37.2, 36.5])


def test_the_header_tells_whose_map_it_is(loma_prieta):
    assert (loma_prieta.network, loma_prieta.code) == ("us", "19891018000415")
    assert loma_prieta.version == "1"
    assert loma_prieta.place == "Loma Prieta, California"
    assert loma_prieta.processed_at == datetime(2020, 4, 13, 15, 25, 1, tzinfo=UTC)
    assert loma_prieta.magnitude == 6.9


def test_packed_grids_are_the_same_grid(loma_prieta, tmp_path):
    (tmp_path / "grid.xml.gz").write_bytes(gzip.compress(GRID.read_bytes()))
    with zipfile.ZipFile(tmp_path / "grid.xml.zip", "w") as archive:
        archive.write(GRID, "download/grid.xml")
    for packed in tmp_path.iterdir():
        same_shaking(read_shakemap(packed), loma_prieta)


def write_raster_zip(path, layers, affine):
    """As ShakeMap 4 packs its layers: ESRI floats, `<layer>.flt` with `<layer>.hdr`."""
    folder = path.with_suffix("")
    folder.mkdir()
    for name, values in layers.items():
        profile = {"driver": "EHdr", "count": 1, "dtype": "float32", "transform": affine}
        shape = {"height": values.shape[0], "width": values.shape[1]}
        with rasterio.open(folder / f"{name}.flt", "w", **profile, **shape) as layer:
            layer.write(values.astype(np.float32), 1)
    with zipfile.ZipFile(path, "w") as archive:
        for part in folder.iterdir():
            archive.write(part, part.name)
    return path


def test_logarithms_of_a_raster_zip_are_the_grid_again(loma_prieta, tmp_path):
    layers = {
        "pga_mean": np.log(loma_prieta.pga_g),
        "pgv_mean": np.log(loma_prieta.pgv_cm_s),
        "mmi_mean": loma_prieta.mmi,
        "pga_std": np.full_like(loma_prieta.mmi, 0.4),
    }
    path = write_raster_zip(tmp_path / "raster.zip", layers, loma_prieta.affine)
    same_shaking(read_shakemap(path), loma_prieta, rtol=1e-5)


def test_layers_of_version_4_are_logarithms_though_all_ground_shook_harder_than_1_g(
    loma_prieta, tmp_path
):
    layers = {"pga_mean": np.full(loma_prieta.pga_g.shape, np.log(1.5))}
    path = write_raster_zip(tmp_path / "raster.zip", layers, loma_prieta.affine)
    np.testing.assert_allclose(read_shakemap(path).pga_g, 1.5, rtol=1e-6)


def test_a_time_without_a_zone_is_utc_wherever_scarp_runs(loma_prieta, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        there = read_shakemap(GRID).processed_at
    time.tzset()
    assert there == loma_prieta.processed_at


def test_the_older_names_of_a_raster_zip_are_known_too(loma_prieta, tmp_path):
    layers = {"pga": loma_prieta.pga_g * 100, "pgv": loma_prieta.pgv_cm_s, "mi": loma_prieta.mmi}
    path = write_raster_zip(tmp_path / "raster.zip", layers, loma_prieta.affine)
    same_shaking(read_shakemap(path), loma_prieta, rtol=1e-5)


def test_the_info_beside_a_raster_zip_tells_whose_it_is(loma_prieta, tmp_path):
    layers = {"pga_mean": np.log(loma_prieta.pga_g), "mmi_mean": loma_prieta.mmi}
    path = write_raster_zip(tmp_path / "raster.zip", layers, loma_prieta.affine)
    info = json.loads((REPLAY / "us10008e3k/shakemap/atlas_1594394699724/info.json").read_text())
    info["output"]["ground_motions"]["PGA"]["max_grid"] = "1.141"
    (tmp_path / "info.json").write_text(json.dumps(info))
    shaking = read_shakemap(path)
    assert (shaking.network, shaking.code, shaking.magnitude) == ("atlas", "us10008e3k", 6.5)
    info["output"]["ground_motions"]["PGA"]["max_grid"] = "0.576"
    (tmp_path / "info.json").write_text(json.dumps(info))
    with pytest.raises(RasterError, match=r"PGA of up to 1.14 g, but .*info.json says 0.576 g"):
        read_shakemap(path)


@pytest.mark.parametrize(("units", "factor"), [("%g", 1), ("pctg", 1), ("g", 100)])
def test_units_decide_where_they_are_given(changed, loma_prieta, units, factor):
    path = changed('name="PGA" units=""', f'name="PGA" units="{units}"')
    np.testing.assert_allclose(read_shakemap(path).pga_g, loma_prieta.pga_g * factor, rtol=1e-6)


def test_a_grid_across_the_antimeridian_goes_on_eastwards(changed):
    text = GRID.read_text()
    head, table = text.split("<grid_data>\n")
    rows = [line.split(" ", 1) for line in table.splitlines() if line[:1] in "-1"]
    moved = "\n".join(f"{(float(lon) + 302.1 + 180) % 360 - 180:.4f} {rest}" for lon, rest in rows)
    assert "-179.9" in moved
    path = changed(table.split("</grid_data>")[0], moved + "\n")
    text = path.read_text().replace('lon_min="-122.5000"', 'lon_min="179.6000"')
    path.write_text(text.replace('lon_max="-121.3000"', 'lon_max="-179.2000"'))
    assert read_shakemap(path).longitudes[[0, -1]] == pytest.approx([179.6, 180.8])


def test_a_map_without_a_layer_knows_nothing_of_it(changed):
    shaking = read_shakemap(changed('name="PGV"', 'name="PSA20"'))
    assert np.isnan(shaking.pgv_cm_s).all()
    assert not np.isnan(shaking.pga_g).any()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('nlon="49"', 'nlon="48"', "describes 48 x 29 points of 11 values, its table has 1421"),
        ('nlon="49"', 'nlon="98"', "its corners and numbers of points make 0.0123"),
        ('name="URAT"', 'name="URAT"/><grid_field index="12" name="Y"', "has 1421 of 11"),
        ('nlat="29"', 'nlat="x"', "grid_specification is incomplete"),
        (' nlon="49"', "", "grid_specification is incomplete .'nlon'"),
        ("-122.5000 37.2000 18.09", "-122.4000 37.2000 18.09", "point 1 of its table is at -122.4"),
        ("-122.5000 37.2000 18.09", "-122.4875 37.2000 18.09", "point 1 of its table is at -122.4"),
        ("-122.4750 37.2000 19.11 13.35", "-122.4750 37.2000 19.11", "cannot be read"),
        ("-122.5000 37.2000 18.09", "-122.5000 37.2000 1e%", "cannot be read"),
        ("37.2000 18.09", "37.2000 -18.09", "PGA is as low as -0.18"),
        ('name="PGA" units=""', 'name="PGA" units="gal"', "PGA is in 'gal', a unit not known"),
        ("</grid_data>", "", "is truncated or not XML"),
        ("<grid_data>", "<grid_data>x</grid_data><rest>", "is truncated or not XML"),
        ("grid_specification", "other", "has no grid_specification"),
        ('name="LON"', 'name="X"', "has no columns LON and LAT with PGA"),
    ],
)
def test_a_broken_grid_is_refused_by_name(changed, old, new, sentence):
    path = changed(old, new)
    with pytest.raises(RasterError, match=sentence) as caught:
        read_shakemap(path)
    assert str(path) in str(caught.value)


def test_a_table_shorter_than_its_header_says_is_refused(changed):
    last = GRID.read_text().split("</grid_data>")[0].rstrip().rsplit("\n", 1)[1]
    with pytest.raises(
        RasterError, match="describes 49 x 29 points of 11 values, its table has 1420"
    ):
        read_shakemap(changed(last + "\n", ""))


def test_entities_are_never_expanded(changed, tmp_path):
    (tmp_path / "secret").write_text("7")
    for entity in (f'SYSTEM "file://{tmp_path}/secret"', '"bomb"'):
        start = f"?><!DOCTYPE shakemap_grid [<!ENTITY x {entity}>]><shakemap_grid"
        path = changed("?><shakemap_grid", start)
        with pytest.raises(RasterError, match="declares XML entities"):
            read_shakemap(path)


@pytest.mark.parametrize("content", [b"", b"<html></html>", b"PK\3\4 cut", b"\x1f\x8b cut"])
def test_what_is_no_shakemap_is_refused_by_name(tmp_path, content):
    path = tmp_path / "grid.xml"
    path.write_bytes(content)
    with pytest.raises(RasterError, match=r"grid\.xml"):
        read_shakemap(path)


def test_a_truncated_archive_is_refused(loma_prieta, tmp_path):
    whole = gzip.compress(GRID.read_bytes())
    path = tmp_path / "grid.xml.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RasterError, match="fetch it again"):
        read_shakemap(path)
    with zipfile.ZipFile(tmp_path / "raster.zip", "w") as archive:
        archive.writestr("pga_mean.flt", b"abc")
    with pytest.raises(RasterError, match="pga_mean.flt cannot be read"):
        read_shakemap(tmp_path / "raster.zip")


def test_the_grid_of_uncertainties_is_no_shaking():
    with pytest.raises(RasterError, match=r"uncertainty\.xml has no columns LON and LAT with PGA"):
        read_shakemap(GRID.with_name("uncertainty.xml"))


def test_a_missing_file_is_named():
    with pytest.raises(RasterError, match="nowhere.xml cannot be read"):
        read_shakemap(Path("nowhere.xml"))


@pytest.mark.parametrize(
    ("product", "pga_g", "mmi", "magnitude"),
    [
        ("nc72852151/shakemap/nc_1501286919767", 0.1935, 6.0, 4.9),
        ("us10008e3k/shakemap/us_1491243167477", 0.9047, 8.1, 6.5),
        ("us10008e3k/shakemap/atlas_1594394699724", 0.576, 7.727, 6.5),
    ],
)
def test_info_gives_acceleration_in_g_whatever_the_version(product, pga_g, mmi, magnitude):
    info = read_shakemap_info(REPLAY / product / "info.json")
    assert info.largest_pga_g == pytest.approx(pga_g)
    assert info.largest_mmi == pytest.approx(mmi)
    assert info.magnitude == magnitude


def test_every_recorded_info_is_read():
    infos = [read_shakemap_info(path) for path in REPLAY.rglob("info.json")]
    assert len(infos) == 15
    assert all(info.place and info.code and 0 < (info.largest_pga_g or 0) < 1 for info in infos)


def test_what_is_no_info_is_refused(tmp_path):
    path = tmp_path / "info.json"
    for content in ("", "[]", "{}", '{"output": {"ground_motions": {}}}'):
        path.write_text(content)
        with pytest.raises(RasterError, match=r"info\.json is not the info"):
            read_shakemap_info(path)

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from scipy.io import netcdf_file
from shapely.geometry import MultiPolygon, box

from tasks.errors import RasterError, RulesError
from tasks.events.impact import expected_impact, malamud_area_km2
from tasks.events.impact_layers import ImpactLayers, NowickiJesseeLayers, Strength, read_layers
from tasks.events.impact_maps import map_newmark, map_nowicki_jessee
from tasks.events.request import event_from_fields, read_event
from tasks.events.shakemap import ShakeMap, read_shakemap
from tasks.events.shaken import shakemap_aoi
from tasks.susceptibility.physical import (
    critical_acceleration_g,
    newmark_displacement_cm,
    newmark_probability,
)
from tasks.types import AreaOfInterest, geodesic_area_m2

DATA = Path(__file__).parents[3] / "shared" / "data" / "usgs_groundfailure_loma_prieta"
EXAMPLE = Path(__file__).parents[2] / "examples" / "emilia_romagna_2023"
INPUTS = DATA / "model_inputs"
LAYERS = NowickiJesseeLayers(
    slope=INPUTS / "global_grad.tif",
    slope_unit="gradient",
    lithology=INPUTS / "GLIM_replace.tif",
    landcover=INPUTS / "globcover_replace.tif",
    cti=INPUTS / "global_cti_fil.grd",
)
STRENGTH = Strength(cohesion_kpa=5, friction_deg=32)
OFFICIAL_KM2 = 36.92


@pytest.fixture(scope="module")
def shakemap():
    return read_shakemap(DATA / "grid.xml")


@pytest.fixture(scope="module")
def prior(shakemap, tmp_path_factory):
    path = tmp_path_factory.mktemp("prior") / "prior.tif"
    return path, map_nowicki_jessee(shakemap, LAYERS, path)


def quake(**fields):
    known = {
        "id": "nc216859",
        "kind": "earthquake",
        "occurred_at": "1989-10-18T00:04:15Z",
        "longitude": -121.88,
        "latitude": 37.04,
        "magnitude": 6.9,
    }
    return event_from_fields(known | fields)


def official():
    """The USGS's own grid on its cells: coverage, longitudes and latitudes, north to south."""
    with netcdf_file(DATA / "targets" / "jessee_2018.grd", mmap=False) as file:
        z, x, y = (np.array(file.variables[name][:], float) for name in "zxy")
    return np.where(z > 1, np.nan, z)[::-1], x, y[::-1]


def uniform(shape=(10, 10), spacing=0.1, west=44.5, north=46.0, pga=0.4):
    affine = Affine(spacing, 0, west, 0, -spacing, north)
    layer = np.full(shape, pga, np.float32)
    return ShakeMap(Path("uniform.xml"), affine, layer * 20, layer, layer * 100)


def write_raster(path, values, transform, crs="EPSG:4326", **more):
    values = np.atleast_3d(np.asarray(values, np.float32))[:, :, 0]
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": crs, **more}
    shape = {"height": values.shape[0], "width": values.shape[1], "transform": transform}
    with rasterio.open(path, "w", **profile, **shape) as raster:
        raster.write(values, 1)
    return path


def test_the_prior_map_is_the_official_grid_of_loma_prieta(prior):
    path, _ = prior
    expected, x, y = official()
    with rasterio.open(path) as raster:
        ours = raster.read(1)
        cols, rows = ~raster.transform @ (x[None, :] + 0 * y[:, None], y[:, None] + 0 * x[None, :])
    rows, cols = np.floor(rows).astype(int), np.floor(cols).astype(int)
    inside = (rows >= 0) & (rows < ours.shape[0]) & (cols >= 0) & (cols < ours.shape[1])
    theirs = np.where(inside, ours[rows.clip(0, 335), cols.clip(0, 575)], np.nan)
    known = ~np.isnan(expected)
    assert inside.sum() == ours.size
    assert np.array_equal(~np.isnan(theirs), known)
    assert np.corrcoef(theirs[known], expected[known])[0, 1] >= 0.999
    assert np.array_equal(theirs == 0, expected == 0)


def test_the_aggregate_hazard_of_loma_prieta_is_the_official_one(prior):
    _, expected = prior
    assert expected.expected_km2 == pytest.approx(OFFICIAL_KM2, rel=1e-3)
    assert expected.largest == pytest.approx(np.nanmax(official()[0]), rel=1e-3)


def test_nothing_is_written_unless_asked(shakemap, prior):
    assert map_nowicki_jessee(shakemap, LAYERS, None) == prior[1]


def test_layers_of_other_ground_are_refused(shakemap, tmp_path):
    elsewhere = write_raster(tmp_path / "slope.tif", np.ones((9, 9)), Affine(0.1, 0, 5, 0, -0.1, 9))
    layers = LAYERS.model_copy(update={"cti": elsewhere})
    with pytest.raises(RasterError, match="know no cell of ShakeMap"):
        map_nowicki_jessee(shakemap, layers, None)


def test_a_layer_that_cannot_be_read_is_named(shakemap, tmp_path):
    (tmp_path / "cti.tif").write_text("no raster")
    layers = LAYERS.model_copy(update={"cti": tmp_path / "cti.tif"})
    with pytest.raises(RasterError, match=r"cti\.tif cannot be read"):
        map_nowicki_jessee(shakemap, layers, tmp_path / "prior.tif")
    assert not (tmp_path / "prior.tif").exists()


def test_a_shakemap_without_acceleration_or_velocity_expects_nothing_by_mistake(shakemap):
    for layer in ("pga_g", "pgv_cm_s"):
        unknown = np.full_like(shakemap.pga_g, np.nan)
        with pytest.raises(RasterError, match="lacks PGA or PGV"):
            map_nowicki_jessee(dataclasses.replace(shakemap, **{layer: unknown}), LAYERS, None)


def test_a_grid_that_is_not_placed_on_earth_is_refused(shakemap):
    layers = LAYERS.model_copy(update={"slope": DATA / "targets" / "jessee_2018.grd"})
    with pytest.raises(RasterError, match=r"jessee_2018\.grd is not a grid with north up"):
        map_nowicki_jessee(shakemap, layers, None)


def test_a_shakemap_across_the_antimeridian_finds_the_layers_on_both_sides(tmp_path):
    whole = Affine(0.1, 0, -180, 0, -0.1, 60)
    longitudes = -179.95 + 0.1 * np.arange(3600)
    slope = np.tile(20 + longitudes / 20, (100, 1))
    flat = np.zeros_like(slope)
    layers = NowickiJesseeLayers(
        slope=write_raster(tmp_path / "slope.tif", slope, whole),
        slope_unit="degrees",
        lithology=write_raster(tmp_path / "rock.tif", flat, whole),
        landcover=write_raster(tmp_path / "cover.tif", flat, whole),
        cti=write_raster(tmp_path / "cti.tif", flat + 5, whole),
    )
    shaking = uniform(shape=(11, 21), west=179.0, north=55.0)
    expected = map_nowicki_jessee(shaking, layers, tmp_path / "prior.tif")
    with rasterio.open(tmp_path / "prior.tif") as raster:
        row = raster.read(1)[5]
        assert raster.bounds.right > 180
    assert expected.expected_km2 > 0
    assert not np.isnan(row).any()
    assert row[:8].min() > 2 * row[-8:].max()


def plane(tmp_path, gradient):
    """A DEM in UTM 38N that falls evenly to the south, 200 x 150 cells of 30 m."""
    rows, _ = np.mgrid[:150, :200]
    fall = 3000 - rows * 30 * gradient
    return write_raster(
        tmp_path / "dem.tif", fall, Affine(30, 0, 500_000, 0, -30, 5_080_000), "EPSG:32638"
    )


@pytest.mark.parametrize("magnitude", [None, 6.5])
def test_newmark_on_an_even_slope_is_its_formula(tmp_path, magnitude):
    dem = plane(tmp_path, np.tan(np.radians(30)))
    aoi = MultiPolygon([box(45.01, 45.84, 45.05, 45.86)])
    made = map_newmark(uniform(), STRENGTH, dem, aoi, magnitude, tmp_path / "prior.tif")
    held = critical_acceleration_g(30, STRENGTH.cohesion_kpa, STRENGTH.friction_deg)
    share = float(newmark_probability(newmark_displacement_cm(held, 0.4, magnitude)))
    assert made.largest == pytest.approx(share, rel=1e-3)
    assert made.expected_km2 == pytest.approx(share * geodesic_area_m2(aoi) / 1e6, rel=0.02)
    with rasterio.open(tmp_path / "prior.tif") as raster:
        sliding = raster.read(1)
    known = ~np.isnan(sliding)
    assert 0 < known.sum() < sliding.size
    assert sliding[known] == pytest.approx(share, rel=1e-3)


def test_newmark_needs_shaken_ground(tmp_path):
    dem = plane(tmp_path, 0.5)
    far = uniform(west=100)
    with pytest.raises(RasterError, match="knows no slope of the area of interest"):
        map_newmark(far, STRENGTH, dem, MultiPolygon([box(45.01, 45.84, 45.05, 45.86)]), 6, None)
    with pytest.raises(RasterError, match="does not overlap"):
        map_newmark(far, STRENGTH, dem, MultiPolygon([box(5, 45, 6, 46)]), 6, None)


def test_the_best_model_there_is_ground_for_is_used(shakemap, tmp_path):
    aoi = shakemap_aoi(shakemap)
    both = ImpactLayers(nowicki_jessee=LAYERS, newmark=STRENGTH)
    first = expected_impact(quake(), aoi, both, shakemap, prior=tmp_path / "prior.tif")
    assert first.model == "nowicki-jessee-2018"
    assert first.path.is_file()
    assert "us:19891018000415" in first.how
    without_shaking = expected_impact(quake(), aoi, both)
    assert without_shaking.model == "malamud-2004"
    dem = plane(tmp_path, 0.5)
    ground = AreaOfInterest(MultiPolygon([box(45.01, 45.84, 45.05, 45.86)]), "given")
    second = expected_impact(quake(), ground, ImpactLayers(newmark=STRENGTH), uniform(), dem)
    assert second.model == "newmark"


def test_larger_earthquakes_and_wider_land_rank_higher(shakemap):
    wide, narrow = (shakemap_aoi(shakemap, pga_g=g) for g in (0.1, 0.5))
    estimates = [
        expected_impact(quake(magnitude=m), aoi).expected_km2
        for m, aoi in ((6.0, narrow), (6.0, wide), (6.9, wide))
    ]
    assert estimates == sorted(estimates)
    assert len(set(estimates)) == 3


def test_on_more_ground_than_it_can_reach_an_earthquake_moves_no_more_than_all_it_moves():
    half_asia = AreaOfInterest(MultiPolygon([box(60, 20, 120, 60)]), "ShakeMap")
    expected = expected_impact(quake(magnitude=5.0), half_asia).expected_km2
    assert expected == malamud_area_km2(5.0)


def test_only_land_within_reach_of_the_epicentre_is_expected_to_slide():
    iburi = quake(longitude=141.93, latitude=42.69, magnitude=6.6)

    def expected(west, south, east, north):
        area = MultiPolygon([box(west, south, east, north)])
        return expected_impact(iburi, AreaOfInterest(area, "given"))

    inland = expected(141.9, 42.7, 142.1, 42.8)
    assert 0 < inland.expected_km2 < malamud_area_km2(6.6)
    assert "km² of land of the area of interest within its reach" in inland.how
    corner = expected(141.9, 42.7, 141.91, 42.71)
    assert "0.015 % of which" in corner.how and corner.expected_km2 > 0
    half_at_sea = expected(141.9, 42.4, 142.1, 42.8)
    assert inland.expected_km2 < half_at_sea.expected_km2 < 3 * inland.expected_km2
    assert expected(150, 35, 151, 36).expected_km2 == 0, "open sea, far away"
    assert expected(100, 30, 101, 31).expected_km2 == 0, "land, far away"


def test_malamud_expects_a_landslide_more_at_m_4_4():
    assert malamud_area_km2(5.65 / 1.29) == pytest.approx(3.07e-3)
    assert malamud_area_km2(7.6) == pytest.approx(3.07e-3 * 10**4.154)


def test_nothing_is_expected_of_what_nothing_is_known_of(shakemap):
    aoi = shakemap_aoi(shakemap)
    assert expected_impact(quake(magnitude=None), aoi) is None
    assert expected_impact(read_event(EXAMPLE / "event.json"), aoi) is None


def test_layers_are_read_beside_their_file(tmp_path):
    for name in ("slope.tif", "rock.tif", "cover.tif", "cti.tif"):
        (tmp_path / name).touch()
    path = tmp_path / "layers.toml"
    path.write_text(
        '[nowicki_jessee]\nslope = "slope.tif"\nslope_unit = "degrees"\nlithology = "rock.tif"\n'
        'landcover = "cover.tif"\ncti = "cti.tif"\n[newmark]\ncohesion_kpa = 1\nfriction_deg = 30\n'
    )
    layers = read_layers(path)
    assert layers.nowicki_jessee.cti == tmp_path / "cti.tif"
    assert layers.newmark.thickness_m == 2.4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[newmark", "is not TOML"),
        ("[newmarc]", "newmarc: Extra inputs"),
        ("[newmark]\ncohesion_kpa = 1", "newmark.friction_deg: Field required"),
        ("[newmark]\ncohesion_kpa = -1\nfriction_deg = 30", "newmark.cohesion_kpa: Input should"),
        ('[newmark]\ncohesion_kpa = 1\nfriction_deg = 3\ndem = "no.tif"', "no.tif is not a file"),
    ],
)
def test_a_senseless_layers_file_is_refused_by_name(tmp_path, content, sentence):
    path = tmp_path / "layers.toml"
    path.write_text(content)
    with pytest.raises(RulesError, match=sentence) as caught:
        read_layers(path)
    assert str(path) in str(caught.value)
    with pytest.raises(RulesError, match="cannot be read"):
        read_layers(tmp_path / "none.toml")

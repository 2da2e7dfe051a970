from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.warp import Resampling, reproject
from scipy.ndimage import map_coordinates
from shapely.geometry import LineString, MultiPolygon, Point, box

from tasks.errors import FactorError
from tasks.events.shakemap import read_shakemap
from tasks.susceptibility.factors import derive_factors, read_factors, units_path
from tasks.susceptibility.physical import (
    critical_acceleration_g,
    factor_of_safety,
    newmark_displacement_cm,
)
from tasks.susceptibility.stack import FactorStack, open_stack

DATA = Path(__file__).parents[3] / "shared" / "data"
KAGHAN = DATA / "kaghan_lsat"
LOMA_PRIETA = DATA / "usgs_groundfailure_loma_prieta"


@pytest.fixture
def derived(kaghan, tmp_path):
    """A function that derives the factors of a factor file's text, by default with one terrain."""

    def derived(text: str, terrain: str = 'terrain = ["slope"]') -> FactorStack:
        table = tmp_path / "factors.toml"
        table.write_text(f"{terrain}\n{text}")
        return derive_factors(
            kaghan.dem, kaghan.aoi, tmp_path / "factors.tif", table=read_factors(table)
        )

    return derived


def layer(**keys: object) -> str:
    def toml(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k!r} = {toml(v)}" for k, v in value.items()) + "}"
        return f"'{value}'" if isinstance(value, str | Path) else str(value)

    return "[[layer]]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in keys.items())


def centres(stack: FactorStack) -> gpd.GeoSeries:
    """Every twentieth cell of each row and column, row by row."""
    rows, cols = np.mgrid[: stack.geobox.height : 20, : stack.geobox.width : 20].reshape(2, -1)
    x, y = stack.geobox.transform @ (cols + 0.5, rows + 0.5)
    return gpd.GeoSeries.from_xy(x, y, crs=str(stack.geobox.crs))


def at_centres(stack: FactorStack, name: str) -> np.ndarray:
    return stack.read(name)[::20, ::20].ravel()


def test_geology_is_the_same_as_polygons_and_as_a_raster(derived):
    stack = derived(
        layer(name="lithology", path=KAGHAN / "Geology.gpkg", role="class", attribute="Name")
        + "\n"
        + layer(name="geology_raster", path=KAGHAN / "Geology.tif", role="class")
    )
    polygons, raster = stack.factors[1:]
    assert (polygons.kind, raster.kind) == ("categorical", "categorical")
    assert polygons.classes is not None and "Tk" in polygons.classes.values()
    both = np.stack([stack.read("lithology"), stack.read("geology_raster")]).reshape(2, -1)
    pairs, counts = np.unique(both[:, np.isfinite(both).all(axis=0)], axis=1, return_counts=True)
    largest = [counts[pairs[0] == label].max() for label in np.unique(pairs[0])]
    assert sum(largest) / counts.sum() > 0.97, "one raster class for each unit but at its edges"
    assert "lithology" not in stack.absent and "rain_total" in stack.absent


def test_polygons_give_each_cell_the_unit_it_lies_in(derived):
    stack = derived(
        layer(name="lithology", path=KAGHAN / "Geology.gpkg", role="class", attribute="Name")
    )
    units = gpd.read_file(KAGHAN / "Geology.gpkg")
    own = gpd.GeoDataFrame(geometry=centres(stack)).sjoin(units[["Name", "geometry"]])
    own = own[~own.index.duplicated(keep=False)]
    classes = stack.factors[1].classes
    assert classes is not None
    labels = at_centres(stack, "lithology")[own.index]
    known = np.isfinite(labels)
    assert known.sum() > 40
    assert [classes[int(label)] for label in labels[known]] == own["Name"][known].tolist()


def test_distance_is_that_to_the_nearest_fault_also_beyond_the_area(derived):
    stack = derived(
        layer(name="fault_distance", path=KAGHAN / "Confirmed_faults.gpkg", role="distance")
    )
    faults = gpd.read_file(KAGHAN / "Confirmed_faults.gpkg").to_crs(str(stack.geobox.crs))
    distance = at_centres(stack, "fault_distance")
    known = np.isfinite(distance)
    expected = centres(stack)[known].distance(faults.union_all())
    np.testing.assert_allclose(distance[known], expected, rtol=1e-5, atol=0.01)
    assert stack.factors[1].unit == "m"


@pytest.mark.parametrize(
    "shape",
    [
        Point(351_000, 3_832_000),
        LineString([(300_000, 3_800_000), (300_000, 3_801_000)]),
        box(350_000, 3_831_000, 351_000, 3_832_000),
    ],
    ids=["a point", "far away", "an area, 0 inside"],
)
def test_distance_of_any_shape_is_exact(derived, tmp_path, shape):
    gpd.GeoSeries([shape], crs=32643).to_file(tmp_path / "shape.gpkg")
    stack = derived(layer(name="away", path="shape.gpkg", role="distance"))
    distance = at_centres(stack, "away")
    known = np.isfinite(distance)
    expected = centres(stack)[known].distance(shape)
    np.testing.assert_allclose(distance[known], expected, rtol=1e-5, atol=0.01)


def test_distance_to_the_epicentre_is_given_by_its_place(derived):
    stack = derived(layer(name="epicentre_distance", role="distance", point=[73.58, 34.49]))
    place = gpd.GeoSeries([Point(73.58, 34.49)], crs=4326).to_crs(str(stack.geobox.crs)).iloc[0]
    distance = at_centres(stack, "epicentre_distance")
    known = np.isfinite(distance)
    np.testing.assert_allclose(distance[known], centres(stack)[known].distance(place), rtol=1e-5)
    assert stack.factors[1].source == "34.49°N 73.58°E"


def test_labels_of_another_crs_and_resolution_are_never_mixed(derived, tmp_path):
    coarse = tmp_path / "landcover.tif"
    with rasterio.open(KAGHAN / "Landcover.tif") as source:
        labels = set(np.unique(source.read(1)).tolist())
        with rasterio.open(
            coarse,
            "w",
            driver="GTiff",
            width=300,
            height=300,
            count=1,
            dtype="int16",
            nodata=-9999,
            crs="EPSG:4326",
            transform=rasterio.transform.from_bounds(73.2, 34.4, 73.6, 34.8, 300, 300),
        ) as target:
            reproject(
                rasterio.band(source, 1), rasterio.band(target, 1), resampling=Resampling.nearest
            )
    stack = derived(layer(name="land_cover", path=coarse, role="class", classes={"5": "forest"}))
    assert stack.factors[1].classes == {5: "forest"}
    values = stack.read("land_cover")
    assert set(np.unique(values[np.isfinite(values)]).tolist()) <= labels


def test_much_finer_labels_give_the_commonest_and_numbers_their_mean(derived, kaghan, tmp_path):
    grid = kaghan.stack.geobox
    fine = grid.zoom_out(1 / 4)
    random = np.random.default_rng(0)
    labels = random.choice([1, 2], fine.shape, p=[0.8, 0.2]).astype("float32")
    for name, values in (("labels.tif", labels), ("numbers.tif", 100 * labels)):
        with rasterio.open(
            tmp_path / name,
            "w",
            driver="GTiff",
            width=fine.width,
            height=fine.height,
            count=1,
            dtype="float32",
            crs=str(grid.crs),
            transform=fine.transform,
        ) as target:
            target.write(values, 1)
    stack = derived(
        layer(name="labels", path="labels.tif", role="class")
        + "\n"
        + layer(name="numbers", path="numbers.tif", role="continuous", unit="mm")
    )
    commonest, mean = stack.read("labels"), stack.read("numbers")
    assert set(np.unique(commonest[np.isfinite(commonest)])) == {1, 2}
    assert np.nanmean(commonest == 1) > 0.85
    blocks = labels.reshape(grid.height, 4, grid.width, 4).mean(axis=(1, 3))
    known = np.isfinite(mean)
    np.testing.assert_allclose(mean[known], 100 * blocks[known], rtol=1e-4)


def test_rain_is_summed_or_its_most_intense_hour_taken_and_ndvi_comes_from_red_and_nir(
    derived, kaghan, tmp_path
):
    grid = kaghan.stack.geobox
    hours = np.arange(1, 4, dtype="float32")[:, None, None] * np.ones((1, *grid.shape), "float32")
    hours += np.linspace(0, 1, grid.width, dtype="float32")
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "dtype": "float32",
        "crs": str(grid.crs),
        "transform": grid.transform,
    }
    with rasterio.open(tmp_path / "rain.tif", "w", count=3, **profile) as target:
        target.write(hours)
    dark = np.s_[:, 30:35, 30:35]
    with rasterio.open(tmp_path / "before.tif", "w", count=2, **profile) as target:
        before = hours[:2].copy()
        before[dark] = -0.1
        target.write(before)
        target.set_band_description(1, "red")
        target.set_band_description(2, "nir")
    stack = derived(
        "\n".join(
            (
                layer(name="rain_total", path="rain.tif", role="continuous", bands="sum"),
                layer(name="rain_intensity", path="rain.tif", role="continuous", bands="max"),
                layer(name="ndvi", path="before.tif", role="ndvi"),
            )
        )
    )
    known = stack.known()
    np.testing.assert_allclose(stack.read("rain_total")[known], hours.sum(axis=0)[known], rtol=1e-5)
    np.testing.assert_allclose(stack.read("rain_intensity")[known], hours[2][known], rtol=1e-5)
    ndvi = (hours[1] - hours[0]) / (hours[1] + hours[0])
    np.testing.assert_allclose(stack.read("ndvi")[known], ndvi[known], rtol=1e-4)
    assert np.isnan(stack.read("ndvi")[dark[1:]]).all()


def test_a_band_is_scaled_as_its_file_says_and_unknown_where_the_list_does(
    derived, kaghan, tmp_path
):
    grid = kaghan.stack.geobox
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 2}
    profile |= {"dtype": "int16", "crs": str(grid.crs), "transform": grid.transform}
    stored = np.random.default_rng(0).integers(1, 900, (2, *grid.shape))
    stored[1, 40:60, 40:60] = 0
    with rasterio.open(tmp_path / "soil.tif", "w", **profile) as target:
        target.write(stored.astype(np.int16))
        target.scales, target.offsets = (1, 0.1), (0, 50)
    given = {"path": "soil.tif", "band": 2, "nodata": 0}
    read = derived(layer(name="soil", role="continuous", **given)).read("soil")
    assert np.isnan(read[40:60, 40:60]).all()
    known = np.isfinite(read)
    assert known.sum() > 0.9 * known.size
    np.testing.assert_allclose(read[known], 50 + stored[1][known] / 10, rtol=1e-5)


@pytest.fixture
def hillside(tmp_path) -> tuple[Path, MultiPolygon]:
    """A DEM near Loma Prieta, ever steeper to the east, and its area."""
    dem = tmp_path / "hillside.tif"
    x, _ = np.meshgrid(np.arange(160) * 30.0, np.arange(120))
    with rasterio.open(
        dem,
        "w",
        driver="GTiff",
        width=160,
        height=120,
        count=1,
        dtype="float32",
        crs="EPSG:32610",
        transform=rasterio.Affine(30, 0, 598_000, 0, -30, 4_100_000),
    ) as target:
        target.write((200 + x**2 / 8000).astype("float32"), 1)
        area = gpd.GeoSeries([box(*target.bounds)], crs=target.crs).to_crs(4326)
    return dem, MultiPolygon(list(area))


def test_shaking_comes_from_a_shakemap_and_moves_slopes_by_newmarks_rule(hillside, tmp_path):
    dem, aoi = hillside
    table = tmp_path / "factors.toml"
    entries = [
        layer(name=measure, path=LOMA_PRIETA / "grid.xml", role="shaking", measure=measure)
        for measure in ("pga", "pgv", "mmi")
    ]
    entries.append(
        layer(
            name="newmark",
            path=LOMA_PRIETA / "grid.xml",
            role="newmark",
            strength={"cohesion_kpa": 12, "friction_deg": 30},
            thickness_m=2.2,
            saturation=0.1,
        )
    )
    table.write_text('terrain = ["slope"]\n' + "\n".join(entries))
    stack = derive_factors(dem, aoi, tmp_path / "factors.tif", table=read_factors(table))
    assert [factor.unit for factor in stack.factors] == ["degrees", "g", "cm/s", "MMI", "cm"]
    shaking = read_shakemap(LOMA_PRIETA / "grid.xml")
    place = centres(stack).to_crs(4326)
    cols, rows = ~shaking.affine @ (place.x.to_numpy(), place.y.to_numpy())
    for name, field in (("pga", shaking.pga_g), ("pgv", shaking.pgv_cm_s), ("mmi", shaking.mmi)):
        values = at_centres(stack, name)
        known = np.isfinite(values)
        points = [rows[known] - 0.5, cols[known] - 0.5]
        expected = map_coordinates(field.astype(np.float64), points, order=1)
        np.testing.assert_allclose(values[known], expected, rtol=0.02, err_msg=name)
    slope, pga, newmark = (stack.read(name) for name in ("slope", "pga", "newmark"))
    standing = 0.01 * np.sin(np.radians(slope))  # a factor of safety of 1.01
    held = critical_acceleration_g(slope, 12, 30, thickness_m=2.2, saturation=0.1)
    critical = np.maximum(held, standing)
    expected = newmark_displacement_cm(critical, pga, shaking.magnitude)
    known = stack.known()
    np.testing.assert_allclose(newmark[known], expected[known], rtol=1e-4, atol=1e-6)
    assert newmark[known].max() > 1 > newmark[known].min()


def test_ground_too_steep_to_stand_moves_farthest_and_is_not_unknown(hillside, tmp_path):
    dem, aoi = hillside
    table = tmp_path / "factors.toml"
    weak = {"cohesion_kpa": 5, "friction_deg": 30}
    entry = layer(name="newmark", path=LOMA_PRIETA / "grid.xml", role="newmark", strength=weak)
    table.write_text(f'terrain = ["slope"]\n{entry}')
    stack = derive_factors(dem, aoi, tmp_path / "factors.tif", table=read_factors(table))
    assert not stack.doubts
    slope, newmark = stack.read("slope"), stack.read("newmark")
    np.testing.assert_array_equal(np.isfinite(newmark), np.isfinite(slope))
    falls = factor_of_safety(slope, 5, 30) < 1
    assert falls.sum() > 1000
    assert np.nanmin(newmark[falls]) > np.nanmax(newmark[slope < 30])


def test_numbers_whose_nodata_is_the_least_double_are_read_without_a_murmur(
    derived, kaghan, tmp_path
):
    grid = kaghan.stack.geobox
    rain = np.arange(grid.width * grid.height, dtype=np.float64).reshape(grid.shape)
    rain[40:60, 40:60] = least = np.finfo(np.float64).min
    profile = {"driver": "GTiff", "width": grid.width, "height": grid.height, "count": 1}
    profile |= {"dtype": "float64", "crs": str(grid.crs), "transform": grid.transform}
    with rasterio.open(tmp_path / "rain.tif", "w", nodata=least, **profile) as target:
        target.write(rain, 1)
    read = derived(layer(name="rain", path="rain.tif", role="continuous")).read("rain")
    assert np.isnan(read[40:60, 40:60]).all()
    known = np.isfinite(read)
    np.testing.assert_allclose(read[known], rain[known])
    assert known.sum() > 0.9 * rain.size


def test_each_class_of_ground_has_its_own_strength(hillside, tmp_path):
    dem, aoi = hillside
    west, south, east, north = aoi.bounds
    middle = (west + east) / 2
    halves = [box(west, south, middle, north), box(middle, south, east, north)]
    gpd.GeoDataFrame({"rock": ["chert", "clay"]}, geometry=halves, crs=4326).to_file(
        tmp_path / "rock.gpkg"
    )
    rock = layer(name="lithology", path="rock.gpkg", role="class", attribute="rock")
    strength = {"cohesion_kpa": 12, "friction_deg": 30}

    def newmark(**more: object) -> np.ndarray:
        entry = layer(
            name="newmark",
            path=LOMA_PRIETA / "grid.xml",
            role="newmark",
            strength=strength,
            by="lithology",
            **more,
        )
        (tmp_path / "factors.toml").write_text(f'terrain = ["slope"]\n{rock}\n{entry}')
        table = read_factors(tmp_path / "factors.toml")
        return derive_factors(dem, aoi, tmp_path / "f.tif", table=table).read("newmark")

    same = newmark()
    stronger = newmark(strengths={"clay": {"cohesion_kpa": 20, "friction_deg": 30}})
    chert, clay = np.s_[:, 10:70], np.s_[:, 130:150]
    np.testing.assert_array_equal(stronger[chert], same[chert])
    assert np.nanmean(stronger[clay]) < np.nanmean(same[clay])
    with pytest.raises(FactorError, match="lithology has no class 'gneiss', but chert, clay"):
        newmark(strengths={"gneiss": strength})


def mostly_unknown(path: Path, kaghan, known: float) -> None:
    grid = kaghan.stack.geobox
    values = np.random.default_rng(0).random(grid.shape, dtype="float32")
    values[:, int(known * grid.width) :] = -1
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=grid.width,
        height=grid.height,
        count=1,
        dtype="float32",
        nodata=-1,
        crs=str(grid.crs),
        transform=grid.transform,
    ) as target:
        target.write(values, 1)


@pytest.mark.parametrize(("known", "kept"), [(0.4, False), (0.8, True)])
def test_a_factor_known_on_too_little_ground_is_left_out_with_a_doubt(
    derived, kaghan, tmp_path, known, kept
):
    mostly_unknown(tmp_path / "soil.tif", kaghan, known)
    stack = derived(layer(name="soil", path="soil.tif", role="continuous"))
    assert ("soil" in stack.names) is kept
    (doubt,) = stack.doubts
    assert doubt.code == "factor-partial"
    assert f"soil (soil.tif) is known on {100 * known:.0f} %" in doubt.text
    assert np.isfinite(stack.at(np.array([50]), np.array([150]))).all() is np.bool_(not kept)
    assert open_stack(stack.path) == stack


def test_a_constant_factor_is_left_out_with_a_doubt(derived, tmp_path):
    gpd.GeoSeries([box(73, 34, 74, 35)], crs=4326).to_frame("geometry").assign(kind="rock").to_file(
        tmp_path / "rock.gpkg"
    )
    stack = derived(layer(name="lithology", path="rock.gpkg", role="class", attribute="kind"))
    assert stack.names == ("slope",)
    assert [doubt.code for doubt in stack.doubts] == ["factor-constant"]


def without_crs(path: Path) -> str:
    with rasterio.open(KAGHAN / "Landcover.tif") as source:
        profile = source.profile | {"crs": None}
        with rasterio.open(path.with_name("nowhere.tif"), "w", **profile) as target:
            target.write(source.read())
    return layer(name="land_cover", path="nowhere.tif", role="class")


def elsewhere(path: Path) -> str:
    gpd.GeoSeries([Point(10, 45).buffer(0.1)], crs=4326).to_frame("geometry").assign(
        kind="clay"
    ).to_file(path.with_name("po.gpkg"))
    return layer(name="lithology", path="po.gpkg", role="class", attribute="kind")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            lambda path: layer(name="roads", path="roads.gpkg", role="distance"),
            r"layer roads names roads\.gpkg.* does not exist",
        ),
        (
            lambda path: layer(name="rain_total", path="rain.tif"),
            "layer rain_total: says no role: it is one of class, continuous, ",
        ),
        (without_crs, r"layer land_cover: .*nowhere\.tif has no CRS"),
        (elsewhere, r"layer lithology: .*po\.gpkg lies elsewhere"),
        (
            lambda path: layer(
                name="lithology", path=KAGHAN / "Geology.gpkg", role="class", attribute="Rock"
            ),
            "no column 'Rock'; set attribute to one of Name",
        ),
        (
            lambda path: layer(name="height", path=KAGHAN / "AW3D30.tif", role="class"),
            "holds fractions, which are no labels",
        ),
        (
            lambda path: layer(name="soil", path=KAGHAN / "Geology.tif", role="kriging"),
            "layer soil: role 'kriging' is none of class, continuous, ",
        ),
        (
            lambda path: layer(name="soil", path=KAGHAN / "Geology.tif", role="class", band=4),
            "has 1 bands, and band 4 is asked for",
        ),
        (
            lambda path: layer(name="ndvi", path=KAGHAN / "Geology.tif", role="ndvi"),
            "no bands described red and nir",
        ),
        (lambda path: layer(name="epicentre", role="distance"), "give either path or point"),
        (
            lambda path: layer(name="epicentre", role="distance", point=[34.5, 173.4]),
            r"layer epicentre: point = \[34.5, 173.4\] is no place on Earth; give \[longitude",
        ),
        (lambda path: layer(name="hut", role="distance", point=[float("nan"), 1]), "no place on"),
        (
            lambda path: layer(name="epicentre", role="distance", point=[163.4, 0.1]),
            "layer epicentre: .* too far from the area",
        ),
        (
            lambda path: layer(name="soil", path=path.parent, role="continuous"),
            "is a folder; mend the path",
        ),
        (
            lambda path: layer(name="slope", path=KAGHAN / "AW3D30.tif", role="continuous"),
            "layer slope is called like a terrain factor",
        ),
        (
            lambda path: layer(name="rain", path=KAGHAN / "landslides.gpkg", role="continuous"),
            r"layer rain: .*landslides\.gpkg is no raster",
        ),
        (
            lambda path: layer(
                name="pga", path=LOMA_PRIETA / "grid.xml", role="shaking", measure="pga"
            ),
            r"layer pga: .*grid\.xml lies elsewhere",
        ),
        (lambda path: "[[layer]\n", "is not TOML"),
        (lambda path: "layers = 3", "layers: Extra inputs"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(derived, tmp_path, entry, says):
    with pytest.raises(FactorError, match=says):
        derived(entry(tmp_path / "factors.toml"))
    assert not (tmp_path / "factors.tif").exists()


def test_a_terrain_factor_there_is_not_is_named(derived):
    with pytest.raises(FactorError, match="no terrain factor gradient; choose from elevation"):
        derived("", terrain='terrain = ["gradient"]')


@pytest.mark.parametrize(
    ("terrain", "says"),
    [
        ('terrain = ["slope", "relief", "slope"]', "terrain names slope twice"),
        ("terrain = []", "names no factor"),
        ("terrain = 3", 'terrain must be "all" or a list of names'),
        ("layer = 3", r"under a heading \[\[layer\]\]"),
    ],
)
def test_a_list_that_says_its_factors_wrongly_is_refused(derived, terrain, says):
    with pytest.raises(FactorError, match=rf"factors\.toml.* {says}"):
        derived("", terrain=terrain)


def test_a_list_of_no_terrain_gives_the_layers_alone(derived):
    fault = layer(name="fault_distance", path=KAGHAN / "Confirmed_faults.gpkg", role="distance")
    assert derived(fault, terrain="terrain = []").names == ("fault_distance",)


def test_every_terrain_factor_can_be_asked_for(derived):
    stack = derived("", terrain='terrain = "all"')
    assert len(stack.names) == 19
    assert stack.known().sum() == np.isfinite(stack.read("elevation")).sum()
    assert np.nanmin(stack.read("channel_height")) == 0
    assert 0 < np.nanmedian(stack.read("channel_distance")) < 1000
    wide, narrow = stack.read("relief_1000"), stack.read("relief_100")
    assert (wide >= narrow)[stack.known()].all()
    assert 0 < np.nanmax(stack.read("roughness")) < 1


def test_slope_units_are_numbered_from_one_and_lie_beside_the_factors(derived):
    stack = derived("", terrain='terrain = ["slope"]\nslope_units = true')
    with rasterio.open(units_path(stack.path)) as dataset:
        assert dataset.transform == stack.geobox.transform
        units = dataset.read(1)
    assert units.dtype == np.int32
    np.testing.assert_array_equal(units > 0, np.isfinite(stack.read("slope")))
    numbers, cells = np.unique(units[units > 0], return_counts=True)
    np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
    km2 = cells * stack.geobox.resolution.x**2 / 1e6
    assert 0.02 < np.median(km2) < 1


def test_the_tables_digest_changes_with_the_files_bytes_and_with_all_that_is_asked(
    kaghan, tmp_path
):
    table = tmp_path / "factors.toml"
    soil = layer(name="soil", path="soil.tif", role="continuous")

    def digest(text: str = soil) -> str:
        table.write_text(text)
        return read_factors(table).digest

    mostly_unknown(tmp_path / "soil.tif", kaghan, 0.9)
    before = digest()
    assert digest() == before
    asked = (f"{soil}\nnodata = 0", f"slope_units = true\n{soil}", f'terrain = ["slope"]\n{soil}')
    assert len({before, *map(digest, asked)}) == 4
    mostly_unknown(tmp_path / "soil.tif", kaghan, 0.8)
    assert digest() != before

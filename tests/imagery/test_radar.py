"""Radar before and after the storm, on the real passes of Emilia-Romagna and on made-up change."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from sklearn.metrics import roc_auc_score

from tasks.errors import CatalogError, NoImageryError
from tasks.imagery.backscatter import compare_passes, map_change
from tasks.imagery.protocol import Span
from tasks.imagery.radar import open_radar
from tasks.imagery.sources import Access
from tasks.types import geodesic_area_m2
from tests.conftest import EXAMPLE

SPAN = Span(datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC))


def search(source, aoi, span=SPAN):
    return open_radar(str(source), Access()).search(aoi, span)


@pytest.fixture(scope="module")
def passes(aoi):
    return search(EXAMPLE / "radar", aoi).scenes


@pytest.fixture
def radar(tmp_path):
    """A copy of the example's radar that a test may change."""
    shutil.copytree(EXAMPLE / "radar", tmp_path / "radar")
    return tmp_path / "radar"


def edit(radar, change):
    for path in radar.glob("scenes/*/*.json"):
        item = json.loads(path.read_text())
        change(item)
        path.write_text(json.dumps(item))


def rewrite(radar, change):
    """Change the numbers of every raster, in dB; sizes and checksums go from the items."""
    for path in radar.glob("scenes/*/*.tif"):
        with rasterio.open(path) as source:
            values = source.read(1, masked=True).astype(float) * source.scales[0]
            profile = source.profile | {"driver": "GTiff", "dtype": "float32", "nodata": -999}
        made = change(path.parent.name, values)
        with rasterio.open(path, "w", **profile) as raster:
            raster.write(made.filled(-999).astype(np.float32), 1)

    def forget(item):
        for asset in item["assets"].values():
            del asset["file:size"], asset["file:checksum"]

    edit(radar, forget)


def test_each_orbit_is_compared_with_itself(passes, event):
    ascending, descending = compare_passes(passes, event.occurred_at)
    assert (ascending.orbit, descending.orbit) == ("ascending", "descending")
    assert [f"{day:%m-%d}" for day in ascending.before] == ["05-11", "04-29", "04-17"]
    assert [f"{day:%m-%d}" for day in descending.after] == ["05-22", "06-15", "07-02"]
    assert ascending.polarisations == ("vv", "vh")
    for one in (ascending, descending):
        assert {s.orbit for s in (*one.scenes_before, *one.scenes_after)} == {one.orbit}


def test_as_of_the_22nd_only_one_orbit_has_come_back(passes, event):
    early = [scene for scene in passes if scene.acquired_at < datetime(2023, 5, 23, tzinfo=UTC)]
    (descending,) = compare_passes(early, event.occurred_at)
    assert [f"{day:%m-%d}" for day in descending.after] == ["05-22"]
    early = [scene for scene in passes if scene.acquired_at < event.occurred_at]
    with pytest.raises(NoImageryError, match=r"6 radar scenes, but of no orbit .* look again"):
        compare_passes(early, event.occurred_at)


def test_the_real_storm_leaves_weak_evidence(passes, aoi, event, tmp_path):
    seen = map_change(compare_passes(passes, event.occurred_at), aoi, tmp_path / "change.tif")
    assert geodesic_area_m2(seen.looked) == pytest.approx(aoi.area_km2 * 1e6, rel=0.01)
    assert 0 < geodesic_area_m2(seen.changed) < 0.1 * geodesic_area_m2(seen.looked)
    assert geodesic_area_m2(seen.changed - seen.looked) < 1
    with rasterio.open(seen.path) as raster:
        assert raster.descriptions == (
            "ascending vv", "ascending vh", "descending vv", "descending vh", "change",
        )  # fmt: skip
        change = raster.read(5)
        slides = geopandas.read_file(EXAMPLE / "landslides.gpkg").to_crs(raster.crs)
        truth = rasterio.features.rasterize(
            slides.geometry, raster.shape, transform=raster.transform
        )
    known = np.isfinite(change)
    assert roc_auc_score(truth[known], change[known]) > 0.5


def test_a_square_that_lost_its_trees_is_found_and_wet_soil_everywhere_is_not(
    radar, aoi, event, tmp_path
):
    def after(name):
        return f"{name[-8:]}" > "20230516"

    def soak_and_fell(name, values):
        if after(name):
            values = values + 2.0
            values[40:60, 70:90] -= 6.0
        return values

    rewrite(radar, soak_and_fell)
    scenes = search(radar, aoi).scenes
    seen = map_change(compare_passes(scenes, event.occurred_at), aoi, tmp_path / "change.tif")
    with rasterio.open(seen.path) as raster:
        change = raster.read(5)
    inner = change[42:58, 72:88]
    elsewhere = change.copy()
    elsewhere[36:64, 66:94] = np.nan
    assert (inner >= 3).mean() > 0.9
    assert np.nanmean(elsewhere >= 3) < 0.05
    found = geodesic_area_m2(seen.changed)
    assert 0.03e6 < found < 0.2e6


def test_power_and_decibels_give_the_same_change(radar, passes, aoi, event, tmp_path):
    rewrite(radar, lambda name, values: 10 ** (values / 10))
    power = compare_passes(search(radar, aoi).scenes, event.occurred_at)
    decibels = compare_passes(passes, event.occurred_at)
    made = []
    for name, compared in (("power", power), ("decibels", decibels)):
        with rasterio.open(map_change(compared, aoi, tmp_path / f"{name}.tif").path) as raster:
            made.append(raster.read())
    assert made[0] == pytest.approx(made[1], abs=1e-2, nan_ok=True)


def test_ground_radar_did_not_see_is_not_unchanged(radar, aoi, event, tmp_path):
    def blind(name, values):
        values[:, :40] = np.ma.masked
        return values

    rewrite(radar, blind)
    seen = map_change(
        compare_passes(search(radar, aoi).scenes, event.occurred_at), aoi, tmp_path / "change.tif"
    )
    with rasterio.open(seen.path) as raster:
        assert np.isnan(raster.read()[:, :, :39]).all()
    west, south, east, north = aoi.geometry.bounds
    blinded = shapely.box(west, south, west + 0.25 * (east - west), north)
    assert not seen.looked.intersects(blinded)
    assert geodesic_area_m2(seen.looked) == pytest.approx(88 / 128 * aoi.area_km2 * 1e6, rel=0.02)


def test_an_item_that_hides_its_orbit_is_refused_and_the_others_go_on(radar, aoi):
    def hide(item):
        if item["id"].endswith("20230523"):
            del item["properties"]["sat:orbit_state"]

    edit(radar, hide)
    found = search(radar, aoi)
    assert len(found.scenes) == 11
    (refused,) = found.refused
    assert "sat:orbit_state None is neither ascending nor descending" in refused.reason


def test_optical_catalogs_profiles_without_radar_and_missing_ones_are_told(aoi, tmp_path):
    assert search(EXAMPLE / "catalog.json", aoi).scenes == ()
    with pytest.raises(CatalogError, match="names no radar collection; those that do: planetary"):
        open_radar("earth-search", Access())
    with pytest.raises(CatalogError, match="does not exist; give a STAC catalog"):
        open_radar(str(tmp_path / "nowhere"), Access())
    assert open_radar("planetary-computer", Access()).collections.keys() == {"sentinel-1-rtc"}


def test_passes_long_before_or_after_do_not_count(passes, event):
    moved = [
        type(scene)(**{**vars(scene), "acquired_at": scene.acquired_at + timedelta(days=70)})
        for scene in passes
        if scene.acquired_at > event.occurred_at
    ]
    before = [scene for scene in passes if scene.acquired_at < event.occurred_at]
    with pytest.raises(NoImageryError, match="of no orbit one within 90 days before"):
        compare_passes([*before, *moved], event.occurred_at)

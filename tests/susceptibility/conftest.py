from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from scipy.special import expit
from shapely.geometry import MultiPolygon, box

from tasks.susceptibility.factor_file import FactorTable
from tasks.susceptibility.factors import derive_factors
from tasks.susceptibility.misfits import GROUND
from tasks.susceptibility.sampling import ABSENCE, Samples, draw_samples
from tasks.susceptibility.stack import FactorStack

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "emilia_romagna_2023"
KAGHAN = ROOT.parent / "shared" / "data" / "kaghan_lsat"


@dataclass(frozen=True)
class Place:
    dem: Path
    aoi: MultiPolygon
    landslides: gpd.GeoDataFrame
    stack: FactorStack


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Place:
    (outline,) = gpd.read_file(EXAMPLE / "aoi.geojson").geometry
    aoi = MultiPolygon([outline])
    landslides = gpd.read_file(EXAMPLE / "landslides.gpkg").to_crs(4326)
    dem = EXAMPLE / "dem.tif"
    stack = derive_factors(dem, aoi, tmp_path_factory.mktemp("example") / "factors.tif")
    return Place(dem, aoi, landslides, stack)


@pytest.fixture(scope="session")
def kaghan(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Four and a half by four and a half kilometres in the middle of the valley."""
    square = gpd.GeoSeries([box(349_000, 3_830_000, 353_500, 3_834_500)], crs=32643)
    aoi = MultiPolygon(list(square.to_crs(4326)))
    every = gpd.read_file(KAGHAN / "landslides.gpkg")
    landslides = every[every.intersects(square.iloc[0])].to_crs(4326)
    dem = KAGHAN / "AW3D30.tif"
    stack = derive_factors(dem, aoi, tmp_path_factory.mktemp("kaghan") / "factors.tif")
    return Place(dem, aoi, landslides, stack)


@pytest.fixture(scope="session")
def ground(kaghan: Place, tmp_path_factory: pytest.TempPathFactory) -> FactorStack:
    """What errors of an inventory are looked up in, over the same ground."""
    path = tmp_path_factory.mktemp("ground") / "ground.tif"
    return derive_factors(kaghan.dem, kaghan.aoi, path, table=FactorTable(GROUND))


@pytest.fixture(scope="session")
def samples(kaghan: Place) -> Samples:
    return draw_samples(kaghan.landslides, kaghan.aoi, kaghan.stack)


@pytest.fixture(scope="session")
def points() -> Samples:
    """350 points on ten square kilometres, whose odds of failing rise with the first factor."""
    random = np.random.default_rng(4)
    easting, northing = random.uniform(0, 3200, (2, 350))
    x = random.normal(size=(350, 3))
    x[:, 2] = random.integers(0, 4, 350)
    y = random.random(350) < expit(1.5 * x[:, 0] - 0.5 * x[:, 1] + (x[:, 2] == 2))
    return Samples(
        ("steepness", "hollow", "rock"),
        x.astype(np.float32),
        y,
        easting,
        northing,
        np.where(y, np.arange(350), ABSENCE),
        frozenset({"rock"}),
    )

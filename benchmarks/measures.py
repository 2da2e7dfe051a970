"""How fast landslides are measured: 20,000 outlines with and without a DEM.

    python benchmarks/measures.py [--outlines N] [--json]

The 3,820 landslides of Kaghan over AW3D30 (../shared/data/kaghan_lsat), repeated. `relief` is what
`tasks.mapping.relief` does; `plain` hands the same outlines and the same four grids to exactextract
as a GeoDataFrame, a call each, for the same statistics, in the same process and in turns. `scenes`
looks up the scene of every outline in an index raster, `sampled` does so with rasterio's own
`sample`. Writes benchmarks/results/measures.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource
from record import machine, write

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tasks.mapping.attributes import _values_at, measure  # noqa: E402
from tasks.mapping.relief import relief  # noqa: E402
from tasks.susceptibility import terrain  # noqa: E402
from tasks.susceptibility.dem import open_dem  # noqa: E402

DATA = ROOT.parent / "shared" / "data" / "kaghan_lsat"
DEM = DATA / "AW3D30.tif"
ROUNDS = 3


def plain(outlines: gpd.GeoSeries) -> pd.DataFrame:
    """Relief by exactextract's own interface, the whole DEM at once."""
    with open_dem(DEM, outlines.iloc[0].representative_point()) as dem:
        grid = dem.grid(dem.bounds, dem.cell_m)
        elevation = dem.read(grid)
        frame = gpd.GeoDataFrame(geometry=outlines.to_crs(dem.crs))
    d, box = terrain.derivatives(elevation, grid.resolution.x), grid.boundingbox
    shape = ["min", "mean", "max", "stdev", "count"]
    layers = [
        (elevation, shape),
        (terrain.slope_deg(d), shape),
        (terrain.eastness(d), ["mean"]),
        (terrain.northness(d), ["mean"]),
    ]
    wkt = str(grid.crs.to_wkt())
    tables = [
        exact_extract(
            NumPyRasterSource(
                values, box.left, box.bottom, box.right, box.top, nodata=np.nan, srs_wkt=wkt
            ),
            frame,
            wanted,
            output="pandas",
        )
        for values, wanted in layers
    ]
    return pd.concat(tables, axis=1)


def sampled(index: Path, points: gpd.GeoSeries) -> list[int]:
    """The scene under each point, asked one by one."""
    with rasterio.open(index) as source:
        inside = points.to_crs(source.crs)
        return [int(value[0]) for value in source.sample(zip(inside.x, inside.y, strict=True))]


def in_turns(jobs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each job."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(taken), 3) for name, taken in seconds.items()}


def scene_index(folder: Path) -> Path:
    """An index raster of two scenes on the DEM's grid."""
    path = folder / "index.tif"
    with rasterio.open(DEM) as dem:
        profile = dem.profile | {"dtype": "uint8", "nodata": 0, "predictor": 2}
        numbers = np.ones(dem.shape, np.uint8)
    numbers[:, ::2] = 2
    with rasterio.open(path, "w", **profile) as index:
        index.write(numbers, 1)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outlines", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = machine()
    slides = gpd.read_file(DATA / "landslides.gpkg")[["geometry"]].to_crs("EPSG:4326")
    times = -(-options.outlines // len(slides))
    slides = pd.concat([slides] * times, ignore_index=True).head(options.outlines)
    points = slides.geometry.representative_point()
    with tempfile.TemporaryDirectory() as folder:
        index = scene_index(Path(folder))
        assert _values_at(index, points).tolist() == sampled(index, points)
        seconds = in_turns(
            {
                "measure": lambda: measure(slides),
                "measure_with_dem": lambda: measure(slides, DEM),
                "relief": lambda: relief(slides.geometry, DEM),
                "plain": lambda: plain(slides.geometry),
                "scenes": lambda: _values_at(index, points),
                "sampled": lambda: sampled(index, points),
            }
        )
    result |= {"outlines": len(slides), "seconds": seconds}
    result |= {
        "plain_over_relief": round(seconds["plain"] / seconds["relief"], 2),
        "sampled_over_scenes": round(seconds["sampled"] / seconds["scenes"], 2),
    }
    write("measures", result)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, taken in seconds.items():
            print(f"{name:<18}{taken:8.2f} s")
        print(f"plain / relief {result['plain_over_relief']}")
        print(f"sampled / scenes {result['sampled_over_scenes']}")


if __name__ == "__main__":
    main()

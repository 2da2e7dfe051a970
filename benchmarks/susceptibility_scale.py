"""A hundred megapixels of factors: how long and how much memory, against size and against peers.

    python benchmarks/susceptibility_scale.py [--sides 3000 6000 10000]

The terrain is the Kaghan DEM (AW3D30, ../shared/data) mirrored side by side to a square, so that
its texture is real at any size. Every step runs in a process of its own, whose peak memory is the
kernel's count (ru_maxrss). Compiled kernels are cached by a small run before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from record import machine, write

sys.path.insert(0, str(Path(__file__).parents[1]))

DEM = Path(__file__).parents[2] / "shared" / "data" / "kaghan_lsat" / "AW3D30.tif"
CELL_M = 28.5
PEER_SIDE = 3000
WARM_SIDE = 600


def terrain(side: int, path: Path) -> None:
    """Write a DEM of `side` x `side` cells, in blocks."""
    with rasterio.open(DEM) as dataset:
        valley = dataset.read(1)
    pair = np.hstack([valley, valley[:, ::-1]])
    unit = np.vstack([pair, pair[::-1]])
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=side,
        height=side,
        count=1,
        dtype="float32",
        crs="EPSG:32643",
        transform=rasterio.Affine(CELL_M, 0, 300_000, 0, -CELL_M, 3_900_000),
        tiled=True,
        blockxsize=512,
        blockysize=512,
    ) as dataset:
        for _, window in dataset.block_windows():
            rows = (window.row_off + np.arange(window.height)) % unit.shape[0]
            cols = (window.col_off + np.arange(window.width)) % unit.shape[1]
            dataset.write(unit[np.ix_(rows, cols)], 1, window=window)


def derive(folder: Path) -> dict[str, Any]:
    """The ten usual factors of a DEM."""
    import geopandas as gpd
    from shapely.geometry import MultiPolygon, box

    from tasks.susceptibility.factors import derive_factors

    with rasterio.open(folder / "dem.tif") as dem:
        whole = gpd.GeoSeries([box(*dem.bounds)], crs=dem.crs).to_crs(4326)
    stack = derive_factors(folder / "dem.tif", MultiPolygon(list(whole)), folder / "factors.tif")
    cells = stack.geobox.width * stack.geobox.height
    return {"factors": len(stack.names), "megapixels": cells / 1e6}


def drain(folder: Path) -> dict[str, Any]:
    """Our filling, routing and summing of water alone."""
    from tasks.susceptibility import drainage
    from tasks.susceptibility.planes import Plane, tiles

    with rasterio.open(folder / "dem.tif") as dem:
        elevation = Plane.make(folder / "elevation", dem.shape, np.float32)
        for window in tiles(elevation.shape):
            elevation.write(dem.read(1, window=window), window)
    drainage.drain(elevation, tiles(elevation.shape), folder)
    return {"megapixels": elevation.shape[0] * elevation.shape[1] / 1e6}


def drain_pyflwdir(folder: Path) -> dict[str, Any]:
    """The same by pyflwdir, on the whole grid at once."""
    import pyflwdir

    with rasterio.open(folder / "dem.tif") as dem:
        elevation, transform = dem.read(1), dem.transform
    _, directions = pyflwdir.dem.fill_depressions(elevation, nodata=-9999.0)
    flow = pyflwdir.from_array(directions, ftype="d8", transform=transform, check_ftype=False)
    flow.upstream_area("m2")
    return {"megapixels": elevation.size / 1e6}


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "derive": derive,
    "drain": drain,
    "drain_pyflwdir": drain_pyflwdir,
}


def measured(step: str, folder: Path) -> dict[str, Any]:
    """Run a step in a process of its own; what it says, its seconds and its peak memory."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(
        f"{step:>16} {result['megapixels']:6.0f} MP {result['seconds']:7.1f} s "
        f"{result['peak_rss_mb']:6.0f} MB",
        flush=True,
    )
    return result


def run_step(step: str, folder: Path) -> None:
    """Run one step here and print what it took."""
    started = time.perf_counter()
    said = STEPS[step](folder)
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(said | {"seconds": round(took, 2), "peak_rss_mb": round(peak)}))


def main() -> None:
    """Measure every size, then our routing against pyflwdir's at one, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[3000, 6000, 10_000])
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.step:
        run_step(asked.step, asked.folder)
        return
    result: dict[str, Any] = {"machine": machine(), "derive": [], "drain": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        terrain(WARM_SIDE, folder / "dem.tif")
        for step in STEPS:
            measured(step, folder)
        for side in asked.sides:
            terrain(side, folder / "dem.tif")
            result["derive"].append({"side": side} | measured("derive", folder))
        terrain(PEER_SIDE, folder / "dem.tif")
        for _ in range(3):
            ours, theirs = measured("drain", folder), measured("drain_pyflwdir", folder)
            result["drain"].append({"ours": ours, "pyflwdir": theirs})
    ratios = [turn["ours"]["seconds"] / turn["pyflwdir"]["seconds"] for turn in result["drain"]]
    result["drain_time_ratio"] = round(float(np.median(ratios)), 2)
    print(f"drain: {result['drain_time_ratio']} of pyflwdir's time")
    print(write("susceptibility_scale", result))


if __name__ == "__main__":
    main()

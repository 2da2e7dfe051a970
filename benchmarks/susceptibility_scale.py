"""A hundred megapixels of factors: how long and how much memory, against size and against peers.

    python benchmarks/susceptibility_scale.py [--sides 3000 6000 10000]

The terrain is the Kaghan DEM (AW3D30, ../shared/data) mirrored side by side to a square, so that
its texture is real at any size. What predicts it is the paper's forest, fitted to the landslides of
the valley itself. Every step runs in a process of its own, whose peak memory is the
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
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from record import machine, write
from sklearn.ensemble import RandomForestClassifier

sys.path.insert(0, str(Path(__file__).parents[1]))

if TYPE_CHECKING:
    from tasks.susceptibility.sampling import Samples

DEM = Path(__file__).parents[2] / "shared" / "data" / "kaghan_lsat" / "AW3D30.tif"
CELL_M = 28.5
PEER_SIDE = 3000
WARM_SIDE = 600
TURNS = 3
GROWING = ("derive", "predict", "predict_applicable")
PEERS = {
    "drain_against_pyflwdir": ("drain", "drain_pyflwdir"),
    "predict_against_sklearn": ("predict", "predict_sklearn"),
}


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


def predict(folder: Path) -> dict[str, Any]:
    """A map, its classes and its spread, from the factors `derive` left."""
    return _mapped(folder, applicable=False)


def predict_applicable(folder: Path) -> dict[str, Any]:
    """The same, and where the model applies."""
    return _mapped(folder, applicable=True)


def predict_sklearn(folder: Path) -> dict[str, Any]:
    """The probability alone by scikit-learn, two threads, on the whole grid at once."""
    samples = _samples(folder)
    forest = RandomForestClassifier(50, max_depth=50, random_state=0, n_jobs=2)
    forest.fit(samples.x, samples.y)
    started = time.perf_counter()
    with rasterio.open(folder / "factors.tif") as dataset:
        factors, profile = dataset.read(), dataset.profile
    known = np.isfinite(factors).all(axis=0)
    failure = np.zeros(known.shape, np.uint8)
    failure[known] = 1 + np.rint(254 * forest.predict_proba(factors[:, known].T)[:, 1])
    with rasterio.open(
        folder / "peer.tif", "w", **(profile | {"count": 1, "dtype": "uint8", "nodata": 0})
    ) as dataset:
        dataset.write(failure, 1)
    return {"megapixels": known.size / 1e6, "seconds": round(time.perf_counter() - started, 2)}


def _mapped(folder: Path, *, applicable: bool) -> dict[str, Any]:
    from tasks.susceptibility.applicability import fit_applicability
    from tasks.susceptibility.folds import district_folds
    from tasks.susceptibility.learners import fit_model
    from tasks.susceptibility.predict import predict_map
    from tasks.susceptibility.stack import open_stack

    samples, stack = _samples(folder), open_stack(folder / "factors.tif")
    forest = fit_model("rf", samples)
    importance = forest.explain()["impurity_importance"]
    folds = district_folds(samples, 5, 1).of[0]
    where = fit_applicability(samples, importance, folds) if applicable else None
    started = time.perf_counter()
    made = predict_map(forest, stack, folder / "map.tif", {}, applicability=where)
    return {
        "megapixels": stack.geobox.width * stack.geobox.height / 1e6,
        "known_megapixels": made.cells / 1e6,
        "samples": len(samples.y),
        "seconds": round(time.perf_counter() - started, 2),
    }


def _samples(folder: Path) -> Samples:
    """Cells of the valley's landslides and of its unfailed ground."""
    import geopandas as gpd
    from shapely.geometry import MultiPolygon, box

    from tasks.susceptibility.factors import derive_factors
    from tasks.susceptibility.sampling import draw_samples

    with rasterio.open(DEM) as dem:
        whole = gpd.GeoSeries([box(*dem.bounds)], crs=dem.crs).to_crs(4326)
    valley = MultiPolygon(list(whole))
    stack = derive_factors(DEM, valley, folder / "valley.tif")
    landslides = gpd.read_file(DEM.with_name("landslides.gpkg")).to_crs(4326)
    return draw_samples(landslides, valley, stack)


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "derive": derive,
    "drain": drain,
    "drain_pyflwdir": drain_pyflwdir,
    "predict": predict,
    "predict_applicable": predict_applicable,
    "predict_sklearn": predict_sklearn,
}


def measured(step: str, folder: Path) -> dict[str, Any]:
    """Run a step in a process of its own; what it says, its seconds and its peak memory."""
    command = [sys.executable, __file__, "--step", step, "--folder", str(folder)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(
        f"{step:>18} {result['megapixels']:6.0f} MP {result['seconds']:7.1f} s "
        f"{result['peak_rss_mb']:6.0f} MB",
        flush=True,
    )
    return result


def run_step(step: str, folder: Path) -> None:
    """Run one step here and print what it took, or what of it the step itself timed."""
    started = time.perf_counter()
    said = STEPS[step](folder)
    took = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    # on a machine that does other work, what the processors did says more than the clock
    spent = {"cpu_seconds": round(used.ru_utime + used.ru_stime, 2)}
    peak = {"peak_rss_mb": round(used.ru_maxrss / 1024)}
    print(json.dumps({"seconds": round(took, 2)} | said | spent | peak))


def main() -> None:
    """Measure every size, then our routing and predicting against peers' at one, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[3000, 6000, 10_000])
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.step:
        run_step(asked.step, asked.folder)
        return
    result: dict[str, Any] = {"machine": machine(), **{step: [] for step in GROWING}}
    result |= {name: [] for name in PEERS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        terrain(WARM_SIDE, folder / "dem.tif")
        for step in STEPS:
            measured(step, folder)
        for side in asked.sides:
            terrain(side, folder / "dem.tif")
            for step in GROWING:
                result[step].append({"side": side} | measured(step, folder))
        terrain(PEER_SIDE, folder / "dem.tif")
        measured("derive", folder)
        for name, (own, peer) in PEERS.items():
            for _ in range(TURNS):
                ours, theirs = measured(own, folder), measured(peer, folder)
                result[name].append({"ours": ours, "peer": theirs})
            ratios = [turn["ours"]["seconds"] / turn["peer"]["seconds"] for turn in result[name]]
            result[f"{name}_time_ratio"] = round(float(np.median(ratios)), 2)
            print(f"{own}: {result[f'{name}_time_ratio']} of the time of {peer}")
    print(write("susceptibility_scale", result))


if __name__ == "__main__":
    main()

"""The USGS ground-failure model on Loma Prieta: how near the official grid, how fast, how large.

    python benchmarks/impact.py

Compares the prior map with the USGS's own grid cell by cell, then computes it again on slope cells
an 8th of the size in both directions, to show that memory does not follow the number of cells.
Needs ../shared/data; writes benchmarks/results/impact.json.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from record import machine, write
from scipy.io import netcdf_file

sys.path.insert(0, str(Path(__file__).parents[1]))
from tasks.events.impact_layers import NowickiJesseeLayers
from tasks.events.impact_maps import map_nowicki_jessee
from tasks.events.shakemap import read_shakemap

DATA = Path(__file__).parents[2] / "shared" / "data" / "usgs_groundfailure_loma_prieta"
INPUTS = DATA / "model_inputs"
OFFICIAL_KM2 = 36.92
FINER = 8


def main() -> None:
    """Measure, print and record."""
    about = machine()
    with TemporaryDirectory() as folder:
        fine = finer_slope(Path(folder) / "slope.tif", FINER)
        own = measured(INPUTS / "global_grad.tif", Path(folder) / "own.tif")
        finer = measured(fine, Path(folder) / "finer.tif")
        agreement = compare(Path(folder) / "own.tif")
    finer.pop("expected_km2")
    agreement["aggregate_hazard_km2"] = own["expected_km2"]
    agreement["official_km2"] = OFFICIAL_KM2
    agreement["ratio_to_official"] = own["expected_km2"] / OFFICIAL_KM2
    result = {**about, "agreement": agreement, "own_cells": own, "finer_cells": finer}
    result["cells_ratio"] = finer["cells"] / own["cells"]
    result["peak_memory_ratio"] = finer["peak_mb"] / own["peak_mb"]
    print(json.dumps(result, indent=2))
    print(write("impact", result))


def compare(prior: Path) -> dict[str, Any]:
    """The prior map against the official grid, on the cells of the official one."""
    with netcdf_file(DATA / "targets" / "jessee_2018.grd", mmap=False) as file:
        z, x, y = (np.array(file.variables[name][:], float) for name in "zxy")
    official = np.where(z > 1, np.nan, z)
    with rasterio.open(prior) as raster:
        ours = raster.read(1)
        inverse = ~raster.transform
    cols = np.floor(inverse.a * x + inverse.c).astype(int)
    rows = np.floor(inverse.e * y + inverse.f).astype(int)
    up = (rows >= 0) & (rows < ours.shape[0])
    along = (cols >= 0) & (cols < ours.shape[1])
    theirs, mine = official[np.ix_(up, along)], ours[np.ix_(rows[up], cols[along])]
    known = ~np.isnan(theirs)
    return {
        "official_valid_cells": int((~np.isnan(official)).sum()),
        "valid_cells_in_both": int((known & ~np.isnan(mine)).sum()),
        "valid_in_one_only": int((known ^ ~np.isnan(mine)).sum()),
        "correlation": float(np.corrcoef(mine[known], theirs[known])[0, 1]),
        "largest_difference": float(np.abs(mine - theirs)[known].max()),
    }


def finer_slope(path: Path, times: int) -> Path:
    """The slope layer resampled to cells `times` smaller in both directions."""
    with rasterio.open(INPUTS / "global_grad.tif") as source:
        shape = (source.height * times, source.width * times)
        profile = source.profile | {"height": shape[0], "width": shape[1], "tiled": True}
        profile["transform"] = source.transform @ Affine.scale(1 / times)
        with rasterio.open(path, "w", **profile) as target:
            target.write(source.read(1, out_shape=shape, resampling=Resampling.bilinear), 1)
    return path


def measured(slope: Path, prior: Path) -> dict[str, Any]:
    """One map in a process of its own: cells, seconds and peak memory."""
    command = [sys.executable, __file__, str(slope), str(prior)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(ran.stdout))


def one(slope: Path, prior: Path) -> None:
    """Compute one map and print what it took."""
    layers = NowickiJesseeLayers(
        slope=slope,
        slope_unit="gradient",
        lithology=INPUTS / "GLIM_replace.tif",
        landcover=INPUTS / "globcover_replace.tif",
        cti=INPUTS / "global_cti_fil.grd",
    )
    started = time.perf_counter()
    expected = map_nowicki_jessee(read_shakemap(DATA / "grid.xml"), layers, prior)
    seconds = time.perf_counter() - started
    with rasterio.open(prior) as raster:
        cells = raster.width * raster.height
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"cells": cells, "seconds": seconds, "peak_mb": peak_mb}
    print(json.dumps(told | {"expected_km2": expected.expected_km2}))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        one(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()

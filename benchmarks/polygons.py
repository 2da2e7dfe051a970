"""How fast and how lean polygonising in bands is, beside rasterio on the whole array.

    python benchmarks/polygons.py [--json]

Two masks of 4096 x 4096 pixels, smooth (large bodies) and speckled (about 47,000 polygons). From
the mask in memory to shapely polygons in pixel corners, in turns in one process: `rasterio` is
`rasterio.features.shapes` on the whole array and `shapely.geometry.shape` on each result; `bands`
is `connected_bodies` in bands of 512 rows, which also counts what each body holds. Memory is the
peak of a process that outlines a score file, above what it takes to import the code. Writes
benchmarks/results/polygons.json.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window
from record import machine, write
from scipy import ndimage
from shapely.geometry import box, shape

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.mapping.bodies import ScoreWindow, connected_bodies  # noqa: E402
from tasks.mapping.vectorise import BAND_ROWS, landslide_polygons  # noqa: E402

SIDE, REPEATS = 4096, 7
SMOOTH_PX, SPECKLE_PX, POSITIVE = 20.0, 2.53, 0.1
OTHER_HEIGHTS = (64, 333, 1000, SIDE)
SCENE_COLUMNS, SCENE_ROWS = 8192, (4096, 8192, 16384)

Mask = NDArray[np.bool_]


def noise_mask(sigma_px: float) -> Mask:
    """The highest tenth of smoothed noise."""
    noise = np.random.default_rng(2018).standard_normal((SIDE, SIDE), np.float32)
    smooth = ndimage.gaussian_filter(noise, sigma_px)
    return np.asarray(smooth > np.quantile(smooth, 1 - POSITIVE))


def with_rasterio(mask: Mask) -> NDArray[np.object_]:
    """Outlines of the whole array at once."""
    traced = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return np.array([shape(outline) for outline, _ in traced], object)


def in_bands(mask: Mask, rows: int = BAND_ROWS) -> NDArray[np.object_]:
    """Outlines from bands, with what each body holds."""
    return np.asarray(connected_bodies(windows(mask, rows))["outline"], object)


def windows(mask: Mask, rows: int) -> Iterator[ScoreWindow]:
    """Give a mask in bands, as `landslide_polygons` reads a score."""
    nowhere = np.zeros((rows, mask.shape[1]), bool)
    for row in range(0, len(mask), rows):
        band = mask[row : row + rows]
        away = nowhere[: len(band)]
        yield ScoreWindow(row, 0, band.view(np.uint8), band, away, away)


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def canonical(outlines: NDArray[np.object_]) -> list[bytes]:
    """Polygons in an order and a form that compare byte by byte."""
    return sorted(shapely.to_wkb(shapely.normalize(outlines)))


def compare(mask: Mask) -> dict[str, Any]:
    """Time both in turns; check that they outline the same, whatever the bands."""
    whole = canonical(with_rasterio(mask))
    outlines = in_bands(mask)
    heights = {rows: canonical(in_bands(mask, rows)) == whole for rows in OTHER_HEIGHTS}
    turns = [
        (seconds(lambda: with_rasterio(mask)), seconds(lambda: in_bands(mask)))
        for _ in range(REPEATS)
    ]
    return {
        "polygons": len(whole),
        "vertices": int(shapely.get_num_coordinates(outlines).sum()),
        "rasterio_s": round(statistics.median(turn[0] for turn in turns), 3),
        "bands_s": round(statistics.median(turn[1] for turn in turns), 3),
        "ratio": round(statistics.median(ours / theirs for theirs, ours in turns), 3),
        "ratios": [round(ours / theirs, 3) for theirs, ours in turns],
        "same_polygons": {BAND_ROWS: canonical(outlines) == whole} | heights,
        "invalid": int((~shapely.is_valid(outlines)).sum()),
    }


def write_scene(path: Path, rows: int) -> None:
    """Write a score of any length that holds the smooth mask once, at its top."""
    levels = np.where(noise_mask(SMOOTH_PX), 230, 20).astype(np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 0, "crs": "EPSG:32654"}
    grid = {"height": rows, "width": SCENE_COLUMNS, "transform": from_origin(5e5, 4.7e6, 3, 3)}
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
    below = np.full((512, SCENE_COLUMNS), 20, np.uint8)
    with rasterio.open(path, "w", **profile, **grid, **tiles) as score:
        for row in range(0, rows, 512):
            score.write(below, 1, window=Window(0, row, SCENE_COLUMNS, 512))
        score.write(levels, 1, window=Window(0, 0, SIDE, SIDE))


def outlining_peak_mb(path: Path) -> float:
    """Peak resident memory of outlining one score, above that of the imports, in this process."""
    before = peak_mb()
    landslide_polygons(path, 0.5, 300, box(140, 40, 145, 45))
    return peak_mb() - before


def peak_mb() -> float:
    """Peak resident memory of this process; `getrusage` would count that of its parent in."""
    (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) / 1024


def peaks_mb() -> dict[str, float]:
    """Peak memory by size of the scene, each in a process of its own."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for rows in SCENE_ROWS:
            path = Path(folder) / f"{rows}.tif"
            write_scene(path, rows)
            command = [sys.executable, __file__, "--peak-of", str(path)]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            peaks[f"{rows} x {SCENE_COLUMNS}"] = round(float(told), 1)
    return peaks


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print nothing but the record")
    parser.add_argument("--peak-of", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.peak_of:
        print(outlining_peak_mb(chosen.peak_of))
        return
    result = {
        "machine": machine(),
        "clean": compare(noise_mask(SMOOTH_PX)),
        "speckled": compare(noise_mask(SPECKLE_PX)),
        "peak_mb_above_imports": peaks_mb(),
    }
    print(json.dumps(result, indent=2))
    path = write("polygons", result)
    if not chosen.json:
        print("written to", path)


if __name__ == "__main__":
    main()

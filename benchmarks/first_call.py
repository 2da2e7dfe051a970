"""What the first call of a command costs: new processes, their wall and processor seconds.

    python benchmarks/first_call.py --scene ../shared/data/hokkaido2018/scene_rgb_3m.tif

Cuts a tile of 512×512 px at 4 m out of the scene, so that the network reads 512×512, and runs
commands on it in new processes, in turn. One call of `scarp map` comes first, uncounted: it fills
the disk cache and compiles the kernels, where that was never done. The breakdown is of one more
process: imports, then each module's functions as `scarp map` calls them, the network's passes
apart. Writes benchmarks/results/first_call.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from typing import Any

import record

SIDE_PX, GSD_M = 512, 4.0
OURS = ("tasks.", "models.")
SCARP = Path(sys.executable).with_name("scarp")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scene", type=Path, help="a projected RGB GeoTIFF")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--inside", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(breakdown(*options.inside)))
        return
    about = record.machine()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCARP_HOME"] = str(Path(folder) / "home")
        tile, out = Path(folder) / "tile.tif", Path(folder) / "out"
        cut(options.scene, tile)
        commands: dict[str, list[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import torch'": [sys.executable, "-c", "import torch"],
            "scarp --help": [SCARP, "--help"],
            "scarp model list": [SCARP, "model", "list"],
            "scarp map": [SCARP, "map", tile, "-o", out],
        }
        run(commands["scarp map"])
        calls: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(options.repeats):
            for name, command in commands.items():
                calls[name].append(run(command))
        inside: list[str | Path] = [sys.executable, __file__, "--inside", tile, out]
        steps = json.loads(subprocess.run(inside, capture_output=True, check=True).stdout)
    result = {
        "machine": about,
        "repeats": options.repeats,
        "seconds": {name: summary(times) for name, times in calls.items()},
        "scarp map, one process, wall seconds by step": steps,
    }
    print(json.dumps(result, indent=2))
    print("written to", record.write("first_call", result))


def cut(scene: Path, tile: Path) -> None:
    """Resample the middle of a scene to the tile."""
    import rasterio
    from rasterio.vrt import WarpedVRT

    half = SIDE_PX * GSD_M / 2
    with rasterio.open(scene) as source:
        x, y = source.xy(source.height // 2, source.width // 2)
        corner = rasterio.Affine(GSD_M, 0, x - half, 0, -GSD_M, y + half)
        with WarpedVRT(source, transform=corner, width=SIDE_PX, height=SIDE_PX) as view:
            profile = view.profile | {"driver": "GTiff", "photometric": "RGB", "nodata": None}
            with rasterio.open(tile, "w", **profile) as target:
                target.write(view.read())


def run(command: list[str | Path]) -> tuple[float, float]:
    """Wall and processor (user and system) seconds of one new process."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    """Least and median of wall and processor seconds."""
    wall, cpu = zip(*times, strict=True)
    return {
        "wall_min": round(min(wall), 2),
        "wall_median": round(median(wall), 2),
        "cpu_min": round(min(cpu), 2),
        "cpu_median": round(median(cpu), 2),
    }


def breakdown(tile: Path, out: Path) -> dict[str, float]:
    """Map the tile in this process and say where the seconds went."""
    spent: defaultdict[str, float] = defaultdict(float)

    def timed(label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*words: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*words, **named)
            finally:
                spent[label] += time.perf_counter() - began

        return call

    def imported(label: str, module: str) -> None:
        timed(f"import {label}", __import__)(module)

    imported("the command line", "console.cli")
    for module in ("torch", "numba", "models.weights", "rasterio", "geopandas", "odc.geo"):
        imported(module, module)
    imported("the rest", "flows.map_image")
    from console.cli import app
    from flows import map_image
    from models.ldmnet import LDMNet

    for name, function in vars(map_image).copy().items():
        module = getattr(function, "__module__", "")
        if callable(function) and not isinstance(function, type) and module.startswith(OURS):
            setattr(map_image, name, timed(module, function))
    LDMNet.forward = timed("the network, part of the above", LDMNet.forward)  # type: ignore[method-assign]
    with redirect_stdout(sys.stderr):
        timed("scarp map once imported", app)(
            ["map", str(tile), "-o", str(out)], standalone_mode=False
        )
    return {label: round(seconds, 3) for label, seconds in spent.items()}


if __name__ == "__main__":
    main()

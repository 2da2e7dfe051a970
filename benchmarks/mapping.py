"""The mapping engine: how much time and memory it adds to the network, and what it gives.

    python benchmarks/mapping.py --data ../shared/data/hokkaido2018      # about ten minutes
    python benchmarks/mapping.py --data … --peers /path/to/another/python  # beside tiler
    python benchmarks/mapping.py --data … --quick       # small scenes, to see that it runs

A scene of 8192 × 8192 px, uint8, of real imagery repeated, about a tenth of it nodata, goes through
a small network, so that the engine and not the network is measured: windows of 512 px, stride 448,
batches of 4. The floor is the same number of forward passes and nothing else. Every figure comes
from a process of its own, floor and engine in turns; memory is the process's VmHWM. Then LDM-Net on
the Hokkaido scene. Writes benchmarks/results/mapping.json. Of the other tilers only `tiler` is
measured: torchgeo 0.8.1 and pytorch-toolbelt 0.8.0 cannot be imported without torchvision.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import record
import torch
from rasterio.transform import from_origin
from rasterio.windows import Window
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.cards import Card  # noqa: E402
from tasks.mapping.segment import segment_scene, threshold_level  # noqa: E402
from tasks.mapping.source import open_source  # noqa: E402
from tasks.mapping.windows import WindowPlan  # noqa: E402
from tasks.publish.products import quantise  # noqa: E402

THREADS = 2
PLAN = WindowPlan(512, 64, batch=4)
HALO_PX = 64
CARD = Card(
    name="small",
    architecture="none",
    options={},
    bands=("red", "green", "blue"),
    gsd_range_m=(1.0, 10.0),
    training_data="none",
    licence="none",
    regions=(),
)


class Small(nn.Module):
    """Three convolutions of 3 × 3, which see 3 pixels far; weights from a fixed seed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(16, 1, 3, padding=1),
        )
        self.batches: list[int] = []

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        """Logits, spread over the range of scores."""
        self.batches.append(len(x))
        logits: Tensor = 10 * self.net(x)
        return logits


def make_scene(path: Path, side: int, picture: Path) -> None:
    """Repeat a picture, mirrored, over a square; a slanted collar and blocks are nodata."""
    with rasterio.open(picture) as source:
        tile = source.read()
    tile = np.concatenate([tile, tile[:, :, ::-1]], axis=2)
    tile = np.concatenate([tile, tile[:, ::-1]], axis=1)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32654", "transform": from_origin(5e5, 4.7e6, 3, 3), "tiled": True}
    profile |= {"blockxsize": 512, "blockysize": 512, "compress": "deflate", "zlevel": 1}
    profile |= {"predictor": 2, "interleave": "pixel", "photometric": "RGB"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile) as image,
    ):
        image.descriptions = CARD.bands
        for _, window in image.block_windows(1):
            rows, columns = (
                np.arange(start, start + length)
                for start, length in (
                    (window.row_off, window.height),
                    (window.col_off, window.width),
                )
            )
            pixels = tile[:, rows % tile.shape[1]][:, :, columns % tile.shape[2]]
            row, column = np.meshgrid(rows, columns, indexing="ij")
            unseen = column + row * 0.06 < side * 0.08
            unseen |= (
                ((row // 700 + column // 900) % 9 == 0) & (row % 700 < 450) & (column % 900 < 500)
            )
            image.write(np.where(unseen, 0, pixels).astype(np.uint8), window=window)
            image.write_mask(np.where(unseen, 0, 255).astype(np.uint8), window=window)


def engine(scene: str, score: str) -> dict[str, Any]:
    """The engine with the small network; returns the sizes of its batches too."""
    network = Small().eval()
    began = time.perf_counter()
    segment_scene(scene, network, CARD, Path(score), plan=PLAN)
    return {"seconds": time.perf_counter() - began, "batches": network.batches}


def floor(batches: list[int]) -> dict[str, Any]:
    """The same forward passes, and nothing else."""
    network = Small().eval()
    tiles = torch.randn(max(batches), 3, PLAN.size, PLAN.size)
    with torch.inference_mode():
        began = time.perf_counter()
        for batch in batches:
            torch.sigmoid(network(tiles[:batch]))
    return {"seconds": time.perf_counter() - began}


def halo(scene: str, score: str) -> dict[str, Any]:
    """Compare a score with windows whose outer pixels are thrown away, which leaves no seam."""
    network, level = Small().eval(), threshold_level(0.5)
    result = dict.fromkeys(("pixels", "positives", "on_nodata", "differing", "unlike_levels"), 0)
    step = PLAN.size - 2 * HALO_PX
    with open_source(scene, CARD) as source, rasterio.open(score) as made, torch.inference_mode():
        statistics = source.statistics()
        height, width = source.dataset.shape
        whole = Window(0, 0, width, height)
        for row in range(0, height, step):
            for column in range(0, width, step):
                inner = Window(column, row, step, step).intersection(whole)
                outer = Window(column - HALO_PX, row - HALO_PX, PLAN.size, PLAN.size).intersection(
                    whole
                )
                pixels, seen = source.read(outer)
                x = CARD.normalisation.apply(pixels, statistics)
                exact = torch.sigmoid(network(torch.from_numpy(x * seen)[None]))[0, 0].numpy()
                top, left = inner.row_off - outer.row_off, inner.col_off - outer.col_off
                part = np.s_[top : top + inner.height, left : left + inner.width]
                levels = made.read(1, window=inner)
                wanted = quantise(np.where(seen, exact, np.nan)[part])
                result["pixels"] += levels.size
                result["positives"] += int((levels >= level).sum())
                result["on_nodata"] += int((levels[~seen[part]] > 0).sum())
                result["differing"] += int(((levels >= level) != (wanted >= level)).sum())
                result["unlike_levels"] += int((levels != wanted).sum())
    return result


def hokkaido(scene: str, folder: str, weights: str, size: int) -> dict[str, Any]:
    """LDM-Net on the Hokkaido scene."""
    from models.weights import load  # numba's 60 MB are LDM-Net's, not the engine's

    network, card = load(weights)
    plan = WindowPlan(size, size // 8)
    with rasterio.open(scene) as image:
        km2 = abs(image.transform.a * image.transform.e) * image.width * image.height / 1e6
    began = time.perf_counter()
    score = segment_scene(scene, network, card, Path(folder) / f"ldm-{size}.tif", plan=plan)
    seconds = time.perf_counter() - began
    with rasterio.open(score) as made:
        mapped = float((made.read(1) >= threshold_level(card.threshold)).mean() * km2)
    rate = km2 / seconds * 60
    return {"window_px": size, "seconds": seconds, "km2_per_minute": rate, "mapped_km2": mapped}


CHILDREN: dict[str, Callable[..., dict[str, Any] | None]] = {
    "make_scene": lambda path, side, picture: make_scene(Path(path), side, Path(picture)),
    "engine": engine,
    "floor": floor,
    "halo": halo,
    "hokkaido": hokkaido,
}


def peak_rss_mb() -> float:
    """VmHWM of this process in MB (10⁶ bytes)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def alone(name: str, *arguments: Any, python: str = sys.executable, script: str = __file__) -> Any:
    """Run one part in a process of its own; its answer with its peak memory."""
    command = [python, script, "--child", name, json.dumps(arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run_child(name: str, arguments: str, children: dict[str, Callable[..., Any]]) -> None:
    """Answer `alone`."""
    torch.set_num_threads(THREADS)
    answer = children[name](*json.loads(arguments)) or {}
    print(json.dumps(answer | {"peak_rss_mb": peak_rss_mb()}))


def measure_engine(folder: Path, picture: Path, side: int, rounds: int) -> dict[str, Any]:
    """Floor and engine in turns, the engine on four times the scene, and the score's faults."""
    scene, larger = (str(folder / f"scene{length}.tif") for length in (side, 2 * side))
    score = str(folder / "score.tif")
    for path, length in ((scene, side), (larger, 2 * side)):
        alone("make_scene", path, length, str(picture))
    runs, floors = [], []
    for _ in range(rounds):
        runs.append(alone("engine", scene, score))
        floors.append(alone("floor", runs[-1]["batches"]))
    faults = alone("halo", scene, score)
    large = alone("engine", larger, score)
    best, least = (min(run["seconds"] for run in taken) for taken in (runs, floors))
    peak = max(run["peak_rss_mb"] for run in runs)
    return {
        "side_px": side,
        "windows": sum(runs[0]["batches"]),
        "engine_seconds": [run["seconds"] for run in runs],
        "floor_seconds": [run["seconds"] for run in floors],
        "engine_over_floor": best / least,
        "engine_peak_rss_mb": peak,
        "floor_peak_rss_mb": max(run["peak_rss_mb"] for run in floors),
        "four_times_the_scene": {
            "side_px": 2 * side,
            "seconds": large["seconds"],
            "peak_rss_mb": large["peak_rss_mb"],
            "peak_rss_over_once": large["peak_rss_mb"] / peak,
        },
        "faults": {key: value for key, value in faults.items() if key != "peak_rss_mb"},
    }


def measure_peer(folder: Path, python: str, floor_seconds: float, side: int) -> dict[str, Any]:
    """Another tiler on the same scene with the same network, from another environment."""
    script = str(Path(__file__).with_name("mapping_peers.py"))
    found = alone("tiler", str(folder / f"scene{side}.tif"), python=python, script=script)
    return {**found, "seconds_over_floor": found["seconds"] / floor_seconds}


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of scene_rgb_3m.tif")
    parser.add_argument("--weights", default="ldm-net-tiny")
    parser.add_argument("--peers", help="a Python with tiler, rasterio and torch")
    parser.add_argument("--quick", action="store_true", help="small scenes, nothing written")
    parser.add_argument("--json", action="store_true", help="print nothing but the record")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_child(*options.child, CHILDREN)
        return
    picture = options.data / "scene_rgb_3m.tif"
    about = record.machine() | {"threads": THREADS, "torch": torch.__version__}
    side, rounds = (1024, 1) if options.quick else (8192, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        result = {
            "machine": about,
            "engine": measure_engine(folder, picture, side, rounds),
            "hokkaido": [
                alone("hokkaido", str(picture), name, options.weights, size)
                for size in ((256,) if options.quick else (256, 512, 1024))
            ],
            "weights": options.weights,
        }
        if options.peers:
            least = min(result["engine"]["floor_seconds"])
            result["tiler"] = measure_peer(folder, options.peers, least, side)
    print(json.dumps(result, indent=2))
    if not options.quick:
        written = record.write("mapping", result)
        if not options.json:
            print("written to", written)


if __name__ == "__main__":
    main()

"""Weights on events they never saw, networks of one size side by side, and what a step costs.

    python benchmarks/learning.py --events --costs
    python benchmarks/learning.py --experiment /tmp/networks/networks.json

An experiment is the table of `scarp experiment`; docs/accuracy.md has the commands. Every part
replaces its own part of benchmarks/results/learning.json and leaves the others.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numba
import numpy as np
import rasterio
import record
import torch
from numpy.typing import NDArray
from rasterio.features import geometry_window, rasterize
from shapely.geometry import box

from models.cards import DEFAULT, Card, available
from models.datasets import READERS
from models.folding import load_folded
from models.intervals import bootstrap
from models.metrics import Confusion, confusion
from models.objects import FOUND_OVERLAP
from models.profile import peak_memory_mb
from models.recipes import Recipe
from models.registry import build
from models.samples import Entry, Sample, tiles_of
from models.weights import load
from tasks.learning.evaluation import evaluate
from tasks.learning.experiments import networks
from tasks.learning.protocol import read_protocol
from tasks.learning.scenes import outlines, polygons_of, scenes
from tasks.learning.scoring import score_sample
from tasks.mapping.windows import WindowPlan

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
EXAMPLE = ROOT / "examples" / "emilia_romagna_2023"
# The first clear acquisition after the storm, which `scarp demo` maps.
AFTER = EXAMPLE / "scenes" / "2023-05-23"
ROUNDS = 8
BLOCK_PX = 128
LARGE_M2 = 2_000


def test_events(scratch: Path) -> dict[str, list[Entry]]:
    """The events and counties no weights may learn from, a scene as one tile."""
    return {
        "Hokkaido 2018": hokkaido(),
        "Emilia-Romagna 2023": _example(scratch),
        "Bijie, county hz": [e for e in READERS["bijie"](DATA / "bijie") if e.split == "test"],
    }


def hokkaido() -> list[Entry]:
    """The scene as one tile."""
    return scenes(DATA / "hokkaido2018", 8192, "hokkaido2018", "test", "us2000h8ty")


def _example(folder: Path) -> list[Entry]:
    """The bundled scene as one GeoTIFF beside its landslides."""
    bands = {"blue": "B02", "green": "B03", "red": "B04"}
    with rasterio.open(AFTER / "B04.tif") as one:
        profile = one.profile | {"count": len(bands), "nodata": 0}
    with rasterio.open(folder / "scene.tif", "w", **profile) as file:
        for number, (name, band) in enumerate(bands.items(), start=1):
            with rasterio.open(AFTER / f"{band}.tif") as source:
                file.write(source.read(1), number)
            file.set_band_description(number, name)
    shutil.copy(EXAMPLE / "landslides.gpkg", folder / "scene.gpkg")
    return scenes(folder, 8192, "emilia-romagna", "test")


def by_network(name: str, entries: Sequence[Entry]) -> dict[str, Any]:
    """Scores of weights at their own threshold; the interval is over blocks of ground."""
    network, card = load_folded(name)
    score = partial(
        score_sample, network=network, card=card, plan=WindowPlan(), device=torch.device("cpu")
    )
    blocks: list[Confusion] = []
    found_large: list[bool] = []

    def counted(sample: Sample) -> NDArray[np.float32]:
        scores = score(sample)
        for place in tiles_of(sample.mask.shape, BLOCK_PX):
            mapped, seen = scores[place] >= card.threshold, sample.valid[place]
            blocks.append(confusion(sample.mask[place] & seen, mapped, seen))
        found_large.extend(large_scars(sample, scores >= card.threshold))
        return scores

    tally = evaluate(entries, counted, card.threshold)
    found = tally.summary()
    names = [str(number) for number in range(len(blocks))]
    if not found_large:
        found_large = [
            body.covered >= FOUND_OVERLAP
            for tile in tally.tiles
            for body in tile.bodies.true
            if tile.gsd_m and body.size * tile.gsd_m**2 > LARGE_M2
        ]
    return {
        "digest": card.digest,
        "threshold": card.threshold,
        "regions_seen_in_training": list(card.regions),
        "sureness_where_judged": card.sureness,
        **{key: found[key] for key in ("micro", "macro", "pr_auc_micro", "sureness")},
        "interval_f1": bootstrap(blocks, [np.nan] * len(blocks), names)["micro"]["f1"],
        "large_true": len(found_large),
        "large_recall_overlap": statistics.mean(found_large) if found_large else None,
    }


def large_scars(sample: Sample, mapped: NDArray[np.bool_]) -> list[bool]:
    """Of each scar of over 2,000 m² drawn in a scene, whether three tenths of it are mapped.

    Scars touch, and deposits lie beside them, so that bodies of the mask are no scars. Empty where
    no layer of scars was drawn.
    """
    if sample.scene is None:
        return []
    image = Path(sample.name.partition("[")[0])
    drawn = outlines(polygons_of(image), image, (("scars",),)) or []
    found = []
    with rasterio.open(image) as file:
        pixel_m2, scene = abs(file.transform.a * file.transform.e), box(*file.bounds)
        for scar in drawn:
            if scar.area <= LARGE_M2 or not scar.intersects(scene):
                continue
            window = geometry_window(file, [scar])
            place, transform = window.toslices(), file.window_transform(window)
            inside = rasterize([scar], mapped[place].shape, transform=transform, dtype="uint8") > 0
            seen = inside & sample.valid[place]
            if seen.sum() * pixel_m2 > LARGE_M2:
                found.append(bool(mapped[place][seen].mean() >= FOUND_OVERLAP))
    return found


def by_threshold(
    value: Callable[[Sample], NDArray[Any]], entries: Sequence[Entry]
) -> dict[str, Any]:
    """The best that a threshold of one number a pixel reaches, chosen with the answer in hand."""
    samples = [entry.read() for entry in entries]
    values = [value(sample) for sample in samples]
    seen = np.concatenate([v[s.valid] for v, s in zip(values, samples, strict=True)])
    best = Confusion(0, 0, 0, 1)
    for threshold in np.unique(np.quantile(seen, np.linspace(0, 1, 101))):
        pooled = Confusion(0, 0, 0, 0)
        for sample, v in zip(samples, values, strict=True):
            pooled += confusion(sample.mask & sample.valid, v >= threshold, sample.valid)
        best = max(best, pooled, key=lambda c: np.nan_to_num(c.f1))
    return {"micro": {n: getattr(best, n) for n in ("precision", "recall", "f1", "iou")}}


def brightness(sample: Sample) -> NDArray[Any]:
    """Mean of red, green and blue."""
    return np.asarray(sample.pick(("red", "green", "blue"), "brightness").astype(float).mean(0))


def red_minus_green(sample: Sample) -> NDArray[Any]:
    """Red minus green, in the file's own numbers."""
    red, green = sample.pick(("red", "green"), "red minus green").astype(float)
    return np.asarray(red - green)


def events(names: Sequence[str]) -> dict[str, Any]:
    """Every weights beside thresholds tuned on the very event."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for event, entries in test_events(Path(scratch)).items():
            rows = {name: by_network(name, entries) for name in names}
            rows["brightness, tuned here"] = by_threshold(brightness, entries)
            rows["red minus green, tuned here"] = by_threshold(red_minus_green, entries)
            found[event] = rows
            for name, row in rows.items():
                print(f"{event}: {name}: F1 {row['micro']['f1']:.3f}", flush=True)
    return found


def costs(size: int, batch: int) -> dict[str, Any]:
    """Processor seconds of a training step in turns, and what it adds to memory, each alone.

    On one thread, so that other work on the machine counts for nothing.
    """
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    arms = networks(read_protocol("compact"), [])
    built = {arm.name: build(arm.protocol.network, 3, **arm.protocol.options) for arm in arms}
    steps = {name: _stepper(network, size, batch) for name, network in built.items()}
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS + 1):
        for name, step in steps.items():
            began = time.process_time()
            step()
            taken[name].append(time.process_time() - began)
    seconds = {name: statistics.median(each[1:]) for name, each in taken.items()}
    memory = {}
    for arm in arms:
        chosen = (arm.protocol.network, dict(arm.protocol.options), size, batch)
        memory[arm.name] = alone(_memory_mb, *chosen)
    return {
        "size": size,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "parameters": {n: sum(p.numel() for p in net.parameters()) for n, net in built.items()},
        "step_processor_seconds": seconds,
        "step_over_unet": seconds["G_FFN"] / seconds["unet"],
        "step_memory_mb": memory,
        "memory_over_unet": memory["G_FFN"] / memory["unet"],
        "km2_a_minute_of_one_core": speeds(),
    }


def speeds() -> dict[str, float]:
    """Ground that each of the weights scores in a minute of processor time.

    Beside them the default as it was trained, nothing folded, and the paper's network at full
    size, untrained, to tell the machine from the networks.
    """
    compared = {name: load_folded(name) for name in available()}
    whole, card = load(DEFAULT)
    compared[f"{DEFAULT}, not folded"] = whole, card
    compared["ldm-net at full size"] = build("ldm-net").eval(), card
    return {name: km2_a_minute(*one) for name, one in compared.items()}


def km2_a_minute(network: torch.nn.Module, card: Card) -> float:
    """Ground scored in a minute of processor time: Hokkaido, network and windows."""
    sample = hokkaido()[0].read()
    seconds = []
    for _ in range(2):  # the first also compiles
        began = time.process_time()
        score_sample(sample, network, card, WindowPlan(), torch.device("cpu"))
        seconds.append(time.process_time() - began)
    return sample.valid.size * (sample.gsd_m or 0) ** 2 / 1e6 / seconds[-1] * 60


def alone(measure: Callable[..., Any], *given: Any) -> Any:
    """What `measure` gives in a process of its own, which inherits neither memory nor threads."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(measure, *given).result()


def _stepper(network: torch.nn.Module, size: int, batch: int) -> Callable[[], None]:
    recipe = Recipe()
    optimiser = torch.optim.AdamW(network.train().parameters())
    x, truth = torch.randn(batch, 3, size, size), torch.rand(batch, 1, size, size) > 0.9

    def step() -> None:
        optimiser.zero_grad()
        recipe.loss(network(x), truth, None).backward()
        optimiser.step()

    return step


def _memory_mb(name: str, options: dict[str, Any], size: int, batch: int) -> float:
    """What a step needs beside what the process held; a step of small tiles has loaded the code."""
    network = build(name, 3, **options)
    _stepper(network, 32, 1)()
    return peak_memory_mb(_stepper(network, size, batch), torch.device("cpu")) or 0.0


def experiment(path: Path) -> tuple[str, dict[str, Any]]:
    """The table of an experiment and what it is called: also by the weights it goes on from."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    return " from ".join(filter(None, (f"experiment {raw['experiment']}", raw["start"]))), raw


def main() -> None:
    """Measure what was asked for, and write it beside what was measured before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", type=Path, action="append", default=[])
    parser.add_argument("--events", action="store_true", help="weights on the test events")
    parser.add_argument("--weights", action="append", default=[], help="further weights for that")
    parser.add_argument("--costs", action="store_true", help="time and memory of a step")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    path = record.RESULTS / "learning.json"
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {}
    if options.events:
        parts["events"] = partial(events, [*available(), *options.weights])
    if options.costs:
        parts["costs"] = partial(alone, costs, options.size, options.batch)
    for file in options.experiment:
        name, table = experiment(file)
        parts[name] = partial(dict, table)
    for name, measure in parts.items():
        result[name] = {"machine": record.machine(), **measure()}
    print("written to", record.write("learning", result))


if __name__ == "__main__":
    main()

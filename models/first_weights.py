"""Train the first weights: `python -m models.first_weights --data FOLDER --out FOLDER`.

An LDM-Net on Landslide4Sense as 8-bit RGB, beside two one-line mappers tuned on the same tiles.
Other data, networks and recipes are for `scarp train`.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.augmentation import NORMALISATION, standardise
from models.batches import Stack
from models.cards import Card
from models.datasets import REGIONS, Tiles, hold_out, landslide4sense
from models.ldmnet import LDMNet, ldmnet
from models.metrics import Confusion, confusion, macro
from models.normalisation import quantiles_of
from models.recipes import Recipe
from models.training import train
from models.weights import load, save

DEFAULT = Recipe()
_BATCH = 32
_log = logging.getLogger(__name__)


def scores(network: nn.Module, tiles: Tiles, magnify: int = 1) -> NDArray[Any]:
    """Landslide score of every pixel, float32 (n, h, w), at the tiles' own resolution.

    Each tile is normalised by its own statistics; with `magnify` the network sees it that many
    times enlarged and the scores are averaged back.
    """
    parts = []
    for first in range(0, len(tiles), _BATCH):
        x = _normalised(tiles.pixels[first : first + _BATCH])
        with torch.no_grad():
            if magnify > 1:
                x = F.interpolate(x, scale_factor=magnify, mode="bilinear", align_corners=False)
            score = torch.sigmoid(network(x))
        parts.append(F.avg_pool2d(score, magnify)[:, 0].numpy())
    return np.concatenate(parts)


def best_threshold(values: NDArray[Any], masks: NDArray[np.bool_], candidates: Any) -> float:
    """The candidate from which up `values` agree best with `masks`, by pooled F1."""
    return float(max(candidates, key=lambda t: confusion(masks, values >= t).f1))


def report(values: NDArray[Any], masks: NDArray[np.bool_], threshold: float) -> dict[str, Any]:
    """Pixel scores of `values >= threshold`, pooled over all tiles and as the mean over tiles."""
    each = [confusion(m, v >= threshold) for m, v in zip(masks, values, strict=True)]
    pooled = sum(each, Confusion(0, 0, 0, 0))
    mean = macro(each)
    names = ("precision", "recall", "f1", "iou")
    return {
        "threshold": round(threshold, 4),
        "pooled": {name: round(getattr(pooled, name), 4) for name in names},
        "image_mean": {name: round(getattr(mean, name), 4) for name in names},
    }


def tune(network: nn.Module, held: Tiles) -> tuple[int, float]:
    """The magnification, 1 or 2, and the threshold that score best on `held`."""
    options = []
    for magnify in (1, 2):
        values = scores(network, held, magnify)
        threshold = best_threshold(values, held.masks, np.arange(0.1, 0.9, 0.02))
        options.append((confusion(held.masks, values >= threshold).f1, magnify, threshold))
    _, magnify, threshold = max(options)
    return magnify, threshold


def compare(
    network: nn.Module, magnify: int, threshold: float, learnt: Tiles, test: Tiles
) -> dict[str, dict[str, Any]]:
    """Score the network on `test` beside two one-line mappers.

    The thresholds of brightness and of red minus green, in 8-bit grey levels, are chosen on
    `learnt`.
    """
    results = {"network": report(scores(network, test, magnify), test.masks, threshold)}
    for name, value in (("brightness", _brightness), ("red_minus_green", _red_minus_green)):
        t = best_threshold(value(learnt), learnt.masks, np.arange(0, 200, 2))
        results[name] = report(value(test), test.masks, t)
    return results


def _bands_first(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    x = standardise(_bands_first(pixels))
    return x.clamp(-NORMALISATION.clip, NORMALISATION.clip)


def _brightness(tiles: Tiles) -> NDArray[Any]:
    return np.asarray(tiles.pixels.mean(3, dtype=np.float32))


def _red_minus_green(tiles: Tiles) -> NDArray[Any]:
    return np.asarray(tiles.pixels[..., 0].astype(np.int16) - tiles.pixels[..., 1])


def fit(
    data: Path, out: Path, configuration: str = "tiny", recipe: Recipe = DEFAULT, start: str = ""
) -> Card:
    """Train on Landslide4Sense, score on its validation tiles, and write weights with their card.

    Args:
        data: folder of `train.npz` and `validation.npz`.
        out: folder for weights, card and the checkpoint from which a killed run goes on.
        configuration: of LDM-Net.
        recipe: how to train.
        start: weights to go on from, a name or a file; empty begins anew.

    Raises:
        ModelError: the data, the configuration, the checkpoint or the weights cannot be used.
    """
    learnt, held = hold_out(landslide4sense(data, "train"))
    test = landslide4sense(data, "validation")
    torch.manual_seed(recipe.seed)
    network = ldmnet(configuration, drop_path=0.05)
    name = f"ldm-net-{configuration}"
    history = asdict(recipe)
    if start:
        before, card = load(start)
        network.load_state_dict(before.state_dict())
        history["start"] = {"digest": card.digest, **card.recipe}
    out.mkdir(parents=True, exist_ok=True)
    train(network, Stack(learnt), recipe, out / f"{name}.checkpoint")
    magnify, threshold = tune(network, held)
    results = compare(network, magnify, threshold, learnt, test)
    card = _card(name, network, recipe, history, results, magnify)
    bands = standardise(_bands_first(learnt.pixels)).transpose(0, 1).flatten(1)
    quantiles = quantiles_of(bands.numpy())
    card = replace(card, normalisation=replace(NORMALISATION, quantiles=quantiles))
    card = save(network, card, out)
    _log.info("%s\n%s", card.digest, json.dumps(results, indent=2))
    return card


def main() -> None:
    """Train, score, and write weights with their card."""
    options = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe(epochs=options.epochs, jitter=options.jitter, seed=options.seed)
    fit(options.data, options.out, options.configuration, recipe, options.start)


def _card(
    name: str, network: LDMNet, recipe: Recipe, history: dict[str, Any], results: dict[str, Any],
    magnify: int,
) -> Card:  # fmt: skip
    return Card(
        name=name,
        architecture="ldm-net",
        options=network.description,
        bands=("red", "green", "blue"),
        gsd_range_m=(10.0 / recipe.scales[1], 10.0 / magnify),
        training_data="Landslide4Sense train (Ghorbanzadeh et al. 2022), Sentinel-2 RGB at 10 m",
        licence="Apache-2.0; trained on modified Copernicus Sentinel data",
        regions=tuple(REGIONS),
        threshold=results["network"]["threshold"],
        normalisation=NORMALISATION,
        scores={"landslide4sense-validation": results},
        recipe=history,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.first_weights", description=main.__doc__
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the L4S archives")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and card")
    parser.add_argument("--configuration", default="tiny", help="of LDM-Net (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=Recipe.epochs, help="default %(default)s")
    parser.add_argument("--jitter", type=float, default=Recipe.jitter, help="default %(default)s")
    parser.add_argument("--start", default="", help="weights to go on from, a name or a file")
    parser.add_argument("--seed", type=int, default=Recipe.seed, help="default %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()

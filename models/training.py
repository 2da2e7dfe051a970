"""Train an LDM-Net on labelled tiles: `python -m models.training --data FOLDER --out FOLDER`.

A plain loop, deterministic by seed on one machine. Its state is kept after every epoch, so that a
run that was killed goes on where it stood and ends with the same weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from models.cards import Card, Normalisation
from models.datasets import REGIONS, Tiles, hold_out, landslide4sense
from models.errors import ModelError
from models.ldmnet import LDMNet, ldmnet
from models.losses import bce, lovasz
from models.metrics import Confusion, confusion, macro
from models.weights import load, save

NORMALISATION = Normalisation()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How to train: AdamW under a warmed-up cosine, on randomly changed tiles.

    Attributes:
        epochs: passes over the tiles.
        batch: tiles a step.
        crop: side of the square cut from each tile, in pixels after magnification.
        rate: highest learning rate.
        decay: weight decay.
        lovasz_share: weight of the Lovász loss beside the paper's cross-entropy; it moves the best
            threshold of rare landslides to where users expect it, near 0.5.
        scales: range of the magnification of tiles; their pixel size is divided by it.
        share: largest share of landslides in the imagined scene whose statistics normalise a tile;
            after an earthquake they may cover a quarter of a scene, and dull its contrast.
        jitter: strength of the changes in colour; 0 leaves only the tile's own normalisation.
        native: share of tiles kept at their own scale, the only ones with true fine detail.
        seed: of everything random.
    """

    epochs: int = 16
    batch: int = 16
    crop: int = 96
    rate: float = 1.5e-3
    decay: float = 0.05
    lovasz_share: float = 0.5
    scales: tuple[float, float] = (1.0, 2.5)
    share: float = 0.4
    jitter: float = 1.0
    native: float = 0.3
    seed: int = 0


DEFAULT = Recipe()


def train(network: nn.Module, tiles: Tiles, recipe: Recipe, checkpoint: Path) -> nn.Module:
    """Fit `network` in place, going on from `checkpoint` if there is one.

    Args:
        network: tiles (n, bands, h, w) and validity in, logits out.
        tiles: to learn from.
        recipe: how.
        checkpoint: file that holds the state after the last whole epoch.

    Returns:
        The network, in eval mode.

    Raises:
        ModelError: the checkpoint is of another recipe, or the tiles do not fill a batch.
    """
    if len(tiles) < recipe.batch:
        raise ModelError(f"{len(tiles)} tiles do not fill a batch of {recipe.batch}; lower it")
    optimiser = torch.optim.AdamW(_groups(network, recipe.decay), lr=recipe.rate)
    steps = recipe.epochs * (len(tiles) // recipe.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _pace(step, steps))
    start = _resume(checkpoint, recipe, network, optimiser, schedule)
    for epoch in range(start, recipe.epochs):
        began = time.monotonic()
        loss = _epoch(network, tiles, recipe, epoch, optimiser, schedule)
        state = {
            "recipe": repr(recipe),
            "epoch": epoch + 1,
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
        }
        _write(checkpoint, state)
        seconds = time.monotonic() - began
        _log.info("epoch %d of %d: loss %.4f, %.0f s", epoch + 1, recipe.epochs, loss, seconds)
    return network.eval()


def scores(network: nn.Module, tiles: Tiles, magnify: int = 1, batch: int = 32) -> NDArray[Any]:
    """Landslide score of every pixel, float32 (n, h, w), at the tiles' own resolution.

    Each tile is normalised by its own statistics; with `magnify` the network sees it that many
    times enlarged and the scores are averaged back.
    """
    parts = []
    for first in range(0, len(tiles), batch):
        x = _normalised(tiles.pixels[first : first + batch])
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


def augment(
    pixels: NDArray[np.uint8], masks: NDArray[np.bool_], recipe: Recipe, dice: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Randomly turn, flip, magnify, recolour, blur and roughen a batch of tiles.

    Args:
        pixels: uint8 (n, h, w, bands).
        masks: bool (n, h, w).
        recipe: its crop, scales and jitter.
        dice: source of every random number.

    Returns:
        Normalised pixels float32 (n, bands, crop, crop) and truth bool (n, 1, crop, crop).
    """
    n, bands = len(pixels), pixels.shape[3]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=dice)

    gamma = torch.exp(0.25 * recipe.jitter * normal(n, 1, 1, 1))
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255.0) ** gamma
    truth = torch.from_numpy(masks)[:, None].float()
    x = _standardise_as_in_a_scene(x, truth, recipe, dice)
    x = x * torch.exp(recipe.jitter * (0.25 * normal(n, 1, 1, 1) + 0.1 * normal(n, bands, 1, 1)))
    x = x + recipe.jitter * (0.25 * normal(n, 1, 1, 1) + 0.1 * normal(n, bands, 1, 1))
    frame = [n, bands, recipe.crop, recipe.crop]
    grid = F.affine_grid(_placements(n, recipe, x.shape[2], dice), frame, align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    truth = F.grid_sample(truth, grid, align_corners=False) > 0.5
    blurred = torch.rand(n, 1, 1, 1, generator=dice) < 0.25
    x = torch.where(blurred, _blur(x), x)
    x = x + 0.15 * torch.rand(n, 1, 1, 1, generator=dice) ** 2 * normal(*x.shape)
    return x.clamp(-NORMALISATION.clip, NORMALISATION.clip), truth


def _placements(n: int, recipe: Recipe, side: int, dice: torch.Generator) -> Tensor:
    """Affine maps (n, 2, 3) from crop to tile: a quarter turn, a flip, a scale and a place."""
    low, high = (math.log(s) for s in recipe.scales)
    uniform = torch.rand(5, n, generator=dice)
    scale = torch.exp(low + (high - low) * uniform[0])
    scale = torch.where(uniform[1] < recipe.native, torch.ones(n), scale)
    turn = (uniform[2] * 4).floor() * (math.pi / 2)
    flip = torch.where(uniform[3] < 0.5, 1.0, -1.0)
    cos, sin = turn.cos().round(), turn.sin().round()
    extent = (recipe.crop / side / scale).view(n, 1, 1)
    linear = torch.stack([cos * flip, -sin, sin * flip, cos], -1).view(n, 2, 2) * extent
    place = (1 - extent) * (2 * torch.rand(n, 2, 1, generator=dice) - 1)
    return torch.cat([linear, place], 2)


def _epoch(
    network: nn.Module, tiles: Tiles, recipe: Recipe, epoch: int,
    optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:  # fmt: skip
    """One pass over the tiles; its random numbers follow from seed and epoch alone."""
    torch.manual_seed(recipe.seed * 100_003 + epoch)
    dice = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    shuffled = torch.randperm(len(tiles), generator=dice).numpy()
    batches = shuffled[: len(tiles) // recipe.batch * recipe.batch].reshape(-1, recipe.batch)
    network.train()
    losses = 0.0
    for chosen in batches:
        x, truth = augment(tiles.pixels[chosen], tiles.masks[chosen], recipe, dice)
        logits = network(x)
        loss = bce(logits, truth) + recipe.lovasz_share * lovasz(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses += loss.item()
    return losses / len(batches)


def _groups(network: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms, A and D do not (as in Mamba)."""
    named = list(network.named_parameters())
    still = {name for name, p in named if p.ndim < 2 or name.endswith(("a_log", ".d", "dt_bias"))}
    return [
        {"params": [p for name, p in named if name not in still], "weight_decay": decay},
        {"params": [p for name, p in named if name in still], "weight_decay": 0.0},
    ]


def _pace(step: int, steps: int) -> float:
    """Learning rate as a share of the highest: 3 % of the steps up, then a half cosine down."""
    warm = max(1, round(0.03 * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _resume(
    checkpoint: Path, recipe: Recipe, network: nn.Module,
    optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler,
) -> int:  # fmt: skip
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    if state["recipe"] != repr(recipe):
        raise ModelError(f"{checkpoint}: was made by another recipe, {state['recipe']}; remove it")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    return int(state["epoch"])


def _write(path: Path, state: dict[str, Any]) -> None:
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    x = _standardise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    return x.clamp(-NORMALISATION.clip, NORMALISATION.clip)


def _standardise(x: Tensor) -> Tensor:
    """Zero mean and unit deviation in each band of each tile (n, bands, h, w)."""
    std, mean = torch.std_mean(x, (2, 3), keepdim=True, correction=0)
    return (x - mean) / std.clamp_min(1e-6)


def _standardise_as_in_a_scene(
    x: Tensor, truth: Tensor, recipe: Recipe, dice: torch.Generator
) -> Tensor:
    """Standardise tiles (n, bands, h, w) by the statistics of a scene with more or less landslides.

    Half of the tiles keep their own share of landslides, the others get one between 0 and
    `recipe.share`. Mean and variance are those of a mixture of the tile's two kinds of ground.
    """
    n = len(x)

    def moments(weight: Tensor) -> tuple[Tensor, Tensor]:
        count = weight.sum((2, 3), keepdim=True).clamp_min(1)
        mean = (x * weight).sum((2, 3), keepdim=True) / count
        return mean, ((x - mean).square() * weight).sum((2, 3), keepdim=True) / count

    own = truth.mean((2, 3), keepdim=True)
    uniform = torch.rand(2, n, 1, 1, 1, generator=dice)
    share = torch.where((uniform[0] < 0.5) | (own == 0), own, recipe.share * uniform[1])
    (bare, bare_variance), (stable, stable_variance) = moments(truth), moments(1 - truth)
    mean = share * bare + (1 - share) * stable
    within = share * bare_variance + (1 - share) * stable_variance
    variance = within + share * (1 - share) * (bare - stable).square()
    return (x - mean) / variance.sqrt().clamp_min(1e-6)


def _blur(x: Tensor) -> Tensor:
    """A 3×3 binomial filter; every band by itself."""
    kernel = torch.tensor([1.0, 2.0, 1.0])
    weight = (kernel[:, None] * kernel / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, groups=x.shape[1])


def training_quantiles(
    pixels: NDArray[np.uint8], levels: int = 33
) -> tuple[tuple[float, ...], ...]:
    """Quantiles of each band of standardised tiles (n, h, w, bands), at even steps of 0-1."""
    x = _standardise(torch.from_numpy(pixels).permute(0, 3, 1, 2).float()).numpy()
    steps = np.linspace(0, 1, levels)
    bands = [np.quantile(x[:, band], steps) for band in range(x.shape[1])]
    return tuple(tuple(round(float(value), 4) for value in band) for band in bands)


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
    train(network, learnt, recipe, out / f"{name}.checkpoint")
    magnify, threshold = tune(network, held)
    results = compare(network, magnify, threshold, learnt, test)
    card = _card(name, network, recipe, history, results, magnify)
    quantiles = training_quantiles(learnt.pixels)
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
    parser = argparse.ArgumentParser(prog="python -m models.training", description=main.__doc__)
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

"""A labelled tile through a network: the same numbers that `scarp map` gives of the same ground."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from models.cards import Card
from models.errors import ModelError
from models.normalisation import Statistics
from models.samples import Sample, SceneStatistics
from tasks.mapping.scoring import mean_score, precision
from tasks.mapping.windows import WindowPlan, bands, blend_weights, window_starts

_SAME = 0.01


def score_sample(
    sample: Sample, network: torch.nn.Module, card: Card, plan: WindowPlan, device: torch.device
) -> NDArray[np.float32]:
    """Landslide score of every pixel of a tile, at the tile's own resolution.

    Where its pixel size is known and the network was not trained for it, the network looks at the
    tile resampled, as `scarp map` would; else at its native pixels.

    Args:
        sample: with the bands of the card among its own.
        network: on `device`, in eval mode.
        card: of the network.
        plan: windows of a tile larger than one; their views.
        device: where the network is.

    Returns:
        float32 (h, w) in 0-1; 0 where nobody looked.

    Raises:
        ModelError: a band is missing, pixels are too coarse, or scores are no numbers.
    """
    if sample.around is not None:
        whole = score_sample(sample.around, network, card, plan, device)
        return np.asarray(whole[sample.within] * sample.valid)
    pixels = sample.pick(card.bands, f"weights {card.name!r}")
    if not sample.valid.any():
        return np.zeros(sample.valid.shape, np.float32)
    seen, gsd = sample.valid, sample.gsd_m
    if gsd and (problem := card.too_coarse(gsd)):
        raise ModelError(f"{sample.name}: {problem}")
    factor = card.working_gsd_m(gsd) / gsd if gsd else 1.0
    score: NDArray[np.float32]
    if abs(factor - 1) < _SAME:
        score = _score(_normalised(pixels, seen, sample.scene, card), seen, network, plan, device)
        return _finite(score, sample, card)
    shape = [max(1, round(side / factor)) for side in seen.shape]
    weight = _resized(seen[None].astype(np.float32), shape)[0]
    looked = weight > 0.5
    filled = _resized(np.where(seen, pixels, 0).astype(np.float32), shape)
    coarse = filled / np.where(looked, weight, 1)
    x = _normalised(coarse, looked, sample.scene, card)
    score = _finite(_score(x, looked, network, plan, device), sample, card)
    return np.asarray(_resized(score[None], list(seen.shape))[0].clip(0, 1) * seen)


def _finite(score: NDArray[np.float32], sample: Sample, card: Card) -> NDArray[np.float32]:
    """The score, if it is one: of weights grown too large, though finite, come NaN."""
    if not np.isfinite(score).all():
        raise ModelError(
            f"{sample.name}: the scores of weights {card.name!r} are no numbers: their training "
            "diverged; train them at a lower rate, or take others"
        )
    return score


def normalised(sample: Sample, card: Card) -> NDArray[np.float32]:
    """A tile at its own resolution as the network saw tiles in training.

    Returns:
        float32 (bands, h, w), bands as the card has them, 0 where nobody looked.

    Raises:
        ModelError: a band is missing.
    """
    pixels = sample.pick(card.bands, f"weights {card.name!r}")
    return _normalised(pixels, sample.valid, sample.scene, card)


def by_scene(sample: Sample, card: Card) -> NDArray[np.float32] | None:
    """`normalised` for a tile that was cut from a scene; None for others."""
    return None if sample.scene is None else normalised(sample, card)


def _normalised(
    pixels: NDArray[Any], seen: NDArray[np.bool_], scene: SceneStatistics | None, card: Card
) -> NDArray[np.float32]:
    """By the statistics of the scene, or of the tile itself where it was cut from none."""
    if scene is not None:
        statistics = scene(card.bands, card.gsd_range_m)
    elif seen.any():
        statistics = Statistics.of(pixels[:, seen])
    else:
        return np.zeros(pixels.shape, np.float32)
    return card.normalisation.apply(pixels, statistics) * seen


def _resized(x: NDArray[np.float32], shape: list[int]) -> NDArray[np.float32]:
    tensor = torch.from_numpy(np.ascontiguousarray(x))[None]
    answer = interpolate(tensor, size=shape, mode="bilinear", align_corners=False, antialias=True)
    return np.asarray(answer[0].numpy())


def _score(
    x: NDArray[np.float32], seen: NDArray[np.bool_], network: torch.nn.Module, plan: WindowPlan,
    device: torch.device,
) -> NDArray[np.float32]:  # fmt: skip
    height, width = seen.shape
    total, weight = np.zeros((2, height, width), np.float32)
    for band in bands(height, plan):
        down = blend_weights(band.start, height, plan)
        for column in window_starts(width, plan):
            place = slice(band.start, band.stop), slice(column, column + min(plan.size, width))
            if not seen[place].any():
                continue
            share = np.outer(down, blend_weights(column, width, plan))
            total[place] += share * _window(x[:, *place], seen[place], network, plan, device)
            weight[place] += share
    return np.asarray(np.divide(total, weight, out=np.zeros_like(total), where=weight > 0) * seen)


def _window(
    x: NDArray[np.float32], seen: NDArray[np.bool_], network: torch.nn.Module, plan: WindowPlan,
    device: torch.device,
) -> NDArray[np.float32]:  # fmt: skip
    with torch.inference_mode(), precision(device):
        pixels = torch.from_numpy(np.ascontiguousarray(x))[None].to(device)
        valid = torch.from_numpy(np.ascontiguousarray(seen))[None, None].to(device)
        return np.asarray(mean_score(network, pixels, valid, plan.views)[0].cpu().numpy())

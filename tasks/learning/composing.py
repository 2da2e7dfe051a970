"""Scenes composed of validation tiles, to choose a threshold by as the map of a scene would."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from models.batches import Cuts, levels_of
from models.recipes import Recipe
from models.samples import Entry, Sample

_SIDE_PX, _GSD_M = 384, 3.0
_RECIPE = Recipe(crop=_SIDE_PX, gsd_m=(_GSD_M, _GSD_M), composed=1.0, scales=(1.0, 1.0))


def composed_scenes(
    entries: Sequence[Entry], bands: Sequence[str], count: int, seed: int = 0
) -> list[Entry]:
    """`count` scenes of each dataset whose tiles are smaller than one, composed of those tiles.

    A tile that shows a landslide and little else is normalised by it, and no scene is: the best
    threshold of tiles alone is too high for maps.

    Args:
        entries: tiles held out of training.
        bands: of the scenes.
        count: of scenes.
        seed: of what they are composed of.

    Returns:
        Entries of a dataset of its own, `<source>, composed`: (bands, 384, 384) at pixels of about
        3 m, float32, bright from 0 to about 1.

    Raises:
        ModelError: a tile cannot be read; it is named.
    """
    small: defaultdict[tuple[str, float], list[Entry]] = defaultdict(list)
    for entry in entries if count else ():
        sample = entry.read()
        side_m = max(sample.mask.shape) * (sample.gsd_m or math.inf)
        if sample.scene is None and side_m < _SIDE_PX * _GSD_M:
            small[entry.source, sample.gsd_m or 0.0].append(entry)
    return [
        Entry(scene.name, partial(replace, scene), "", scene.source, "validation")
        for (source, gsd_m), tiles in small.items()
        for scene in _composed(tiles, bands, count, f"{source}, composed", gsd_m, seed)
    ]


def _composed(
    tiles: Sequence[Entry], bands: Sequence[str], count: int, name: str, gsd_m: float, seed: int
) -> list[Sample]:
    pixel_m = gsd_m * 2.0 ** levels_of(gsd_m, (_GSD_M, _GSD_M))[0]
    cuts, dice = Cuts(tiles, bands), torch.Generator().manual_seed(seed)
    scenes = []
    for number in range(count):
        chosen = torch.randint(len(tiles), (1,), generator=dice).numpy()
        pixels, truth, valid, _ = cuts.draw(chosen, _RECIPE, dice)
        layers = pixels[0].numpy(), truth[0, 0].numpy(), valid[0, 0].numpy()
        scenes.append(
            Sample(f"{name} {number}", *layers, tuple(bands), pixel_m, "", name, "validation")
        )
    return scenes

"""What `--normalise training` is worth: Landslide4Sense validation tiles as they are, and bent.

    python benchmarks/normalise.py [--data ../shared/data/l4s_rgb]

Each tile is a GeoTIFF whose histogram is matched to the shipped weights' training pixels, or not,
before the network reads it; the tiles come as they are, and as a camera of another gamma would give
them. Pooled pixel F1 at the weights' own threshold. Writes results/normalise.json.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from record import machine, write

sys.path.insert(0, str(Path(__file__).parents[1]))

from models.datasets import landslide4sense
from models.first_weights import report
from models.weights import load
from tasks.imagery.normalise import like_training

BANDS = ("red", "green", "blue")
GAMMAS = (1.0, 0.5, 2.0)


def main() -> None:
    """Score every tile in every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/l4s_rgb"))
    tiles = landslide4sense(parser.parse_args().data, "validation")
    network, card = load("ldm-net-tiny")
    result: dict[str, Any] = {"machine": machine(), "tiles": len(tiles), "f1": {}}
    for gamma in GAMMAS:
        pixels = 255 * (tiles.pixels / 255) ** gamma
        for how in ("none", "training"):
            ready = [_matched(tile, card) if how == "training" else tile for tile in pixels]
            values = _scores(network, np.stack(ready), card.normalisation.clip)
            f1 = report(values, tiles.masks, card.threshold)["pooled"]["f1"]
            result["f1"][f"gamma {gamma:g}, normalise {how}"] = f1
            print(f"gamma {gamma:g}, --normalise {how}: pooled F1 {f1:.3f}")
    print(write("normalise", result))


def _matched(tile: NDArray[Any], card: Any) -> NDArray[np.float32]:
    rows, cols, count = tile.shape
    profile = {"driver": "GTiff", "count": count, "height": rows, "width": cols}
    grid = {"crs": "EPSG:32654", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.tif"
        with rasterio.open(path, "w", dtype="float32", **profile, **grid) as image:
            image.write(tile.transpose(2, 0, 1).astype(np.float32))
            image.descriptions = BANDS
        made = like_training(path, BANDS, card.normalisation.quantiles, path.with_name("made.tif"))
        with rasterio.open(made) as image:
            matched: NDArray[np.float32] = image.read().transpose(1, 2, 0)
    return matched


def _scores(network: torch.nn.Module, pixels: NDArray[Any], clip: float) -> NDArray[np.float32]:
    """Scores (n, h, w) of tiles (n, h, w, bands), each standardised by itself."""
    parts = []
    for first in range(0, len(pixels), 32):
        x = torch.from_numpy(pixels[first : first + 32]).permute(0, 3, 1, 2).float()
        std, mean = torch.std_mean(x, (2, 3), keepdim=True, correction=0)
        x = ((x - mean) / std.clamp_min(1e-6)).clamp(-clip, clip)
        with torch.no_grad():
            parts.append(torch.sigmoid(network(x))[:, 0].numpy())
    return np.concatenate(parts)


if __name__ == "__main__":
    main()

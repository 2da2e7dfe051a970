"""What `benchmarks/mapping.py` runs in an environment with other tilers; see there."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

sys.path.insert(0, str(Path(__file__).parent))

from mapping import PLAN, Small, run_child  # noqa: E402


def tiler(scene: str) -> dict[str, Any]:
    """Tiler and Merger of the `tiler` package, the scene in memory as they want it."""
    from tiler import Merger, Tiler

    network = Small().eval()
    began = time.perf_counter()
    with rasterio.open(scene) as image:
        pixels, seen = image.read().astype(np.float32), image.dataset_mask() > 0
    mean, std = (
        np.array([measure(band[seen]) for band in pixels], np.float32)[:, None, None]
        for measure in (np.mean, np.std)
    )
    pixels -= mean
    pixels /= std
    windows = Tiler(pixels.shape, (3, PLAN.size, PLAN.size), PLAN.overlap, 0, "reflect")
    scores = Tiler((1, *pixels.shape[1:]), (1, PLAN.size, PLAN.size), PLAN.overlap, 0, "reflect")
    merger = Merger(scores, window="overlap-tile")
    with torch.inference_mode():
        for number, batch in windows(pixels, batch_size=PLAN.batch):
            found = torch.sigmoid(network(torch.from_numpy(np.ascontiguousarray(batch))))
            merger.add_batch(number, PLAN.batch, found.numpy())
    score = merger.merge(unpad=True)[0]
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "positives_on_nodata": int((score[~seen] >= 0.5).sum())}


if __name__ == "__main__":
    run_child(sys.argv[2], sys.argv[3], {"tiler": tiler})

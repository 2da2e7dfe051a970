"""Run a network over an image in overlapping windows and write its score raster.

Memory holds a few windows and the rows that two rows of windows share, never the scene. A run that
was stopped, however it ended, is taken up after its last finished row of windows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from itertools import count
from pathlib import Path

import numpy as np
import rasterio
import torch
from rasterio.windows import Window

from models.cards import Card
from tasks.files import file_sha256
from tasks.mapping.blend import BandScores, join, no_carry
from tasks.mapping.kept import open_kept
from tasks.mapping.ledger import Ledger, open_ledger
from tasks.mapping.raw import Grid, grid_of, raw_view
from tasks.mapping.scoring import Job, score_bands
from tasks.mapping.source import open_source
from tasks.mapping.windows import Band, WindowPlan, bands, window_starts
from tasks.publish.products import SCORE_NODATA, write_cog

Progress = Callable[[int, int], None]
Scorer = Callable[[Job, torch.nn.Module, Sequence[Band], Callable[[], None]], Generator[BandScores]]

# Raised when a change of code changes what the same job gives, so that its rows are not mixed.
_METHOD_VERSION = 1


def segment_scene(
    image: str | Path,
    network: torch.nn.Module,
    card: Card,
    destination: Path,
    *,
    plan: WindowPlan = WindowPlan(),  # noqa: B008 - frozen
    tags: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    disagreement: Path | None = None,
    device: str = "cpu",
    scorer: Scorer = score_bands,
    kept: Path | None = None,
) -> Path:
    """Map landslides in `image` and write the score raster as a COG.

    The image is read at its own resolution if the network was trained for it, else resampled to the
    nearest end of the card's range; pixels its mask leaves out reach neither the network's
    statistics nor the output. Bands are normalised by the whole scene's statistics, so they do not
    depend on the windows; what a network makes of them may: one that sees its whole window, such as
    LDM-Net through its scans and its gate, answers a little differently for other windows.

    Args:
        image: a path, or anything else rasterio opens; see `tasks.mapping.source.open_source`.
        network: (n, bands, h, w) float32 and a (n, 1, h, w) validity mask in, logits out.
        card: the bands, normalisation and resolution the weights were trained with.
        destination: the COG to make: uint8, 0 = nodata, 1-255 = score 0-1 by scale and offset tags.
        plan: how the network is led over the scene.
        tags: provenance tags for the COG.
        progress: called with (windows done, windows in all).
        disagreement: a second COG to make, on the same grid and in the same encoding: the largest
            difference between scores that overlapping windows gave a pixel; nodata where only one
            did.
        device: where the network runs, as torch names it; on a GPU in half precision.
        scorer: scores rows of windows in order; `tasks.mapping.blocks.score_on_cluster` does it
            elsewhere, with the same result.
        kept: an earlier score of a part of what the image shows, made by this function: it stays
            as it is, and only windows that show something else are scored.

    Returns:
        `destination`.

    Raises:
        BadInputError: the device cannot be used.
        RasterError: a band is missing, or the image is geographic, rotated, truncated or all
            invalid.
        StorageError: `destination` cannot be written, or another process is writing it.
    """
    with open_source(image, card) as source:
        view, identity = source.dataset, source.identity()
        grid = grid_of(view)
        job = Job(
            source.image,
            card,
            source.statistics(),
            plan,
            device,
            disagreement is not None,
            str(kept.absolute()) if kept else None,
        )
    rasters = {"score": destination} | ({"disagreement": disagreement} if disagreement else {})
    configuration = {
        "method": _METHOD_VERSION,
        "weights": card.digest or _digest(network),
        "image": identity,
        "statistics": asdict(job.statistics),
        "plan": asdict(plan),
        "rasters": list(rasters),
        "device": device.partition(":")[0],
    } | ({"kept": file_sha256(kept)} if kept else {})
    with open_ledger(destination, tuple(rasters), grid.shape, configuration) as ledger:
        _score_rows(job, network, ledger, grid, progress, scorer)
        # The score last: where it is, all is done.
        for raw, (name, path) in reversed([*zip(ledger.files, rasters.items(), strict=True)]):
            with rasterio.Env(GDAL_VRT_RAWRASTERBAND_ALLOWED_SOURCE="ALL"):
                view = raw_view(raw, grid, f"landslide {name}")
                write_cog(view, path, tags=dict(tags or {}), overview_resampling="average")
    return destination


def threshold_level(threshold: float) -> int:
    """The smallest stored uint8 level whose score is at least `threshold` (0-1)."""
    return int(np.ceil(threshold * 254 - 1e-9)) + 1


def _score_rows(
    job: Job,
    network: torch.nn.Module,
    ledger: Ledger,
    grid: Grid,
    progress: Progress | None,
    scorer: Scorer,
) -> None:
    """Add every band to the ledger that is not in it yet."""
    shape = grid.shape
    rows, columns = bands(shape[0], job.plan), len(window_starts(shape[1], job.plan))
    done = count(ledger.bands * columns + 1)

    def each() -> None:
        if progress:
            progress(next(done), len(rows) * columns)

    left = rows[ledger.bands :]
    carry = no_carry(shape[1], job.disagreement) if ledger.carry is None else ledger.carry
    with closing(scorer(job, network, left, each)) as scored, open_kept(job.kept, grid) as kept:
        for band in left:
            # No name is given to the scores, which would outlive the making of the next ones.
            levels, carry = join(carry, next(scored), band)
            before = kept.levels(Window(0, band.start, shape[1], levels.shape[1]))
            np.copyto(levels[0], before, where=before != SCORE_NODATA)
            ledger.add(levels, band.start, carry)


def _digest(network: torch.nn.Module) -> str:
    """What tells weights without a card of their own from others."""
    found = sha256(repr(network).encode())
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return found.hexdigest()

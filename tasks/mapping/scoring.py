"""Rows of windows through a network: read ahead, scored and blended at the same time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window
from torch import Tensor

from models.cards import Card
from models.normalisation import Statistics
from tasks.errors import BadInputError
from tasks.mapping.ahead import ahead
from tasks.mapping.blend import BandScores, ScoredWindow, blend_row
from tasks.mapping.kept import open_kept
from tasks.mapping.memory import reuse_freed_memory
from tasks.mapping.raw import grid_of
from tasks.mapping.source import Normaliser, open_source
from tasks.mapping.windows import Band, WindowPlan, window_starts
from tasks.publish.products import SCORE_NODATA

# In batches: one is made while the one before is used; scores are small, and disks falter.
_READ_AHEAD = 1
_SCORED_AHEAD = 2


@dataclass(frozen=True)
class Job:
    """Everything but the network that decides what a row of windows gives; it can be sent away.

    Windows in which all that is seen was scored before, in the raster `kept`, are left out.
    """

    image: str
    card: Card
    statistics: Statistics
    plan: WindowPlan
    device: str
    disagreement: bool
    kept: str | None = None


@dataclass(frozen=True)
class _Batch:
    """Windows of one row: `pixels` (n, bands, rows, cols) and `seen` of those that show ground."""

    columns: list[int]
    shown: list[int]
    pixels: NDArray[np.float32]
    seen: NDArray[np.bool_]


def score_bands(
    job: Job,
    network: torch.nn.Module,
    bands: Sequence[Band],
    each: Callable[[], None] = lambda: None,
) -> Generator[BandScores]:
    """Score rows of windows of an image.

    One thread reads, one runs the network, and the caller's blends.

    Args:
        job: what to do.
        network: (n, bands, h, w) float32 and a (n, 1, h, w) validity mask in,
            logits out.
        bands: the rows wanted, from top to bottom.
        each: called after every window.

    Yields:
        The scores of each row, which depend on nothing but the job, the network and the row.

    Raises:
        BadInputError: the device cannot be used.
        RasterError: the image cannot be read.
    """
    with open_source(job.image, job.card) as source:
        width = source.dataset.width
    reuse_freed_memory()
    scored = ahead(_score(job, network, ahead(_read(job, bands), _READ_AHEAD)), _SCORED_AHEAD)
    windows = (window for batch in scored for window in batch)
    columns = len(window_starts(width, job.plan))
    for band in bands:
        row = _told(islice(windows, columns), each)
        yield blend_row(row, band, width, job.plan, job.disagreement)


def _told(windows: Iterable[ScoredWindow], each: Callable[[], None]) -> Iterator[ScoredWindow]:
    for window in windows:
        yield window
        each()


def _read(job: Job, bands: Sequence[Band]) -> Generator[_Batch]:
    with (
        open_source(job.image, job.card) as source,
        open_kept(job.kept, grid_of(source.dataset)) as kept,
    ):
        normalise = Normaliser(job.card, job.statistics, source.dataset.dtypes[0])
        height, width = (min(job.plan.size, side) for side in source.dataset.shape)
        # One is filled while another is scored: memory that is not given back and taken anew for
        # every batch neither grows nor has to be cleared.
        rooms = cycle(
            [
                np.empty((job.plan.batch, len(job.card.bands), height, width), np.float32)
                for _ in range(_READ_AHEAD + 1)
            ]
        )
        for band in bands:
            columns = iter(window_starts(source.dataset.width, job.plan))
            while some := list(islice(columns, job.plan.batch)):
                shape = (len(some), height, width)
                pixels = next(rooms)
                seen = np.empty(shape, bool)
                shown: list[int] = []
                for column in some:
                    window = Window(column, band.start, width, height)
                    stored, valid = source.read(window)
                    if (valid & (kept.levels(window) == SCORE_NODATA)).any():
                        normalise(stored, valid, pixels[len(shown)])
                        seen[len(shown)] = valid
                        shown.append(column)
                yield _Batch(some, shown, pixels[: len(shown)], seen[: len(shown)])


def _score(
    job: Job, network: torch.nn.Module, batches: Iterable[_Batch]
) -> Generator[list[ScoredWindow]]:
    device = device_of(job.device)
    network = network.to(device)
    with torch.inference_mode(), precision(device):
        for batch in batches:
            found = dict.fromkeys(batch.columns, (None, None))
            if batch.shown:
                pixels = torch.from_numpy(batch.pixels).to(device, non_blocking=True)
                seen = torch.from_numpy(batch.seen)[:, None].to(device, non_blocking=True)
                scores = mean_score(network, pixels, seen, job.plan.views).cpu().numpy()
                found |= dict(zip(batch.shown, zip(scores, batch.seen, strict=True), strict=True))
            yield [ScoredWindow(column, *found[column]) for column in batch.columns]


def device_of(name: str) -> torch.device:
    """A device by torch's name for it.

    Raises:
        BadInputError: torch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BadInputError(f"device {name!r} cannot be used here ({reason}); use cpu") from error
    return device


def mean_score(network: torch.nn.Module, pixels: Tensor, seen: Tensor, views: int) -> Tensor:
    """Score of a batch, float32 (n, h, w) in 0-1, averaged over views of it.

    Args:
        network: as `score_bands` takes it.
        pixels: (n, bands, h, w).
        seen: bool (n, 1, h, w).
        views: 1, 4 (flips) or 8 (flips, and each transposed).
    """
    total = torch.zeros_like(pixels[:, 0], dtype=torch.float32)
    for view in range(views):
        logits = network(_turned(pixels, view), _turned(seen, view))
        total += _turned_back(torch.sigmoid(logits.float()), view)[:, 0]
    return total / views


def _flips(view: int) -> list[int]:
    return [axis for axis, bit in ((-1, 1), (-2, 2)) if view & bit]


def _turned(x: Tensor, view: int) -> Tensor:
    x = x.flip(_flips(view)) if view & 3 else x
    return x.transpose(-1, -2).contiguous() if view & 4 else x


def _turned_back(x: Tensor, view: int) -> Tensor:
    x = x.transpose(-1, -2) if view & 4 else x
    return x.flip(_flips(view)) if view & 3 else x


def precision(device: torch.device) -> AbstractContextManager[object]:
    """Half precision where it is fast: bfloat16, or float16 on GPUs without it."""
    if device.type != "cuda":
        return nullcontext()
    kind = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.autocast("cuda", dtype=kind)

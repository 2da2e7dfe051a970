"""Scores of weights on labelled tiles, exactly as the papers define them, and what they leave out.

`macro` is LDM-Net's (Eq. 6-10): each score of each tile, averaged without weights over the tiles
whose truth holds a landslide. `micro` pools the pixels of all tiles. `pr_auc` is LDM-Net's Eq. 11,
macro-averaged. `miou` and `oa` are GDCLD's Eq. 5 and SCGC-Net's Eq. 25, pooled. Only valid pixels
count anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.boundaries import boundary_f1
from models.calibration import ScoreCounts, expected_calibration_error, sureness
from models.errors import ModelError
from models.intervals import LEVEL, RESAMPLES, bootstrap
from models.metrics import Confusion, confusion, macro, pr_auc
from models.objects import CLASSES_M2, CLASSES_PX, Bodies, match, object_scores
from models.samples import Entry, Footprint, Sample, group_of, some_of
from tasks.learning.leaks import overlapping

TOLERANCES_PX = (1, 2)
_SCORES = ("precision", "recall", "f1", "iou")


@dataclass(frozen=True)
class TileScore:
    """What one tile adds to the scores of all; the last two are sums over its scores."""

    entry: Entry
    pixels: Confusion
    pr_auc: float
    bodies: Bodies
    gsd_m: float | None
    footprint: Footprint | None
    boundary_f1: tuple[float, ...]
    score_total: float
    score_squares: float

    @property
    def record(self) -> dict[str, Any]:
        """The tile as a row of a table."""
        return {
            "name": self.entry.name,
            "source": self.entry.source,
            "event": self.entry.event,
            **{name: known(getattr(self.pixels, name)) for name in _SCORES},
            "pr_auc": known(self.pr_auc),
            "landslide_px": self.pixels.tp + self.pixels.fn,
            "mapped_px": self.pixels.tp + self.pixels.fp,
        }


@dataclass
class Tally:
    """Tiles scored so far; adds one at a time, so that no more than one is ever held."""

    threshold: float
    counts: ScoreCounts = field(default_factory=ScoreCounts)
    tiles: list[TileScore] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def add(self, entry: Entry, sample: Sample, score: NDArray[np.float32]) -> None:
        """Score one tile: its score is float32 (h, w) in 0-1. One nobody saw is but named."""
        if not sample.valid.any():
            self.unseen.append(entry.name)
            return
        mapped = (score >= self.threshold) & sample.valid
        truth = sample.mask & sample.valid
        known_score = score[sample.valid].astype(np.float64)
        self.counts.add(truth, score, sample.valid)
        self.tiles.append(
            TileScore(
                entry,
                confusion(truth, mapped, sample.valid),
                pr_auc(truth, score, sample.valid),
                match(truth, mapped),
                sample.gsd_m,
                sample.footprint,
                tuple(boundary_f1(truth, mapped, sample.valid, px) for px in TOLERANCES_PX),
                float(known_score.sum()),
                float(np.square(known_score).sum()),
            )
        )

    def summary(self) -> dict[str, Any]:
        """All scores as one JSON document; None where a score is undefined."""
        each = [tile.pixels for tile in self.tiles]
        aucs = [tile.pr_auc for tile in self.tiles]
        mean, pooled = macro(each, aucs), sum(each, Confusion(0, 0, 0, 0))
        groups = _groups(self.tiles)
        bins = self.counts.reliability()
        return {
            "macro": {name: known(getattr(mean, name)) for name in _SCORES},
            "micro": {name: known(getattr(pooled, name)) for name in _SCORES},
            "pr_auc": known(mean.pr_auc),
            "pr_auc_micro": known(self.counts.pr_auc()),
            "miou": known(pooled.mean_iou),
            "oa": known(pooled.accuracy),
            "n_tiles": len(each),
            "n_excluded": mean.images_without_landslide,
            "n_unseen": len(self.unseen),
            "unseen": self.unseen,
            "n_groups": len(set(groups)),
            "threshold": self.threshold,
            "intervals": {
                "level": LEVEL,
                "resamples": RESAMPLES,
                **bootstrap(each, aucs, groups),
            },
            "objects": self._objects(),
            "boundary_f1": {
                f"{px}px": known(_mean([tile.boundary_f1[i] for tile in self.tiles]))
                for i, px in enumerate(TOLERANCES_PX)
            },
            "calibration": {"ece": known(expected_calibration_error(bins)), "bins": bins},
            "sureness": sureness(
                sum(tile.score_total for tile in self.tiles),
                sum(tile.score_squares for tile in self.tiles),
            ),
            "area": _areas(pooled),
        }

    def ranked(self) -> list[TileScore]:
        """The tiles with landslides, best F1 first; of equals, the first read."""
        held = [tile for tile in self.tiles if tile.pixels.has_landslide]
        return sorted(held, key=lambda tile: -tile.pixels.f1)

    def _objects(self) -> dict[str, Any]:
        """By square metres where every tile's pixel size is known, else by pixels."""
        metric = all(tile.gsd_m for tile in self.tiles)
        sized = [
            tile.bodies.scaled(tile.gsd_m**2) if metric and tile.gsd_m else tile.bodies
            for tile in self.tiles
        ]
        classes = CLASSES_M2 if metric else CLASSES_PX
        return {"unit": "m2" if metric else "px", **object_scores(sized, classes)}


def evaluate(
    entries: Sequence[Entry],
    scores: Callable[[Sample], NDArray[np.float32]],
    threshold: float,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> Tally:
    """Score tiles one after the other.

    Args:
        entries: the tiles.
        scores: what says how likely each pixel is a landslide, float32 (h, w) in 0-1.
        threshold: the score from which a pixel is mapped.
        each: told how many of how many are done.

    Raises:
        ModelError: there are no tiles, nobody saw a pixel of any, or one cannot be used; it is
            named.
    """
    if not entries:
        raise ModelError("there are no tiles to score: the split or the folders are empty")
    tally = Tally(threshold)
    for done, entry in enumerate(entries, start=1):
        sample = entry.read()
        tally.add(entry, sample, scores(sample))
        each(done, len(entries))
    if not tally.tiles:
        raise ModelError(
            f"no pixel is valid of {some_of(tally.unseen)}, which are all tiles; see what images "
            "and masks declare as nodata"
        )
    return tally


def known(value: float | None) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if value is None or not isfinite(value) else float(value)


def _groups(tiles: Sequence[TileScore]) -> list[int]:
    """A number for each tile, the same for tiles of one group or on the same ground."""
    _, member = np.unique([group_of(tile.entry) for tile in tiles], return_inverse=True)
    placed = [(int(member[i]), tile.footprint) for i, tile in enumerate(tiles) if tile.footprint]
    pairs = overlapping([ground for _, ground in placed])
    links = np.array([(placed[a][0], placed[b][0]) for a, b in pairs], int).reshape(-1, 2)
    n = int(member.max(initial=-1)) + 1
    joined = coo_array((np.ones(len(links)), links.T), shape=(n, n))
    _, island = connected_components(joined, directed=False)
    return [int(island[one]) for one in member]


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if isfinite(value)]
    return float(np.mean(finite)) if finite else nan


def _areas(pooled: Confusion) -> dict[str, Any]:
    """Mapped against true area; a bias of 0.2 maps a fifth too much."""
    true, mapped = pooled.tp + pooled.fn, pooled.tp + pooled.fp
    return {
        "true_px": true,
        "mapped_px": mapped,
        "bias": mapped / true - 1 if true else None,
    }

"""How to train: everything that decides what comes out but the network and the tiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal

import torch
from torch import Tensor

from models.errors import ModelError
from models.losses import bce, dynamic_weighted_ce, focal, lovasz

LARGEST_PX = 4096
LOSSES = {"bce": bce, "dynamic_weighted_ce": dynamic_weighted_ce, "focal": focal, "lovasz": lovasz}


@dataclass(frozen=True)
class Recipe:
    """The defaults are those of the first weights, `ldm-net-tiny`.

    Attributes:
        epochs: passes over as many tiles as there are.
        batch: tiles a step.
        steps: of an epoch, whatever the number of tiles; 0 for as many as the tiles fill.
        accumulate: parts in which a step is computed, for less memory.
        crop: side of the square cut from each tile, in pixels after magnification.
        optimiser: adamw, adam or sgd.
        rate: highest learning rate.
        encoder_rate: rate of the network's encoder as a share of `rate`; less than 1 keeps what an
            encoder has learnt before.
        decay: weight decay, of matrices alone.
        momentum: of sgd.
        schedule: cosine (a half one down), exponential (times `gamma` every epoch) or constant.
        warmup: share of the steps in which the rate rises from 0.
        gamma: of the exponential schedule.
        clip: largest norm of the gradient; 0 for any.
        losses: weight of each term, of `LOSSES`; Lovász beside the paper's cross-entropy moves the
            best threshold of rare landslides to where users expect it, near 0.5.
        ema: decay of a moving average of the weights, which is what counts then; 0 for none.
        patience: epochs without a better score on validation until training stops, and the best
            weights are taken; 0 goes to the end and takes the last.
        balance: draw every source, such as a dataset or sensor, equally often.
        gsd_m: range of the pixel sizes in metres that tiles are brought to, by halves and doubles,
            and then by `scales`; each cut is filled up with further tiles of its source, so that it
            is normalised and seen as part of a scene. None leaves every tile as it is and alone.
        composed: share of the cuts, where `gsd_m` is set, that are scenes made of tiles without a
            seam, with landslides laid in. Tiles side by side teach a network to look for seams, and
            for landslides in the middle between them, of which a scene has none.
        scales: range of the magnification of tiles; their pixel size is divided by it.
        native: share of tiles kept at their own scale, the only ones with true fine detail.
        share: largest share of landslides in the imagined scene whose statistics normalise a tile;
            after an earthquake they may cover a quarter of a scene, and dull its contrast. 0 leaves
            every tile its own.
        jitter: strength of the changes in colour; 0 leaves them.
        contrast: strength of a contrast in colour laid between landslides and other ground, as a
            fresh scar has in a forest, in deviations of the tile, where the bands are three: red,
            green and blue; 0 adds none.
        fade: how far colours may be drawn towards grey, 0 to 1.
        flips: share of tiles mirrored.
        turns: whether tiles are turned by quarters.
        blur: share of tiles blurred.
        noise: most noise added, in standard deviations.
        teaching: share that the scores of the teachers, if there are any, have beside the labels in
            what cross-entropy is to learn, 0 to 1 (Hinton et al. 2015, with their temperature 1).
        seed: of everything random.
    """

    epochs: int = 16
    batch: int = 16
    steps: int = 0
    accumulate: int = 1
    crop: int = 96
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    rate: float = 1.5e-3
    encoder_rate: float = 1.0
    decay: float = 0.05
    momentum: float = 0.0
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    warmup: float = 0.03
    gamma: float = 0.99
    clip: float = 1.0
    losses: dict[str, float] = field(default_factory=lambda: {"bce": 1.0, "lovasz": 0.5})
    ema: float = 0.0
    patience: int = 0
    balance: bool = False
    gsd_m: tuple[float, float] | None = None
    composed: float = 0.0
    scales: tuple[float, float] = (1.0, 2.5)
    native: float = 0.3
    share: float = 0.4
    jitter: float = 1.0
    contrast: float = 0.0
    fade: float = 0.0
    flips: float = 0.5
    turns: bool = True
    blur: float = 0.25
    noise: float = 0.15
    teaching: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be followed.

        Raises:
            ModelError: a value is out of its range or names nothing; it is named, and the range.
        """
        known = bool(self.losses) and set(self.losses) <= set(LOSSES)
        of_gsd = self.gsd_m or (1.0, 1.0)
        share, positive, any_size = "0 to 1", "more than 0", "0 or more"
        allowed = {
            "epochs": (self.epochs >= 1, "1 or more"),
            "batch": (self.batch >= 1, "1 or more"),
            "steps": (self.steps >= 0, "1 or more, or 0 for as many as the tiles fill"),
            "accumulate": (1 <= self.accumulate <= self.batch, f"1 to batch = {self.batch}"),
            "crop": (1 <= self.crop <= LARGEST_PX, f"1 to {LARGEST_PX} pixels"),
            "rate": (0 < self.rate < inf, positive),
            "encoder_rate": (0 <= self.encoder_rate < inf, any_size),
            "decay": (0 <= self.decay < inf, any_size),
            "momentum": (0 <= self.momentum < 1, "0 to below 1"),
            "gamma": (0 < self.gamma < inf, positive),
            "warmup": (0 <= self.warmup <= 1, share),
            "clip": (0 <= self.clip < inf, any_size),
            "patience": (self.patience >= 0, any_size),
            "seed": (0 <= self.seed < 2**32, "0 to 2^32 - 1"),
            "native": (0 <= self.native <= 1, share),
            "share": (0 <= self.share <= 1, share),
            "jitter": (0 <= self.jitter < inf, any_size),
            "contrast": (0 <= self.contrast < inf, any_size),
            "flips": (0 <= self.flips <= 1, share),
            "blur": (0 <= self.blur <= 1, share),
            "noise": (0 <= self.noise < inf, any_size),
            "optimiser": (self.optimiser in ("adamw", "adam", "sgd"), "adamw, adam or sgd"),
            "schedule": (
                self.schedule in ("cosine", "exponential", "constant"),
                "cosine, exponential or constant",
            ),
            "scales": (
                0 < self.scales[0] <= self.scales[1] < inf
                and self.crop <= LARGEST_PX * self.scales[0],
                f"[least, most], both above 0, and crop / least at most {LARGEST_PX} pixels",
            ),
            "gsd_m": (0 < of_gsd[0] <= of_gsd[1] < inf, "[finest, coarsest] in metres, above 0"),
            "composed": (0 <= self.composed <= 1, share),
            "fade": (0 <= self.fade <= 1, share),
            "ema": (0 <= self.ema < 1, "0 to below 1"),
            "teaching": (0 <= self.teaching <= 1, share),
            "losses": (
                known
                and all(0 <= weight < inf for weight in self.losses.values())
                and any(self.losses.values()),
                f"weights of 0 or more, not all 0; there are {', '.join(LOSSES)}",
            ),
        }
        for name, (is_right, range_of) in allowed.items():
            if not is_right:
                raise ModelError(
                    f"{name} = {getattr(self, name)!r} makes no sense; give {range_of}"
                )

    @property
    def canvas_px(self) -> int:
        """Side of what is cut from a tile so that `crop` is filled at the least of `scales`."""
        return ceil(self.crop / min(self.scales[0], 1.0))

    def loss(
        self, logits: Tensor, truth: Tensor, valid: Tensor | None, taught: Tensor | None = None
    ) -> Tensor:
        """The weighted sum of the losses, a scalar; `taught` are teachers' scores, as the truth."""
        blend = truth if taught is None else torch.lerp(truth.to(taught), taught, self.teaching)
        terms = [
            weight * LOSSES[name](logits, blend if name == "bce" else truth, valid)
            for name, weight in self.losses.items()
        ]
        total: Tensor = sum(terms[1:], terms[0])
        return total

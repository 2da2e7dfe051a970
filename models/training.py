"""The one training loop: a plain one, deterministic by seed on one machine.

Its state is kept after every epoch, so that a run that was killed goes on where it stood and ends
with the same weights.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.augmentation import augment
from models.batches import TileSet, order_of
from models.errors import ModelError
from models.recipes import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Who is told how far training is, and who judges it; all may be left out.

    Attributes:
        judge: scores a network, in eval mode, on validation; higher is better.
        epoch: takes the history after every epoch, one record each: epoch, loss, rate, seconds,
            and the score if there is a judge.
        step: takes steps done and steps in all.
    """

    judge: Callable[[nn.Module], float] | None = None
    epoch: Callable[[list[dict[str, float]]], None] = lambda history: None
    step: Callable[[int, int], None] = lambda done, total: None


_CPU = torch.device("cpu")
_ALONE = Progress()


def train(
    network: nn.Module,
    tiles: TileSet,
    recipe: Recipe,
    checkpoint: Path,
    device: torch.device = _CPU,
    progress: Progress = _ALONE,
    teachers: Sequence[nn.Module] = (),
) -> nn.Module:
    """Fit `network` in place, going on from `checkpoint` if there is one.

    Args:
        network: tiles (n, bands, h, w) and validity in, logits out.
        tiles: to learn from.
        recipe: how.
        checkpoint: file that holds the state after the last whole epoch.
        device: where; on CUDA in bfloat16.
        progress: who is told, and who judges.
        teachers: networks whose mean score of each tile is learnt beside its labels.

    Returns:
        The network on the CPU in eval mode, with the weights that count by the recipe.

    Raises:
        ModelError: the checkpoint is of another recipe, the tiles do not fill a batch, the recipe
            wants patience and there is no judge, or the loss is no longer a number.
        OSError: the checkpoint cannot be written.
    """
    count = len(tiles.sources)
    if not recipe.steps and count < recipe.batch:
        raise ModelError(f"{count} tiles do not fill a batch of {recipe.batch}; lower it")
    if recipe.patience and progress.judge is None:
        raise ModelError("patience needs tiles to judge on; give some, or set patience = 0")
    network.to(device)
    each = recipe.steps or count // recipe.batch
    steps = recipe.epochs * each
    run = _Run.begin(network, recipe, steps)
    run.teachers = [teacher.to(device).eval() for teacher in teachers]
    if checkpoint.exists():
        run.resume(checkpoint)
        # It may have been killed between its last epoch and saying so.
        progress.epoch(run.history)
    while not run.ended:
        began = time.monotonic()
        before = run.done * each
        loss = run.epoch(tiles, device, partial(_tell, progress.step, before, steps))
        record = {"epoch": float(run.done), "loss": loss, "rate": run.rate}
        if progress.judge:
            record["score"] = progress.judge(run.counting.eval())
        run.keep(record | {"seconds": round(time.monotonic() - began, 3)})
        run.write(checkpoint)
        progress.epoch(run.history)
        _log.info("epoch %d of %d: %s", run.done, recipe.epochs, record)
    network.load_state_dict(run.best or run.weights())
    return network.to(_CPU).eval()


def _tell(step: Callable[[int, int], None], before: int, total: int, done: int) -> None:
    step(before + done, total)


@dataclass
class _Run:
    """A training under way: all that a checkpoint holds."""

    network: nn.Module
    recipe: Recipe
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    average: AveragedModel | None
    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    teachers: Sequence[nn.Module] = ()

    @classmethod
    def begin(cls, network: nn.Module, recipe: Recipe, steps: int) -> _Run:
        optimiser = _optimiser(network, recipe)
        pace = partial(_pace, steps=steps, recipe=recipe)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, pace)
        average = None
        if recipe.ema:
            blend = get_ema_multi_avg_fn(recipe.ema)
            average = AveragedModel(network, multi_avg_fn=blend, use_buffers=True)
        return cls(network, recipe, optimiser, schedule, average)

    @property
    def counting(self) -> nn.Module:
        """The network whose weights count: the moving average if there is one."""
        return self.average.module if self.average else self.network

    @property
    def rate(self) -> float:
        return float(self.optimiser.param_groups[0]["lr"])

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or the score has not risen for as long as is allowed."""
        if self.done >= self.recipe.epochs:
            return True
        scores = [record["score"] for record in self.history if "score" in record]
        if not self.recipe.patience or not scores:
            return False
        return len(scores) - 1 - int(np.argmax(scores)) >= self.recipe.patience

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.counting.state_dict().items()}

    def epoch(self, tiles: TileSet, device: torch.device, step: Callable[[int], None]) -> float:
        """One pass over the tiles; its random numbers follow from seed and epoch alone."""
        seed = self.recipe.seed * 100_003 + self.done
        torch.manual_seed(seed)
        dice = torch.Generator().manual_seed(seed)
        self.network.train()
        losses = [
            self._step(tiles, chosen, device, dice, partial(step, number))
            for number, chosen in enumerate(order_of(tiles, self.recipe, dice), start=1)
        ]
        self.done += 1
        mean = sum(losses) / len(losses)
        if not math.isfinite(mean):
            raise ModelError(
                f"the loss of epoch {self.done} is {mean}: training diverged; lower the rate"
            )
        # The last step may spoil the weights after its loss was taken.
        if not all(bool(p.isfinite().all()) for p in self.network.parameters()):
            raise ModelError(
                f"weights are no numbers after epoch {self.done}: training diverged; lower the rate"
            )
        return mean

    def _step(
        self, tiles: TileSet, chosen: NDArray[np.int64], device: torch.device,
        dice: torch.Generator, told: Callable[[], None],
    ) -> float:  # fmt: skip
        batch = augment(*tiles.draw(chosen, self.recipe, dice), self.recipe, dice)
        parts = zip(*(tensor.chunk(self.recipe.accumulate) for tensor in batch), strict=True)
        self.optimiser.zero_grad()
        total = 0.0
        for x, truth, valid in parts:
            seen = None if bool(valid.all()) else valid.to(device)
            with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
                logits = self.network(x.to(device), seen)
                taught = self._taught(x.to(device), seen)
            loss = self.recipe.loss(logits.float(), truth.to(device), seen, taught)
            loss = loss * (len(x) / len(chosen))
            loss.backward()
            total += loss.item()
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.schedule.step()
        if self.average:
            self.average.update_parameters(self.network)
        told()
        return total

    @torch.no_grad()
    def _taught(self, x: Tensor, seen: Tensor | None) -> Tensor | None:
        """Mean score of the teachers, float32 (n, 1, crop, crop); None without any."""
        if not self.teachers:
            return None
        scores = [teacher(x, seen).float().sigmoid() for teacher in self.teachers]
        return torch.stack(scores).mean(0)

    def keep(self, record: dict[str, float]) -> None:
        """Add an epoch to the history, and keep its weights if none were better."""
        self.history.append(record)
        scores = [each["score"] for each in self.history if "score" in each]
        if self.recipe.patience and record["score"] >= max(scores):
            self.best = self.weights()

    def write(self, checkpoint: Path) -> None:
        """Keep everything, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        state = {
            "recipe": repr(self.recipe),
            "epoch": self.done,
            "history": self.history,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        aside = checkpoint.with_suffix(".part")
        # By a path torch says of a full disk that a position is unexpected; a file says why.
        with aside.open("wb") as file:
            torch.save(state, file)
        aside.replace(checkpoint)

    def resume(self, checkpoint: Path) -> None:
        """Go on from what `write` kept.

        Raises:
            ModelError: it is unreadable, incomplete, or of another recipe or network.
        """
        try:
            state = torch.load(checkpoint, weights_only=True, map_location="cpu")
            recipe = state["recipe"]
        # Reading what is no checkpoint as one ends in almost any error.
        except Exception as error:
            raise ModelError(
                f"{checkpoint}: is no checkpoint ({error!r:.200}); remove it to begin anew"
            ) from error
        if recipe != repr(self.recipe):
            raise ModelError(
                f"{checkpoint}: was made by another recipe, {recipe}; remove it to begin anew"
            )
        try:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.schedule.load_state_dict(state["schedule"])
            if self.average:
                self.average.load_state_dict(state["average"])
            self.done, self.history, self.best = state["epoch"], state["history"], state["best"]
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ModelError(
                f"{checkpoint}: does not hold this run ({error!r:.200}); remove it to begin anew"
            ) from error


def _optimiser(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Matrices decay; biases, norms, A and D do not (as in Mamba); frozen ones are left out."""
    encoder = getattr(network, "encoder", None)
    encoding = set(encoder.parameters()) if encoder is not None else set()
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in network.named_parameters():
        if p.requires_grad:
            still = p.ndim < 2 or name.endswith(("a_log", ".d", "dt_bias"))
            rate = recipe.rate * (recipe.encoder_rate if p in encoding else 1.0)
            found.setdefault((rate, 0.0 if still else recipe.decay), []).append(p)
    groups: list[dict[str, Any]] = [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in found.items()
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.rate, momentum=recipe.momentum)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=recipe.rate)


def _pace(step: int, steps: int, recipe: Recipe) -> float:
    """Learning rate as a share of the highest: up during the warm-up, then by the schedule."""
    warm = max(1, round(recipe.warmup * steps)) if recipe.warmup else 0
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    if recipe.schedule == "exponential":
        return float(recipe.gamma ** (step // max(1, steps // recipe.epochs)))
    return 1.0

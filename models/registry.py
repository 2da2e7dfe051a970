"""Every network by name, all behind one interface.

A network maps float32 tiles (n, bands, h, w), standardised, of any h and w, and their validity
(bool (n, 1, h, w), or None) to logits (n, 1, h, w); it raises ModelError for tiles it cannot use.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from torch import nn

from models import baselines
from models.ensemble import Ensemble
from models.errors import ModelError
from models.ldmnet import ldmnet
from models.scgcnet import PRESETS, SCGCNet


def _ensemble(
    bands: int,
    members: Sequence[Mapping[str, Any]] = (
        {"architecture": "ldm-net-compact"}, {"architecture": "efficient-unet"},
    ),
) -> Ensemble:  # fmt: skip
    """Each member by its architecture and options, as a card has them."""
    if not members:
        raise ModelError("an ensemble needs members; give their architectures and options")
    return Ensemble(
        [
            build(one["architecture"], **{**one.get("options", {}), "bands": bands})
            for one in members
        ]
    )


_FACTORIES: dict[str, Callable[..., nn.Module]] = {
    "ldm-net": partial(ldmnet, "full"),
    **{f"ldm-net-{size}": partial(ldmnet, size) for size in ("small", "tiny", "compact")},
    "vmamba": partial(ldmnet, "full", ffn="mlp", n_states=1),
    **{f"scgc-net-{preset}": partial(SCGCNet, preset=preset) for preset in PRESETS},
    "ensemble": _ensemble,
    **baselines.FACTORIES,
}


def names() -> tuple[str, ...]:
    """What `build` knows: the papers' networks first, then those they compare with."""
    return tuple(_FACTORIES)


def library_of(name: str) -> tuple[str, str]:
    """The optional library a network of `names` comes from, and its extra; both empty for ours."""
    return baselines.library_of(name) if name in baselines.FACTORIES else ("", "")


def build(name: str, bands: int = 3, **options: Any) -> nn.Module:
    """A network with fresh weights, in training mode.

    Args:
        name: one of `names`.
        bands: bands of the tiles, at least 1.
        options: what else the network's own builder takes, such as `embedding` of LDM-Net,
            `global_level` of SCGC-Net or `head` of SegFormer.

    Raises:
        ModelError: the name is not known (the nearest is suggested), an option does not exist
            or has a value that cannot be, `bands` is below 1, or a library that the network comes
            from is missing.
    """
    if name not in _FACTORIES:
        near = get_close_matches(name.lower(), _FACTORIES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(_FACTORIES)}"
        raise ModelError(f"no network is called {name!r}; {hint}")
    if bands < 1:
        raise ModelError(f"bands is {bands}; a network needs at least 1")
    factory = _FACTORIES[name]
    try:
        inspect.signature(factory).bind(bands=bands, **options)
    except TypeError as error:
        raise ModelError(f"{name}: {error}") from error
    try:
        return factory(bands=bands, **options)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        told = ", ".join(f"{key} = {value!r}" for key, value in options.items())
        raise ModelError(f"{name} cannot be built with {told}: {error}") from error

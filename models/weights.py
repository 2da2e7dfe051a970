"""Trained weights: a safetensors file with its card beside it, loaded and saved.

Safetensors holds arrays and nothing else; a pickle runs whatever its author wrote, so files of that
kind are refused before they are opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import nn

from models import registry
from models.cards import Card, available, no_such_weights, read_card
from models.errors import ModelError
from models.ldmnet import LDMNet, Options

# One key alone: safetensors writes several in any order, and the digest would differ.
_BUILT = "built"
_PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"}


def _ldmnet(options: Mapping[str, Any]) -> nn.Module:
    return LDMNet(Options(**{**options, "depths": tuple(options["depths"])}))


ARCHITECTURES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {"ldm-net": _ldmnet}


def load(name_or_path: str | Path) -> tuple[nn.Module, Card]:
    """Read weights and their card.

    Args:
        name_or_path: a name of `available`, or a safetensors file with its card beside it.

    Returns:
        The network in eval mode on the CPU, and the card.

    Raises:
        ModelError: there are no such weights, the file is a pickle, is not the file its card
            describes, or does not fit the architecture its card names.
    """
    path = _locate(name_or_path)
    card = read_card(path)
    if digest_of(path) != card.digest:
        raise ModelError(
            f"{path}: is truncated or was changed, its SHA-256 is not the one on its card "
            f"({card.digest[:12]}…); fetch both files again"
        )
    network = build(card.architecture, card.options, str(path))
    try:
        with safe_open(path, "pt") as file:
            made_with = (file.metadata() or {}).get(_BUILT, _built(card))
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{path}: does not hold a {card.architecture} with the card's options ({reason})"
        ) from error
    if made_with != _built(card):
        raise ModelError(
            f"{path}: was trained as {made_with}, its card says {_built(card)}; "
            "fetch both files again"
        )
    return network.eval(), card


def save(network: nn.Module, card: Card, folder: Path) -> Card:
    """Write `<name>.safetensors` and `<name>.json` into `folder`; returns the card with its digest.

    Each file appears whole or not at all, the weights first: a card never describes a file that is
    not there.

    Raises:
        OSError: a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.safetensors"
    aside = path.with_suffix(".part")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    # save_file would make it readable to its owner alone
    aside.write_bytes(serialise(state, {_BUILT: _built(card)}))
    card = replace(card, digest=digest_of(aside))
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    aside.replace(path)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path.with_suffix(".json"))
    return card


def build(architecture: str, options: Mapping[str, Any], where: str) -> nn.Module:
    """An untrained network; `where` names the card in errors."""
    if architecture not in ARCHITECTURES and architecture not in registry.names():
        raise ModelError(
            f"{where}: unknown architecture {architecture!r}; "
            f"this version knows {', '.join([*ARCHITECTURES, *registry.names()])}"
        )
    try:
        if architecture in ARCHITECTURES:
            return ARCHITECTURES[architecture](options)
        return registry.build(architecture, **options)
    except (TypeError, KeyError) as error:
        raise ModelError(f"{where}: options do not fit {architecture} ({error})") from error


def _built(card: Card) -> str:
    """What the network is built from: options such as `magnify` change scores and no array."""
    return json.dumps([card.architecture, card.options], sort_keys=True)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles do, or as the archives in which torch keeps them."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _locate(name_or_path: str | Path) -> Path:
    shipped = available()
    if name_or_path in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix.lower() in _PICKLES or _is_pickle(path):
        raise ModelError(f"{path}: is a pickle, which can run code; convert it to safetensors")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        return path
    if path.is_file():
        raise ModelError(f"{path}: is no safetensors file; give the one beside its JSON card")
    raise no_such_weights(str(name_or_path), shipped)

"""Trained weights: a safetensors file, and beside it a JSON card that says what they are.

Safetensors holds arrays and nothing else; a pickle runs whatever its author wrote, so files of that
kind are refused before they are opened.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialise
from torch import nn

from models.errors import ModelError
from models.ldmnet import LDMNet, Options

PRETRAINED = Path(__file__).parent / "pretrained"
_PICKLES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"}


@dataclass(frozen=True)
class Normalisation:
    """How pixels become the numbers the network saw in training.

    `scene-standard`: (x - mean) / std per band with the statistics of the scene's valid pixels,
    clipped. Scene-relative, so that 8-bit pictures and reflectances of any sensor look alike.
    """

    kind: Literal["scene-standard"] = "scene-standard"
    clip: float = 5.0

    def apply(
        self, pixels: NDArray[Any], mean: NDArray[Any], std: NDArray[Any]
    ) -> NDArray[np.float32]:
        """Normalise a window.

        Args:
            pixels: (bands, h, w), any number type; NaN or infinite where invalid.
            mean: (bands,), of the scene's valid pixels.
            std: (bands,); a band without contrast, std 0, becomes 0.

        Returns:
            float32 (bands, h, w) within ±clip, 0 where a pixel is not finite.
        """
        scale = np.where(std > 0, std, np.inf)[:, None, None]
        z = (pixels.astype(np.float32) - mean[:, None, None]) / scale
        z = np.nan_to_num(z, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.clip(z, -self.clip, self.clip), np.float32)


@dataclass(frozen=True)
class Card:
    """What one needs to know to use weights, and to judge them.

    Attributes:
        name: as `load` takes it.
        architecture: a key of `ARCHITECTURES`.
        options: of the architecture.
        bands: common names, in the order the network takes them.
        normalisation: of the pixels.
        gsd_range_m: finest and coarsest pixel the network was trained for.
        training_data: name and source.
        licence: of the weights, with that of the data.
        regions: seen in training; a map of one of them is no independent test.
        threshold: the score from which a pixel is mapped, chosen on tiles held out of training.
        scores: measured, by data set and measure.
        recipe: how they were trained.
        digest: SHA-256 of the safetensors file, hexadecimal; `save` fills it in.
    """

    name: str
    architecture: str
    options: Mapping[str, Any]
    bands: tuple[str, ...]
    gsd_range_m: tuple[float, float]
    training_data: str
    licence: str
    regions: tuple[str, ...]
    threshold: float = 0.5
    normalisation: Normalisation = Normalisation()
    scores: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


def _ldmnet(options: Mapping[str, Any]) -> nn.Module:
    return LDMNet(Options(**{**options, "depths": tuple(options["depths"])}))


ARCHITECTURES: dict[str, Callable[[Mapping[str, Any]], nn.Module]] = {"ldm-net": _ldmnet}


def available() -> dict[str, Path]:
    """The weights that come with Scarp, by name."""
    return {path.stem: path for path in sorted(PRETRAINED.glob("*.safetensors"))}


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
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{path}: does not hold a {card.architecture} with the card's options ({reason})"
        ) from error
    return network.eval(), card


def save(network: nn.Module, card: Card, folder: Path) -> Card:
    """Write `<name>.safetensors` and `<name>.json` into `folder`; returns the card with its digest.

    Each file appears whole or not at all, the weights first: a card never describes a file that is
    not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.safetensors"
    aside = path.with_suffix(".part")
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    aside.write_bytes(serialise(state))  # save_file would make it readable to its owner alone
    card = replace(card, digest=digest_of(aside))
    text = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
    aside.replace(path)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path.with_suffix(".json"))
    return card


def build(architecture: str, options: Mapping[str, Any], where: str) -> nn.Module:
    """An untrained network; `where` names the card in errors."""
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"{where}: unknown architecture {architecture!r}; "
            f"this version knows {', '.join(ARCHITECTURES)}"
        )
    try:
        return ARCHITECTURES[architecture](options)
    except (TypeError, KeyError) as error:
        raise ModelError(f"{where}: options do not fit {architecture} ({error})") from error


def read_card(weights: Path) -> Card:
    """The card beside a safetensors file.

    Raises:
        ModelError: the card is missing, is not JSON, or lacks a field.
    """
    path = weights.with_suffix(".json")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in fields(Card)}
        return Card(
            **{
                **{key: value for key, value in raw.items() if key in known},
                "bands": tuple(raw["bands"]),
                "regions": tuple(raw["regions"]),
                "gsd_range_m": tuple(raw["gsd_range_m"]),
                "normalisation": Normalisation(**raw["normalisation"]),
            }
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: the card of {weights.name} is missing; put it beside it"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is not a card of weights ({error!r})") from error


def digest_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _locate(name_or_path: str | Path) -> Path:
    shipped = available()
    if name_or_path in shipped:
        return shipped[str(name_or_path)]
    path = Path(name_or_path)
    if path.suffix in _PICKLES:
        raise ModelError(f"{path}: is a pickle, which can run code; convert it to safetensors")
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise ModelError(f"{path}: no such file")
        return path
    near = difflib.get_close_matches(str(name_or_path), shipped, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(shipped) or 'none'}"
    raise ModelError(f"no weights named {str(name_or_path)!r}; {hint}")

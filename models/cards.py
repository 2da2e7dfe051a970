"""What weights are: the JSON card beside each safetensors file, readable without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from models.errors import ModelError
from models.normalisation import Normalisation

PRETRAINED = Path(__file__).parent / "pretrained"
# What is used where nobody promoted others, and the name for whichever is used.
DEFAULT, CURRENT = "unet-rgb", "current"
# Of a network that looks at every image as it is.
ANY_GSD_M = (0.01, 1000.0)
# Pixels are made no finer than by this: what is not in an image is not seen in it either.
_FINEST = 1 / 16


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

    def working_gsd_m(self, gsd_m: float) -> float:
        """The pixel size at which the network looks at an image of pixels of `gsd_m`.

        Its own if the network was trained for it, else the nearest end of the range.
        """
        finest, coarsest = self.gsd_range_m
        return min(max(gsd_m, finest), coarsest)

    def too_coarse(self, gsd_m: float) -> str:
        """Why the network can see nothing in pixels of `gsd_m`, as a sentence; empty if it can."""
        if self.working_gsd_m(gsd_m) / gsd_m >= _FINEST:
            return ""
        return (
            f"its pixels measure {gsd_m:g} m, too coarse for weights {self.name!r}, which look at "
            f"pixels of {self.gsd_range_m[1]:g} m at most; give finer images"
        )


def available() -> dict[str, Path]:
    """The weights that come with Scarp, by name."""
    return {path.stem: path for path in sorted(PRETRAINED.glob("*.safetensors"))}


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
                "normalisation": _normalisation(**raw["normalisation"]),
            }
        )
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: the card of {weights.name} is missing; put it beside it"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: is not a card of weights ({error!r})") from error


def _normalisation(quantiles: Any = (), **rest: Any) -> Normalisation:
    return Normalisation(**rest, quantiles=tuple(tuple(map(float, row)) for row in quantiles))

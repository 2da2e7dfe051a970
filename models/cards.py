"""What weights are: the JSON card beside each safetensors file, readable without torch."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from models.errors import ModelError
from models.normalisation import Normalisation

PRETRAINED = Path(__file__).parent / "pretrained"
# What is used where nobody promoted others, and the name for whichever is used.
DEFAULT, CURRENT = "unet-rgb", "current"
# Of a network that looks at every image as it is.
ANY_GSD_M = (0.01, 1000.0)
# Pixels are made no finer than by this: what is not in an image is not seen in it either.
_FINEST = 1 / 16
_NAME = r"[^/\\]*[^/\\.][^/\\]*"
_Metres = Annotated[FiniteFloat, Field(gt=0)]


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
        sureness: how sure the scores are of what they find, 0-1 (`models.calibration.sureness`),
            as the mean over the datasets held out of training; None where there were none.
        scores: measured, by data set and measure.
        recipe: how they were trained.
        digest: SHA-256 of the safetensors file, hexadecimal; `save` fills it in.
    """

    # Promoting weights makes files of that name.
    name: Annotated[str, Field(pattern=f"^{_NAME}$")]
    architecture: str
    options: Mapping[str, Any]
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    gsd_range_m: tuple[_Metres, _Metres]
    training_data: str
    licence: str
    regions: tuple[str, ...]
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    normalisation: Normalisation = Normalisation()
    sureness: Annotated[float, Field(ge=0, le=1)] | None = None
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


def check_name(name: str, option: str) -> None:
    """See that weights may be called so, as their files are; `option` says who named them.

    Raises:
        ModelError: it is a path, or holds nothing but dots.
    """
    if not re.fullmatch(_NAME, name):
        raise ModelError(
            f"{option} {name}: is a path, or no name at all; give a name of letters and digits"
        )


def available() -> dict[str, Path]:
    """The weights that come with Scarp, by name."""
    return {path.stem: path for path in sorted(PRETRAINED.glob("*.safetensors"))}


def no_such_weights(name: str, names: Collection[str]) -> ModelError:
    """What to say of a name that is none of those there are."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.3)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names) or 'none'}"
    return ModelError(f"no weights named {name!r}; {hint}")


_CARD = TypeAdapter(Card)


def read_card(weights: Path) -> Card:
    """The card beside a safetensors file; fields that this version does not know are left out.

    Raises:
        ModelError: the card is missing, is no JSON object, or lacks a field or holds a value that
            it must not; the field is named.
    """
    path = weights.with_suffix(".json")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name: raw[f.name] for f in fields(Card) if f.name in raw}
        # As JSON: there a list may stand for a tuple, and yet no text for a number.
        card = _CARD.validate_json(json.dumps(known), strict=True)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path}: the card of {weights.name} is missing; put it beside it"
        ) from error
    except ValidationError as error:
        raise ModelError(f"{path}: is not a card of weights: {_first(error)}") from error
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: is not a card of weights ({error!r})") from error
    if problem := _contradiction(card, known):
        raise ModelError(f"{path}: is not a card of weights: {problem}")
    return card


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with the field it is of."""
    wrong = error.errors()[0]
    name = ".".join(str(part) for part in wrong["loc"])
    if wrong["type"].startswith("missing"):
        return f"it has no {name}; fetch it again"
    return f"{name} = {wrong['input']!r:.80}: {wrong['msg'].lower()}"


def _contradiction(card: Card, raw: dict[str, Any]) -> str:
    """What of a card no single type can tell, as a sentence; empty if nothing is wrong."""
    if card.gsd_range_m[0] > card.gsd_range_m[1]:
        return f"gsd_range_m = {list(card.gsd_range_m)}: give the finest pixel first"
    built_for = card.options.get("bands", len(card.bands))
    if built_for != len(card.bands) or len(set(card.bands)) < len(card.bands):
        return f"bands = {list(card.bands)}: name each of the network's {built_for} bands once"
    if not 0 < card.normalisation.clip < math.inf:
        return f"normalisation.clip = {card.normalisation.clip:g}: give a number above 0"
    strange = raw.get("normalisation", {}).keys() - {f.name for f in fields(Normalisation)}
    if strange:
        return f"normalisation.{min(strange)} is nothing that this version knows"
    return ""

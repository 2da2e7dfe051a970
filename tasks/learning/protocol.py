"""Training protocols: small TOML files, one a paper, that say everything but data and seed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.cards import Card, check_name
from models.errors import ModelError
from models.recipes import LARGEST_PX, Recipe
from tasks.files import read_toml

FOLDER = Path(__file__).parent / "protocols"
# The card of the weights lies beside these of a run and of an experiment's arm.
_TAKEN = ("config", "scores")


@dataclass(frozen=True)
class Serial:
    """Datasets one after the other (LMHLD_part).

    Attributes:
        input: the convolution that starts anew with every dataset, as the network names it.
        shallow: blocks from the input on, of which the first k are frozen on dataset k (from 0).
    """

    input: str
    shallow: tuple[str, ...]


@dataclass(frozen=True)
class Protocol:
    """A paper's way of training.

    Attributes:
        name: of the file, and of the weights.
        network: by the registry's name; empty for that of the weights it goes on from.
        options: of the network.
        bands: wanted of every tile, in order.
        threshold: the score from which a pixel is mapped; 0 for the one that is best on validation.
        recipe: how to train.
        resize: the longer side every tile is resampled to first, in pixels; 0 leaves it.
        serial: for datasets one after the other; None mixes them.
        licence: of the weights, with that of the data.
    """

    name: str
    recipe: Recipe
    network: str = ""
    bands: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    threshold: float = 0.5
    resize: int = 0
    serial: Serial | None = None
    licence: str = "not stated; the licences of the training data apply"

    def __post_init__(self) -> None:
        """Refuse what cannot be followed.

        Raises:
            ModelError: a value is out of its range; it is named.
        """
        check_name(self.name, "name")
        if self.name in _TAKEN:
            raise ModelError(
                f"weights called {self.name!r} would take the place of the run's {self.name}.json; "
                "give the protocol another name"
            )
        if not 0 <= self.threshold < 1:
            raise ModelError(
                f"threshold = {self.threshold:g} makes no sense; give a score above 0 and below 1, "
                "or 0 for the best on validation"
            )
        if not 0 <= self.resize <= LARGEST_PX:
            raise ModelError(
                f"resize = {self.resize} makes no sense; give a side of up to {LARGEST_PX} pixels, "
                "or 0 to leave tiles as they are"
            )
        if len(set(self.bands)) < len(self.bands):
            raise ModelError(f"bands = {', '.join(self.bands)} makes no sense; name each once")
        if "bands" in self.options:
            raise ModelError("options.bands makes no sense; bands are those of the protocol")

    @property
    def record(self) -> dict[str, Any]:
        """All of it for JSON."""
        return asdict(self)

    def going_on_from(self, card: Card) -> Protocol:
        """The same with network, bands and licence of weights."""
        options = {key: value for key, value in card.options.items() if key != "bands"}
        return replace(
            self, network=card.architecture, options=options, bands=card.bands, licence=card.licence
        )


_PROTOCOL = TypeAdapter(Protocol)


def protocols() -> dict[str, Path]:
    """The protocols that come with Scarp, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}


def read_protocol(name_or_path: str, changes: Sequence[str] = ()) -> Protocol:
    """Read a protocol.

    Args:
        name_or_path: a name of `protocols`, or a TOML file.
        changes: `KEY=VALUE`, KEY of the recipe or of the protocol, VALUE as TOML writes it, or
            bare text.

    Raises:
        ModelError: there is no such protocol, or it holds a key or value that makes no sense.
    """
    known = protocols()
    path = known.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        near = get_close_matches(name_or_path, known, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
        raise ModelError(f"no protocol is called {name_or_path!r}; {hint} Or give a TOML file")
    raw = read_toml(path, ModelError)
    where = f"protocol {path.stem}" if path.parent == FOLDER else str(path)
    _check_keys(raw, where)
    for change in changes:
        _change(raw, change)
    return _protocol(where, path.stem, raw)


def _check_keys(raw: Mapping[str, Any], where: str) -> None:
    """See that a file holds nothing that would be passed over."""
    _check_table(raw, Protocol, f"{where}: a protocol")
    for name, kind in (("recipe", Recipe), ("serial", Serial)):
        table = raw.get(name, {})
        if not isinstance(table, dict):
            raise ModelError(f"{where}: {name} = {table!r} makes no sense; write a table [{name}]")
        _check_table(table, kind, f"{where}: [{name}]")


def _check_table(table: Mapping[str, Any], kind: type[Any], whose: str) -> None:
    for key in table:
        _check_key(key, {f.name for f in fields(kind)}, whose)


def _check_key(key: str, known: Set[str], whose: str) -> None:
    if key not in known:
        near = get_close_matches(key, sorted(known), n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        raise ModelError(f"{whose} has no {key!r}; {hint}")


def _change(raw: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals:
        raise ModelError(f"{change!r}: give a change as KEY=VALUE, such as epochs=10")
    own = {f.name for f in fields(Protocol)} - {"name", "recipe", "serial"}
    recipe = {f.name for f in fields(Recipe)}
    _check_key(key, own | recipe, f"--set {change}: a protocol")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    (raw if key in own else raw.setdefault("recipe", {}))[key] = value


def _protocol(where: str, name: str, raw: dict[str, Any]) -> Protocol:
    try:
        if bool(raw.get("bands")) != bool(raw.get("network")):
            raise ModelError("network and bands go together; give both, or leave both to weights")
        return _PROTOCOL.validate_python({"name": name, "recipe": {}, **raw})
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error
    except ValidationError as error:
        raise ModelError(f"{where}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, with the key it is of."""
    wrong = error.errors()[0]
    if wrong["type"] == "value_error":  # what a dataclass says of itself
        return str(wrong["ctx"]["error"])
    key = ".".join(str(part) for part in wrong["loc"])
    return f"{key} = {wrong['input']!r} makes no sense: {wrong['msg'].lower()}"

"""Datasets by name, as the command line gives them: `NAME=DIR`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from models import datasets
from models.errors import ModelError
from models.samples import Entry, Split
from tasks.learning.scenes import hokkaido2018, scenes

READERS: dict[str, Callable[[Path], list[Entry]]] = {
    **datasets.READERS,
    "scenes": scenes,
    "hokkaido2018": hokkaido2018,
}
SPLITS: tuple[Split, ...] = get_args(Split)


def read_data(words: Iterable[str]) -> list[Entry]:
    """The tiles of datasets given as `NAME=DIR`, in the order given.

    Those of a second folder under one name are named after it, so that tiles of both are told apart
    and none is taken for another of the same group.

    Raises:
        ModelError: a word has no =, no reader has that name, the folder is missing, given before or
            not in the published layout.
    """
    entries: list[Entry] = []
    given: dict[Path, str] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals or not folder:
            raise ModelError(f"{word!r}: give a dataset as NAME=DIR, such as bijie=data/bijie")
        if name not in READERS:
            near = get_close_matches(name.lower(), READERS, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(READERS)}"
            raise ModelError(f"no dataset is called {name!r}; {hint}")
        path = Path(folder)
        if not path.is_dir():
            raise ModelError(f"{path}: no such folder (dataset {name})")
        if before := given.get(path.resolve()):
            raise ModelError(f"{word}: {before} is the same folder; give it once")
        found = READERS[name](path)
        named_before = any(other.startswith(f"{name}=") for other in given.values())
        entries += [_of_folder(path, entry) for entry in found] if named_before else found
        given[path.resolve()] = word
    return entries


def _of_folder(folder: Path, entry: Entry) -> Entry:
    group = f"{folder}/{entry.group}" if entry.group else ""
    return replace(entry, name=f"{folder}/{entry.name}", group=group)


def of_split(entries: Sequence[Entry], split: Split) -> list[Entry]:
    """The tiles of a split.

    Raises:
        ModelError: the split is empty.
    """
    kept = [entry for entry in entries if entry.split == split]
    if not kept:
        counts = {name: sum(e.split == name for e in entries) for name in SPLITS}
        held = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ModelError(f"the split {split!r} is empty; the data hold {held}")
    return kept


def as_split(text: str) -> Split:
    """A split by name.

    Raises:
        ModelError: there is none of that name.
    """
    for name in SPLITS:
        if text == name:
            return name
    raise ModelError(f"no split is called {text!r}; choose from {', '.join(SPLITS)}")

"""Which weights a world uses: those that came with Scarp, or those that somebody promoted."""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.settings import Settings
from models.cards import CURRENT, DEFAULT, available, no_such_weights
from models.errors import ModelError

_POINTER = "current"


def promoted_weights() -> dict[str, Path]:
    """Weights that were ever promoted in this SCARP_HOME, by name; none is ever removed."""
    return {path.stem: path for path in sorted(_folder().glob("*.safetensors"))}


def locate_weights(name_or_path: str) -> str:
    """What `models.weights.load` takes for a name: `current` and promoted weights become paths.

    Raises:
        ModelError: the weights promoted last are no longer there, or there are none of that name.
    """
    if name_or_path == CURRENT:
        name_or_path = current_weights()
    promoted = promoted_weights()
    names, path = {**available(), **promoted}, Path(name_or_path)
    if name_or_path not in names and not path.suffix and not path.exists():
        raise no_such_weights(name_or_path, names)
    return str(promoted.get(name_or_path, name_or_path))


def current_weights() -> str:
    """Name of the weights that responses use where nobody names others."""
    pointer = _folder() / _POINTER
    if not pointer.exists():
        return DEFAULT
    name = pointer.read_text(encoding="utf-8").strip()
    if name not in {*available(), *promoted_weights()}:
        raise ModelError(f"{pointer}: names weights {name!r}, which are not there; promote others")
    return name


def promote_weights(name_or_path: str) -> str:
    """Make weights those that responses use from now on; returns their name.

    The files are copied under a name that ends with their digest, so that promoting others takes
    nothing away, and promoting an earlier name goes back to it. Inventories stay as they are.

    Raises:
        ModelError: the weights cannot be used.
        StorageError: SCARP_HOME cannot be written.
    """
    # torch is slow to import, and a list of weights needs none of it
    from models.weights import load
    from tasks.publish.products import write_text, written_aside

    path = Path(locate_weights(name_or_path))
    if path.suffix == ".safetensors" and path.parent != _folder():
        _, card = load(path)
        name = f"{card.name}-{card.digest[:8]}"
        for suffix in (".json", ".safetensors"):
            with written_aside(_folder() / f"{name}{suffix}") as aside:
                shutil.copyfile(path.with_suffix(suffix), aside)
    else:
        load(path if path.suffix else str(path))
        name = path.stem if path.suffix else str(path)
    write_text(_folder() / _POINTER, name + "\n")
    return name


def _folder() -> Path:
    return Settings().home / "weights"

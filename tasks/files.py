"""Files as such, whatever they hold."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Any


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_toml(path: Path, wrong: type[Exception]) -> dict[str, Any]:
    """What a TOML file that an operator wrote holds; a byte order mark before it is passed over.

    Args:
        path: the file.
        wrong: the error to raise.

    Raises:
        Exception: `wrong`, with a sentence: the file cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise wrong(f"{path} cannot be read: {error.strerror}; give a TOML file") from error
    except ValueError as error:
        raise wrong(f"{path} is not TOML: {error}; mend it there") from error

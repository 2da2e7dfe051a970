"""Half-made rasters that outlive the process: raw rows, what is left over for the next, a ledger.

A folder beside the destination, named after it and locked by whoever writes, holds one raw file of
uint8 rows for each raster, `carry-N.npy`, and `ledger.json`: the configuration and N, the number of
finished bands. All that a band leaves is on the disk before the ledger names it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import StorageError
from tasks.publish.products import held, storage_error

log = logging.getLogger(__name__)


class Ledger:
    """The finished rows of some rasters of one size, and how far they go."""

    def __init__(
        self, folder: Path, names: tuple[str, ...], shape: tuple[int, int], configuration: Any
    ) -> None:
        self.folder = folder
        self.bands = 0
        self.carry: NDArray[np.float32] | None = None
        self._configuration = configuration
        self._shape = shape
        self.files = [folder / f"{name}.raw" for name in names]
        if not self._resume():
            self._start()

    def add(self, levels: NDArray[np.uint8], row: int, carry: NDArray[np.float32]) -> None:
        """Store the next band's final rows (rasters, rows, cols) from `row` on, and its carry."""
        for path, part in zip(self.files, levels, strict=True):
            with path.open("r+b") as file:
                file.seek(row * self._shape[1])
                file.write(np.ascontiguousarray(part).data)
                _to_disk(file)
        self.bands += 1
        with self._carry_file(self.bands).open("wb") as file:
            np.save(file, carry)
            _to_disk(file)
        self._write()
        self._carry_file(self.bands - 1).unlink(missing_ok=True)

    def _resume(self) -> bool:
        path = self.folder / "ledger.json"
        if not path.exists():
            return False
        ledger = json.loads(path.read_text(encoding="utf-8"))
        changed = _differences(ledger["configuration"], self._configuration)
        if changed:
            log.warning(
                "%s: starting over, because %s changed since the run that was stopped",
                self.folder,
                " and ".join(changed),
            )
            return False
        self.bands = int(ledger["bands"])
        self.carry = np.load(self._carry_file(self.bands))
        log.info("%s: %d bands of an earlier run are kept", self.folder, self.bands)
        return True

    def _start(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for path in self.files:
            with path.open("wb") as file:
                # A disk that is too small is found out now, not hours later.
                os.posix_fallocate(file.fileno(), 0, self._shape[0] * self._shape[1])

    def _write(self) -> None:
        path = self.folder / "ledger.json"
        aside = path.with_suffix(".part")
        with aside.open("w", encoding="utf-8") as file:
            json.dump({"bands": self.bands, "configuration": self._configuration}, file, indent=1)
            _to_disk(file)
        aside.replace(path)
        _folder_to_disk(self.folder)

    def _carry_file(self, bands: int) -> Path:
        return self.folder / f"carry-{bands}.npy"


@contextmanager
def open_ledger(
    destination: Path,
    names: tuple[str, ...],
    shape: tuple[int, int],
    configuration: Mapping[str, Any],
) -> Iterator[Ledger]:
    """Go on where an earlier run with the same configuration was stopped, or start anew.

    Args:
        destination: the file to be made in the end; missing parent folders are made.
        names: of the rasters, unique.
        shape: rows and columns of each.
        configuration: everything that decides the rows, as JSON holds it.

    Yields:
        The ledger; its folder is removed when the block ends well, else it is left for the next.

    Raises:
        StorageError: the folder cannot be written, has no room for the rasters, or belongs to a
            process that is still at it.
    """
    folder = destination.parent / f".{destination.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder):
            yield Ledger(folder, names, shape, json.loads(json.dumps(configuration)))
            shutil.rmtree(folder)
    except BlockingIOError as error:
        raise StorageError(
            f"{destination} is being made by another process; wait for it or choose another folder"
        ) from error
    except OSError as error:
        raise storage_error(destination, error) from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _folder_to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

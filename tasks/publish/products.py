"""Writing products so that a reader sees either the old file or the whole new one."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError, RasterioIOError

from tasks.errors import RasterError, StorageError

SCORE_NODATA = 0
SCORE_SCALE = 1 / 254
# QGIS takes what scales to the number of nodata for nodata: the least score stays just above 0.
SCORE_OFFSET = 1e-13 - SCORE_SCALE
COG_BLOCK_PX = 512
COG_CACHE_BYTES = 64 << 20
FULL_DISK_BYTES = 1 << 20
SCRATCH = ".part-"
ABANDONED_S = 60


@contextmanager
def scratch_beside(destination: Path) -> Iterator[Path]:
    """Give a hidden folder beside `destination` for what is needed while making it.

    What killed processes left there is cleared away first.

    Args:
        destination: the file to be made; missing parent folders are made.

    Yields:
        An empty folder on the same disk, removed with all it holds when the block ends.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(destination.parent)
        with (
            tempfile.TemporaryDirectory(dir=destination.parent, prefix=SCRATCH) as folder,
            held(Path(folder)),
        ):
            yield Path(folder)
    except OSError as error:
        raise storage_error(destination, error) from error


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep others from a folder until the block, or the process, ends, however it ends.

    Raises:
        BlockingIOError: another process, or another block of this one, holds it.
    """
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _clear_abandoned(parent: Path) -> None:
    """Remove scratch folders nobody holds, but for new ones, which will be held in a moment."""
    for folder in parent.glob(f"{SCRATCH}*"):
        with suppress(BlockingIOError, FileNotFoundError), held(folder):
            if time.time() - folder.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(folder)


@contextmanager
def written_aside(destination: Path) -> Iterator[Path]:
    """Give a path to write to; it replaces `destination` in one step if the block ends well.

    Args:
        destination: the file to make; missing parent folders are made.

    Yields:
        A path with the same name in a folder of `scratch_beside`.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    with scratch_beside(destination) as folder:
        aside = folder / destination.name
        yield aside
        aside.replace(destination)


def write_text(destination: Path, text: str) -> None:
    """Make or replace a text file, UTF-8.

    Raises:
        StorageError: as `written_aside`.
    """
    with written_aside(destination) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(destination: Path, record: Any) -> None:
    """Make or replace a file of one JSON document that people can read as well.

    Raises:
        StorageError: as `written_aside`.
    """
    write_text(destination, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def replaced_together(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Give a folder to make products in; they go to `folder` when the block ends well.

    Those of `names` that were not made are removed from `folder`, whose other files stay. Of two
    who do this at once the one waits for the other, so that products are all of one making.

    Raises:
        StorageError: a folder cannot be written; the products already there stay.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
            made = Path(aside)
            yield made
            with _locked(folder, fcntl.LOCK_EX):
                for name in names:
                    if (made / name).exists():
                        (made / name).replace(folder / name)
                    else:
                        (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error


def quantise(score: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scores 0-1 as uint8 1-255 (`SCORE_SCALE`, `SCORE_OFFSET`), NaN as `SCORE_NODATA`."""
    levels: NDArray[np.floating] = np.clip(score, 0, 1)
    levels *= 254
    levels += 1
    np.rint(levels, out=levels)
    np.nan_to_num(levels, copy=False, nan=SCORE_NODATA)
    return levels.astype(np.uint8)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say that the disk is full where it is while GDAL writes beside `path`: its errors do not.

    Raises:
        StorageError: GDAL could not write.
    """
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        # GDAL's errors carry no errno; the part written so far still fills the disk at this point.
        full = shutil.disk_usage(path.parent).free < FULL_DISK_BYTES
        raise storage_error(path, OSError(errno.ENOSPC, "") if full else error) from error


def storage_error(destination: Path, error: Exception) -> StorageError:
    """Say in one sentence why `destination` could not be written and what to do about it."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"no room to write {destination}: free some disk space and run again")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"no permission to write {destination}: make its folder writable or choose another"
        )
    return StorageError(f"could not write {destination}: {error}")


def write_cog(
    source: Path,
    destination: Path,
    *,
    tags: dict[str, str],
    overview_resampling: Literal["average", "nearest", "mode"] = "nearest",
) -> Path:
    """Turn a finished GeoTIFF into a Cloud Optimized GeoTIFF, in bounded memory.

    Bands, dtype, nodata, mask, scales, offsets, descriptions and CRS are the source's.

    Args:
        source: any raster GDAL reads, left as it is.
        destination: the COG to make or replace.
        tags: dataset tags to add to the source's, such as the provenance digest.
        overview_resampling: `average` for scores, `mode` or `nearest` for classes and masks.

    Returns:
        `destination`.

    Raises:
        RasterError: `source` cannot be opened as a raster.
        StorageError: `destination` cannot be written.
    """
    try:
        with rasterio.open(source):
            pass
    except RasterioIOError as error:
        raise RasterError(f"{source} is not a raster that can be published: {error}") from error
    with (
        written_aside(destination) as aside,
        rasterio.Env(GDAL_CACHEMAX=COG_CACHE_BYTES),
        room_for(destination),
    ):
        _copy_as_cog(source, aside, tags, overview_resampling)
        _read_through(aside)
    return destination


def _copy_as_cog(source: Path, target: Path, tags: dict[str, str], resampling: str) -> None:
    view = target.with_suffix(".vrt")
    rasterio.shutil.copy(source.resolve(), view, driver="VRT")
    with rasterio.open(view, "r+") as dataset:
        dataset.update_tags(**tags)
    rasterio.shutil.copy(
        view,
        target,
        driver="COG",
        compress="DEFLATE",
        predictor="YES",
        blocksize=COG_BLOCK_PX,
        overview_resampling=resampling.upper(),
        bigtiff="IF_SAFER",
        num_threads="2",
    )


def _read_through(cog: Path) -> None:
    """Read every block: on a full disk GDAL closes a truncated file without an error."""
    with rasterio.open(cog) as dataset:
        for _, window in dataset.block_windows(1):
            dataset.read(window=window)

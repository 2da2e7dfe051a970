"""Data sets that lie in several files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import rasterio
from rasterio.errors import RasterioError

from tasks.files import file_sha256

# What a shapefile's labels, their encoding and its CRS lie in.
_BESIDE_SHAPES = (".dbf", ".cpg", ".prj")


def dataset_sha256(path: Path) -> str:
    """SHA-256 of a file, and with it of the others that hold a part of the same data, hexadecimal.

    These are the labels and the CRS beside a shapefile, and the rasters a VRT is but a list of.
    """
    digests = [file_sha256(path), *map(dataset_sha256, _others(path))]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _others(path: Path) -> list[Path]:
    if path.suffix.lower() == ".shp":
        beside = [path.with_suffix(suffix) for suffix in _BESIDE_SHAPES]
        return [part for part in beside if part.is_file()]
    if path.suffix.lower() == ".vrt":
        return [part for part in _listed(path) if part.is_file() and not part.samefile(path)]
    return []


def _listed(path: Path) -> list[Path]:
    """The files of a VRT; none of one that cannot be read, which whoever opens it refuses."""
    try:
        with rasterio.open(path) as dataset:
            return [Path(name) for name in dataset.files]
    except RasterioError:
        return []

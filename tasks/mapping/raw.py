"""A file of bare uint8 rows as a raster GDAL reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from tasks.publish.products import SCORE_NODATA, SCORE_OFFSET, SCORE_SCALE

SMALLEST_OVERVIEW_PX = 512
STRIP_ROWS = 256


@dataclass(frozen=True)
class Grid:
    """Where a raster lies: rows and columns, CRS as WKT, affine transform."""

    shape: tuple[int, int]
    crs: str
    transform: Affine


def grid_of(dataset: DatasetReader) -> Grid:
    """Where an open raster lies."""
    return Grid(dataset.shape, dataset.crs.to_wkt(), dataset.transform)


def raw_view(path: Path, grid: Grid, description: str) -> Path:
    """Write overviews and a VRT beside `path` that reads it as levels of a score.

    Overviews are made here because GDAL takes three times as long over them as over all else.

    Returns:
        The VRT's path.

    Raises:
        OSError: there is no room for the overviews.
    """
    shape, overviews = grid.shape, ""
    finer = path
    while max(shape) > SMALLEST_OVERVIEW_PX:
        finer, shape = _halved(finer, shape)
        view = _view(finer, Grid(shape, grid.crs, grid.transform), description)
        name = f"<SourceFilename>{escape(str(view.resolve()))}</SourceFilename>"
        overviews += f"<Overview>{name}<SourceBand>1</SourceBand></Overview>"
    return _view(path, grid, description, overviews)


def _halved(path: Path, shape: tuple[int, int]) -> tuple[Path, tuple[int, int]]:
    """Mean of the known levels of every 2 × 2 pixels, as a raw file beside `path`."""
    rows, columns = shape
    half = (rows + 1) // 2, (columns + 1) // 2
    coarser = path.with_name(f"{path.stem}-{half[1]}.raw")
    with path.open("rb") as source, coarser.open("wb") as target:
        for row in range(0, rows, STRIP_ROWS):
            strip = np.fromfile(source, np.uint8, min(STRIP_ROWS, rows - row) * columns)
            target.write(_mean_of_known(strip.reshape(-1, columns)).data)
    return coarser, half


def _mean_of_known(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    levels = np.pad(levels, [(0, side % 2) for side in levels.shape])
    total = np.zeros((levels.shape[0] // 2, levels.shape[1] // 2), np.uint16)
    known = np.zeros_like(total)
    for row in (0, 1):
        for column in (0, 1):
            part = levels[row::2, column::2]
            total += part
            known += part != SCORE_NODATA
    np.maximum(known, 1, out=known)
    mean: NDArray[np.uint8] = ((total + known // 2) // known).astype(np.uint8)
    return mean


def _view(path: Path, grid: Grid, description: str, overviews: str = "") -> Path:
    rows, columns = grid.shape
    view = path.with_suffix(".vrt")
    view.write_text(
        f"""<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}">
  <SRS>{escape(grid.crs)}</SRS>
  <GeoTransform>{",".join(map(repr, grid.transform.to_gdal()))}</GeoTransform>
  <VRTRasterBand dataType="Byte" band="1" subClass="VRTRawRasterBand">
    <Description>{escape(description)}</Description>
    <NoDataValue>{SCORE_NODATA}</NoDataValue>
    <Offset>{SCORE_OFFSET!r}</Offset>
    <Scale>{SCORE_SCALE!r}</Scale>
    <SourceFilename>{escape(str(path.resolve()))}</SourceFilename>
    <ImageOffset>0</ImageOffset>
    <PixelOffset>1</PixelOffset>
    <LineOffset>{columns}</LineOffset>
    {overviews}
  </VRTRasterBand>
</VRTDataset>
""",
        encoding="utf-8",
    )
    return view

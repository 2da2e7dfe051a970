"""A file of bare uint8 rows as a raster GDAL reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from affine import Affine

from tasks.publish.products import SCORE_NODATA, SCORE_OFFSET, SCORE_SCALE


@dataclass(frozen=True)
class Grid:
    """Where a raster lies: rows and columns, CRS as WKT, affine transform."""

    shape: tuple[int, int]
    crs: str
    transform: Affine


def raw_view(path: Path, grid: Grid, description: str) -> Path:
    """Write a VRT beside `path` that reads it as levels of a score; returns the VRT's path."""
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
  </VRTRasterBand>
</VRTDataset>
""",
        encoding="utf-8",
    )
    return view

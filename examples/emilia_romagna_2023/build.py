"""Rebuild this example from the Sen12Landslides patch: `python build.py [FOLDER]`.

The patch is one NetCDF file whose arrays lie (time, x, y), while its coordinates say (time, y, x):
every array is transposed. The result is a static STAC catalog with one item a date, the patch's
DEM, the reference landslides, the area of interest and the event. The same source makes the same
bytes. Credits and licences are in CREDITS.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.features import shapes
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster
from rasterio.warp import transform_geom
from shapely.geometry import box, mapping, shape

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "shared" / "data" / "emilia_romagna2023"
PATCH = "italy_s2_4120.nc"

ASSETS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "scl": "SCL"}
REFLECTANCE = {"raster:scale": 0.0001, "raster:offset": 0.0}
CLOUD_CLASSES = (8, 9, 10)  # of the SCL: medium and high probability, cirrus
EVENT = {
    "id": "emilia-romagna-2023",
    "kind": "rainfall",
    "title": "Rainstorm of 16-17 May 2023, Emilia-Romagna, Italy",
    "occurred_at": "2023-05-16T00:00:00Z",
    "rainfall_mm": 200.0,
    "duration_h": 36.0,
    "source": "Copernicus EMS",
    "alternate_ids": ["EMSR664"],
}
CREDIT = (
    "Contains modified Copernicus Sentinel data 2022–2023; Sen12Landslides, CC BY 4.0, "
    "Höhn et al. 2025"
)


@dataclass(frozen=True)
class Patch:
    """The georeferenced patch; arrays are (time, rows, cols) on a north-up grid."""

    dates: tuple[date, ...]
    crs: str
    transform: rasterio.Affine
    bands: dict[str, NDArray[np.uint16]]
    scl: NDArray[np.uint8]
    dem: NDArray[np.int16]
    mask: NDArray[np.uint8]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in `crs`, metres."""
        rows, cols = self.dem.shape
        west, south, east, north = rasterio.transform.array_bounds(rows, cols, self.transform)
        return west, south, east, north


def read_patch(path: Path) -> Patch:
    """Read the NetCDF patch and turn its (time, x, y) arrays to (time, y, x)."""

    def variable(name: str) -> NDArray[Any]:
        with rasterio.open(f"netcdf:{path}:{name}") as source:
            stack: NDArray[Any] = source.read()
        return stack.transpose(0, 2, 1)

    with rasterio.open(f"netcdf:{path}:B04") as source:
        tags, crs, transform = source.tags(), source.crs.to_string(), source.transform
    first = datetime.strptime(tags["time#units"], "days since %Y-%m-%d").date()
    days = tags["NETCDF_DIM_time_VALUES"].strip("{}").split(",")
    reflectance = {common: key for common, key in ASSETS.items() if common != "scl"}
    return Patch(
        dates=tuple(first + timedelta(days=int(day)) for day in days),
        crs=crs,
        transform=transform,
        bands={name: variable(key).astype(np.uint16) for name, key in reflectance.items()},
        scl=variable("SCL").astype(np.uint8),
        dem=variable("DEM")[0],
        mask=variable("MASK")[0],
    )


def write_cog(path: Path, array: NDArray[Any], patch: Patch, description: str) -> None:
    """Write one (rows, cols) array as a Cloud-Optimised GeoTIFF of one block."""
    rows, cols = array.shape
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": array.dtype}
    with MemoryFile() as memory:
        with memory.open(**profile, crs=patch.crs, transform=patch.transform) as raster:
            raster.write(array, 1)
            raster.set_band_description(1, description)
        with memory.open() as raster:
            copy_raster(
                raster, path, driver="COG", BLOCKSIZE=128, COMPRESS="DEFLATE", LEVEL=9,
                PREDICTOR="YES", OVERVIEWS="NONE",
            )  # fmt: skip


def asset(path: Path, common: str, key: str) -> dict[str, Any]:
    """Describe one raster file as a STAC asset with its size and checksum."""
    scaled = REFLECTANCE if common != "scl" else {}
    band = {"name": key} if common == "scl" else {"name": key, "eo:common_name": common}
    content = path.read_bytes()
    return {
        "href": f"./{path.name}",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "gsd": 10,
        "bands": [band],
        **scaled,
        "file:size": len(content),
        "file:checksum": f"1220{hashlib.sha256(content).hexdigest()}",  # multihash: sha2-256
    }


def write_item(folder: Path, patch: Patch, index: int) -> str:
    """Write the rasters and the item of one date; return the item's path beside the catalog.

    The source knows the day but not the hour, so `datetime` is null and the day's ends are given.
    Extensions are used but not declared: pystac fetches each declared schema, and the example must
    validate without a network.
    """
    day = patch.dates[index]
    identifier = f"S2_L2A_4120_{day:%Y%m%d}"
    home = folder / "scenes" / f"{day}"
    home.mkdir(parents=True)
    assets = {}
    for common, key in ASSETS.items():
        array = patch.scl[index] if common == "scl" else patch.bands[common][index]
        write_cog(home / f"{key}.tif", array, patch, key)
        assets[key] = asset(home / f"{key}.tif", common, key)
    footprint = footprint_wgs84(patch)
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": identifier,
        "geometry": footprint,
        "bbox": [round(value, 7) for value in shape(footprint).bounds],
        "properties": {
            "datetime": None,
            "start_datetime": f"{day}T00:00:00Z",
            "end_datetime": f"{day}T23:59:59Z",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": 10,
            "eo:cloud_cover": round(
                float(np.isin(patch.scl[index], CLOUD_CLASSES).mean()) * 100, 2
            ),
            "proj:code": patch.crs,
            "proj:shape": list(patch.dem.shape),
            "proj:transform": list(patch.transform)[:6],
            "license": "other",
        },
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "license", "href": "../../CREDITS.md", "title": CREDIT},
        ],
        "assets": assets,
    }
    write_json(home / f"{identifier}.json", item)
    return f"./scenes/{day}/{identifier}.json"


def write_catalog(folder: Path, items: list[str]) -> None:
    """Write the catalog that links every item."""
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [{"rel": "item", "href": href, "type": "application/geo+json"} for href in items]
    catalog = {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": "emilia-romagna-2023",
        "title": "Sentinel-2 L2A before and after the rainstorm of May 2023, Emilia-Romagna",
        "description": "Contains modified Copernicus Sentinel data 2022-2023, taken from "
        "Sen12Landslides (Hoehn et al. 2025, CC BY 4.0), patch italy_s2_4120.",
        "links": links,
    }
    write_json(folder / "catalog.json", catalog)


def write_landslides(folder: Path, patch: Patch) -> None:
    """Polygonise the reference mask along its pixel edges, one row a 4-connected landslide."""
    found = shapes(patch.mask, patch.mask > 0, connectivity=4, transform=patch.transform)
    outlines = [shape(geometry) for geometry, _ in found]
    frame = geopandas.GeoDataFrame(geometry=outlines, crs=patch.crs)
    frame.to_file(folder / "landslides.gpkg", layer="landslides", driver="GPKG", engine="pyogrio")


def footprint_wgs84(patch: Patch) -> dict[str, Any]:
    """The patch's outline as a GeoJSON polygon in EPSG:4326, to a centimetre."""
    outline = mapping(box(*patch.bounds))
    found: dict[str, Any] = transform_geom(patch.crs, "EPSG:4326", outline, precision=7)
    return found


def write_event(folder: Path, patch: Patch) -> None:
    """Write the event, placed at the patch's centre, and the patch as its area of interest."""
    footprint = footprint_wgs84(patch)
    centre = shape(footprint).centroid
    point = {"longitude": round(centre.x, 4), "latitude": round(centre.y, 4)}
    write_json(folder / "event.json", {**EVENT, **point})
    feature = {"type": "Feature", "properties": {}, "geometry": footprint}
    write_json(folder / "aoi.geojson", {"type": "FeatureCollection", "features": [feature]})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that reads well and is the same every time."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def build(source: Path, target: Path) -> None:
    """Build the whole example aside, then put each part in its place under `target`."""
    patch = read_patch(source / PATCH)
    with tempfile.TemporaryDirectory(dir=target, prefix=".build-") as scratch:
        folder = Path(scratch)
        write_catalog(folder, [write_item(folder, patch, i) for i in range(len(patch.dates))])
        write_cog(folder / "dem.tif", patch.dem, patch, "elevation")
        write_landslides(folder, patch)
        write_event(folder, patch)
        for part in sorted(folder.iterdir()):
            place = target / part.name
            if place.is_dir():
                shutil.rmtree(place)
            part.replace(place)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", nargs="?", type=Path, default=SOURCE, help="default: %(default)s")
    parser.add_argument("--target", type=Path, default=HERE, help="default: this folder")
    arguments = parser.parse_args()
    # GeoPackage stores when it was written; a fixed time keeps the bytes the same.
    os.environ["OGR_CURRENT_DATE"] = "2025-01-01T00:00:00.000Z"
    build(arguments.source, arguments.target)

"""Rebuild this example from the Sen12Landslides patch: `python build.py [FOLDER]`.

The patch is one NetCDF file whose arrays lie (time, x, y), while its coordinates say (time, y, x):
every array is transposed. The result is a static STAC catalog with one item a date, another of the
radar passes nearest to the event, the patch's DEM, the reference landslides, the area of interest
and the event. The same source makes the same bytes. Credits and licences are in CREDITS.md.
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
RADAR = {"ascending": "italy_s1asc_4120.nc", "descending": "italy_s1dsc_4120.nc"}
PASSES = 3  # of each orbit, before the event and after it

ASSETS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "scl": "SCL"}
REFLECTANCE = {"raster:scale": 0.0001, "raster:offset": 0.0}
NO_BACKSCATTER = -32768
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


def read_variable(path: Path, name: str) -> NDArray[Any]:
    """One variable of a NetCDF patch, its (time, x, y) array turned to (time, y, x)."""
    with rasterio.open(f"netcdf:{path}:{name}") as source:
        stack: NDArray[Any] = source.read()
    return stack.transpose(0, 2, 1)


def read_dates(path: Path, name: str) -> tuple[date, ...]:
    """The days of a NetCDF patch."""
    with rasterio.open(f"netcdf:{path}:{name}") as source:
        tags = source.tags()
    first = datetime.strptime(tags["time#units"], "days since %Y-%m-%d").date()
    days = tags["NETCDF_DIM_time_VALUES"].strip("{}").split(",")
    return tuple(first + timedelta(days=int(day)) for day in days)


def read_patch(path: Path) -> Patch:
    """Read the patch of Sentinel-2."""

    def variable(name: str) -> NDArray[Any]:
        return read_variable(path, name)

    with rasterio.open(f"netcdf:{path}:B04") as source:
        crs, transform = source.crs.to_string(), source.transform
    reflectance = {common: key for common, key in ASSETS.items() if common != "scl"}
    return Patch(
        dates=read_dates(path, "B04"),
        crs=crs,
        transform=transform,
        bands={name: variable(key).astype(np.uint16) for name, key in reflectance.items()},
        scl=variable("SCL").astype(np.uint8),
        dem=variable("DEM")[0],
        mask=variable("MASK")[0],
    )


def write_cog(
    path: Path, array: NDArray[Any], patch: Patch, description: str, **options: Any
) -> None:
    """Write one (rows, cols) array as a Cloud-Optimised GeoTIFF of one block.

    `options` may hold nodata, and the scale of the stored numbers.
    """
    rows, cols = array.shape
    profile = {"driver": "GTiff", "height": rows, "width": cols, "count": 1, "dtype": array.dtype}
    scale = options.pop("scale", None)
    with MemoryFile() as memory:
        with memory.open(**profile, **options, crs=patch.crs, transform=patch.transform) as raster:
            raster.write(array, 1)
            raster.set_band_description(1, description)
            if scale:
                raster.scales = (scale,)
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
    properties = {
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "eo:cloud_cover": round(float(np.isin(patch.scl[index], CLOUD_CLASSES).mean()) * 100, 2),
    }
    write_json(home / f"{identifier}.json", item_of(identifier, patch, day, properties, assets))
    return f"./scenes/{day}/{identifier}.json"


def item_of(
    identifier: str,
    patch: Patch,
    day: date,
    properties: dict[str, Any],
    assets: dict[str, Any],
    credits: str = "../../CREDITS.md",
) -> dict[str, Any]:
    """A STAC item of one day."""
    footprint = footprint_wgs84(patch)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": identifier,
        "geometry": footprint,
        "bbox": [round(value, 7) for value in shape(footprint).bounds],
        "properties": {
            "datetime": None,
            "start_datetime": f"{day}T00:00:00Z",
            "end_datetime": f"{day}T23:59:59Z",
            **properties,
            "proj:code": patch.crs,
            "proj:shape": list(patch.dem.shape),
            "proj:transform": list(patch.transform)[:6],
            "license": "other",
        },
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "license", "href": credits, "title": CREDIT},
        ],
        "assets": assets,
    }


def write_radar(folder: Path, source: Path, patch: Patch) -> None:
    """Write a catalog of the radar passes just before and after the event, dB in hundredths."""
    event_day = datetime.fromisoformat(EVENT["occurred_at"]).date()
    items = []
    for direction, name in RADAR.items():
        dates = read_dates(source / name, "VV")
        backscatter = {key: read_variable(source / name, key) for key in ("VV", "VH")}
        after = next(index for index, day in enumerate(dates) if day >= event_day)
        for index in range(after - PASSES, after + PASSES):
            layers = {key: stack[index] for key, stack in backscatter.items()}
            items.append(write_pass(folder / "radar", patch, direction, dates[index], layers))
    write_catalog(folder / "radar", items, "Sentinel-1 backscatter", "s1asc_4120 and s1dsc_4120")


def write_pass(
    folder: Path, patch: Patch, direction: str, day: date, layers: dict[str, NDArray[Any]]
) -> str:
    """Write the rasters and the item of one radar pass; return its path beside the catalog."""
    identifier = f"S1_{direction[:3].upper()}_4120_{day:%Y%m%d}"
    home = folder / "scenes" / identifier
    home.mkdir(parents=True)
    assets = {}
    for key, values in layers.items():
        # 0 dB exactly is what the patch holds where there is no backscatter.
        known = np.isfinite(values) & (values != 0)
        stored = np.where(known, np.round(values * 100), NO_BACKSCATTER).astype(np.int16)
        path = home / f"{key}.tif"
        write_cog(path, stored, patch, key, nodata=NO_BACKSCATTER, scale=0.01)
        content = path.read_bytes()
        assets[key.lower()] = {
            "href": f"./{path.name}",
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "roles": ["data"],
            "file:size": len(content),
            "file:checksum": f"1220{hashlib.sha256(content).hexdigest()}",
        }
    properties = {"constellation": "sentinel-1", "sat:orbit_state": direction}
    item = item_of(identifier, patch, day, properties, assets, "../../../CREDITS.md")
    write_json(home / f"{identifier}.json", item)
    return f"./scenes/{identifier}/{identifier}.json"


def write_catalog(folder: Path, items: list[str], what: str, patches: str) -> None:
    """Write the catalog that links every item."""
    links = [{"rel": "root", "href": "./catalog.json", "type": "application/json"}]
    links += [{"rel": "item", "href": href, "type": "application/geo+json"} for href in items]
    catalog = {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": EVENT["id"],
        "title": f"{what} before and after the rainstorm of May 2023, Emilia-Romagna",
        "description": "Contains modified Copernicus Sentinel data 2022-2023, taken from "
        f"Sen12Landslides (Hoehn et al. 2025, CC BY 4.0), {patches}.",
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
        items = [write_item(folder, patch, i) for i in range(len(patch.dates))]
        write_catalog(folder, items, "Sentinel-2 L2A", "patch italy_s2_4120")
        write_radar(folder, source, patch)
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

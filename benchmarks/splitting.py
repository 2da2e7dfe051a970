"""Do split bodies come back as the landslides experts drew apart? Hokkaido 2018, 6,116 scars.

    python benchmarks/splitting.py ../shared/data/hokkaido2018/inventory.gpkg [--json]

The scars are burnt into a raster of 3 m where neighbours run into each other: as drawn, one pixel
wider all round, and blurred as a network's score is. A scar has come back where one polygon
overlaps it with IoU > 0.5. The waist is chosen on the western half and judged on the eastern.
Writes benchmarks/results/splitting.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.features
import shapely
from rasterio.transform import from_origin
from record import machine, write
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))
from tasks.mapping.split import Splitting
from tasks.mapping.vectorise import Outlining, landslide_polygons

CRS, GSD = "EPSG:32654", 3.0
WAISTS = (0.2, 0.3, 0.4, 0.5)
BLUR_PX = 2.0


def burn(scars: gpd.GeoDataFrame, path: Path, variant: str) -> None:
    """Write the scars as a score raster: level 255 inside and 1 outside, blurred or not."""
    west, south, east, north = scars.total_bounds
    shape = (int((north - south) / GSD) + 20, int((east - west) / GSD) + 20)
    transform = from_origin(west - 10 * GSD, north + 10 * GSD, GSD, GSD)
    mask = rasterio.features.rasterize(scars.geometry, shape, transform=transform, dtype="uint8")
    if variant == "one pixel wider":
        mask = ndimage.binary_dilation(mask).astype(np.uint8)
    score = mask.astype(np.float32)
    if variant == "blurred":
        score = ndimage.gaussian_filter(score, BLUR_PX)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 0, "crs": CRS}
    size = {"height": shape[0], "width": shape[1], "transform": transform, "tiled": True}
    with rasterio.open(path, "w", **profile, **size, compress="deflate") as output:
        output.write(np.rint(score * 254 + 1).astype(np.uint8), 1)


def came_back(scars: gpd.GeoDataFrame, found: gpd.GeoDataFrame) -> dict[str, Any]:
    """Count scars that one polygon overlaps with IoU > 0.5; no polygon can do so for two."""
    drawn, outlined = np.asarray(scars.geometry), np.asarray(found.geometry)
    i, j = shapely.STRtree(outlined).query(drawn, predicate="intersects")
    both = shapely.area(shapely.intersection(drawn[i], outlined[j]))
    iou = both / (shapely.area(drawn)[i] + shapely.area(outlined)[j] - both)
    hits = int((iou > 0.5).sum())
    return {
        "scars": len(drawn),
        "polygons": len(outlined),
        "one_to_one": hits,
        "f1": round(2 * hits / (len(drawn) + len(outlined)), 4),
    }


def compare(scars: gpd.GeoDataFrame, score: Path) -> dict[str, Any]:
    """Choose a waist in the west, then judge it in the east beside no splitting."""
    middle = scars.representative_point().x.median()
    halves = {"west": lambda x: x < middle, "east": lambda x: x >= middle}
    whole = gpd.GeoSeries([shapely.box(*scars.buffer(100).total_bounds)], crs=CRS)
    looked_at = whole.to_crs("EPSG:4326")[0]

    def judged(splitting: Splitting | None) -> dict[str, Any]:
        outlining = Outlining(split=splitting)
        found = landslide_polygons(score, 0.5, 300, looked_at, outlining).to_crs(CRS)
        return {
            name: came_back(*(f[chosen(f.representative_point().x)] for f in (scars, found)))
            for name, chosen in halves.items()
        }

    unsplit = judged(None)
    split = {waist: judged(Splitting(waist=waist)) for waist in WAISTS}
    best = max(split, key=lambda waist: split[waist]["west"]["f1"])
    return {
        "unsplit": unsplit,
        "west": {waist: result["west"] for waist, result in split.items()},
        "waist": best,
        "east": {waist: result["east"] for waist, result in split.items()}[best],
    }


def main() -> None:
    """Compare every variant and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--json", action="store_true", help="print nothing but the record")
    chosen = parser.parse_args()
    about = machine()
    scars = gpd.read_file(chosen.inventory, layer="scars").to_crs(CRS)
    variants = {}
    with tempfile.TemporaryDirectory() as folder:
        for variant in ("as drawn", "one pixel wider", "blurred"):
            score = Path(folder) / "score.tif"
            burn(scars, score, variant)
            variants[variant] = compare(scars, score)
    record = {"machine": about, "smallest_part_m2": Splitting().smallest_part_m2} | variants
    print(json.dumps(record, indent=2))
    path = write("splitting", record)
    if not chosen.json:
        print("written to", path)


if __name__ == "__main__":
    main()

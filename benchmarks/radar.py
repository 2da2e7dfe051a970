"""What radar evidence is worth where landslides are known: the bundled Emilia-Romagna example.

    python benchmarks/radar.py

Sentinel-1 before and after the storm is compared as `scarp evidence` does, with every pass of the
example and with those that had come back by 24 May, and each layer is scored against the reference
landslides, which nothing was chosen by. Writes results/radar.json.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import rasterize
from record import machine, write
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[1]))

from tasks.events.aoi import read_aoi
from tasks.events.request import read_event
from tasks.imagery.backscatter import THRESHOLD, compare_passes, map_change
from tasks.imagery.protocol import Span
from tasks.imagery.radar import open_radar
from tasks.imagery.sources import Access

EXAMPLE = Path(__file__).parents[1] / "examples" / "emilia_romagna_2023"
ENDS = {
    "as of 24 May": datetime(2023, 5, 24, tzinfo=UTC),
    "all passes": datetime(2023, 7, 15, tzinfo=UTC),
}


def main() -> None:
    """Score the layers at both times."""
    event, aoi = read_event(EXAMPLE / "event.json"), read_aoi(EXAMPLE / "aoi.geojson")
    radar = open_radar(str(EXAMPLE / "radar"), Access())
    result: dict[str, Any] = {"machine": machine()}
    for name, end in ENDS.items():
        span = Span(event.occurred_at - timedelta(days=90), end)
        compared = compare_passes(radar.search(aoi, span).scenes, event.occurred_at)
        with tempfile.TemporaryDirectory() as folder:
            result[name] = _scores(map_change(compared, aoi, Path(folder) / "change.tif").path)
        print(name, result[name])
    print(write("radar", result))


def _scores(path: Path) -> dict[str, Any]:
    with rasterio.open(path) as raster:
        layers, names = raster.read(), raster.descriptions
        slides = gpd.read_file(EXAMPLE / "landslides.gpkg").to_crs(raster.crs)
        truth = rasterize(slides.geometry, raster.shape, transform=raster.transform) > 0
    known = np.isfinite(layers[-1])
    changed = known & (layers[-1] >= THRESHOLD)
    auc = {}
    for name, layer in zip(names, layers, strict=True):
        seen = np.isfinite(layer)
        auc[name] = round(float(roc_auc_score(truth[seen], np.abs(layer[seen]))), 3)
    return {
        "auc": auc,
        "changed_share": round(float(changed[known].mean()), 4),
        "landslide_share": round(float(truth[known].mean()), 4),
        "landslide_share_of_changed": round(float(truth[changed].mean()), 4),
        "changed_share_of_landslides": round(float(changed[truth].mean()), 4),
    }


if __name__ == "__main__":
    main()

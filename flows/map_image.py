"""Mapping one raster for somebody who has neither an event nor a database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flows.progress import report
from models.weights import load
from tasks.errors import CatalogError
from tasks.imagery.folder import read_folder
from tasks.imagery.mosaic import prepare_mosaic
from tasks.inventory.export import export_inventory
from tasks.mapping.attributes import measure, with_scenes
from tasks.mapping.segment import segment_scene
from tasks.mapping.vectorise import landslide_polygons, write_mask
from tasks.mapping.windows import WindowPlan
from tasks.types import AreaOfInterest


@dataclass(frozen=True)
class MappedImage:
    """Where the results lie and what they hold."""

    folder: Path
    score: Path
    mask: Path
    polygons: Path
    landslides: int
    area_m2: float


def map_image(
    image: Path,
    out: Path,
    weights: str,
    threshold: float | None = None,
    minimum_mapping_unit_m2: float = 300.0,
    window_px: int = 512,
) -> MappedImage:
    """Score an image, threshold it and outline the landslides into `out`.

    Raises:
        RasterError, CatalogError: the image cannot be used.
        ModelError: the weights cannot be used.
        StorageError: `out` cannot be written.
    """
    network, card = load(weights)
    level = threshold or card.threshold
    scenes = read_folder(image)
    if len(scenes) != 1:
        raise CatalogError(f"{image} holds {len(scenes)} images; name one of them")
    scene = scenes[0]
    mosaic = prepare_mosaic([scene], AreaOfInterest(scene.footprint, "given"), out)
    plan = WindowPlan(window_px, window_px // 8)
    tags = {"SCARP_WEIGHTS": card.digest, "SCARP_IMAGE": scene.checksum}
    score = segment_scene(
        mosaic.path,
        network,
        card,
        out / "score.tif",
        plan=plan,
        tags=tags,
        progress=partial(report, "mapping landslides"),
    )
    mask = write_mask(score, out / "mask.tif", level, tags)
    found = landslide_polygons(score, level, minimum_mapping_unit_m2, scene.footprint)
    landslides = with_scenes(measure(found, None), mosaic)
    polygons = export_inventory(landslides, mosaic.observed, out / "landslides.gpkg")
    return MappedImage(
        out, score, mask, polygons, len(landslides), float(landslides["area_m2"].sum())
    )

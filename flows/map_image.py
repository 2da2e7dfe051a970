"""Mapping one raster for somebody who has neither an event nor a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import shapely

from flows.cluster import scorer
from flows.progress import report
from flows.weights import locate_weights
from models.folding import load_folded
from tasks.errors import BadInputError, ScarpError
from tasks.events.aoi import as_multipolygon
from tasks.imagery.folder import read_folder
from tasks.imagery.mosaic import prepare_mosaic
from tasks.imagery.rasters import source_path
from tasks.inventory.export import export_inventory
from tasks.inventory.seen import seen_share
from tasks.mapping.attributes import measure, with_scenes
from tasks.mapping.screens import check_screens, parse_screens, screen
from tasks.mapping.segment import segment_scene
from tasks.mapping.sureness import sureness_doubts
from tasks.mapping.vectorise import landslide_polygons, write_mask
from tasks.mapping.windows import WindowPlan
from tasks.susceptibility.factors import check_dem
from tasks.types import AreaOfInterest, Doubt, Mosaic, Scene, Screening, geodesic_area_m2

RASTERS = ("mosaic.tif", "scene_index.tif", "score.tif", "mask.tif", "disagreement.tif")


@dataclass(frozen=True)
class MappedImage:
    """Where the results lie and what they hold.

    `observed_km2` is the ground that was seen, `observed_share` its part of the images, 0-1;
    `refused` says of each file of a folder that was left out why, `doubts` what is to be taken
    with care.
    """

    folder: Path
    score: Path
    mask: Path
    disagreement: Path | None
    polygons: Path
    landslides: int
    area_m2: float
    observed_km2: float
    observed_share: float
    screens: tuple[Screening, ...]
    refused: tuple[str, ...]
    doubts: tuple[Doubt, ...]


def map_image(
    images: Sequence[Path],
    out: Path,
    weights: str,
    plan: WindowPlan,
    threshold: float | None = None,
    minimum_mapping_unit_m2: float = 300.0,
    disagreement: bool = False,
    device: str = "cpu",
    dem: Path | None = None,
    screens: Sequence[str] = (),
) -> MappedImage:
    """Score images, threshold the score and outline the landslides into `out`.

    Args:
        images: GeoTIFFs or folders of them; several make one mosaic, the first on top. A file of a
            folder that cannot be used is left out.
        out: folder of the results.
        weights: name or path.
        plan: how the network is led over the image.
        threshold: score of a landslide; None for the weights' own.
        minimum_mapping_unit_m2: smallest landslide kept.
        disagreement: write also where overlapping windows disagree.
        device: where the network runs, as torch names it.
        dem: elevation raster in metres, for relief and the slope screen.
        screens: what may set an outline aside, as `tasks.mapping.screens.parse_screen` reads it.

    Raises:
        BadInputError: the device cannot be used, or a result would replace an image.
        RasterError, CatalogError: an image or the DEM cannot be used.
        ScreenError: a screen is misspelt or its layer cannot be used.
        ModelError: the weights cannot be used.
        StorageError: `out` cannot be written.
    """
    asked = parse_screens(screens, dem)
    network, card = load_folded(locate_weights(weights))
    level = threshold or card.threshold
    found = [read_folder(image) for image in images]
    scenes = [scene for one in found for scene in one.scenes]
    _check_out(scenes, out)
    ground = as_multipolygon(shapely.union_all([scene.footprint for scene in scenes]))
    check_screens(asked, ground)
    if dem:
        check_dem(dem, ground)
    mosaic = _mosaic(scenes, AreaOfInterest(ground, "given"), out)
    tags = {
        "SCARP_WEIGHTS": card.digest,
        "SCARP_IMAGE": " ".join(scene.checksum for scene in scenes),
    }
    unsure = out / "disagreement.tif" if disagreement else None
    with scorer() as score_bands:
        score = segment_scene(
            mosaic.path,
            network,
            card,
            out / "score.tif",
            plan=plan,
            tags=tags,
            progress=partial(report, "mapping landslides"),
            disagreement=unsure,
            device=device,
            scorer=score_bands,
        )
    if unsure is None:
        # One of an earlier run tells of another score.
        (out / "disagreement.tif").unlink(missing_ok=True)
    mask = write_mask(score, out / "mask.tif", level, tags)
    outlines = landslide_polygons(score, level, minimum_mapping_unit_m2, ground)
    judged, record = screen(with_scenes(measure(outlines, dem), mosaic), asked)
    standing = judged["screened_by"].isna()
    landslides = judged[standing].drop(columns=["screened_by", "screen_reason"])
    polygons = export_inventory(
        landslides, mosaic.observed, out / "landslides.gpkg", screened=judged[~standing]
    )
    area_m2 = float(landslides["area_m2"].sum())
    return MappedImage(
        out,
        score,
        mask,
        unsure,
        polygons,
        len(landslides),
        area_m2,
        geodesic_area_m2(mosaic.observed) / 1e6,
        seen_share(ground, mosaic.observed),
        record,
        tuple(judgement.reason for one in found for judgement in one.refused),
        tuple(sureness_doubts(score, card)),
    )


def _check_out(scenes: Sequence[Scene], out: Path) -> None:
    """Refuse a folder in which a result would replace an image."""
    results = {str((out / name).resolve()) for name in RASTERS}
    for scene in scenes:
        if str(Path(image := source_path(scene.hrefs["red"])).resolve()) in results:
            raise BadInputError(
                f"--out {out}: a result would replace the image {image}; choose another folder"
            )


def _mosaic(scenes: Sequence[Scene], aoi: AreaOfInterest, out: Path) -> Mosaic:
    """The mosaic of images; a folder made for those that are refused is not left behind."""
    made_here = not out.exists()
    try:
        return prepare_mosaic(scenes, aoi, out)
    except ScarpError:
        if made_here and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        raise

"""Any GeoTIFF with polygons of its landslides, as tiles to learn from or to judge on."""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from models.cards import Card
from models.datasets import listed
from models.errors import ModelError
from models.normalisation import Statistics
from models.pictures import opened, read_image, size_in_file
from models.samples import Entry, Sample, Split, tiles_of
from tasks.inventory.polygon_files import read_features
from tasks.mapping.source import open_source

POLYGONS = (".gpkg", ".geojson", ".shp", ".fgb")
# Layers by name, the first that are there; those in one bracket belong together: a landslide is
# where the ground broke away and where it came to lie.
Layers = tuple[tuple[str, ...], ...]
LANDSLIDES: Layers = (("landslides",), ("scars", "deposits"))
LOOKED_AT: Layers = (("observed_area",), ("observed",), ("interpreted_area",))
# Events by which Scarp is judged; no weights may learn from them.
TEST_EVENTS = ("hokkaido2018",)
# Cuts a side that are one group: of single cuts held out all neighbours would be learnt from.
_GROUP = 2


def scenes(
    folder: Path,
    size: int = 512,
    source: str = "scenes",
    split: Split = "train",
    event: str = "",
) -> list[Entry]:
    """Cuts of every GeoTIFF of a folder, with the landslides drawn in it.

    The polygons are those of the same stem, else the only polygon file of the folder. Of several
    layers `landslides`, or else `scars` and `deposits`, are meant, and `observed_area` or
    `interpreted_area` is where somebody looked; without, that is the whole image. Cuts that nobody
    saw are left out. A tile is normalised by its scene; of more than four, two by two are a group.

    Args:
        folder: of GeoTIFFs and polygon files.
        size: longest side of a cut in pixels; cuts do not overlap.
        source: what to call the dataset.
        split: of all cuts.
        event: what triggered the landslides; empty for the file's stem.

    Raises:
        ModelError: there is no GeoTIFF, one has no polygons or no CRS, or it cannot be read.
    """
    images = images_of(folder)
    entries = []
    for image in images:
        polygons = polygons_of(image)
        looked = drawn(polygons, image, LOOKED_AT)
        places = tiles_of(size_in_file(image), size)
        columns = len({place[1].start for place in places})
        side = _GROUP if len(places) > _GROUP**2 else 1
        for number, place in enumerate(places):
            seen = read_image(image, place=place).valid
            if not (seen if looked is None else seen & looked[place]).any():
                continue
            name = f"{image.stem}/{place[0].start}-{place[1].start}"
            of = event or image.stem
            read = partial(_read, image, polygons, place, source, split, of)
            row, column = divmod(number, columns)
            group = f"{image.stem}/{row // side}-{column // side}"
            entries.append(Entry(name, read, of, source, split, group))
    return entries


def images_of(folder: Path) -> list[Path]:
    """The GeoTIFFs of a folder.

    Raises:
        ModelError: there is none, or two have one stem.
    """
    images = [p for p in listed(folder) if p.suffix.lower() in (".tif", ".tiff")]
    if not images:
        raise ModelError(f"{folder}: holds no GeoTIFF with polygons beside it")
    for one, other in pairwise(images):
        if one.stem == other.stem:
            raise ModelError(f"{other} and {one.name} have one stem; keep one of them")
    return images


def hokkaido2018(folder: Path) -> list[Entry]:
    """The scene and inventory of Hokkaido, September 2018: a test event, never to train on."""
    return scenes(folder, source="hokkaido2018", split="test", event="us2000h8ty")


def _read(
    image: Path, polygons: Path, place: tuple[slice, slice], source: str, split: Split, event: str
) -> Sample:
    picture = read_image(image, place=place)
    landslides = drawn(polygons, image, LANDSLIDES)
    looked = drawn(polygons, image, LOOKED_AT)
    if landslides is None:
        raise ModelError(f"{polygons}: holds no layer of landslides")
    # By an inventory of other ground all of this would be ground without landslides.
    if not (landslides if looked is None else looked).any():
        raise ModelError(
            f"{polygons}: covers no pixel of {image}; give polygons of the same ground, or a layer "
            "observed_area that says where nothing was found"
        )
    valid = picture.valid if looked is None else picture.valid & looked[place]
    return Sample(
        f"{image}[{place[0].start}:, {place[1].start}:]", picture.pixels,
        landslides[place] & valid, valid, picture.bands, picture.gsd_m, event, source, split,
        picture.footprint, partial(scene_statistics, image),
    )  # fmt: skip


@lru_cache(maxsize=16)
def scene_statistics(
    image: Path, bands: tuple[str, ...], gsd_range_m: tuple[float, float]
) -> Statistics:
    """What `scarp map` would normalise a scene by, at the resolution the network looks at."""
    card = Card("any", "", {}, bands, gsd_range_m, "", "", ())
    with open_source(image, card) as source:
        return source.statistics()


def polygons_of(image: Path) -> Path:
    """The file of polygons that belongs to an image.

    Raises:
        ModelError: there is none, or nobody can say which.
    """
    every = [p for p in listed(image.parent) if p.suffix.lower() in POLYGONS]
    beside = [p for p in every if p.stem == image.stem]
    found = sorted(beside, key=lambda p: POLYGONS.index(p.suffix.lower()))
    if not found and len(every) != 1:
        raise ModelError(
            f"{image}: has no polygons {image.stem}{'/'.join(POLYGONS)} beside it"
            + (f" and {image.parent} holds several files of polygons" if every else "")
        )
    return (found or every)[0]


@lru_cache(maxsize=4)
def drawn(polygons: Path, image: Path, layers: Layers) -> NDArray[np.bool_] | None:
    """Where outlines cover a pixel's centre, bool (h, w); None without such a layer.

    Raises:
        ModelError: the image has no CRS.
    """
    shapes = outlines(polygons, image, layers)
    if shapes is None:
        return None
    with opened(image) as dataset:
        shape, transform = dataset.shape, dataset.transform
    if not shapes:
        return np.zeros(shape, bool)
    burnt = rasterize(shapes, shape, transform=Affine(*transform[:6]), dtype="uint8")
    return np.asarray(burnt > 0)


def outlines(polygons: Path, image: Path, layers: Layers) -> list[BaseGeometry] | None:
    """Outlines of the first of `layers` that are there, in the image's CRS; None if none is.

    A file with a single layer holds landslides, whatever it is called.

    Raises:
        ModelError: the image or the layer has no CRS, or the file or a feature is none of polygons.
    """
    info_of = _layers(polygons)
    names = list(info_of)
    there = ([name for name in together if name in names] for together in layers)
    wanted = next((found for found in there if found), [])
    if not wanted and layers == LANDSLIDES and len(names) == 1:
        wanted = names
    if not wanted:
        return None
    with opened(image) as dataset:
        if dataset.crs is None:
            raise ModelError(f"{image}: has no CRS, so that polygons cannot be drawn in it")
        crs = dataset.crs.to_wkt()
    for name in wanted:
        if info_of[name]["crs"] is None:
            raise ModelError(
                f"{polygons}, layer {name}, has no CRS; put a copy in its place that has the one "
                f"it was drawn in (ogr2ogr -a_srs EPSG:4326 COPY {polygons.name})"
            )
    # Nothing drawn is an answer where somebody looked; as an inventory it would be refused.
    filled = [name for name in wanted if info_of[name]["features"]]
    frames: list[gpd.GeoDataFrame] = [read_features(polygons, name).frame for name in filled]
    every = (outline for frame in frames for outline in frame.to_crs(crs).geometry)
    found = [outline for outline in every if outline and not outline.is_empty]
    odd = next((o.geom_type for o in found if shapely.get_dimensions(o) < 2), "")
    if odd:
        raise ModelError(
            f"{polygons}, layer {' or '.join(wanted)}, holds a {odd}, which covers no ground; give "
            "outlines (polygons)"
        )
    return found


def _layers(polygons: Path) -> dict[str, dict[str, Any]]:
    """The layers of a file by name, each with its `crs`, or None, and number of `features`."""
    try:
        names = [str(name) for name, _ in pyogrio.list_layers(polygons)]
        return {name: pyogrio.read_info(polygons, layer=name) for name in names}
    except (DataSourceError, DataLayerError) as error:
        why = str(error).split(";")[0].splitlines()[0].rstrip(".")
        raise ModelError(f"{polygons}: is no file of polygons ({why}); export it again") from error

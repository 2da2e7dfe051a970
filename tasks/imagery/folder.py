"""Scenes from GeoTIFF files that somebody has at hand: one file is one scene."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader
from rasterio.windows import Window
from shapely.geometry import MultiPolygon, box

from models.ground import ground_sample_m
from models.pictures import band_numbers
from tasks.errors import CatalogError, RasterError, ScarpError
from tasks.events.aoi import continuous_longitudes, split_at_antimeridian
from tasks.files import file_sha256
from tasks.imagery.clouds import middle
from tasks.imagery.protocol import Found, Span
from tasks.imagery.rasters import band_href, open_raster, read_errors
from tasks.imagery.viewing import off_nadir_deg, sun_elevation_deg
from tasks.types import AreaOfInterest, Scene, SceneJudgement

SUFFIXES = (".tif", ".tiff")
NEEDED = ("red", "green", "blue")
# Masks that are one band of an image; a UDM2 is a file of its own.
MASKS_INSIDE = ("scl", "qa_pixel", "fmask")
WANTED = (*NEEDED, "nir", *MASKS_INSIDE)
# What band descriptions say, lower case, for each wanted band.
DESCRIPTIONS = {
    "red": ("red", "b04", "b4"),
    "green": ("green", "b03", "b3"),
    "blue": ("blue", "b02", "b2"),
    "nir": ("nir", "b08", "b8", "near infrared", "near-infrared"),
} | {mask: (mask,) for mask in MASKS_INSIDE}
UDM2 = "_udm2"
COLOURS = {
    ColorInterp.red: "red",
    ColorInterp.green: "green",
    ColorInterp.blue: "blue",
}
# Band order by Planet's product specification, for files that carry the product's name.
PLANETSCOPE = {
    4: ("blue", "green", "red", "nir"),
    8: ("coastal", "blue", "green_i", "green", "yellow", "red", "rededge", "nir"),
}
# Fields that say when the satellite looked, best first. TIFFTAG_DATETIME comes after the file's
# name: editors set it to the time of the last change.
SIDECAR_FIELDS = ("acquired", "datetime", "start_datetime", "acquired_at")
TAG_FIELDS = ("ACQUISITION_DATETIME", "ACQUISITIONDATETIME", "ACQUISITION_DATE", "ACQUISITIONDATE")
_NAME_DATE = re.compile(
    r"(?<!\d)(20\d\d|19\d\d)([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[T_-]?([01]\d|2[0-3])[:-]?([0-5]\d)[:-]?([0-5]\d))?(?!\d)"
)


@dataclass(frozen=True)
class FolderSource:
    """A GeoTIFF, or a folder of them (see `read_folder`)."""

    path: Path
    paid: bool = False

    def search(self, aoi: AreaOfInterest, span: Span) -> Found:
        """Find the images that meet an area in a span of time; in an empty folder there are none.

        Images without a date are among them, last: the operator who names a file says that it is
        of the event. If none meets the area, all are refused.

        Raises:
            CatalogError, RasterError: see `read_folder`.
        """
        # Where none lies yet some may come, as in a catalog.
        found = read_folder(self.path) if _images(self.path) else Found(())
        read, refused = found.scenes, list(found.refused)
        near = [scene for scene in read if scene.footprint.intersects(aoi.geometry)]
        if not near:
            place = _degrees(aoi.geometry)
            for scene in read:
                reason = f"It lies round {_degrees(scene.footprint)}, the area round {place}."
                refused.append(SceneJudgement(scene, None, False, reason))
        scenes = [scene for scene in near if span.holds(scene.acquired_at)]
        scenes.sort(key=lambda scene: (scene.acquired_at or span.end, scene.id))
        return Found(tuple(scenes), tuple(refused))

    def fetch(self, scenes: Sequence[Scene], aoi: AreaOfInterest) -> Found:
        """Nothing is fetched: the images are at hand."""
        return Found(tuple(scenes))


def read_folder(path: Path) -> Found:
    """Take a GeoTIFF, or every GeoTIFF of a folder, as scenes.

    A file of a folder that cannot be used is refused with its reason, and the others go on.

    The time of acquisition comes from a JSON sidecar of the same stem (`acquired` or `datetime`,
    at the top or under `properties`), an ACQUISITION tag, the file's name, or TIFFTAG_DATETIME, in
    this order, and is UTC where no zone is given; otherwise it is None. Bands are known by their
    descriptions, else by PlanetScope's AnalyticMS order where the name says AnalyticMS, else by
    their colour interpretation; three 8-bit bands that say nothing are red, green and blue. A file
    named `…_udm2….tif` is the cloud mask of the image whose name begins alike.

    Args:
        path: a GeoTIFF or a folder; files in folders below it are not looked at.

    Returns:
        One scene an image, in order of file name, called by its stem, or by its whole name where
        others of the folder have that stem too.

    Raises:
        CatalogError: the path does not exist, the folder holds no GeoTIFF, or as the next.
        RasterError: the file, or each of the folder, is no raster, is cut, has no CRS, holds
            complex numbers, or does not say which of three bands or more are red, green and blue.
    """
    read: list[Scene] = []
    refused: list[SceneJudgement] = []
    errors: list[ScarpError] = []
    images = _images(path)
    if not images:
        raise CatalogError(f"{path} holds no GeoTIFF (.tif) of colours; give a folder of images")
    alike = Counter(file.stem for file in images)
    for file in images:
        name = file.stem if alike[file.stem] == 1 else file.name
        try:
            read.append(_scene(file, name))
        except (CatalogError, RasterError) as error:
            errors.append(error)
            refused.append(SceneJudgement(_unread(file, name), None, False, str(error)))
    if errors and not read:
        raise errors[0]
    return Found(tuple(read), tuple(refused))


def _images(path: Path) -> list[Path]:
    """The GeoTIFFs of colours that a path names; none in a folder without any."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    else:
        raise CatalogError(f"{path} does not exist; give a GeoTIFF, a folder or a STAC catalog")
    images = [file for file in files if path.is_file() or UDM2 not in file.stem.lower()]
    return [file.absolute() for file in images]


def _unread(path: Path, name: str) -> Scene:
    """What is known of an image that cannot be used."""
    return Scene(
        id=name, provider="file", collection=path.parent.name, item_id=path.name,
        acquired_at=None, gsd_m=0.0, bands=(), crs="", footprint=MultiPolygon(), hrefs={},
    )  # fmt: skip


def _degrees(area: MultiPolygon) -> str:
    longitude, latitude = middle(area)
    return f"{abs(latitude):.2f}°{'NS'[latitude < 0]} {abs(longitude):.2f}°{'EW'[longitude < 0]}"


def _mask_of(path: Path) -> Path | None:
    """The UDM2 file beside an image whose name begins alike, the one that shares most of it."""
    masks: dict[int, Path] = {}
    for file in sorted(path.parent.iterdir()):
        scene, is_mask, _ = file.stem.lower().partition(UDM2)
        if not is_mask or file == path or file.suffix.lower() not in SUFFIXES:
            continue
        if path.stem.lower().startswith(f"{scene}_"):
            masks.setdefault(len(scene), file)
    return masks[max(masks)] if masks else None


def _checksum(path: Path, mask: Path | None) -> str:
    """SHA-256 of an image, or of those of the image and its mask."""
    digest = file_sha256(path)
    if mask is None:
        return digest
    return hashlib.sha256(f"{digest} {file_sha256(mask)}".encode()).hexdigest()


def _scene(path: Path, name: str) -> Scene:
    mask, properties = _mask_of(path), _fields(path)
    with open_raster(str(path), f"scene {name}") as dataset:
        bands = _bands(dataset, path)
        _check_end(dataset, path)
        return Scene(
            id=name,
            provider="file",
            collection=path.parent.name,
            item_id=path.name,
            acquired_at=_acquired_at(dataset, path),
            gsd_m=ground_sample_m(dataset),
            bands=(*bands, "udm2") if mask else tuple(bands),
            crs=dataset.crs.to_string(),
            footprint=_outline(dataset),
            hrefs={
                name: band_href(str(path), bands=(number, *_alpha(dataset)))
                for name, number in bands.items()
            }
            | ({"udm2": str(mask)} if mask else {}),
            checksum=_checksum(path, mask),
            sun_elevation_deg=sun_elevation_deg(properties),
            off_nadir_deg=off_nadir_deg(properties),
        )


def _check_end(dataset: DatasetReader, path: Path) -> None:
    """Refuse an image that is still being copied, or was cut: its overviews may yet be whole."""
    rows, cols = dataset.block_shapes[-1]
    top = (dataset.height - 1) // rows * rows
    left = (dataset.width - 1) // cols * cols
    last = Window(left, top, dataset.width - left, dataset.height - top)
    with read_errors(f"scene {path.stem}", str(path)):
        dataset.read(dataset.count, window=last)


def _fields(path: Path) -> dict[str, Any]:
    """What a sidecar says, at the top or under `properties`."""
    sidecar = _sidecar(path)
    nested = sidecar.get("properties")
    return sidecar | (nested if isinstance(nested, dict) else {})


def _alpha(dataset: DatasetReader) -> tuple[int, ...]:
    """Number of the alpha band, which says where the image has data, if there is one."""
    return tuple(
        number
        for number, colour in enumerate(dataset.colorinterp, start=1)
        if colour is ColorInterp.alpha
    )


def _bands(dataset: DatasetReader, path: Path) -> dict[str, int]:
    """Number of each wanted band, 1-based."""
    if any(kind.startswith("complex") for kind in dataset.dtypes):
        raise RasterError(
            f"scene {path.stem}: {path} holds complex numbers ({dataset.dtypes[0]}), as radar "
            "does; give an image of red, green and blue"
        )
    if dataset.count < len(NEEDED):
        raise RasterError(
            f"scene {path.stem}: {path} has {dataset.count} band{'s' * (dataset.count > 1)}; "
            "mapping needs three, red, green and blue"
        )
    names = next(filter(_complete, _guesses(dataset, path)), None)
    if names is None:
        raise RasterError(
            f"scene {path.stem}: {path} does not say which of its {dataset.count} bands are red, "
            "green and blue; set band descriptions (gdal_edit.py -colorinterp_1 red …)"
        )
    return {band: names.index(band) + 1 for band in WANTED if band in names}


def _guesses(dataset: DatasetReader, path: Path) -> Iterator[tuple[str, ...]]:
    """Names of the bands in file order, from the surest source to the least sure."""
    described = [str(text or "").strip().lower() for text in dataset.descriptions]
    known = {alias: band for band, aliases in DESCRIPTIONS.items() for alias in aliases}
    by_description = tuple(known.get(text, text) for text in described)
    by_colour = tuple(COLOURS.get(colour, "") for colour in dataset.colorinterp)
    yield by_description
    # Planet's own files colour their first band red, which is blue.
    if "analyticms" in path.stem.lower().replace("_", ""):
        yield PLANETSCOPE.get(dataset.count, ())
    # A file that colours red, green and blue may still describe its infrared band.
    yield tuple(a or b for a, b in zip(by_colour, by_description, strict=True))
    # Satellites' deeper files are as often blue first or infrared first, and no label tells a map
    # of the wrong bands from a right one, as it does where a network is judged.
    if set(dataset.dtypes) == {"uint8"}:
        numbers = band_numbers(dataset)
        yield tuple(numbers.get(number, "") for number in range(1, dataset.count + 1))


def _complete(names: tuple[str, ...]) -> bool:
    return set(NEEDED) <= set(names)


def _acquired_at(dataset: DatasetReader, path: Path) -> datetime | None:
    for text in _dates(dataset, path):
        moment = _parse(text)
        if moment is not None:
            return moment
    return None


def _dates(dataset: DatasetReader, path: Path) -> Iterator[str]:
    sidecar = _sidecar(path)
    for fields in (sidecar, sidecar.get("properties")):
        if isinstance(fields, dict):
            yield from (str(fields[name]) for name in SIDECAR_FIELDS if fields.get(name))
    tags = {name.upper(): text for name, text in dataset.tags().items()}
    tags |= {name.upper(): text for name, text in dataset.tags(ns="IMAGERY").items()}
    yield from (tags[name] for name in TAG_FIELDS if name in tags)
    for year, _, month, day, *clock in _NAME_DATE.findall(path.stem):
        yield f"{year}-{month}-{day}" + (f"T{':'.join(clock)}" if all(clock) else "")
    if "TIFFTAG_DATETIME" in tags:
        yield tags["TIFFTAG_DATETIME"].replace(":", "-", 2)


def _sidecar(path: Path) -> dict[str, Any]:
    """The JSON file beside an image, if there is one."""
    sidecar = path.with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CatalogError(
            f"{sidecar} cannot be read: {error.strerror}; mend or remove it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"{sidecar} is not whole JSON: {error}; mend or remove it") from error
    return content if isinstance(content, dict) else {}


def _parse(text: str) -> datetime | None:
    """A time in UTC, or None where the text is not one."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _outline(dataset: DatasetReader) -> MultiPolygon:
    """The raster's rectangle in EPSG:4326, its sides densified so that they stay where they are."""
    corners = box(0, 0, dataset.width, dataset.height)
    dense = shapely.segmentize(corners, max(dataset.width, dataset.height) / 16)
    on_ground = shapely.transform(
        dense, lambda xy: shapely.get_coordinates([_at(dataset, x, y) for x, y in xy])
    )
    try:
        to_wgs84 = Transformer.from_crs(CRS(dataset.crs.to_wkt()), "EPSG:4326", always_xy=True)
    except ProjError as error:
        name = CRS(dataset.crs.to_wkt()).name
        raise RasterError(
            f"{dataset.name}: its CRS {name!r} does not say where on earth it lies; assign the one "
            "it was surveyed in (gdal_edit.py -a_srs EPSG:…)"
        ) from error
    degrees = shapely.transform(on_ground, to_wgs84.transform, interleaved=False)
    return split_at_antimeridian(continuous_longitudes(degrees))


def _at(dataset: DatasetReader, column: float, row: float) -> shapely.Point:
    return shapely.Point(dataset.transform @ (column, row))

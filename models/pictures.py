"""Image and mask files as arrays: GeoTIFF, PNG and JPEG, with or without a place on the ground."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform as reprojected
from rasterio.windows import Window

from models.errors import ModelError
from models.ground import ground_sample_m
from models.normalisation import Statistics
from models.samples import RGB, Entry, Footprint, Sample, as_mask, size_of

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_STATISTICS_PX = 1024
# What JPEG blurs black and white into: nothing near the middle but at the edges.
_JPEG_DARK, _JPEG_BRIGHT, _JPEG_UNSURE = 64, 192, 0.02


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """A raster, opened; whatever is wrong with it is said with its name.

    Raises:
        ModelError: there is no such file, it is truncated or no image, or shown turned.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            # Else libjpeg fills what is missing of a truncated picture with grey.
            with (
                rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True, GDAL_PAM_ENABLED=False),
                rasterio.open(path) as dataset,
            ):
                if dataset.driver == "PNG" and not _png_ends(path):
                    raise ModelError(f"{path}: is truncated or not an image; fetch it again")
                _check_upright(path, dataset)
                yield dataset
        except RasterioError as error:
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise ModelError(
                f"{path}: is truncated or not an image ({reason}); fetch it again"
            ) from error


def _check_upright(path: Path, dataset: DatasetReader) -> None:
    """See that a photograph is stored as it is shown: its mask may have been drawn either way.

    Raises:
        ModelError: its EXIF data say that it is to be turned or mirrored.
    """
    turned = dataset.tags().get("EXIF_Orientation", "1") if dataset.driver == "JPEG" else "1"
    if turned not in ("0", "1"):
        raise ModelError(
            f"{path}: is shown turned against how it is stored (EXIF orientation {turned}), so "
            "that nobody can say which of both a mask fits; store it as it is shown "
            "(jpegtran, exiftran -ai)"
        )


def _png_ends(path: Path) -> bool:
    """Whether a PNG has its last chunk; what is missing of one without would be read as black."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        return b"IEND" in file.read()


@dataclass(frozen=True)
class Picture:
    """An image file, or a part of it.

    Pixels are (bands, h, w), `valid` says where somebody looked (h, w), `bands` are the names
    without an alpha band; the pixel size and the footprint are None without a CRS.
    """

    pixels: NDArray[Any]
    valid: NDArray[np.bool_]
    bands: tuple[str, ...]
    gsd_m: float | None
    footprint: Footprint | None


def read_image(
    path: Path, bands: Sequence[str] = (), place: tuple[slice, slice] | None = None
) -> Picture:
    """Pixels of an image file.

    Args:
        path: the file.
        bands: common names of its bands; empty for the names in the file, or its colours. Three
            bands that nothing is said of are red, green and blue.
        place: rows and columns wanted; None for all.

    Raises:
        ModelError: the file cannot be read, holds complex numbers, or has other bands than named.
    """
    with opened(path) as dataset:
        if any(kind.startswith("complex") for kind in dataset.dtypes):
            raise ModelError(
                f"{path}: holds complex numbers ({dataset.dtypes[0]}), as radar does; give an "
                "optical image"
            )
        names = tuple(bands) or tuple(band_numbers(dataset).values())
        every = list(range(1, dataset.count + 1))
        alpha = [i for i in every if dataset.colorinterp[i - 1].name == "alpha"]
        # GDAL takes the fourth band of a plain picture for alpha, whatever it is.
        plain = every if len(names) == dataset.count else [i for i in every if i not in alpha]
        if len(plain) != len(names):
            raise ModelError(
                f"{path}: has {len(plain)} bands, not {len(names)} ({', '.join(names)})"
            )
        window = None if place is None else Window.from_slices(*place)
        pixels = dataset.read(plain, window=window)
        if set(alpha) <= set(plain) and alpha:
            seen = np.ones(pixels.shape[1:], bool)
        else:
            seen = dataset.dataset_mask(window=window) > 0
        if dataset.nodata is not None and np.isnan(dataset.nodata):
            seen &= np.isfinite(pixels).all(axis=0)
        return Picture(pixels, seen, names, gsd_of(dataset), _footprint(dataset, window))


@lru_cache(maxsize=64)
def picture_statistics(
    path: Path, names: tuple[str, ...], seen: Callable[[NDArray[Any]], NDArray[np.bool_]] | None,
    bands: tuple[str, ...], gsd_range_m: tuple[float, float],
) -> Statistics:  # fmt: skip
    """Statistics of a picture that tiles are cut from, as `models.samples.SceneStatistics` has it.

    Of about a million of its pixels, as it has them: nobody may know how large they are.

    Args:
        path: the picture.
        names: of its bands.
        seen: what says where somebody looked, bool (h, w) of pixels (bands, h, w); None where the
            file does.
        bands: those wanted.
        gsd_range_m: not heeded.

    Raises:
        ModelError: it cannot be read.
    """
    picture = read_image(path, names)
    thin = -(-max(picture.valid.shape) // _STATISTICS_PX)
    pixels, valid = picture.pixels[:, ::thin, ::thin], picture.valid[::thin, ::thin]
    valid = valid & seen(pixels) if seen else valid
    return Statistics.of(pixels[[names.index(band) for band in bands]][:, valid])


def size_in_file(path: Path) -> tuple[int, int]:
    """Rows and columns of an image file.

    Raises:
        ModelError: the file cannot be read.
    """
    with opened(path) as dataset:
        rows, columns = dataset.shape
    return rows, columns


def read_mask(
    path: Path, place: tuple[slice, slice] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Landslides of a mask file, or of the rows and columns wanted; and where somebody looked.

    Both are bool (h, w).

    Raises:
        ModelError: the file cannot be read, holds other values than 0 and 1 or 0 and 255, declares
            0, or the only value that may be landslide in all its folder, as nodata, so that nobody
            can tell it from unseen ground, or draws landslides black, so that nobody can tell them
            from the ground.
    """
    with opened(path) as dataset:
        _check_nodata(path, dataset.nodata)
        window = None if place is None else Window.from_slices(*place)
        layers = dataset.read(window=window)
        valid = dataset.dataset_mask(window=window) > 0
        jpeg = dataset.driver == "JPEG"
        alpha = dataset.colorinterp[-1].name == "alpha"
        palette = dataset.colormap(1) if dataset.colorinterp[0].name == "palette" else {}
    layers = layers[:-1] if alpha and len(layers) > 1 else layers
    if not jpeg and any((layer != layers[0]).any() for layer in layers[1:]):
        raise ModelError(f"{path}: is a coloured picture, not a mask; give one band of 0 and 1")
    _check_colours(path, palette)
    values = layers[0]
    if jpeg and values.max(initial=0) > 1:
        unsure = (values >= _JPEG_DARK) & (values < _JPEG_BRIGHT)
        if values.max() >= _JPEG_BRIGHT and unsure.mean() <= _JPEG_UNSURE:
            values = np.where(values > 127, 255, 0)
    return as_mask(np.where(valid, values, 0), path) & valid, valid


def _check_nodata(path: Path, nodata: float | None) -> None:
    """See that what a mask declares as nodata means nothing else.

    Raises:
        ModelError: it may mean no landslide, or landslide.
    """
    if nodata == 0:
        raise ModelError(
            f"{path}: the mask declares nodata 0, so that no landslide and nobody looked are "
            "the same value; remove it (gdal_edit.py -unsetnodata)"
        )
    if nodata not in (1, 255):
        return
    other = 256 - nodata
    held = _values_of(path)
    # Masks of one folder mean the same: what one of them tells apart, one without landslides does.
    if nodata in held and other not in held and not _tell_apart(path.parent, nodata):
        raise ModelError(
            f"{path}: the mask declares nodata {nodata:g} and holds no {other:g}, so that "
            f"{nodata:g} may be landslide or ground nobody looked at; if it is landslide, remove "
            "the nodata (gdal_edit.py -unsetnodata), else give such ground a nodata of its own, "
            "such as 2"
        )


@lru_cache(maxsize=64)
def _values_of(path: Path) -> frozenset[float]:
    """Every value of a mask, whatever part of it is asked for."""
    with opened(path) as dataset:
        blocks = (dataset.read(1, window=window) for _, window in dataset.block_windows(1))
        return frozenset(float(value) for block in blocks for value in np.unique(block))


@lru_cache(maxsize=64)
def _tell_apart(folder: Path, nodata: float) -> bool:
    """Whether some mask of a folder declares this nodata and holds the other of 1 and 255."""
    for path in _pictures_in(folder):
        with opened(path) as dataset:
            declared = dataset.nodata
        if declared == nodata and 256 - nodata in _values_of(path):
            return True
    return False


def _check_colours(path: Path, palette: Mapping[int, tuple[int, ...]]) -> None:
    """See that a mask's colours do not contradict its numbers.

    Programs that reduce a picture to two colours number them as they come, often white first.

    Raises:
        ModelError: what stands for landslide is black, and the ground is not.
    """
    black = (0, 0, 0)
    ground, *landslide = (palette.get(value, black)[:3] for value in (0, 1, 255))
    if ground != black and landslide == [black, black]:
        raise ModelError(
            f"{path}: draws 0 in colour and landslides in black, so that nobody can say which of "
            "both is meant; save it as grey, 0 for no landslide and 255 for landslide"
        )


def read_pair(
    image: Path,
    mask: Path | None,
    bands: Sequence[str] = (),
    gsd_m: float | None = None,
    place: tuple[slice, slice] | None = None,
    **known: Any,
) -> Sample:
    """An image and its mask as one sample named after the image.

    Args:
        image: the file.
        mask: of the same size; None where the image shows no landslide.
        bands: as `read_image` takes them.
        gsd_m: pixel size where the file says none; None where nobody does.
        place: rows and columns wanted; None for all.
        known: event, source, split and scene.

    Raises:
        ModelError: either cannot be read, or they differ in size or lie on other ground.
    """
    picture = read_image(image, bands, place)
    valid = picture.valid
    landslides = np.zeros_like(valid)
    if mask:
        landslides, judged = read_mask(mask, place)
        if valid.shape != landslides.shape:
            raise ModelError(
                f"{image} is {size_of(valid)} and its mask {mask} {size_of(landslides)} pixels; "
                "they must be of the same size"
            )
        if picture.footprint:
            _check_place(image, picture.footprint, mask, place, valid.shape)
        valid = valid & judged
    name = str(image) if place is None else f"{image}[{place[0].start}:, {place[1].start}:]"
    return Sample(
        name, picture.pixels, landslides & valid, valid, picture.bands, picture.gsd_m or gsd_m,
        footprint=picture.footprint, **known,
    )  # fmt: skip


def _check_place(
    image: Path,
    ours: Footprint,
    mask: Path,
    place: tuple[slice, slice] | None,
    shape: tuple[int, ...],
) -> None:
    """See that an image's pixels and its mask's lie on the same ground, as far as both say.

    Raises:
        ModelError: they lie apart by more than a pixel.
    """
    with opened(mask) as dataset:
        theirs = _footprint(dataset, None if place is None else Window.from_slices(*place))
    if theirs is None:
        return
    here, there = np.array(ours), np.array(theirs)
    # The sides along the rows and along the columns, in degrees.
    pixel = (np.abs(here[[1, 3]] - here[0]).max(axis=1) / shape[::-1]).max()
    apart = np.abs(here - there).max()
    if apart > 1.5 * pixel:
        raise ModelError(
            f"{image} and its mask {mask} lie about {apart / pixel:,.0f} pixels apart; give the "
            "mask of the same ground, or both without a CRS"
        )


def pair_entries(
    images: Path, masks: Path, bands: Sequence[str] = (), gsd_m: float | None = None
) -> tuple[list[Entry], list[Path]]:
    """Images and masks of two folders, paired by stem; and the files that have no partner.

    Those of subfolders are paired where both folders hold one of that name, and named after it.

    Raises:
        ModelError: a folder is missing or holds no image, two files share a stem, or no image has
            a mask.
    """
    pictures, truths = by_stem(images, masks), by_stem(masks, images)
    shared = [stem for stem in pictures if stem in truths]
    if not shared:
        raise ModelError(
            f"no image in {images} ({len(pictures)}, such as {next(iter(pictures.values())).name}) "
            f"has a mask of the same stem in {masks} ({len(truths)}, such as "
            f"{next(iter(truths.values())).name})"
        )

    def entry(stem: str) -> Entry:
        return Entry(stem, lambda: read_pair(pictures[stem], truths[stem], bands, gsd_m))

    alone = [path for stem, path in (pictures | truths).items() if stem not in shared]
    return [entry(stem) for stem in shared], alone


def by_stem(folder: Path, beside: Path | None = None) -> dict[str, Path]:
    """The image files of a folder by stem, sorted.

    Args:
        folder: where they lie.
        beside: a folder whose subfolders say which of `folder` are read too; None for none.

    Raises:
        ModelError: there is no such folder, it holds no image, or two with one stem.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder")
    ways = [Path()]
    if beside:
        below = sorted(path.relative_to(folder) for path in folder.rglob("*/"))
        shown = (way for way in below if not any(part.startswith(".") for part in way.parts))
        ways += [way for way in shown if (beside / way).is_dir()]
    found: dict[str, Path] = {}
    for path in (path for way in ways for path in _pictures_in(folder / way)):
        # A Mac writes ü as u and dots, others as one letter; both look the same.
        stem = normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        if stem in found:
            raise ModelError(f"{path} and {found[stem].name} have one stem; keep one of them")
        found[stem] = path
    if not found:
        raise ModelError(f"{folder}: holds no image ({', '.join(SUFFIXES)})")
    return found


def _pictures_in(folder: Path) -> list[Path]:
    every = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in every if not path.name.startswith(".") and not path.is_dir())


def gsd_of(dataset: DatasetReader) -> float | None:
    """Ground size of a pixel in metres; None where the file does not say where it lies."""
    return None if _placeless(dataset) else ground_sample_m(dataset) or None


def _placeless(dataset: DatasetReader) -> bool:
    """Whether a file does not say where on earth it lies, as local grids do not either."""
    crs = dataset.crs
    known = crs is not None and (crs.is_projected or crs.is_geographic)
    return not known or bool(dataset.transform.is_identity)


def _footprint(dataset: DatasetReader, window: Window | None) -> Footprint | None:
    if _placeless(dataset):
        return None
    rows, columns = dataset.shape if window is None else (window.height, window.width)
    grid = dataset.transform if window is None else dataset.window_transform(window)
    corners = [grid * corner for corner in ((0, 0), (columns, 0), (columns, rows), (0, rows))]
    try:
        found = reprojected(dataset.crs, "EPSG:4326", *zip(*corners, strict=True))
    except CPLE_BaseError:  # it lies where its CRS does not reach, which is no place
        return None
    longitudes, latitudes = found[:2]
    # Across the 180th meridian they go on counting.
    east = [x + 360 if max(longitudes) - x > 180 else x for x in longitudes]
    return tuple(zip(east, latitudes, strict=True))


def band_numbers(dataset: DatasetReader) -> dict[int, str]:
    """Name of each band by number, from 1, as described or else coloured; without alpha.

    In small letters, however it is written. Three bands that nothing is said of are red, green and
    blue.
    """
    described = zip(dataset.descriptions, dataset.colorinterp, strict=True)
    every = (((text or colour.name).lower(), colour.name) for text, colour in described)
    names = {n: name for n, (name, colour) in enumerate(every, start=1) if colour != "alpha"}
    if len(names) == 3 and not any(dataset.descriptions) and "red" not in names.values():
        return dict(zip(names, RGB, strict=True))
    return names

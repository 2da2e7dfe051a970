"""What a scene's own mask says of each of its pixels, for every kind of mask there is.

Each kind is turned into one of the `Seen`, so that everything else asks what hides the ground and
never which satellite looked. Where a mask leaves a doubt, the ground counts as not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from tasks.errors import RasterError
from tasks.imagery.rasters import BandOnGrid, source_path
from tasks.types import Scene

COLOURS = ("red", "green", "blue")


class Seen(IntEnum):
    """What a pixel shows: nothing, the ground, or what hides it."""

    NO_DATA = 0
    GROUND = 1
    CLOUD = 2
    HAZE = 3
    SHADE = 4
    SNOW = 5
    UNUSABLE = 6


HIDES = {
    Seen.CLOUD: "cloud",
    Seen.HAZE: "haze",
    Seen.SHADE: "dark or shadow",
    Seen.SNOW: "snow",
    Seen.UNUSABLE: "not usable",
}
_UDM2_BANDS = 8


def _scl(layers: NDArray[Any]) -> NDArray[np.uint8]:
    """Sentinel-2 scene classification (ESA, Sen2Cor 2.11 SUM, table 3).

    Vegetation, bare ground, water and unclassified (4-7) show the ground; a dark or shadowed slope
    (2, 3) does not show whether it slid. Saturated pixels (1) show nothing. 10 is thin cirrus.
    """
    by_class = np.zeros(256, np.uint8)
    by_class[[4, 5, 6, 7]] = Seen.GROUND
    by_class[[8, 9]] = Seen.CLOUD
    by_class[10] = Seen.HAZE
    by_class[[2, 3]] = Seen.SHADE
    by_class[11] = Seen.SNOW
    return np.asarray(by_class[layers[0].astype(np.uint8)], np.uint8)


def _qa_pixel(layers: NDArray[Any]) -> NDArray[np.uint8]:
    """Landsat Collection 2 (USGS LSDS-1619, table 6-3): bits of fill, clouds, shadow and snow."""
    bits = layers[0].astype(np.uint16)
    return _first_that_holds(
        (bits & 1, Seen.NO_DATA),
        (bits & 0b1010, Seen.CLOUD),
        (bits & 0b100, Seen.HAZE),
        (bits & 0b1_0000, Seen.SHADE),
        (bits & 0b10_0000, Seen.SNOW),
    )


def _fmask(layers: NDArray[Any]) -> NDArray[np.uint8]:
    """HLS (LP DAAC, HLS user guide 2.0, table 9): cloud, what adjoins it, shadow and snow.

    The aerosol bits are not heeded: a fresh scar is bright, and bright ground sets them.
    """
    bits = layers[0].astype(np.uint8)
    return _first_that_holds(
        (bits == 255, Seen.NO_DATA),
        (bits & 0b110, Seen.CLOUD),
        (bits & 0b1000, Seen.SHADE),
        (bits & 0b1_0000, Seen.SNOW),
    )


def _oa_fmask(layers: NDArray[Any]) -> NDArray[np.uint8]:
    """Geoscience Australia's analysis-ready data: Fmask as classes; 1 is land, 5 is water."""
    by_class = np.zeros(256, np.uint8)
    by_class[[1, 5]] = Seen.GROUND
    by_class[2], by_class[3], by_class[4] = Seen.CLOUD, Seen.SHADE, Seen.SNOW
    return np.asarray(by_class[layers[0].astype(np.uint8)], np.uint8)


def _udm2(layers: NDArray[Any]) -> NDArray[np.uint8]:
    """Planet's usable data mask, 2.0 and 2.1 (Planet, UDM2 product guide).

    One band each for clear, snow, shadow, light haze, heavy haze and cloud; 2.1 puts all haze into
    the fourth and leaves the fifth empty. The eighth holds the older mask's bits: the first says
    that there is nothing, the third to eighth that a band is suspect. Where no band speaks, as in
    scenes older than the mask, nobody has looked for cloud.
    """
    clear, snow, shadow, light, heavy, cloud = layers[:6] > 0
    older = layers[7].astype(np.uint8)
    nothing, suspect = older & 1, older & 0b1111_1100
    return _first_that_holds(
        (nothing, Seen.NO_DATA),
        (cloud, Seen.CLOUD),
        (light | heavy, Seen.HAZE),
        (shadow, Seen.SHADE),
        (snow, Seen.SNOW),
        ((suspect > 0) | ~clear, Seen.UNUSABLE),
    )


# By the common name of the band that holds the mask; a scene with several is judged by the first.
MASKS: Mapping[str, Callable[[NDArray[Any]], NDArray[np.uint8]]] = {
    "scl": _scl,
    "udm2": _udm2,
    "qa_pixel": _qa_pixel,
    "fmask": _fmask,
    "oa_fmask": _oa_fmask,
}


def mask_of(scene: Scene) -> str | None:
    """The band that a scene is judged by; None where it has no mask."""
    return next((name for name in MASKS if name in scene.bands), None)


def read_mask(mask: BandOnGrid, window: Window | None = None) -> NDArray[np.uint8]:
    """What each pixel of a mask opened on a grid shows, (rows, cols) of `Seen`.

    Raises:
        RasterError: the file is truncated or holds another kind of mask.
        TransientError: the server that holds it timed out or answered 429 or 5xx.
    """
    layers, valid = mask.read_all(window)
    if mask.band == "udm2" and len(layers) != _UDM2_BANDS:
        raise RasterError(
            f"scene {mask.scene.id}, band udm2: {source_path(mask.scene.hrefs['udm2'])} has "
            f"{len(layers)} bands and a UDM2 has {_UDM2_BANDS}; give the udm2 asset"
        )
    return np.where(valid, MASKS[mask.band](layers), np.uint8(Seen.NO_DATA))


def _first_that_holds(*rules: tuple[NDArray[Any], Seen]) -> NDArray[np.uint8]:
    """The first rule that is not 0 decides; where none is, the ground is seen."""
    conditions = [condition.astype(bool) for condition, _ in rules]
    choices = [np.uint8(seen) for _, seen in rules]
    return np.asarray(np.select(conditions, choices, np.uint8(Seen.GROUND)), np.uint8)


def blank(colours: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Pixels that show nothing, though no file may say so: one filling value in all colours.

    Images that were turned, cut or converted often say nowhere that their collar holds no data.
    What is saturated in every band is not seen either (Sentinel-2's class 1 means the same).

    Args:
        colours: stored numbers of red, green and blue, (rows, cols) each, of one type.

    Returns:
        bool (rows, cols), True where all are 0, the largest number of an integer type, -9999, or
        the smallest number of a signed type.
    """
    kind = colours[0].dtype
    whole = kind.kind in "ui"
    limits = np.iinfo(kind) if whole else np.finfo(kind)
    fills = [0, -9999, limits.min, *([limits.max] if whole else [])]
    fills = [fill for fill in fills if fill >= limits.min]
    first = colours[0]
    alike = np.logical_and.reduce([other == first for other in colours[1:]])
    return np.asarray(alike & np.isin(first, np.asarray(fills).astype(kind)))

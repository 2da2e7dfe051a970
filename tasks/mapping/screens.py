"""Screens: what may set an outline aside as no landslide, each by its name and for the record.

What is not known (ground without elevation, outside a layer, under cloud before the event) never
sets anything aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon

from tasks.errors import ScreenError
from tasks.mapping.layers import open_layer
from tasks.mapping.zonal import open_north_up, windows_under, zones_on
from tasks.percent import percent
from tasks.types import Doubt, Screening

KINDS = "slope=DEGREES, water=FILE, built=FILE, bare-before=NDVI"
# An outline is on water, or has a known slope or NDVI, if at least this much of it has.
LEAST_SHARE = 0.5
GROUNDS = {"water": "water", "built": "roads or buildings"}


class Screen(Protocol):
    """One question to every outline.

    Attributes:
        name: as the operator and the store call it.
        asked: the question in words.
        missing: why it cannot be asked; empty where it can.
        layer: the file it reads, if any.
    """

    @property
    def name(self) -> str: ...
    @property
    def asked(self) -> str: ...
    @property
    def missing(self) -> str: ...
    @property
    def layer(self) -> Path | None: ...

    def reasons(self, landslides: gpd.GeoDataFrame) -> list[str | None]:
        """Why each landslide is set aside, None where it stands."""
        ...


@dataclass(frozen=True)
class SlopeScreen:
    """Ground too level to slide: mean slope, as `measure` gives it, below a limit in degrees.

    Where the terrain of less than `LEAST_SHARE` of an outline is known, its slope is not.
    """

    below_deg: float
    name: str = "slope"
    missing: str = ""
    layer: Path | None = None

    @property
    def asked(self) -> str:
        """The question in words."""
        return f"mean slope below {self.below_deg:g}°"

    def reasons(self, landslides: gpd.GeoDataFrame) -> list[str | None]:
        """Why each landslide is set aside, None where it stands."""
        slopes = landslides["slope_mean_deg"].where(landslides["relief_share"] >= LEAST_SHARE)
        return [f"mean slope {slope:.1f}°" if slope < self.below_deg else None for slope in slopes]


@dataclass(frozen=True)
class LayerScreen:
    """Water, or roads and buildings, after a layer: at least `LEAST_SHARE` of the outline is on it.

    `part` is the layer of a vector file that has several, or the class of a raster.
    """

    name: str
    layer: Path
    part: str = ""
    missing: str = ""

    @property
    def asked(self) -> str:
        """The question in words."""
        part = f" ({self.part})" if self.part else ""
        return f"at least {LEAST_SHARE:.0%} on {GROUNDS[self.name]} in {self.layer.name}{part}"

    def reasons(self, landslides: gpd.GeoDataFrame) -> list[str | None]:
        """Why each landslide is set aside, None where it stands."""
        shares = open_layer(self.layer, self.part).shares(landslides.geometry)
        return [
            f"{percent(share)} of it on {GROUNDS[self.name]}" if share >= LEAST_SHARE else None
            for share in shares
        ]


@dataclass(frozen=True)
class BareBeforeScreen:
    """Ground already bare before the event, such as an old landslide or a ploughed field.

    The mean NDVI = (nir - red) / (nir + red) (Rouse et al. 1974) of `image`, a mosaic of scenes
    from before the event, is below a limit where at least `LEAST_SHARE` of the outline was seen.
    """

    ndvi_below: float
    image: Path | None = None
    name: str = "bare-before"
    layer: Path | None = None

    @property
    def asked(self) -> str:
        """The question in words."""
        return f"mean NDVI before the event below {self.ndvi_below:g}"

    @property
    def missing(self) -> str:
        """Why it cannot be asked; empty where it can."""
        if self.image is None:
            return "no scene from before the event shows the ground in red and near infrared"
        with rasterio.open(self.image) as image:
            if image.dtypes[0] == "uint8":
                return "the images from before the event are 8-bit pictures, not reflectance"
        return ""

    def reasons(self, landslides: gpd.GeoDataFrame) -> list[str | None]:
        """Why each landslide is set aside, None where it stands."""
        assert self.image is not None
        return [
            f"NDVI {ndvi:.2f} before the event" if ndvi < self.ndvi_below else None
            for ndvi in _mean_ndvi(self.image, landslides.geometry)
        ]


def parse_screens(texts: Sequence[str], dem: Path | None) -> list[Screen]:
    """Read the screens an operator asks for, in order.

    Raises:
        ScreenError: one is misspelt, or asks for the slope where there is no DEM.
    """
    screens = [parse_screen(text) for text in texts]
    for text, one in zip(texts, screens, strict=True):
        if isinstance(one, SlopeScreen) and dem is None:
            raise ScreenError(f"screen {text!r} needs the elevation: add --dem FILE")
    return screens


def parse_screen(text: str) -> Screen:
    """Read a screen as an operator writes it: `slope=5`, `water=rivers.gpkg`, `bare-before=0.3`.

    A file with several layers is written `water=map.gpkg:rivers`; of a raster the class is named,
    `built=worldcover.tif:50`.

    Raises:
        ScreenError: the name or the value is not one of these.
    """
    name, _, value = text.partition("=")
    if name == "slope":
        return SlopeScreen(_number(text, value, 0, 90))
    if name == "bare-before":
        return BareBeforeScreen(_number(text, value, -1, 1))
    if name in GROUNDS and value:
        return LayerScreen(name, *_file_and_part(value))
    raise ScreenError(f"screen {text!r} is none that Scarp knows; write one of {KINDS}")


def check_screens(screens: Sequence[Screen], area: MultiPolygon) -> None:
    """Find out before any work that a screen's layer cannot serve an area (EPSG:4326).

    Raises:
        ScreenError: a layer is missing, unreadable, empty, without CRS, or lies elsewhere.
    """
    for one in screens:
        if isinstance(one, LayerScreen):
            open_layer(one.layer, one.part).require_over(area)


def screen(
    landslides: gpd.GeoDataFrame, screens: Sequence[Screen]
) -> tuple[gpd.GeoDataFrame, tuple[Screening, ...]]:
    """Ask every screen in turn about the landslides that those before it let stand.

    Args:
        landslides: EPSG:4326, measured; nothing is removed.
        screens: which, in the order to ask them.

    Returns:
        A copy with screened_by and screen_reason, both missing where a landslide stands; and the
        record of each screen: what it was asked and how many it set aside, or why it was not run.
    """
    judged = landslides.copy()
    judged["screened_by"] = judged["screen_reason"] = pd.Series(None, judged.index, dtype="str")
    record = []
    for one in screens:
        standing = judged[judged["screened_by"].isna()]
        reasons = one.reasons(standing) if len(standing) and not one.missing else []
        refused = {place: why for place, why in zip(standing.index, reasons, strict=False) if why}
        judged.loc[list(refused), "screened_by"] = one.name
        judged.loc[list(refused), "screen_reason"] = list(refused.values())
        record.append(Screening(one.name, one.asked, len(refused), one.missing))
    return judged, tuple(record)


def screen_doubts(record: Sequence[Screening]) -> list[Doubt]:
    """A reservation for each screen that was asked for and could not be run."""
    return [
        Doubt("screen-not-run", f"the screen {one.screen} was not run: {one.not_run}")
        for one in record
        if one.not_run
    ]


def _number(text: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not low <= number <= high:
        raise ScreenError(f"screen {text!r} needs a number from {low:g} to {high:g} after the =")
    return number


def _file_and_part(value: str) -> tuple[Path, str]:
    """A colon parts file and layer, unless it belongs to the file's name."""
    file, _, part = value.rpartition(":")
    return (Path(file), part) if file and not Path(value).exists() else (Path(value), "")


def _mean_ndvi(image: Path, outlines: gpd.GeoSeries) -> NDArray[np.float64]:
    """Mean NDVI of each outline, NaN where less than `LEAST_SHARE` of it was seen."""
    means = np.full(len(outlines), np.nan)
    with open_north_up(image) as source:
        bands = [source.descriptions.index(name) + 1 for name in ("red", "nir")]
        placed = outlines.reset_index(drop=True).to_crs(source.crs)
        for block, window, grid in windows_under(source, placed):
            red, nir = source.read(bands, window=window, masked=True).astype(np.float64)
            ndvi = ((nir - red) / np.ma.masked_less_equal(nir + red, 0)).filled(np.nan)
            zones = zones_on(grid, block)
            seen = zones.share_of(np.isfinite(ndvi)) >= LEAST_SHARE
            means[block.index] = np.where(seen, zones.mean(ndvi), np.nan)
    return means

"""ShakeMaps as the USGS publishes them, read into arrays of one unit each.

What the files do not say loudly: `grid.xml` has PGA in % of g and PGV in cm/s, and some leave their
units blank; the layers of `raster.zip` are natural logarithms of g and of cm/s; `info.json` has PGA
in % of g from version 3 of the software and in g from version 4, whose PGV is a logarithm under the
name of cm/s and is not read here. Points, not cells, carry the values.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import rasterio
from affine import Affine
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from tasks.errors import RasterError

Field = NDArray[np.float32]

_LARGEST_BYTES = 1 << 30
_GZIP = b"\x1f\x8b"
# Coordinates are rounded to four digits, spacings to as little as two.
_OFF_GRID, _ROUNDING = 0.25, 0.05
_TO_G = {"": 0.01, "%g": 0.01, "pctg": 0.01, "g": 1.0}
_TO_CM_S = {"": 1.0, "cm/s": 1.0, "cms": 1.0, "m/s": 100.0}
_TO_MMI = {"": 1.0, "intensity": 1.0, "mmi": 1.0}


@dataclass(frozen=True)
class ShakeMap:
    """The shaking of one earthquake on a grid of points in EPSG:4326.

    Attributes:
        path: the file it was read from.
        affine: of cells whose centres are the points; longitudes go on beyond 180 where the map
            lies across the antimeridian.
        mmi: intensity, shape (rows, cols), float32, north to south, NaN where unknown.
        pga_g: peak ground acceleration in g, like `mmi`.
        pgv_cm_s: peak ground velocity in cm/s, like `mmi`.
        network: who made it, such as `us`; empty if the file does not say, as are those below.
        code: the network's id of the event.
        version: label it was published with, which says no order.
        place: the earthquake's description.
        processed_at: when it was made, UTC.
        magnitude: of the earthquake.
    """

    path: Path
    affine: Affine
    mmi: Field = field(repr=False)
    pga_g: Field = field(repr=False)
    pgv_cm_s: Field = field(repr=False)
    network: str = ""
    code: str = ""
    version: str = ""
    place: str = ""
    processed_at: datetime | None = None
    magnitude: float | None = None

    @property
    def longitudes(self) -> NDArray[np.float64]:
        """Of the columns of points, in degrees east, rising."""
        columns = np.arange(self.pga_g.shape[1])
        return np.asarray(self.affine.c + self.affine.a * (columns + 0.5))

    @property
    def latitudes(self) -> NDArray[np.float64]:
        """Of the rows of points, in degrees north, falling."""
        rows = np.arange(self.pga_g.shape[0])
        return np.asarray(self.affine.f + self.affine.e * (rows + 0.5))


@dataclass(frozen=True)
class ShakeMapInfo:
    """What `info.json` tells of a ShakeMap; None or empty where it does not."""

    largest_pga_g: float | None
    largest_mmi: float | None
    magnitude: float | None
    network: str
    code: str
    version: str
    place: str
    processed_at: datetime | None


def read_shakemap(path: Path) -> ShakeMap:
    """Read the shaking of a `grid.xml` (also gzipped or zipped) or of a `raster.zip`.

    In a `raster.zip` the layers are `pga_mean`, `pgv_mean` and `mmi_mean` as version 4 writes them,
    or `pga`, `pgv` and `mi`, which are taken for logarithms only if an acceleration is negative. It
    names neither event nor units; an `info.json` beside it tells whose it is, and must agree.

    Args:
        path: the file as published.

    Returns:
        The map; a layer the file does not hold is NaN throughout.

    Raises:
        RasterError: the file is missing, truncated or no ShakeMap, declares XML entities, uses an
            unknown unit, its grid is not the one its header describes, or its largest acceleration
            is not that of the `info.json`.
    """
    try:
        with path.open("rb") as opened:
            start = opened.read(2)
        if zipfile.is_zipfile(path):
            return _from_zip(path)
        with gzip.open(path) if start == _GZIP else path.open("rb") as opened:
            return _from_xml(_bounded(opened, path), path)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise RasterError(f"ShakeMap {path} cannot be read: {error}; fetch it again") from error


def read_shakemap_info(path: Path) -> ShakeMapInfo:
    """Read an `info.json`, whichever version of the software wrote it.

    Raises:
        RasterError: it is missing, not JSON, or not a ShakeMap's.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        motions = {
            {"intensity": "mmi"}.get(name.lower(), name.lower()): motion
            for name, motion in content["output"]["ground_motions"].items()
        }
        versions = content["processing"]["shakemap_versions"]
        event = content["input"]["event_information"]
        return ShakeMapInfo(
            largest_pga_g=_largest(motions.get("pga"), _TO_G, path),
            largest_mmi=_largest(motions.get("mmi"), _TO_MMI, path),
            magnitude=_number(event.get("magnitude")),
            network=str(event.get("productsource") or event.get("netid") or ""),
            code=str(event.get("productcode") or event.get("event_id") or ""),
            version=str(versions.get("map_version", "")),
            place=str(event.get("location") or event.get("event_description") or ""),
            processed_at=_time(str(versions.get("process_time", ""))),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RasterError(
            f"{path} is not the info.json of a ShakeMap: {error!r}; fetch it again"
        ) from error


def _from_zip(path: Path) -> ShakeMap:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        grids = [name for name in names if name.lower().endswith("grid.xml")]
        if grids:
            with archive.open(min(grids, key=len)) as opened:
                return _from_xml(_bounded(opened, path), path)
    return _from_rasters(path, names)


def _bounded(opened: Any, path: Path) -> bytes:
    content: bytes = opened.read(_LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise RasterError(f"ShakeMap {path} unpacks to over 1 GiB; give the file as published")
    return content


def _from_xml(content: bytes, path: Path) -> ShakeMap:
    try:
        root = fromstring(content)
    except DefusedXmlException as error:
        raise RasterError(
            f"ShakeMap {path} declares XML entities, which no ShakeMap does; it is not read"
        ) from error
    except ParseError as error:
        raise RasterError(
            f"ShakeMap {path} is truncated or not XML: {error}; fetch it again"
        ) from error
    tags = {child.tag.rpartition("}")[2]: child for child in root}
    if missing := {"grid_specification", "grid_data"} - tags.keys():
        raise RasterError(f"{path} is no ShakeMap grid: it has no {' and no '.join(missing)}")
    shape, affine = _header(tags["grid_specification"].attrib, path)
    columns = _columns(root)
    values = _table(tags["grid_data"].text or "", columns, shape, path)
    _check_points(values, shape, affine, path)

    def layer(name: str, units: Mapping[str, float]) -> Field:
        if name not in columns:
            return np.full(shape, np.nan, np.float32)
        scale = _scale(columns[name][1], units, f"{path}: {name}")
        return _physical(values[name].reshape(shape) * scale, name, path)

    event = tags["event"].attrib if "event" in tags else {}
    return ShakeMap(
        path=path,
        affine=affine,
        mmi=layer("MMI", _TO_MMI),
        pga_g=layer("PGA", _TO_G),
        pgv_cm_s=layer("PGV", _TO_CM_S),
        network=root.get("shakemap_originator") or event.get("event_network", ""),
        code=root.get("shakemap_id") or event.get("event_id", ""),
        version=root.get("shakemap_version", ""),
        place=event.get("event_description", ""),
        processed_at=_time(root.get("process_timestamp", "")),
        magnitude=_number(event.get("magnitude")),
    )


def _header(given: Mapping[str, str], path: Path) -> tuple[tuple[int, int], Affine]:
    """Shape and affine of the grid, from its corners and the number of points between them."""
    try:
        cols, rows = int(given["nlon"]), int(given["nlat"])
        west, east, south, north, wide, high = (
            float(given[name])
            for name in (
                "lon_min",
                "lon_max",
                "lat_min",
                "lat_max",
                "nominal_lon_spacing",
                "nominal_lat_spacing",
            )
        )
    except (KeyError, ValueError) as error:
        raise RasterError(
            f"ShakeMap {path}: its grid_specification is incomplete ({error}); fetch it again"
        ) from error
    if cols < 2 or rows < 2:
        raise RasterError(f"ShakeMap {path} has {cols} x {rows} points, which make no grid")
    east += 360 if east < west else 0
    dx, dy = (east - west) / (cols - 1), (north - south) / (rows - 1)
    for side, spacing, nominal in (("longitude", dx, wide), ("latitude", dy, high)):
        if not abs(spacing - nominal) <= _ROUNDING * nominal:
            raise RasterError(
                f"ShakeMap {path}: its header says {nominal:g} degrees of {side} between points, "
                f"but its corners and numbers of points make {spacing:g}; fetch it again"
            )
    return (rows, cols), Affine(dx, 0, west - dx / 2, 0, -dy, north + dy / 2)


def _columns(root: Element) -> dict[str, tuple[int, str]]:
    """Position and unit of every named column of the table."""
    return {
        field.get("name", "").upper(): (int(field.get("index", "0")) - 1, field.get("units", ""))
        for field in root
        if field.tag.endswith("grid_field") and field.get("index", "").isdigit()
    }


def _table(
    text: str, columns: Mapping[str, tuple[int, str]], shape: tuple[int, int], path: Path
) -> dict[str, NDArray[np.float64]]:
    """The columns by name, each of shape (rows * cols,)."""
    if not {"LON", "LAT"} < columns.keys() or columns.keys().isdisjoint(("PGA", "PGV", "MMI")):
        raise RasterError(
            f"{path} has no columns LON and LAT with PGA, PGV or MMI; give a ShakeMap's grid.xml"
        )
    try:
        values = np.loadtxt(io.StringIO(text), ndmin=2)
    except ValueError as error:
        raise RasterError(
            f"ShakeMap {path}: its table cannot be read: {error}; fetch it again"
        ) from error
    described = (shape[0] * shape[1], max(position for position, _ in columns.values()) + 1)
    if values.shape != described:
        raise RasterError(
            f"ShakeMap {path}: its header describes {shape[1]} x {shape[0]} points of "
            f"{described[1]} values, its table has {values.shape[0]} of {values.shape[1]}; "
            "fetch it again"
        )
    return {name: values[:, position] for name, (position, _) in columns.items()}


def _check_points(
    values: Mapping[str, NDArray[np.float64]], shape: tuple[int, int], affine: Affine, path: Path
) -> None:
    """Refuse a table that does not run over the header's grid from north-west to south-east."""
    rows, cols = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    east = affine.c + affine.a * (cols + 0.5) - values["LON"]
    north = affine.f + affine.e * (rows + 0.5) - values["LAT"]
    off = np.hypot(((east + 180) % 360 - 180) / affine.a, north / affine.e)
    if not (off < _OFF_GRID).all():
        first = int(np.argmax(~(off < _OFF_GRID)))
        raise RasterError(
            f"ShakeMap {path}: point {first + 1} of its table is at {values['LON'][first]:g}, "
            f"{values['LAT'][first]:g}, not where its header puts it; fetch it again"
        )


def _from_rasters(path: Path, names: list[str]) -> ShakeMap:
    layers = {
        Path(name).stem.lower(): name for name in names if name.lower().endswith((".flt", ".fit"))
    }
    pga, pgv, mmi = (
        next((layers[stem] for stem in stems if stem in layers), None)
        for stems in (("pga_mean", "pga"), ("pgv_mean", "pgv"), ("mmi_mean", "mmi", "mi"))
    )
    if pga is None and mmi is None:
        raise RasterError(
            f"{path} holds neither a grid.xml nor the layers of a raster.zip (pga_mean.flt, ...); "
            "give a ShakeMap's grid.xml or raster.zip"
        )
    grids = {name: _layer(path, name) for name in (pga, pgv, mmi) if name is not None}
    (shape, affine), *others = {(grid.shape, at) for grid, at in grids.values()}
    if others:
        raise RasterError(f"ShakeMap {path}: its layers lie on different grids; fetch it again")
    logarithms = "pga_mean" in layers or (pga is not None and bool((grids[pga][0] < 0).any()))

    def shaking(name: str | None, linear: float) -> Field:
        if name is None:
            return np.full(shape, np.nan, np.float32)
        values = grids[name][0]
        return _physical(np.exp(values) if logarithms else values * linear, name, path)

    intensity = grids[mmi][0].astype(np.float32) if mmi else np.full(shape, np.nan, np.float32)
    made = ShakeMap(path, affine, intensity, shaking(pga, 0.01), shaking(pgv, 1.0))
    beside = path.with_name("info.json")
    return _told_by(beside, made) if beside.is_file() else made


def _told_by(beside: Path, made: ShakeMap) -> ShakeMap:
    """The same map with what the `info.json` beside it tells, if the two agree."""
    info = read_shakemap_info(beside)
    largest = float(np.nanmax(made.pga_g, initial=0))
    told = info.largest_pga_g
    if largest and told and not abs(largest / told - 1) < _ROUNDING:
        raise RasterError(
            f"ShakeMap {made.path} has a PGA of up to {largest:.3g} g, but {beside} says "
            f"{told:.3g} g; fetch both again"
        )
    names = ("magnitude", "network", "code", "version", "place", "processed_at")
    return replace(made, **{name: getattr(info, name) for name in names})


def _layer(path: Path, name: str) -> tuple[NDArray[np.float64], Affine]:
    try:
        with rasterio.open(f"/vsizip/{path.resolve()}/{name}") as layer:
            if not layer.transform.e < 0 or not layer.transform.is_rectilinear:
                raise RasterError(f"ShakeMap {path}: {name} is not a grid in degrees, north up")
            values = layer.read(1, masked=True).astype(np.float64).filled(np.nan)
            return values, layer.transform
    except (RasterioError, CPLE_BaseError) as error:
        raise RasterError(f"ShakeMap {path}: {name} cannot be read: {error}") from error


def _physical(values: NDArray[np.float64], name: str, path: Path) -> Field:
    if (values < 0).any():
        raise RasterError(
            f"ShakeMap {path}: {name} is as low as {np.nanmin(values):g}, and shaking is never "
            "negative; fetch it again"
        )
    return values.astype(np.float32)


def _scale(unit: str, known: Mapping[str, float], where: str) -> float:
    try:
        return known[unit.strip().lower()]
    except KeyError as error:
        raise RasterError(
            f"{where} is in {unit!r}, a unit not known here; known are "
            f"{', '.join(name for name in known if name)}"
        ) from error


def _largest(
    motion: Mapping[str, Any] | None, units: Mapping[str, float], path: Path
) -> float | None:
    value = _number((motion or {}).get("max_grid"))
    if motion is None or value is None:
        return None
    return value * _scale(str(motion.get("units", "")), units, f"{path}: max_grid")


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def _time(text: str) -> datetime | None:
    """A time of the several forms in use; a bare one is UTC, an unreadable one None."""
    plain = text.strip().removesuffix("UTC").removesuffix("GMT").strip()
    try:
        time = datetime.fromisoformat(plain)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)

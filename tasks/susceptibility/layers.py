"""Layers that others made, as factors: each read onto one grid, tile by tile, in its own manner.

Labels are never averaged, numbers are; unknown stays unknown.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import singledispatch
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.features import rasterize
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import reproject, transform_bounds
from shapely.geometry import Point, box

from tasks.errors import FactorError
from tasks.events.shakemap import ShakeMap, read_shakemap
from tasks.susceptibility.distance import Features
from tasks.susceptibility.factor_file import (
    ClassEntry,
    ContinuousEntry,
    DistanceEntry,
    Entry,
    NdviEntry,
    NewmarkEntry,
    ShakingEntry,
    Strength,
)
from tasks.susceptibility.physical import critical_acceleration_g, newmark_displacement_cm
from tasks.susceptibility.site import Grid, Ground
from tasks.susceptibility.stack import Factor

_UNITS = {"pga": "g", "pgv": "cm/s", "mmi": "MMI"}
_FIELDS = {"pga": "pga_g", "pgv": "pgv_cm_s", "mmi": "mmi"}
_REDUCE: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
}
# An average over cells this much finer says more than four of them do.
_MUCH_FINER = 2.0
# The least factor of safety, less 1, that Jibson et al. (2000) give a slope before it is shaken.
_LEAST_EXCESS = 0.01
_LARGEST_LABEL = 1 << 24  # what float32 holds exactly


@dataclass(frozen=True)
class Layer:
    """A factor and how its values come about, on any tile of the grid it was opened for."""

    factor: Factor
    of: Callable[[Ground], Grid]


def open_layers(entries: tuple[Entry, ...], grid: GeoBox) -> list[Layer]:
    """Find out whether layers can be used on a grid.

    Args:
        entries: what `read_factor_file` read.
        grid: north-up, square, in metres.

    Returns:
        One layer an entry, in their order. Values are NaN where the layer knows nothing.

    Raises:
        FactorError: a file is unreadable or without CRS, lies elsewhere, or lacks the layer, column
            or band named; names the layer, the file and what to do.
        EventError: a ShakeMap cannot be read.
    """
    opened: dict[str, Layer] = {}
    for entry in entries:
        opened[entry.name] = _open(entry, grid, opened)
    return list(opened.values())


@singledispatch
def _open(entry: Any, grid: GeoBox, opened: Mapping[str, Layer]) -> Layer:
    raise NotImplementedError(type(entry))


@_open.register
def _(entry: ContinuousEntry, grid: GeoBox, _opened: Mapping[str, Layer]) -> Layer:
    finer = _check_raster(entry.name, entry.path, grid, entry.band)
    usual = "average" if finer > _MUCH_FINER else "bilinear"
    resampling = Resampling[entry.resampling or usual]

    def values(ground: Ground) -> Grid:
        if not entry.bands:
            one: Grid = _warped(entry.path, ground.grid, [entry.band], resampling, entry.nodata)[0]
            return one
        every = list(range(1, _band_count(entry.path) + 1))
        stacked = _warped(entry.path, ground.grid, every, resampling, entry.nodata)
        return np.asarray(_REDUCE[entry.bands](stacked, axis=0))

    return Layer(Factor(entry.name, "continuous", entry.unit, entry.path.name), values)


@_open.register
def _(entry: NdviEntry, grid: GeoBox, _opened: Mapping[str, Layer]) -> Layer:
    finer = _check_raster(entry.name, entry.path, grid, 1)
    resampling = Resampling.average if finer > _MUCH_FINER else Resampling.bilinear
    with rasterio.open(entry.path) as dataset:
        described = [str(name).lower() for name in dataset.descriptions]
    if not {"red", "nir"} <= set(described):
        raise FactorError(
            f"layer {entry.name}: {entry.path} has no bands described red and nir, but "
            f"{', '.join(described)}; describe them (gdal_edit.py), or give NDVI as continuous"
        )
    bands = [described.index(name) + 1 for name in ("red", "nir")]

    def values(ground: Ground) -> Grid:
        red, nir = _warped(entry.path, ground.grid, bands, resampling, None)
        total = red + nir
        return np.asarray(
            np.divide(nir - red, total, out=np.full_like(red, np.nan), where=total > 0)
        )

    return Layer(Factor(entry.name, "continuous", "1", entry.path.name), values)


@_open.register
def _(entry: ClassEntry, grid: GeoBox, _opened: Mapping[str, Layer]) -> Layer:
    if _is_raster(entry.path):
        return _raster_classes(entry, grid)
    features, column = _read_classes(entry, grid)
    codes, classes = _coded(entry, features[column])
    burnt = list(zip(features.geometry, codes, strict=True))
    tree = shapely.STRtree(features.geometry.to_numpy())

    def values(ground: Ground) -> Grid:
        near = np.sort(tree.query(box(*ground.grid.boundingbox.bbox)))
        if not len(near):
            return np.full(ground.grid.shape, np.nan, np.float32)
        labels: NDArray[np.float32] = rasterize(
            [burnt[number] for number in near],
            ground.grid.shape,
            fill=np.nan,
            transform=ground.grid.transform,
            dtype="float32",
        )
        return labels

    return Layer(Factor(entry.name, "categorical", "class", entry.path.name, classes), values)


def _raster_classes(entry: ClassEntry, grid: GeoBox) -> Layer:
    finer = _check_raster(entry.name, entry.path, grid, entry.band)
    usual = "mode" if finer > _MUCH_FINER else "nearest"
    resampling = Resampling[entry.resampling or usual]

    def values(ground: Ground) -> Grid:
        labels: Grid = _warped(entry.path, ground.grid, [entry.band], resampling, entry.nodata)[0]
        known = labels[np.isfinite(labels)]
        if (known != np.round(known)).any() or (np.abs(known) > _LARGEST_LABEL).any():
            raise FactorError(
                f"layer {entry.name}: {entry.path} holds fractions, which are no labels; call its "
                "role continuous"
            )
        return labels

    classes = dict(entry.classes) or None
    return Layer(Factor(entry.name, "categorical", "class", entry.path.name, classes), values)


@_open.register
def _(entry: DistanceEntry, grid: GeoBox, _opened: Mapping[str, Layer]) -> Layer:
    if entry.point:
        geometries = gpd.GeoSeries([Point(entry.point)], crs="EPSG:4326").to_crs(str(grid.crs))
        if not np.isfinite(geometries.iloc[0].coords).all():
            raise FactorError(
                f"layer {entry.name}: point {list(entry.point)} is too far from the area to "
                "measure how far; give its longitude, then its latitude"
            )
        source = f"{entry.point[1]:g}°N {entry.point[0]:g}°E"
    else:
        assert entry.path is not None
        geometries = _all_that_can_be_nearest(entry, entry.path, grid)
        source = entry.path.name
    features = Features(geometries)

    def values(ground: Ground) -> Grid:
        return features.distance(ground.grid)

    return Layer(Factor(entry.name, "continuous", "m", source), values)


@_open.register
def _(entry: ShakingEntry, grid: GeoBox, _opened: Mapping[str, Layer]) -> Layer:
    shaking = _shaking_over(entry.name, entry.path, grid)
    field = getattr(shaking, _FIELDS[entry.measure])

    def values(ground: Ground) -> Grid:
        return _of_shakemap(shaking, field, ground.grid)

    return Layer(Factor(entry.name, "continuous", _UNITS[entry.measure], entry.path.name), values)


@_open.register
def _(entry: NewmarkEntry, grid: GeoBox, opened: Mapping[str, Layer]) -> Layer:
    shaking = _shaking_over(entry.name, entry.path, grid)
    strengths = _strengths(entry, opened)

    def values(ground: Ground) -> Grid:
        cohesion = np.full(ground.grid.shape, entry.strength.cohesion_kpa)
        friction = np.full(ground.grid.shape, entry.strength.friction_deg)
        if strengths:
            labels = opened[entry.by].of(ground)
            for label, strength in strengths.items():
                cohesion[labels == label] = strength.cohesion_kpa
                friction[labels == label] = strength.friction_deg
        critical = critical_acceleration_g(
            ground.slope_deg,
            cohesion,
            friction,
            thickness_m=entry.thickness_m,
            saturation=entry.saturation,
        )
        # no slope stands without being strong enough to; else the steepest would move without end
        critical = np.maximum(critical, _LEAST_EXCESS * np.sin(np.radians(ground.slope_deg)))
        pga = _of_shakemap(shaking, shaking.pga_g, ground.grid)
        return newmark_displacement_cm(critical, pga, shaking.magnitude)

    return Layer(Factor(entry.name, "continuous", "cm", entry.path.name), values)


def _strengths(entry: NewmarkEntry, opened: Mapping[str, Layer]) -> dict[int, Strength]:
    """Strength by label of the layer `by`, whose classes go by number or by name."""
    if not entry.by:
        return {}
    if entry.by not in opened or opened[entry.by].factor.kind != "categorical":
        raise FactorError(
            f"layer {entry.name}: by = {entry.by!r} must be a layer of role class that comes "
            "before it"
        )
    numbers = {name: label for label, name in (opened[entry.by].factor.classes or {}).items()}
    strengths = {}
    for name, strength in entry.strengths.items():
        if name not in numbers and not name.lstrip("-").isdigit():
            raise FactorError(
                f"layer {entry.name}: {entry.by} has no class {name!r}, but "
                f"{', '.join(numbers) or 'numbers only'}"
            )
        strengths[numbers[name] if name in numbers else int(name)] = strength
    return strengths


def _is_raster(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path):
                return True
    except RasterioIOError:
        return False


def _check_raster(name: str, path: Path, grid: GeoBox, band: int) -> float:
    """Refuse a raster that cannot be used; how much finer its cells are than the grid's."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                return _checked(name, path, dataset, grid, band)
    except RasterioIOError as error:
        raise FactorError(f"layer {name}: {path} is no raster that can be read: {error}") from error


def _checked(name: str, path: Path, dataset: DatasetReader, grid: GeoBox, band: int) -> float:
    if dataset.crs is None:
        raise FactorError(
            f"layer {name}: {path} has no CRS: assign the one it was made in, for example with "
            "gdal_edit.py -a_srs"
        )
    if band > dataset.count:
        raise FactorError(
            f"layer {name}: {path} has {dataset.count} bands, and band {band} is asked for"
        )
    with WarpedVRT(dataset, crs=str(grid.crs)) as there:
        if not box(*there.bounds).intersects(box(*grid.boundingbox.bbox)):
            raise FactorError(_elsewhere(name, path))
        return float(grid.resolution.x / min(abs(there.transform.a), abs(there.transform.e)))


def _elsewhere(name: str, path: Path) -> str:
    return (
        f"layer {name}: {path} lies elsewhere than the area of interest; check its CRS, or take "
        "the layer out"
    )


def _band_count(path: Path) -> int:
    with rasterio.open(path) as dataset:
        return int(dataset.count)


def _warped(
    path: Path,
    grid: GeoBox,
    bands: list[int],
    resampling: Resampling,
    nodata: float | None,
) -> NDArray[np.float32]:
    """Bands of a raster on a grid, (bands, rows, cols), scaled, NaN where they are not data."""
    try:
        with rasterio.open(path) as dataset:
            has_alpha = ColorInterp.alpha in dataset.colorinterp
            unknown = dataset.nodata if nodata is None else nodata
            with WarpedVRT(
                dataset,
                crs=str(grid.crs),
                transform=grid.transform,
                width=grid.width,
                height=grid.height,
                resampling=resampling,
                src_nodata=unknown,
                add_alpha=not has_alpha,
                dtype="float32",
            ) as view:
                *values, alpha = view.read([*bands, view.count])
                scales = np.array([dataset.scales[band - 1] for band in bands], np.float32)
                offsets = np.array([dataset.offsets[band - 1] for band in bands], np.float32)
    except RasterioError as error:
        raise FactorError(f"{path} cannot be read, it may be damaged: {error}") from error
    stacked = np.stack(values)
    with np.errstate(over="ignore"):  # nodata of float64 lies beyond float32
        unseen = (alpha == 0) | (stacked == unknown) | ~np.isfinite(stacked)
    stacked = stacked * scales[:, None, None] + offsets[:, None, None]
    stacked[unseen] = np.nan
    return stacked


def _read_classes(entry: ClassEntry, grid: GeoBox) -> tuple[gpd.GeoDataFrame, str]:
    """The features near a grid with a known label, in its CRS, and the column that labels them."""
    info = _vector_info(entry.name, entry.path, entry.layer)
    columns = [str(name) for name in info["fields"]]
    if entry.attribute not in columns:
        raise FactorError(
            f"layer {entry.name}: {entry.path} has no column {entry.attribute!r}; set attribute to "
            f"one of {', '.join(columns)}"
        )
    near = transform_bounds(str(grid.crs), info["crs"], *grid.boundingbox.bbox)
    features = _read(entry.name, entry.path, info["layer_name"], [entry.attribute], near)
    features = features.dropna(subset=[entry.attribute]).to_crs(str(grid.crs))
    features.geometry = features.geometry.make_valid()
    features = features[features.geometry.notna() & ~features.geometry.is_empty]
    if features.empty:
        raise FactorError(_elsewhere(entry.name, entry.path))
    return features, entry.attribute


def _coded(entry: ClassEntry, labels: Any) -> tuple[NDArray[np.float32], dict[int, str] | None]:
    """Numbers of labels, and their names; text is numbered by its order in the whole file."""
    if pd.api.types.is_numeric_dtype(labels):
        numbers = labels.to_numpy(np.float64)
        if (numbers != np.round(numbers)).any() or (np.abs(numbers) > _LARGEST_LABEL).any():
            raise FactorError(
                f"layer {entry.name}: column {entry.attribute} of {entry.path} holds fractions, "
                "which are no labels"
            )
        return numbers.astype(np.float32), dict(entry.classes) or None
    every = pyogrio.read_dataframe(
        entry.path, layer=entry.layer or None, columns=[entry.attribute], read_geometry=False
    )
    names = sorted(every[entry.attribute].dropna().astype(str).unique())
    numbered = {name: number for number, name in enumerate(names, start=1)}
    codes = labels.astype(str).map(numbered).to_numpy(np.float32)
    return codes, {number: name for name, number in numbered.items()}


def _all_that_can_be_nearest(entry: DistanceEntry, path: Path, grid: GeoBox) -> gpd.GeoSeries:
    """The features of a file that are the nearest of any cell of a grid, in its CRS, and others."""
    info = _vector_info(entry.name, path, entry.layer)
    if not info["features"]:
        raise FactorError(f"layer {entry.name}: {path} holds no features; take the layer out")
    here = box(*grid.boundingbox.bbox)
    diagonal = float(np.hypot(*np.ptp(np.reshape(here.bounds, (2, 2)), axis=0)))
    reach = diagonal
    while True:
        bounds = transform_bounds(str(grid.crs), info["crs"], *here.buffer(reach).bounds)
        found = _read(entry.name, path, info["layer_name"], [], bounds)
        near = found.geometry.to_crs(str(grid.crs)).dropna()
        near = near[~near.is_empty]
        # no cell is farther from a feature than half the diagonal more than its nearest corner
        farthest = max(
            (near.distance(Point(corner)).min() for corner in here.exterior.coords[:4]),
            default=np.inf,
        )
        if len(near) and farthest + diagonal / 2 <= reach:
            return near
        if len(found) == info["features"]:
            if near.empty:
                raise FactorError(f"layer {entry.name}: {path} holds no features with a place")
            return near
        reach = farthest + diagonal if len(near) else 4 * reach


def _vector_info(name: str, path: Path, layer: str) -> dict[str, Any]:
    try:
        layers = [str(found) for found, geometry in pyogrio.list_layers(path) if geometry]
        if not layer and len(layers) > 1:
            raise FactorError(
                f"layer {name}: {path} has layers {', '.join(layers)}; name one by layer ="
            )
        info = pyogrio.read_info(path, layer=layer or None, force_feature_count=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise FactorError(f"layer {name}: {path} {layer} cannot be read: {error}") from error
    if not info["crs"]:
        raise FactorError(
            f"layer {name}: {path} has no CRS: assign the one it was made in (a .prj file)"
        )
    return dict(info)


def _read(
    name: str, path: Path, layer: str, columns: list[str], bounds: tuple[float, ...]
) -> gpd.GeoDataFrame:
    try:
        return gpd.read_file(path, layer=layer, columns=columns, bbox=bounds)
    except (DataSourceError, ValueError) as error:
        raise FactorError(f"layer {name}: {path} cannot be read: {error}") from error


def _shaking_over(name: str, path: Path, grid: GeoBox) -> ShakeMap:
    shaking = read_shakemap(path)
    west, north = shaking.affine.c, shaking.affine.f
    rows, cols = shaking.mmi.shape
    covered = box(west, north + rows * shaking.affine.e, west + cols * shaking.affine.a, north)
    here = transform_bounds(str(grid.crs), CRS.from_epsg(4326), *grid.boundingbox.bbox)
    if not covered.intersects(box(*here)):
        raise FactorError(_elsewhere(name, path))
    return shaking


def _of_shakemap(shaking: ShakeMap, field: NDArray[np.float32], grid: GeoBox) -> Grid:
    """A field of a ShakeMap on a grid, bilinear between its points."""
    values = np.full(grid.shape, np.nan, np.float32)
    reproject(
        field,
        values,
        src_transform=shaking.affine,
        src_crs="EPSG:4326",
        dst_transform=grid.transform,
        dst_crs=str(grid.crs),
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return values

"""Terrain measures of an elevation grid: pure functions, NaN where the terrain is unknown.

Every grid is north-up with square pixels, float, in metres. Derivatives are those of the quadratic
z = rx²/2 + sxy + ty²/2 + px + qy + z0 fitted to each 3x3 neighbourhood by least squares
(Evans 1980, "An integrated system of terrain analysis and slope mapping"), x east and y north, so
they are exact on quadratic surfaces and NaN where any of the nine cells is NaN or off the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

_FLOW_NODATA = -9999.0
_LEAST_SLOPE = 0.001
_D8_STEPS = {
    1: (0, 1),
    2: (1, 1),
    4: (1, 0),
    8: (1, -1),
    16: (0, -1),
    32: (-1, -1),
    64: (-1, 0),
    128: (-1, 1),
}


class Derivatives(NamedTuple):
    """First (p, q; m/m) and second (r, s, t; 1/m) derivatives of elevation, float64."""

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    r: NDArray[np.float64]
    s: NDArray[np.float64]
    t: NDArray[np.float64]


def derivatives(dem: NDArray[np.floating], resolution_m: float) -> Derivatives:
    """Derivatives of elevation by Evans's quadratic.

    Args:
        dem: elevation in metres, shape (rows, cols), NaN where unknown.
        resolution_m: side of a pixel in metres.

    Returns:
        p = ∂z/∂x, q = ∂z/∂y, r = ∂²z/∂x², s = ∂²z/∂x∂y, t = ∂²z/∂y², each (rows, cols).
    """
    z = np.pad(np.asarray(dem, dtype=np.float64), 1, constant_values=np.nan)
    nw, n, ne = z[:-2, :-2], z[:-2, 1:-1], z[:-2, 2:]
    w, here, e = z[1:-1, :-2], z[1:-1, 1:-1], z[1:-1, 2:]
    sw, s, se = z[2:, :-2], z[2:, 1:-1], z[2:, 2:]
    size = resolution_m
    # 0 * here makes an unknown centre spoil the first derivatives too
    return Derivatives(
        p=(ne + e + se - nw - w - sw) / (6 * size) + 0 * here,
        q=(nw + n + ne - sw - s - se) / (6 * size) + 0 * here,
        r=(nw + ne + w + e + sw + se - 2 * (n + here + s)) / (3 * size**2),
        s=(ne + sw - nw - se) / (4 * size**2) + 0 * here,
        t=(nw + n + ne + sw + s + se - 2 * (w + here + e)) / (3 * size**2),
    )


def slope_deg(d: Derivatives) -> NDArray[np.float64]:
    """Steepest slope in degrees, 0-90: arctan √(p² + q²) (Evans 1980)."""
    return np.asarray(np.degrees(np.arctan(np.hypot(d.p, d.q))))


def northness(d: Derivatives) -> NDArray[np.float64]:
    """Cosine of the downslope azimuth: 1 faces north, -1 south, 0 on level ground."""
    return -_over(d.q, np.hypot(d.p, d.q))


def eastness(d: Derivatives) -> NDArray[np.float64]:
    """Sine of the downslope azimuth: 1 faces east, -1 west, 0 on level ground."""
    return -_over(d.p, np.hypot(d.p, d.q))


def plan_curvature(d: Derivatives) -> NDArray[np.float64]:
    """Curvature of the contour in 1/m: positive on spurs, negative in hollows, 0 on level ground.

    -(q²r - 2pqs + p²t) / (p² + q²)^1.5 (Minár et al. 2020, Earth-Science Reviews 211, 103414).
    """
    gradient2 = d.p**2 + d.q**2
    return -_over(d.q**2 * d.r - 2 * d.p * d.q * d.s + d.p**2 * d.t, gradient2**1.5)


def profile_curvature(d: Derivatives) -> NDArray[np.float64]:
    """Curvature along the slope line in 1/m, positive where the slope steepens downhill.

    -(p²r + 2pqs + q²t) / ((p² + q²)(1 + p² + q²)^1.5) (Minár et al. 2020), 0 on level ground.
    """
    gradient2 = d.p**2 + d.q**2
    bending = d.p**2 * d.r + 2 * d.p * d.q * d.s + d.q**2 * d.t
    return -_over(bending, gradient2 * (1 + gradient2) ** 1.5)


def local_relief(dem: NDArray[np.floating], cells: int) -> NDArray[np.floating]:
    """Highest minus lowest known elevation in a square of `cells` x `cells` (odd), in metres."""
    unknown = np.isnan(dem)
    highest = ndimage.maximum_filter(np.where(unknown, -np.inf, dem), cells, mode="nearest")
    lowest = ndimage.minimum_filter(np.where(unknown, np.inf, dem), cells, mode="nearest")
    nowhere = np.full(dem.shape, np.nan)
    return np.asarray(np.subtract(highest, lowest, out=nowhere, where=~unknown))


def topographic_position(dem: NDArray[np.floating], cells: int) -> NDArray[np.floating]:
    """Elevation above the mean of a square of `cells` x `cells` (odd) in metres (Weiss 2001).

    Unknown cells are left out of the mean, and off the grid nothing is assumed.
    """
    known = ~np.isnan(dem)
    share = ndimage.uniform_filter(known.astype(np.float64), cells, mode="constant")
    total = ndimage.uniform_filter(
        np.where(known, dem, 0).astype(np.float64), cells, mode="constant"
    )
    mean = np.divide(total, share, out=np.full(dem.shape, np.nan), where=known)
    return np.asarray(dem - mean)


def flow_accumulation_m2(dem: NDArray[np.floating], resolution_m: float) -> NDArray[np.float32]:
    """Area that drains through each cell, itself included, in m²; NaN where `dem` is.

    Depressions are filled to their pour point (Wang & Liu 2006), then flow follows the steepest of
    eight neighbours (O'Callaghan & Mark 1984). Ground beyond the grid does not contribute.
    """
    known = ~np.isnan(dem)
    if not known.any():
        return np.full(dem.shape, np.nan, dtype=np.float32)
    import pyflwdir  # as slow to import as all the rest, and few commands need it

    filled, way_out = pyflwdir.dem.fill_depressions(
        np.where(known, dem, _FLOW_NODATA).astype(np.float32), nodata=_FLOW_NODATA
    )
    directions = pyflwdir.from_array(
        _steepest(np.where(known, filled, np.nan), way_out),
        ftype="d8",
        transform=Affine(resolution_m, 0, 0, 0, -resolution_m, 0),
        check_ftype=False,
    )
    area = directions.upstream_area("m2")
    return np.where(known, area, np.nan).astype(np.float32)


def _steepest(filled: NDArray[np.floating], way_out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # pyflwdir's own directions lead to the lowest neighbour whatever its distance, which bends
    # flow on even slopes; they are right, and free of loops, only where nothing lies lower.
    directions = way_out.copy()
    steepest = np.zeros(filled.shape)
    padded = np.pad(filled, 1, constant_values=np.nan)
    rows, cols = filled.shape
    for code, (down, right) in _D8_STEPS.items():
        neighbour = padded[1 + down : 1 + down + rows, 1 + right : 1 + right + cols]
        drop = (filled - neighbour) / np.hypot(down, right)
        steeper = drop > steepest
        steepest[steeper] = drop[steeper]
        directions[steeper] = code
    return directions


def wetness_index(
    accumulation_m2: NDArray[np.floating], slope: NDArray[np.floating], resolution_m: float
) -> NDArray[np.floating]:
    """Topographic wetness index ln(a / tan β) (Beven & Kirkby 1979).

    a is the upslope area per metre of contour, `accumulation_m2 / resolution_m`; β is the slope in
    degrees, taken as at least 0.1 % so that level ground stays finite.
    """
    gradient = np.maximum(np.tan(np.radians(slope)), _LEAST_SLOPE)
    return np.asarray(np.log(accumulation_m2 / resolution_m / gradient))


def _over(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=0 * numerator, where=denominator != 0)

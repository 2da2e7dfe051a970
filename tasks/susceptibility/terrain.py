"""Terrain measures of an elevation grid: pure functions, NaN where the terrain is unknown.

Every grid is north-up with square pixels, float, in metres. Derivatives are those of the quadratic
z = rx²/2 + sxy + ty²/2 + px + qy + z0 fitted to each 3x3 neighbourhood by least squares
(Evans 1980, "An integrated system of terrain analysis and slope mapping"), x east and y north, so
they are exact on quadratic surfaces and NaN where any of the nine cells is NaN or off the grid.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_LEAST_SLOPE = 0.001


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


def total_curvature(d: Derivatives) -> NDArray[np.float64]:
    """Bending in any direction in 1/m², 0 on planes: r² + 2s² + t² (Gallant & Wilson 2000)."""
    return np.asarray(d.r**2 + 2 * d.s**2 + d.t**2)


def ruggedness(d: Derivatives) -> NDArray[np.float64]:
    """Vector ruggedness measure, 0 on planes to 1: spread of the nine normals of a 3x3 square.

    1 - |Σ n| / 9 with unit normals n (Sappington et al. 2007, J. Wildlife Management 71); unlike
    other measures of roughness it does not repeat the slope. NaN along the grid's edge.
    """
    length = np.sqrt(1 + d.p**2 + d.q**2)
    sums = [_sum_of_nine(part / length) for part in (d.p, d.q, np.ones_like(d.p))]
    return np.asarray(1 - np.sqrt(sum(each**2 for each in sums)) / 9)


def _sum_of_nine(values: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(values, 1, constant_values=np.nan)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])


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


def wetness_index(
    accumulation_m2: NDArray[np.floating], slope: NDArray[np.floating], resolution_m: float
) -> NDArray[np.floating]:
    """Topographic wetness index ln(a / tan β) (Beven & Kirkby 1979).

    a is the upslope area per metre of contour, `accumulation_m2 / resolution_m`; β is the slope in
    degrees, taken as at least 0.1 % so that level ground stays finite.
    """
    return np.asarray(np.log(accumulation_m2 / resolution_m / _gradient(slope)))


def stream_power_index(
    accumulation_m2: NDArray[np.floating], slope: NDArray[np.floating], resolution_m: float
) -> NDArray[np.floating]:
    """Stream power index ln(a tan β) (Moore et al. 1991, Hydrological Processes 5).

    a and β as in `wetness_index`.
    """
    return np.asarray(np.log(accumulation_m2 / resolution_m * _gradient(slope)))


def _gradient(slope: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.maximum(np.tan(np.radians(slope)), _LEAST_SLOPE))


def _over(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(numerator, denominator, out=0 * numerator, where=denominator != 0)

"""Regions of a cell, from rules or masks, and what the maps say inside them.

A region is a set of voxels on the common grid; every condition of its rule must hold. Maps are [y, x] with the axes of
`geometry` (row 0 at the largest y); lengths in mm, azimuths in degrees, counter-clockwise from +x.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from scipy.signal import fftconvolve

from .errors import GeometryError

TOP = 99.5
"""Percentile of a map that counts as its highest value, as in the figures."""
REACH = 4
"""Errors of voxels farther apart than this (pixels) count as independent: no filter on the way reaches as far."""


def strong(values: np.ndarray, *, above: float | None = None, below: float | None = None) -> np.ndarray:
    """Voxels (y, x) whose value lies above and below shares of the map's highest one; NaN is neither."""
    finite = values[np.isfinite(values)]
    top = np.percentile(finite, TOP) if finite.size else np.nan
    inside = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        if above is not None:
            inside &= values >= above * top
        if below is not None:
            inside &= values < below * top
    return inside


def between(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Voxels (y, x) whose value lies from the first limit to below the second; NaN does not."""
    with np.errstate(invalid="ignore"):
        return (values >= limits[0]) & (values < limits[1])


def ring(x: np.ndarray, y: np.ndarray, *, centre: tuple[float, float], radius_mm: tuple[float, float]) -> np.ndarray:
    """Voxels between two radii about a centre (x, y)."""
    radius = np.hypot(x[None, :] - centre[0], y[:, None] - centre[1])
    return (radius >= radius_mm[0]) & (radius < radius_mm[1])


def sector(
    x: np.ndarray, y: np.ndarray, *, centre: tuple[float, float], azimuth_deg: tuple[float, float]
) -> np.ndarray:
    """Voxels between two directions about a centre (x, y), counter-clockwise from the first to the second."""
    azimuth = np.degrees(np.arctan2(y[:, None] - centre[1], x[None, :] - centre[0]))
    return (azimuth - azimuth_deg[0]) % 360 < (azimuth_deg[1] - azimuth_deg[0]) % 360


def near(what: np.ndarray, *, distance_mm: tuple[float, float], voxel_mm: float) -> np.ndarray:
    """Voxels at a distance from the largest connected part of `what`, such as a tab among foils.

    Raises
    ------
    GeometryError
        When `what` is empty.
    """
    parts, count = label(what, structure=np.ones((3, 3)))
    if not count:
        raise GeometryError("a region at a distance from something that is nowhere: lower its threshold")
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    distance = distance_transform_edt(parts != largest) * voxel_mm
    return (distance >= distance_mm[0]) & (distance < distance_mm[1])


def clusters(values: np.ndarray, *, count: int, weights: np.ndarray | None = None, steps: int = 100) -> np.ndarray:
    """k-means of voxels by their lattice parameters, each scaled by its spread.

    Lloyd, IEEE Trans. Inf. Theory 28, 129, 1982. Starts at quantiles of the first principal direction, so that the
    same maps give the same clusters.

    Parameters
    ----------
    values
        Shape (parameter, y, x); voxels with a NaN belong to none.
    count
        Clusters.
    weights
        How much a voxel counts, (y, x); None: all alike.

    Returns
    -------
    numpy.ndarray
        Number of the cluster of every voxel, in ascending order of the last parameter's mean; −1 where there is none.

    Raises
    ------
    GeometryError
        When there are fewer voxels than clusters.
    """
    known = np.isfinite(values).all(axis=0)
    if known.sum() < count:
        raise GeometryError(f"{count} clusters need as many voxels, found {int(known.sum())} with a cell")
    points = values[:, known].T.astype(float)
    weight = np.ones(len(points)) if weights is None else weights[known].astype(float)
    scaled = (points - points.mean(0)) / np.maximum(points.std(0), np.finfo(float).tiny)
    along = scaled @ np.linalg.svd(scaled, full_matrices=False)[2][0]
    # Quantiles in the middle of equal shares: never an outlier, never two of one place unless the map is flat.
    wanted = np.quantile(along, (np.arange(count) + 0.5) / count)
    centres = np.stack([scaled[np.abs(along - value).argmin()] for value in wanted])
    for _ in range(steps):
        member = np.linalg.norm(scaled[:, None] - centres, axis=2).argmin(1)
        news = np.stack(
            [
                np.average(scaled[member == k], axis=0, weights=weight[member == k])
                if weight[member == k].sum()
                else old
                for k, old in enumerate(centres)
            ]
        )
        if np.array_equal(news, centres):
            break
        centres = news
    rank = np.argsort(np.argsort(centres[:, -1]))
    found = np.full(known.shape, -1)
    found[known] = rank[member]
    return found


class Summary(NamedTuple):
    """Of one quantity in one region."""

    mean: float
    sd: float
    """Of the voxels: real differences and noise."""
    se: float
    """Of the mean, with neighbours that share their errors counted as what they are."""
    n: int
    """Voxels with a value."""


def summarise(values: np.ndarray, region: np.ndarray) -> Summary:
    """Mean, standard deviation, standard error and count of a map (y, x) in a region (y, x); NaN is left out.

    Reconstruction, denoising and resampling spread one error over several voxels, so that sd/√n is too small. The
    variance of the mean is the sum of the covariances of all pairs, here of those within `REACH`, each estimated from
    all pairs in the region that lie alike; differences between the parts of a region count as scatter.
    """
    used = region & np.isfinite(values)
    n = int(used.sum())
    if n < 2:
        return Summary(float(values[used].mean()) if n else np.nan, np.nan, np.nan, n)
    mean = float(values[used].mean(dtype=float))
    rest = np.where(used, values - mean, 0.0).astype(float)
    sd = float(np.sqrt((rest**2).sum() / (n - 1)))
    pairs = fftconvolve(rest, rest[::-1, ::-1])
    lags = [np.abs(np.arange(size) - size // 2) for size in pairs.shape]
    close = lags[0][:, None] ** 2 + lags[1][None, :] ** 2 <= REACH**2
    variance = pairs[close].sum() / n**2
    return Summary(mean, sd, float(np.sqrt(max(variance, sd**2 / n))), n)

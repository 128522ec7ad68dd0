"""Sizes of phases whose cells differ from place to place: from the mean patterns of small regions.

Where a phase has one cell here and another there, its lines in the mean pattern are as wide as the cells are apart,
and the size that makes them so is too small everywhere. A wrong width then moves lines that overlap, such as 006 and
101 of a charged layered oxide (c by several mÅ), and takes ten per cent of a phase to or from its neighbours. In a
region of a hundredth of the map cells differ less, and its mean pattern is still a good one.
"""

import numpy as np

from .model import PatternModel
from .solve import FitResult, fit_patterns

MOST, SMALLEST = 10, 16
"""Regions along the edge of a map at most, and voxels along the edge of a region at least."""
SURE = 3.0
"""Standard errors by which the scale of a phase must lie above 0 for the region to say anything about it."""


def sizes_of_regions(
    model: PatternModel,
    patterns: np.ndarray,
    mask: np.ndarray,
    start: np.ndarray,
    *,
    extra: np.ndarray | float = 0.0,
    **options,
) -> np.ndarray:
    """Parameters at which to start in every voxel: sizes of the phases with cells per voxel are those of regions.

    The median over the regions, each with the weight of what it holds of the phase: places where two cells meet do not
    count much.

    Parameters
    ----------
    patterns
        Of the voxels in the mask, shape (n_voxels, n_bins).
    mask
        Shape (n_y, n_x), bool.
    start
        Parameters from the mean pattern of all voxels, shape (n_parameters,).
    extra
        FWHM of the broadening of every voxel relative to q, shape (n_voxels,), or one.
    options
        Of `fit_patterns`: variance, absolute.

    Returns
    -------
    numpy.ndarray
        Shape (n_parameters,).
    """
    varying = [phase.name for phase in model.phases.phases if phase.per_voxel]
    number, count = _regions(mask)
    if not varying or count.size == 1:
        return start
    means = np.array([patterns[number == k].mean(axis=0, dtype=float) for k in range(count.size)])
    squared = np.broadcast_to(np.asarray(extra, dtype=float) ** 2, number.shape)
    width = np.sqrt(np.bincount(number, weights=squared) / count)
    found = fit_patterns(model, means, start=start, level="full", extra=width, most=200, **options)
    better = start.copy()
    for name in varying:
        scale, size = model.place(name, "scale"), model.place(name, "1/size")
        amount = np.where(_sure(found, scale), found.parameters[:, scale] * count, 0.0)
        if amount.any():
            better[size] = _weighted_median(found.parameters[:, size], amount)
    return better


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Region of each voxel in the mask, counted without gaps, and the voxels of each region."""
    rows, columns = np.nonzero(mask)
    parts_y, parts_x = (np.clip(n // SMALLEST, 1, MOST) for n in mask.shape)
    square = rows * parts_y // mask.shape[0] * parts_x + columns * parts_x // mask.shape[1]
    _, number, count = np.unique(square, return_inverse=True, return_counts=True)
    return number, count


def _sure(found: FitResult, scale: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return found.parameters[:, scale] > SURE * found.errors[:, scale]


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    passed = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(passed, passed[-1] / 2)])

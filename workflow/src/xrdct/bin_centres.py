"""From what a bin's pixels show to what the whole bin would.

A bin holds whole pixels and shows the mean of the pattern where they lie. On a whole detector they fill it evenly; on a
strip, between gaps and at the beam stop they lie beside its centre, by a tenth of it and more, or in two heaps. Lines
then seem to shift by as much, and to change by a per cent in area.
"""

import numpy as np

OF_A_BIN = np.array([1.0, 0.0, 1 / 12])
"""Means of 1, x and x² over a bin of width 1 about 0."""
NOISIEST = 2.0
"""Variance of a bin's noise, relative to what it was, from which the bin is left alone: where the few pixels of two
bins touch, a parabola through them follows their noise."""


def mean_of_bins(values: np.ndarray, weights: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Weighted mean of the values that belong to each of `n` places; NaN where there are none, shape (n,)."""
    total = np.bincount(places, weights=weights, minlength=n)
    sums = np.bincount(places, weights=weights.astype(float) * values, minlength=n)
    return np.divide(sums, total, out=np.full(n, np.nan), where=total > 0)


def centring_weights(mean: np.ndarray, square: np.ndarray) -> np.ndarray:
    """What a bin's lower neighbour, the bin and its upper neighbour contribute to the value of the whole bin.

    A parabola whose means over the pixels of the three bins are what these show is averaged over the bin; a straight
    line through two where a neighbour is missing.

    Parameters
    ----------
    mean, square
        Mean distance of a bin's pixels from its centre in q, and mean square of it, in units of the bin's width and of
        its square; NaN for a bin without any, shape (n_bins,).

    Returns
    -------
    numpy.ndarray
        Shape (3, n_bins); 0, 1, 0 where there is nothing to interpolate between, or noise would grow (`NOISIEST`).
    """
    offset = np.array([-1.0, 0.0, 1.0])[:, None]
    first = np.stack([np.r_[np.nan, mean[:-1]], mean, np.r_[mean[1:], np.nan]])  # (3, n_bins)
    second = np.stack([np.r_[np.nan, square[:-1]], square, np.r_[square[1:], np.nan]])
    second, first = second + 2 * offset * first + offset**2, first + offset  # from the centre of the bin in the middle
    there = np.isfinite(first)
    weights = np.zeros(first.shape)
    weights[1] = 1.0
    for k in np.flatnonzero(there[1] & (there[0] | there[2])):
        own = there[:, k]
        powers = np.stack([np.ones(own.sum()), first[own, k], second[own, k]])[: own.sum()]
        found = np.linalg.solve(powers, OF_A_BIN[: own.sum()])
        if found @ found < NOISIEST:
            weights[own, k] = found
    return weights


def at_centres(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Patterns (..., n_bins) of whole bins, by `centring_weights` (3, n_bins) or (..., 3, n_bins).

    A bin that is NaN, or has a neighbour that is, stays as it is.
    """
    below, above = np.roll(patterns, 1, axis=-1), np.roll(patterns, -1, axis=-1)  # what comes round weighs nothing
    lower, own, upper = np.moveaxis(weights, -2, 0)
    moved = np.where(lower, lower * below, 0) + own * patterns + np.where(upper, upper * above, 0)
    return np.where(np.isfinite(moved), moved, patterns)

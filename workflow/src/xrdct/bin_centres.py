"""From the mean q of a bin's pixels to the bin's centre.

A bin holds whole pixels and shows the pattern at their mean q. On a whole detector that is the bin's centre; on a
strip, between gaps and at the beam stop the pixels of a bin lie beside it, by a tenth of a bin and more, and lines seem
to shift by as much: c of NCA by 4e-3 Å on a strip of 48 rows.
"""

import numpy as np


def mean_of_bins(values: np.ndarray, weights: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Weighted mean of the values that belong to each of `n` places; NaN where there are none, shape (n,)."""
    total = np.bincount(places, weights=weights, minlength=n)
    sums = np.bincount(places, weights=weights.astype(float) * values, minlength=n)
    return np.divide(sums, total, out=np.full(n, np.nan), where=total > 0)


def centring_weights(mean_q: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What a bin's lower neighbour, the bin and its upper neighbour contribute to the value at its centre.

    The parabola through the three is read at the centre; the straight line through two where a neighbour is missing.

    Parameters
    ----------
    mean_q, q
        Mean q of the pixels of each bin, NaN for a bin without any, and its centre, in the same unit, shape (n_bins,).

    Returns
    -------
    numpy.ndarray
        Shape (3, n_bins); 0, 1, 0 where there is nothing to interpolate between.
    """
    nodes = np.stack([np.r_[np.nan, mean_q[:-1]], mean_q, np.r_[mean_q[1:], np.nan]])
    there = np.isfinite(nodes)
    nodes = np.where(there, nodes, 0.0)
    weights = there.astype(float)
    for one in range(3):
        for other in {0, 1, 2} - {one}:
            both = there[one] & there[other]
            # Lagrange's polynomials; a node that is missing leaves the polynomial of the others.
            factor = np.divide(q - nodes[other], nodes[one] - nodes[other], out=np.ones(q.size), where=both)
            weights[one] *= factor
    alone = ~there[1] | ~(there[0] | there[2])
    weights[:, alone] = np.array([[0.0], [1.0], [0.0]])
    return weights


def at_centres(patterns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Patterns (..., n_bins) at the centres of their bins, by `centring_weights` (3, n_bins) or (..., 3, n_bins).

    A bin that is NaN, or has a neighbour that is, stays as it is.
    """
    below, above = np.roll(patterns, 1, axis=-1), np.roll(patterns, -1, axis=-1)  # what comes round weighs nothing
    lower, own, upper = np.moveaxis(weights, -2, 0)
    moved = np.where(lower, lower * below, 0) + own * patterns + np.where(upper, upper * above, 0)
    return np.where(np.isfinite(moved), moved, patterns)

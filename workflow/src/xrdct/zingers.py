"""Single samples of a sinogram that stand far above everything around them: what trimming let through.

A grain that reflects is bright along its sine: the neighbouring projections see it a column or two away. A cosmic ray,
or a hot pixel that the mask missed for a moment, is seen once.
"""

import logging
from collections.abc import Callable, Iterable

import numpy as np
from scipy.ndimage import maximum_filter1d

log = logging.getLogger(__name__)

HEIGHT = 8.0
"""Standard errors by which a zinger stands above the highest of its neighbours."""
REACH = 2
"""Neighbouring projections on either side, and columns beyond those that the edge of the field moves through."""


def remove_zingers(
    intensity: np.ndarray, variance: np.ndarray, angles: np.ndarray, *, progress: Callable[[Iterable], Iterable] = iter
) -> np.ndarray:
    """Replace zingers, in place, by the mean of what is left and right of them on their line.

    Parameters
    ----------
    intensity, variance
        Shape (n_angles, n_positions, n_q), angles ascending, bad frames repaired. Changed where a zinger was; its
        variance becomes that of its neighbours' mean.
    angles
        Degrees, shape (n_angles,).
    progress
        Wraps the lines.

    Returns
    -------
    numpy.ndarray
        Number of samples replaced in every frame, shape (n_angles, n_positions).
    """
    n_angles, n_positions, _ = intensity.shape
    step = np.median(np.diff(np.sort(angles))) if n_angles > 1 else 0.0
    size = 2 * (int(np.ceil(np.radians(step) * REACH * n_positions / 2)) + REACH) + 1
    found = np.zeros((n_angles, n_positions), dtype=np.int32)
    highest: dict[int, np.ndarray] = {}
    original: dict[int, np.ndarray] = {}
    for line in progress(range(n_angles)):
        around = [k for k in range(max(0, line - REACH), min(n_angles, line + REACH + 1)) if k != line]
        for k in [*around, line]:
            if k not in original:
                original[k] = intensity[k].copy()
                highest[k] = maximum_filter1d(original[k], size, axis=0, mode="nearest")
        for k in [k for k in original if k < line - REACH]:
            del original[k], highest[k]
        if not around:
            break
        limit = np.max([highest[k] for k in around], axis=0)
        noise = np.sqrt(np.maximum(_beside(variance[line], np.maximum), 0))
        hot = original[line] > np.maximum(limit, _beside(original[line], np.maximum)) + HEIGHT * noise
        for point in np.flatnonzero(hot.any(axis=1)):
            bins = hot[point]
            left, right = max(0, point - 1), min(n_positions - 1, point + 1)
            left, right = (right, right) if left == point else (left, left if right == point else right)
            intensity[line, point, bins] = (original[line][left, bins] + original[line][right, bins]) / 2
            variance[line, point, bins] = (variance[line, left, bins] + variance[line, right, bins]) / 2
            found[line, point] = bins.sum()
    if found.any():
        log.info("%d zingers in %d frames replaced", found.sum(), np.count_nonzero(found))
    return found


def _beside(line, combine):
    """The larger of what stands left and right of every sample of a line (n_positions, n_q)."""
    left = np.concatenate([line[1:2], line[:-1]])
    right = np.concatenate([line[1:], line[-2:-1]])
    return combine(left, right)

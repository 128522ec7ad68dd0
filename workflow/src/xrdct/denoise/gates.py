"""What a denoiser must not do, tried on the scan at hand: erase a rare phase, or bend a local peak position.

Neither shows in a mean error. Something known is planted into the parts, the method runs again, and the difference
says what became of it: no truth is needed.
"""

from collections.abc import Callable

import numpy as np

SMALLEST_INTENSITY, SMALLEST_PEAK = 0.5, 0.7
"""Shares of a planted grain's intensity and peak height that must be left."""
FOOT = 0.05
"""Channels below this share of the planted peak are not counted as its intensity."""

Method = Callable[[np.ndarray], np.ndarray]
"""From parts [channel, part, y, x] to a volume [channel, y, x]."""


def plant_grain(parts: np.ndarray, voxels: tuple[np.ndarray, np.ndarray], pattern: np.ndarray) -> np.ndarray:
    """Parts with a pattern (n_channels,) added at a few voxels (rows, columns), in all parts alike."""
    planted = np.array(parts)
    planted[:, :, voxels[0], voxels[1]] += pattern[:, None, None].astype(planted.dtype)
    return planted


def grain_left(
    method: Method, parts: np.ndarray, voxels: tuple[np.ndarray, np.ndarray], pattern: np.ndarray
) -> tuple[float, float]:
    """Shares of the intensity and of the peak height that a method leaves of a grain it was not told of.

    Parameters
    ----------
    method
        Run with the grain and without it.
    parts
        Shape (n_channels, K, n_y, n_x).
    voxels
        Rows and columns of the grain.
    pattern
        What the grain adds, shape (n_channels,), non-negative.
    """
    added = method(plant_grain(parts, voxels, pattern)) - method(parts)
    there = added[:, voxels[0], voxels[1]].mean(axis=1)
    peaks = pattern > FOOT * pattern.max()
    return float(there[peaks].sum() / pattern[peaks].sum()), float(there[pattern.argmax()] / pattern.max())


def plant_shift(parts: np.ndarray, patch: np.ndarray, shift: float) -> np.ndarray:
    """Parts whose patterns in `patch` (n_y, n_x, bool) are moved by `shift` channels, linearly interpolated."""
    planted = np.array(parts)
    here = np.arange(len(parts)) - shift
    low = np.clip(np.floor(here).astype(int), 0, len(parts) - 2)
    weight = np.clip(here - low, 0, 1)[:, None, None]
    values = np.asarray(parts)[:, :, patch]
    planted[:, :, patch] = (1 - weight) * values[low] + weight * values[low + 1]
    return planted


def shift_left(method: Method, parts: np.ndarray, patch: np.ndarray, shift: float) -> float:
    """Share of a local shift of all peaks along q that is left after a method: 1 is right, 0 is the common position.

    The change of the patch's mean pattern is compared with the change of the same pattern in the parts themselves.
    """
    planted = plant_shift(parts, patch, shift)
    expected = (planted - parts)[:, :, patch].mean(axis=(1, 2))
    found = (method(planted) - method(parts))[:, patch].mean(axis=1)
    return float(found @ expected / (expected @ expected))


def passes_grain(left: tuple[float, float]) -> bool:
    """Whether enough of the planted grain is left."""
    return left[0] >= SMALLEST_INTENSITY and left[1] >= SMALLEST_PEAK

"""The trimmed mean by its definition: sort every bin in float64. Slow, plain, and what the fast kernels must equal.

Per bin, pixels are sorted by key = signal/weight; the cumulated weight runs from 0 to W. What lies between g W and
(1 - g) W is kept (g = trim/2); a pixel that straddles a cut is kept in part (fractional edges). Result:
sum(signal)/sum(weight) of what is kept. Because equal keys have one density signal/weight, their order changes nothing.
"""

import numpy as np

from .patterns import Patterns, valid_range


def trimmed_mean(
    frames: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    weights: np.ndarray,
    *,
    trim: float,
    invalid_above: float | None = None,
) -> Patterns:
    """Trimmed mean, its Winsorised standard error, plain mean and number of kept pixels of every bin.

    Parameters are those of `TrimmedMean` and of its call; no groups.
    """
    lowest, highest = valid_range(frames.dtype, invalid_above)
    n_frames, n_bins = len(frames), len(indptr) - 1
    result = np.full((3, n_frames, n_bins), np.nan)
    kept = np.zeros((n_frames, n_bins), np.int64)
    for i, frame in enumerate(frames.reshape(n_frames, -1)):
        for b in range(n_bins):
            listed = slice(indptr[b], indptr[b + 1])
            signal, weight = frame[indices[listed]], weights[listed].astype(float)
            valid = (signal >= lowest) & (signal <= highest)
            if valid.any():
                *result[:, i, b], kept[i, b] = trim_bin(signal[valid].astype(float), weight[valid], trim=trim)
    return Patterns(intensity=result[0], sem=result[1], mean=result[2], kept=kept)


def trim_bin(signal: np.ndarray, weight: np.ndarray, *, trim: float) -> tuple[float, float, float, int]:
    """Trimmed mean, standard error, mean and number of kept pixels of one bin with at least one pixel.

    The standard error is s_w / ((1 - 2g) sqrt(n)) with the variance s_w² of the Winsorised keys (those outside the
    kept ones moved to the nearest kept key), weighted, n - 1 degrees of freedom. NaN for one pixel.
    Tukey & McLaughlin, Sankhya A 25 (1963) 331; Wilcox, Introduction to Robust Estimation, section 3.3.2.
    """
    key, g = signal / weight, trim / 2
    order = np.argsort(key, kind="stable")
    after = np.cumsum(weight[order])
    before = np.concatenate([[0.0], after[:-1]])
    total = after[-1]
    low, high = g * total, (1 - g) * total
    share = np.clip((np.minimum(after, high) - np.maximum(before, low)) / weight[order], 0, 1)
    intensity = (share * signal[order]).sum() / (share * weight[order]).sum()

    sorted_key = key[order]
    edges = sorted_key[(after > low) & (before < high)][[0, -1]]
    kept = np.count_nonzero((key >= edges[0]) & (key <= edges[1]))
    winsorised = np.clip(key, *edges)
    centre = np.average(winsorised, weights=weight)
    n = len(key)
    if n == 1:
        return intensity, np.nan, signal.sum() / total, kept
    variance = np.average((winsorised - centre) ** 2, weights=weight) * n / (n - 1)
    return intensity, np.sqrt(variance / n) / (1 - trim), signal.sum() / total, kept

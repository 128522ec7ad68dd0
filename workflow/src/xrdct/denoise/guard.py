"""What stands out of the noise and is missing from a denoised volume is put back, whatever method lost it."""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter1d

from .scaling import noise_map

WIDTHS = (0.0, 2.0)
"""Gaussians (standard deviation, pixels) over which the missing is averaged: single voxels, then regions."""
THRESHOLD = 5.0
"""Standard deviations: 3 costs 1 to 3 dB in a pilot and keeps little more."""
PEAK = np.array([0.25, 0.7, 1.0, 0.7, 0.25])
"""A peak of 2.9 channels FWHM along q, which the guard looks for."""
BLOCK, HALO = 32, 2 * (PEAK.size - 1)
"""Channels looked at together, and those on either side that they need: matched and marked once per width."""


def put_back(denoised: np.ndarray, parts, *, threshold: float = THRESHOLD) -> np.ndarray:
    """Give back what the reconstruction has along q and the denoised volume lacks.

    The difference of the two, averaged over a few pixels, is matched to `PEAK` along q. Where that exceeds `threshold`
    standard deviations, of either sign, the averaged difference is added in the five channels around it: at width 0 the
    voxel is as it was measured, with its noise. The noise is what the parts say, averaged in the same way.

    Parameters
    ----------
    denoised
        Shape (n_channels, n_y, n_x); channels are neighbours in q.
    parts
        Shape (n_channels, K, n_y, n_x); read in blocks of channels.

    Returns
    -------
    numpy.ndarray
        Shape of `denoised`, float32.
    """
    guarded = np.empty(denoised.shape, np.float32)
    for start in range(0, len(denoised), BLOCK):
        first, stop = max(0, start - HALO), min(len(denoised), start + BLOCK + HALO)
        own = _put_back_block(denoised[first:stop], np.asarray(parts[first:stop]), threshold)
        guarded[start : start + BLOCK] = own[start - first :][:BLOCK]
    return guarded


def _put_back_block(denoised, parts, threshold):
    missing = parts.mean(axis=1) - denoised
    for width in WIDTHS:
        averaged, own = _averaged(missing, width), _averaged(parts, width)
        noise = np.stack([noise_map(values) for values in own])
        found = maximum_filter1d(significance(averaged, noise), PEAK.size, axis=0, mode="constant") > threshold
        # From all scales together: what a finer one has given back is not missing from a coarser one.
        denoised = np.where(found, denoised + averaged, denoised)
        missing = parts.mean(axis=1) - denoised
    return denoised


def significance(missing: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Height of a peak fitted around every channel over its standard error, without sign; 0 where there is no noise."""
    known = noise > 0
    weight = np.divide(1, noise**2, out=np.zeros(noise.shape), where=known)
    top, bottom = _correlated(missing * weight, PEAK), np.sqrt(_correlated(weight, PEAK**2))
    return np.abs(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0))


def _averaged(values, width):
    return gaussian_filter(values, width, axes=(-2, -1)) if width > 0 else values


def _correlated(values, kernel):
    """Correlation along the channels, zero beyond the ends; NaN counts as zero."""
    half = kernel.size // 2
    padded = np.pad(np.nan_to_num(values), [(half, half), (0, 0), (0, 0)])
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(kernel))

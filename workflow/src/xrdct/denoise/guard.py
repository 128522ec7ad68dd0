"""What stands out of the noise and is missing from a denoised volume is put back, whatever method lost it.

Three things get lost: the place of peaks (`displaced`), a phase that only a few voxels have, and one that is faint but
fills a region. Each is looked for with what makes the most of it: a peak's shape along q, and an average over as many
pixels as it fills. What counts as found is set by how often noise alone would be taken for something.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, maximum_filter1d
from scipy.stats import norm

from .displaced import REACH, put_in_place
from .scaling import noise_map

FALSE_ALARMS = 2e-6
"""Share of looks (voxel and channel) at which noise alone is put back. Each gives back the noise of five channels in up
to nine voxels: 1e-5 costs the joint method a quarter of a dB, 6e-5 a whole one."""
THRESHOLD = float(norm.isf(FALSE_ALARMS / 2))
"""Standard deviations, of either sign: 4.75."""
DISPLACED = 0.53
"""Share of the threshold (2.5 standard deviations) at which a peak is taken for displaced. A false alarm costs little
there, the noise of one number for a whole neighbourhood: a tenth of a dB in all, against half the bias of c where it
jumps, at the dose where what displaces peaks is hardest to see."""
SPOT, REGION = 0.7, 2.0
"""Gaussians (standard deviation, pixels) over which the missing is averaged: a few voxels, and a region. The noise of a
filtered back-projection falls faster with averaging than that of independent pixels."""
OWN = 1.5
"""Standard deviations that a voxel beside a spot must lack itself to be put back too."""
SURROUNDINGS, PLAIN, RARE, FEW = 4.0, 6.5, 0.003, 20
"""A spot that rises by `PLAIN` standard deviations above its surroundings (a Gaussian of so many pixels), as at most
the share `RARE` of the voxels do in its channel (or so few of them), is real: half the threshold then says that the
method has lost some of it. A network that leaves half of a rare phase would pass the threshold unseen."""
PEAK = np.array([0.25, 0.7, 1.0, 0.7, 0.25])
"""A peak of 2.9 channels FWHM along q, which the guard looks for."""
BLOCK, HALO = 32, REACH + 4 * (PEAK.size // 2)
"""Channels looked at together, and those on either side that they need: displaced, then matched and marked twice."""


def put_back(denoised: np.ndarray, parts, *, threshold: float = THRESHOLD) -> tuple[np.ndarray, np.ndarray]:
    """Give back what the reconstruction has along q and the denoised volume lacks.

    Peaks are put in their place first. Then the difference of the two, averaged over a region, is matched to `PEAK`
    along q; where that exceeds `threshold` standard deviations, of either sign, the average is added in the five
    channels around. Last, the same with single voxels and an average over a few of them: there the voxel is as it was
    measured, with its noise. The noise is what the parts say, averaged in the same way.

    Parameters
    ----------
    denoised
        Shape (n_channels, n_y, n_x); channels are neighbours in q.
    parts
        Shape (n_channels, K, n_y, n_x); read in blocks of channels.
    threshold
        Infinite: nothing is put back.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        The guarded volume, and the standard error of what was put back (0 where nothing was), shape of `denoised`,
        float32.
    """
    guarded, added = (np.empty(denoised.shape, np.float32) for _ in range(2))
    for start in range(0, len(denoised), BLOCK):
        first, stop = max(0, start - HALO), min(len(denoised), start + BLOCK + HALO)
        own = _put_back_block(np.asarray(denoised[first:stop]), np.asarray(parts[first:stop]), threshold)
        for whole, block in zip((guarded, added), own, strict=True):
            whole[start : start + BLOCK] = block[start - first :][:BLOCK]
    return guarded, added


def _put_back_block(denoised, parts, threshold):
    whole, noise = parts.mean(axis=1), _noise(parts)
    denoised, error = put_in_place(denoised, parts, threshold=DISPLACED * threshold)
    averaged, less_noise = _averaged(whole - denoised, REGION), _noise(_averaged(parts, REGION))
    found = _along(find_regions(averaged, less_noise, whole - denoised, parts, threshold))
    denoised, error = (
        np.where(found, denoised + averaged, denoised),
        np.where(found, np.hypot(error, less_noise), error),
    )
    found = _along(find_spots(whole, whole - denoised, parts, noise, threshold))
    return np.where(found, whole, denoised), np.where(found, noise, error)


def find_regions(averaged, less_noise, missing, parts, threshold: float) -> np.ndarray:
    """Voxels and channels at the top of a peak that is missing from a whole region, shape of `averaged`, bool.

    Where some few voxels around stand out more than their average does, they are a spot, and no region.
    """
    together = significance(averaged, less_noise)
    spots = significance(_averaged(missing, SPOT), _noise(_averaged(parts, SPOT)))
    around = 2 * round(2 * REGION) + 1
    return (together > threshold) & (together > maximum_filter(spots, (1, around, around)))


def find_spots(whole, missing, parts, noise, threshold: float) -> np.ndarray:
    """Voxels and channels at the top of a peak that is missing from a few voxels.

    Parameters
    ----------
    whole, missing, noise
        The reconstruction, what the denoised volume lacks of it, and its noise, shape (n_channels, n_y, n_x).
    parts
        Shape (n_channels, K, n_y, n_x).

    Returns
    -------
    numpy.ndarray
        Bool, shape of `whole`.
    """
    alone = significance(missing, noise)
    averaged = _noise(_averaged(parts, SPOT))
    together = significance(_averaged(missing, SPOT), averaged)
    plain = significance(_averaged(whole, SPOT) - _averaged(whole, SURROUNDINGS), averaged) > PLAIN
    rare = plain & (plain.sum(axis=(1, 2), keepdims=True) <= max(FEW, RARE * plain[0].size))
    lost = (together > threshold) | (rare & (together > threshold / 2))
    return (alone > threshold) | (maximum_filter(lost, (1, 3, 3)) & (alone > OWN))


def significance(missing: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Height of a peak fitted around every channel over its standard error, without sign; 0 where there is no noise."""
    known = noise > 0
    weight = np.divide(1, noise**2, out=np.zeros(noise.shape), where=known)
    top, bottom = _correlated(missing * weight, PEAK), np.sqrt(_correlated(weight, PEAK**2))
    return np.abs(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0))


def _along(tops):
    """The channels of a peak around its top."""
    return maximum_filter1d(tops, PEAK.size, axis=0, mode="constant")


def _noise(parts):
    return np.stack([noise_map(values) for values in parts])


def _averaged(values, width):
    return gaussian_filter(values, width, axes=(-2, -1))


def _correlated(values, kernel):
    """Correlation along the channels, zero beyond the ends; NaN counts as zero."""
    half = kernel.size // 2
    padded = np.pad(np.nan_to_num(values), [(half, half), (0, 0), (0, 0)])
    return sum(w * padded[k : k + len(values)] for k, w in enumerate(kernel))

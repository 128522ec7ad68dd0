"""Peaks that a denoiser pulled towards a common position are moved back to where the reconstruction has them.

A local lattice parameter is bent long before any voxel misses intensity: a peak 0.2 channels off lacks a tenth of its
height on one flank and has it on the other, in every voxel of a region. That has a known shape, the slope of the
denoised pattern itself, and can be found by what all voxels around say together.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from .scaling import noise_map

WIDTH, ALONG = 2.0, 1.5
"""Gaussians (standard deviation) of a neighbourhood: pixels of the image, channels along q."""
REACH = 5
"""Channels on either side that a voxel's displacement depends on."""


def put_in_place(denoised: np.ndarray, parts: np.ndarray, *, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Add the local displacement of the peaks along q where it is certain.

    What the reconstruction has and the denoised volume lacks is fitted, around every voxel and channel, by one number
    times the slope of the denoised patterns,

    .. math:: s = \\frac{\\sum_n g_n d'_n r_n / \\sigma_n^2}{\\sum_n g_n d'^2_n / \\sigma_n^2}

    over the neighbours n with Gaussian weights g, and :math:`s d'` is added where s exceeds `threshold` standard
    errors. Voxels without the peak have no slope and no say. The standard error is what the parts say: each has its
    own s.

    Parameters
    ----------
    denoised
        Shape (n_channels, n_y, n_x); channels are neighbours in q.
    parts
        Shape (n_channels, K, n_y, n_x).

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        The volume, and the standard error of what was added (0 where nothing was), shape of `denoised`.
    """
    variance = np.stack([noise_map(values) for values in parts]) ** 2
    slope = np.gradient(denoised, axis=0)
    known = (variance > 0) & np.isfinite(slope)
    weight = np.divide(slope, variance, out=np.zeros(denoised.shape, np.float32), where=known)
    missing = np.nan_to_num(parts - denoised[:, None])
    top = _around(weight[:, None] * missing)
    bottom = _around(weight * np.where(known, slope, 0))
    error = np.stack([noise_map(values) for values in top])
    certain = known & (np.abs(top.mean(axis=1)) > threshold * error) & (bottom > 0)
    unit = np.divide(slope, bottom, out=np.zeros(denoised.shape, np.float32), where=certain)
    return denoised + unit * top.mean(axis=1), np.abs(unit) * error


def _around(values):
    """Sum over the neighbours of a voxel in the image (the last two axes) and of a channel (the first)."""
    widths = (ALONG, *(0,) * (values.ndim - 3), WIDTH, WIDTH)
    radii = (REACH - 1, *(0,) * (values.ndim - 3), round(4 * WIDTH), round(4 * WIDTH))  # a slope knows one more
    return gaussian_filter(values, widths, radius=radii, mode="constant")

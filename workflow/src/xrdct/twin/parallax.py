"""Parallax: scattering from a depth u downstream of the axis lands nearer to the beam than calibration expects.

A ring of 2θ from a voxel at depth u (mm, positive towards the detector) has the radius (L − u) tan 2θ on a detector
at distance L, where integration takes it for tan 2θ' = (1 − u/L) tan 2θ. The tilt of the detector (0.15° changes the
distance of a pixel by 2e-4 of it) is left out here.
"""

import numpy as np

SHARE_OF_WIDTH = 8
"""Neighbouring depths shift a line by at most this fraction of its width; linear sharing then widens it by 0.7 %."""


def depth_nodes(radius: float, *, distance: float, relative_width: float) -> np.ndarray:
    """Depths in mm at which patterns are computed, symmetric about 0, reaching ±`radius`.

    Parameters
    ----------
    radius
        Largest distance of matter from the axis, mm.
    distance
        From the axis to the detector, mm.
    relative_width
        Smallest FWHM of a line over its q.
    """
    largest_step = relative_width / SHARE_OF_WIDTH * distance
    n = int(np.ceil(2 * radius / largest_step)) + 1
    return np.linspace(-radius, radius, max(n, 2))


def shifted_patterns(
    patterns: np.ndarray, q: np.ndarray, depths: np.ndarray, *, distance: float, wavelength: float
) -> np.ndarray:
    """Patterns as a detector calibrated for the axis sees them when they come from other depths.

    The pixel at q' sees tan 2θ = tan 2θ' / (1 − u/L), and more or fewer photons for being nearer or farther:
    (L/(L − u))² cos³ 2θ / cos³ 2θ'.

    Parameters
    ----------
    patterns
        Shape (n, n_q) on the grid `q` (1/Å, from 0).
    depths
        mm, positive towards the detector, shape (n_depths,).
    distance, wavelength
        mm and Å.

    Returns
    -------
    numpy.ndarray
        Shape (n, n_depths, n_q), on the same grid.
    """
    sine = np.minimum(q * wavelength / (4 * np.pi), 0.5)  # 2θ < 60°: beyond, no pixel of this detector
    seen = 2 * np.arcsin(sine)
    shifted = np.empty((len(patterns), len(depths), q.size))
    for k, u in enumerate(depths):
        scale = 1 - u / distance
        true = np.arctan(np.tan(seen) / scale)
        gain = (np.cos(true) / np.cos(seen)) ** 3 / scale**2
        q_true = 4 * np.pi / wavelength * np.sin(true / 2)
        for m, pattern in enumerate(patterns):
            shifted[m, k] = gain * np.interp(q_true, q, pattern)
    return shifted

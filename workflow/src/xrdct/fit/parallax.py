"""How much wider the lines of a voxel are because what adds to them was at different depths at different angles.

Matter at depth u towards the detector throws its ring from L − u: its lines lie at tan 2θ (1 − u/L), at q (1 − u/L) for
small angles. A reconstruction that knows nothing of it is linear in every moment of u: the sinogram of u f,
reconstructed, holds the mean of u f that every voxel is given, and that of u² f the mean square. An isolated grain is
widened by what its own depth varies by; inside a round cell the chords do it, and the middle is widened most:
(R² − r²) / (2 L²) in a uniform disc of radius R. (No moment of u is left in a voxel by its own place alone.)
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from ..geometry import depth, pixel_centres
from ..reconstruction.backend import reconstruct
from ..reconstruction.operator import ParallelBeam

FWHM_PER_SIGMA = np.sqrt(8 * np.log(2))
SMOOTH_PX = 3.0
"""Moments are averaged over a Gaussian of this standard deviation: they vary slowly, and noise must not."""
LEAST = 0.05
"""Where there is less than this share of the brightest of the smoothed map nothing is said: no widening."""


def parallax_width(amount: np.ndarray, angles: np.ndarray, *, step_mm: float, distance_mm: float) -> np.ndarray:
    """FWHM of the widening of every voxel's lines relative to q: that of a Gaussian of the same variance.

    Parameters
    ----------
    amount
        What scatters, any unit, (y, x), rotation axis in the middle; negative values count as 0.
    angles
        Of the projections, degrees, covering a half turn or a turn, shape (n_angles,).
    step_mm
        Edge of a voxel.
    distance_mm
        From the axis to the detector.

    Returns
    -------
    numpy.ndarray
        Shape (y, x).
    """
    amount = np.clip(np.nan_to_num(amount), 0, None).astype(np.float32)
    n = len(amount)
    axis, centre = pixel_centres(n, step_mm), (n - 1) / 2
    x, y = axis[None, :], axis[::-1, None]
    maps = np.stack([amount * factor for factor in (1.0 + 0 * x * y, x, y, x * x, x * y, y * y)], axis=-1)
    sums = ParallelBeam(angles, n, centre) @ np.ascontiguousarray(maps, dtype=np.float32)
    along_x, along_y = (depth(*point, angles)[:, None] for point in ((1.0, 0.0), (0.0, 1.0)))
    zeroth, of_x, of_y, of_xx, of_xy, of_yy = np.moveaxis(sums, -1, 0)
    first = along_x * of_x + along_y * of_y
    second = along_x**2 * of_xx + 2 * along_x * along_y * of_xy + along_y**2 * of_yy
    sinogram = np.stack([zeroth, first, second], axis=-1).astype(np.float32)
    volume = reconstruct(sinogram, angles, cor=centre, filter="hann")
    whole, mean, square = (gaussian_filter(volume[..., k].astype(float), SMOOTH_PX) for k in range(3))
    there = whole > LEAST * whole.max()
    known = np.where(there, whole, 1.0)
    variance = np.where(there, square / known - (mean / known) ** 2, 0.0)
    return FWHM_PER_SIGMA * np.sqrt(np.clip(variance, 0, None)) / distance_mm

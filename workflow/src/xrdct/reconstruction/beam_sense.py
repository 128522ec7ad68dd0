"""Which way the beam goes through the sample: asked of the data, whose parallax has a sign."""

import numpy as np

from .cgls import cgls
from .lntan import lntan_axis
from .parallax import check_distance, resampled, strongest_bins
from .tilted import TiltedBeam

COMPARED = 48
"""Bins of Y in which the sense of parallax is looked for."""
CLEAR = 1.05
"""Ratio of residuals from which one sense is better than the other beyond doubt."""


def sense_of_parallax(
    sinogram,
    angles: np.ndarray,
    *,
    q: np.ndarray,
    wavelength: float,
    distance_mm: float,
    step_mm: float,
    cor: float | np.ndarray,
    iterations: int = 8,
) -> dict[str, float]:
    """How well the strongest lines agree with parallax, and with that of a beam from the other side.

    A few conjugate gradient steps on the bins of Y where the mean pattern has most contrast. Positions or angles that
    are counted the wrong way round exchange up- and downstream. What is round about the axis shows no difference.

    Returns
    -------
    dict
        Residual over data (norms), for 'as calibrated' and 'reversed'.
    """
    check_distance(distance_mm)
    axis = lntan_axis(q, wavelength=wavelength)
    there = axis.from_q().astype(np.float32)
    data, _ = resampled(sinogram, there[strongest_bins(sinogram, there, COMPARED)])
    n = sinogram.shape[1]
    A = TiltedBeam(angles, n, cor, pixel_over_distance=step_mm / distance_mm, step=axis.step, support=n / 2)
    found = {}
    for name, order in (("as calibrated", 1), ("reversed", -1)):
        b = np.ascontiguousarray(data[..., ::order])  # Y counted downwards: every shift has the other sign
        found[name] = float(np.linalg.norm(b - A @ cgls(A, b, iterations=iterations)) / np.linalg.norm(b))
    return found

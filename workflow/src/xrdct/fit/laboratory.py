"""Patterns of a laboratory diffractometer as the pattern model wants them: even in q, without polarization."""

import numpy as np

from ..errors import FitError
from ..units import q_from_two_theta


def laboratory_pattern(
    two_theta: np.ndarray, counts: np.ndarray, *, wavelength: float, displacement: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring a pattern in two_theta to bins that are even in q.

    The flat sample of a reflection diffractometer shows lines of area (1 + cos² 2θ)/(sin² θ cos θ) in 2θ; as
    dq ∝ cos θ d(2θ), the same pattern read over q and divided by (1 + cos² 2θ)/2 has areas ∝ 1/q², as the model's.

    Parameters
    ----------
    two_theta
        Degrees, increasing, shape (n,).
    counts
        Shape (n,).
    wavelength
        Å; of two lines, the first (Kα1).
    displacement
        Degrees by which a sample off the axis shifts lines: two_theta − displacement · cos θ is what they belong to.

    Returns
    -------
    q, intensity, variance
        Bin centres in 1/Å, as many as there were angles, and Poisson counts and their variance after the division.

    Raises
    ------
    FitError
        If counts are negative or no numbers, angles do not increase, or there is no wavelength.
    """
    two_theta, counts = np.asarray(two_theta, dtype=float), np.asarray(counts, dtype=float)
    bad = ~(np.isfinite(counts) & (counts >= 0))
    if bad.any():
        first = int(bad.argmax())
        raise FitError(
            f"{bad.sum()} of {counts.size} counts are negative or no number (first: {counts[first]:g} at "
            f"{two_theta[first]:g}°); cut them off, or give a pattern before its background was taken off"
        )
    if counts.shape != two_theta.shape or not (np.diff(two_theta) > 0).all():
        raise FitError(f"{counts.size} counts need as many angles, increasing; there are {two_theta.size}")
    if not wavelength > 0:
        raise FitError(f"a wavelength in Å is needed, found {wavelength}")
    true = two_theta - displacement * np.cos(np.radians(two_theta / 2))
    angle = np.radians(true)
    polarization = (1 + np.cos(angle) ** 2) / 2
    own = q_from_two_theta(angle, wavelength=wavelength)
    q = np.linspace(own[0], own[-1], own.size)
    intensity = np.interp(q, own, counts / polarization)
    return q, intensity, np.interp(q, own, np.maximum(counts, 1.0) / polarization**2)

"""Scales to attenuation to correction to scales, until they settle."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import AttenuationError
from .correction import Corrected

log = logging.getLogger(__name__)

DEEP = 1.0
"""Mean −ln T of the rays through the sample beyond which scales alone do not tell the attenuation."""


@dataclass(frozen=True)
class Settled:
    """What came out of the iteration."""

    scales: np.ndarray
    """Scale maps of the corrected sinogram, (phase, y, x)."""
    mu: np.ndarray
    """Attenuation map that corrected it, 1/mm, (y, x); after a pass by depth that of these scales."""
    corrected: Corrected
    """The sinogram."""
    volume: np.ndarray
    """What was reconstructed from it, (y, x, q)."""
    changes: tuple[float, ...]
    """Change of ln T in each pass, root mean square over the rays: what the scales change by."""
    settled: bool
    """Whether the last change was within the tolerance."""


def iterate(
    scales: np.ndarray,
    *,
    attenuate: Callable[[np.ndarray], np.ndarray],
    correct: Callable[[np.ndarray], Corrected],
    reconstruct: Callable[[np.ndarray], np.ndarray],
    fit: Callable[[np.ndarray], np.ndarray],
    tolerance: float = 0.01,
    most: int = 5,
    before: np.ndarray | float = 0.0,
) -> Settled:
    """Correct until the scales settle.

    A sample that is taken for too strong looks too strong after the correction: where the mean −ln T comes near 1 this
    converges slowly, and beyond it may settle anywhere (x·exp(−x) has each value twice). Measure the transmission then.

    Parameters
    ----------
    scales
        To begin with, (phase, y, x).
    attenuate
        Scales to µ in 1/mm, (y, x).
    correct
        µ to the *measured* sinogram, corrected.
    reconstruct
        Sinogram (angle, position, q) to volume (y, x, q).
    fit
        Volume to scales.
    tolerance
        Change of ln T in one pass, root mean square over the rays. Scales follow T; looked at themselves they would
        show the ringing at the edge of a casing, which goes on changing long after everything else has settled.
    most
        Passes at most.
    before
        ln T, (angle, position), of the correction that `scales` have seen; 0: none.

    Raises
    ------
    AttenuationError
        When a pass gives scales of another shape, or `most` is below 1.
    """
    if most < 1:
        raise AttenuationError(f"at least one pass is needed, found {most}")
    changes = []
    for _ in range(most):
        mu = attenuate(scales)
        corrected = correct(mu)
        volume = reconstruct(corrected.intensity)
        after = fit(volume)
        if after.shape != scales.shape:
            raise AttenuationError(f"the fit gave scale maps of {after.shape} after maps of {scales.shape}")
        depth = np.log(corrected.transmission)
        changes.append(float(np.sqrt(np.mean((depth - before) ** 2))))
        log.info("pass %d: the transmission changed by %.2f %%", len(changes), 100 * changes[-1])
        scales, before = after, depth
        if changes[-1] <= tolerance:
            break
    else:
        log.log(
            logging.WARNING if most > 1 else logging.INFO,
            "after %d passes the transmission still changes by %.1f %%",
            most,
            100 * changes[-1],
        )
    depth = -before[before < -0.01]
    if depth.size and depth.mean() > DEEP:
        log.warning(
            "rays through the sample lose %.0f %% on average: so deep in matter scales alone may not tell the "
            "attenuation; measure the transmitted beam (raw.transmitted)",
            100 * (1 - np.exp(-depth.mean())),
        )
    return Settled(scales, mu, corrected, volume, tuple(changes), changes[-1] <= tolerance)

"""The absolute factor K between scales and volume fractions, from measured transmission."""

from dataclasses import dataclass

import numpy as np

from ..errors import AttenuationError

TURNING_POINT = 1.345
"""Residuals beyond this many standard deviations lose weight (Huber, Robust Statistics, 1981): 95 % efficient."""
ROUNDS = 50
"""Reweighted fits at most; a handful do."""
FEWEST = 20
"""Voxels inside a casing, or rays through a sample, of which K may be told."""


@dataclass(frozen=True)
class AbsoluteFactor:
    """K, and where it comes from."""

    value: float
    """Volume fraction per unit of scale."""
    error: float
    """Standard error of the value, from the scatter of what it was found from."""
    source: str
    """'transmission', 'casing' or 'given'."""
    scatter: float
    """Relative spread of the voxels (casing), or robust spread of the residuals of −ln T (transmission)."""
    n_used: int
    """Rays or voxels behind it."""

    def __str__(self):
        return f"volume per unit of scale {self.value:.4g} ± {self.error:.1g} ({self.source})"


def factor_from_transmission(
    measured: np.ndarray,
    unit_depth: np.ndarray,
    fixed_depth: np.ndarray | float = 0.0,
    *,
    weights: np.ndarray | None = None,
    least: float = 0.01,
) -> AbsoluteFactor:
    """K by which the projected map explains the measured transmission: −ln T = K·unit + fixed, robustly.

    Huber's M-estimator by reweighted least squares. Rays with T < `least` are left out, where −ln T is biased by noise.

    Parameters
    ----------
    measured
        Transmission of the direct beam, (angle, position), 0 to 1; NaN where it was not measured.
    unit_depth
        Optical depth per unit of K, same shape: the projection of Σ S_p (µ_p − µ_fill).
    fixed_depth
        Optical depth that does not depend on K, same shape: the projection of fill and extra.
    weights
        Inverse variance of −ln T up to a factor, same shape; None: T², for counts of one error at all rays.
    least
        Smallest transmission used.

    Raises
    ------
    AttenuationError
        When shapes differ, a transmission is not above 0 or far above 1, or too few rays cross matter.
    """
    measured, unit = np.asarray(measured, dtype=float), np.asarray(unit_depth, dtype=float)
    if measured.shape != unit.shape:
        raise AttenuationError(f"measured transmission {measured.shape} and projected map {unit.shape} differ in shape")
    check_transmission(measured, above_one=0.05)
    crossed = np.isfinite(measured) & (measured >= least) & (unit > 0.01 * unit.max())
    if np.count_nonzero(crossed) < FEWEST:
        raise AttenuationError(
            f"only {np.count_nonzero(crossed)} rays with a transmission of at least {least:g} cross the sample; "
            f"the absolute factor needs {FEWEST}"
        )
    a, b = unit[crossed], (-np.log(measured, where=crossed, out=np.zeros_like(measured)) - fixed_depth)[crossed]
    w = measured[crossed] ** 2 if weights is None else np.asarray(weights, dtype=float)[crossed]
    factor, robust, spread = _huber(a, b, w)
    if factor <= 0:
        raise AttenuationError(
            "the measured transmission is explained without any of the phases: is it that of the direct beam, and are "
            "fill and extra material right?"
        )
    curvature = np.sum(w * robust * a * a)
    error = np.sqrt(np.sum((w * robust * a * (b - factor * a)) ** 2)) / curvature
    return AbsoluteFactor(float(factor), float(error), "transmission", float(spread), int(a.size))


def _huber(a, b, weights):
    """Slope of b = K a, the last robust weights, and the robust spread."""
    robust, before = np.ones_like(a), np.inf
    root = np.sqrt(weights / weights.mean())
    for _ in range(ROUNDS):
        w = weights * robust
        factor = np.sum(w * a * b) / np.sum(w * a * a)
        residual = root * (b - factor * a)
        spread = 1.4826 * np.median(np.abs(residual - np.median(residual)))
        if spread == 0 or abs(factor - before) <= 1e-9 * abs(factor):
            break
        robust = np.minimum(1, TURNING_POINT * spread / np.maximum(np.abs(residual), 1e-300))
        before = factor
    return factor, robust, spread


def check_transmission(transmission: np.ndarray, *, above_one: float = 0.0) -> None:
    """Refuse what is no transmission: at or below 0, or above 1 (by more than noise may add). NaN is 'not measured'.

    Raises
    ------
    AttenuationError
        Naming the first bad ray.
    """
    bad = (transmission <= 0) | (transmission > 1 + above_one)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise AttenuationError(
            f"transmission {transmission[where]:.4g} at (angle, position) {where} is not in (0, 1]: divide the counter "
            "of transmitted intensity by its value beside the sample and by the monitor; unmeasured rays are NaN"
        )

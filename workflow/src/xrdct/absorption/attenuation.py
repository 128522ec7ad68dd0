"""The attenuation map µ(x, y) from the scale maps of a fit, and the absolute factor K that it needs.

A scale S_p of the fit is proportional to the volume fraction f_p of a phase, f_p = K S_p, with one factor K for all:

.. math:: \\mu = K \\sum_p S_p \\mu_p + \\mu_{fill} (1 - K \\sum_p S_p) + \\mu_{extra}

µ_p is that of the pure dense phase. Diffraction does not see electrolyte, binder and separator: a *fill* takes what the
phases leave of a voxel, an *extra* is added. Both are maps in 1/mm, 0 where there is none. K comes from the measured
transmission, or from voxels that one phase fills, and from nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter

from ..errors import AttenuationError

TURNING_POINT = 1.345
"""Residuals beyond this many standard deviations lose weight (Huber, Robust Statistics, 1981): 95 % efficient."""
ROUNDS = 50
"""Reweighted fits at most; a handful do."""
BRIGHT = 0.5
"""A voxel belongs to a casing from this share of the casing's brightest voxels on."""
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
    """'transmission' or 'casing'."""
    scatter: float
    """Relative spread of the voxels (casing), or robust spread of the residuals of −ln T (transmission)."""
    n_used: int
    """Rays or voxels behind it."""


def check_scales(scales: np.ndarray, n_phases: int) -> np.ndarray:
    """The scale maps as float64 [phase, y, x], if they can be volume fractions at all.

    Raises
    ------
    AttenuationError
        When shape or number of phases is another one, or a value is negative or not finite.
    """
    maps = np.asarray(scales, dtype=float)
    if maps.ndim != 3 or maps.shape[0] != n_phases or maps.shape[1] != maps.shape[2]:
        raise AttenuationError(f"expected scale maps [phase, y, x] of {n_phases} phases, y = x; found {maps.shape}")
    for problem, bad in (("not finite", ~np.isfinite(maps)), ("negative", maps < 0)):
        if bad.any():
            phase, row, column = np.argwhere(bad)[0]
            raise AttenuationError(
                f"{np.count_nonzero(bad)} values of the scale maps are {problem}, the first in phase {phase} at row "
                f"{row}, column {column}; fit with non-negative scales and set masked voxels to 0"
            )
    return maps


def mu_map(
    scales: np.ndarray,
    pure: np.ndarray,
    factor: float,
    *,
    fill: np.ndarray | float = 0.0,
    extra: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Attenuation map in 1/mm, shape (y, x); where volume fractions add up to more than 1 they are scaled down to 1.

    Parameters
    ----------
    scales
        Of the phases, [phase, y, x], any one unit.
    pure
        µ of the pure dense phases, 1/mm, shape (phase,); `material.linear_attenuation`.
    factor
        K, volume fraction per unit of scale.
    fill
        µ in 1/mm of what fills the volume that the phases leave, (y, x) or one number; negative volumes count as 0.
    extra
        µ in 1/mm of what is there besides, (y, x) or one number.
    """
    maps = check_scales(scales, len(pure))
    volume = factor * maps.sum(axis=0)
    # Without the bound an overestimate feeds itself: more µ, less T, a stronger correction, still larger scales.
    crystals = factor * np.tensordot(pure, maps, axes=1) / np.maximum(volume, 1)
    return crystals + fill * np.clip(1 - volume, 0, None) + extra


def weight_fractions(scales: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """w_p = S_p ρ_p / Σ S ρ, shape (phase, y, x); NaN where no phase is. Densities in g/cm³."""
    masses = check_scales(scales, len(densities)) * np.asarray(densities)[:, None, None]
    total = masses.sum(axis=0)
    return np.divide(masses, total, out=np.full_like(masses, np.nan), where=total > 0)


def mu_without_pores(scales: np.ndarray, pure: np.ndarray, densities: np.ndarray, *, least: float = 0.0) -> np.ndarray:
    """Attenuation map of the papers: ρ Σ w_p (µ/ρ)_p with ρ = 1 / Σ(w_p/ρ_p), in 1/mm, shape (y, x).

    Every voxel is taken to be full of crystals. It needs no K, does not know of pores, and says nothing of voids.

    Parameters
    ----------
    scales, pure, densities
        As for `mu_map`; densities in g/cm³.
    least
        Voxels whose summed scale is at or below this are empty, µ = 0.
    """
    fractions = weight_fractions(scales, densities)
    full = np.asarray(scales, dtype=float).sum(axis=0) > least
    by_mass = np.asarray(pure) / densities
    with np.errstate(invalid="ignore"):
        found = np.tensordot(by_mass, fractions, axes=1) / np.tensordot(1 / np.asarray(densities), fractions, axes=1)
    return np.where(full, found, 0.0)


def compare_maps(ours: np.ndarray, papers: np.ndarray) -> dict[str, float]:
    """How the papers' map differs from ours, over the voxels where either has matter: plain numbers for the report."""
    matter = (ours > 0) | (papers > 0)
    if not matter.any():
        return {"mean_mu": 0.0, "mean_mu_papers": 0.0, "rms_difference": 0.0}
    return {
        "mean_mu": float(ours[matter].mean()),
        "mean_mu_papers": float(papers[matter].mean()),
        "rms_difference": float(np.sqrt(np.mean((ours - papers)[matter] ** 2))),
    }


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


def _huber(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, float]:
    """Slope of b = K a, the last robust weights, and the robust spread of the weighted-mean residual."""
    robust, before = np.ones_like(a), np.inf
    root = np.sqrt(weights / weights.mean())
    for _ in range(ROUNDS):
        factor = np.sum(weights * robust * a * b) / np.sum(weights * robust * a * a)
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


def factor_from_casing(scale: np.ndarray, *, pure_amount: float = 1.0) -> AbsoluteFactor:
    """K from the voxels that one phase fills: a casing, a pin.

    A voxel is inside when all eight around it belong to the casing too (half as bright as the brightest hundredth of
    the map's occupied voxels): one that the edge cuts is never inside. K = volume fraction / median scale inside. Along
    a casing thinner than three voxels no voxel is inside; then `factor_from_wall` needs its thickness.

    Parameters
    ----------
    scale
        Map of the phase, (y, x).
    pure_amount
        Volume fraction of the phase in a voxel that it fills.

    Raises
    ------
    AttenuationError
        When the phase is nowhere, or fewer than 20 voxels are inside.
    """
    casing = _casing(scale)
    inside = minimum_filter(casing, size=3, mode="constant", cval=0).astype(bool)
    values = np.asarray(scale, dtype=float)[inside]
    if values.size < FEWEST:
        raise AttenuationError(
            f"{values.size} voxels lie inside the casing, {FEWEST} are needed: it is thinner than about three voxels; "
            "give its thickness, or measure the transmitted intensity"
        )
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle)) / middle
    value = pure_amount / middle
    # The median of n values varies by 1.25 of what their mean does.
    return AbsoluteFactor(
        float(value), float(1.25 * value * spread / np.sqrt(values.size)), "casing", float(spread), values.size
    )


def factor_from_wall(scale: np.ndarray, *, thickness_mm: float, step_mm: float, radius_mm: float) -> AbsoluteFactor:
    """K from a round casing too thin for full voxels: the area of its wall over the sum of its scale.

    What the edge of the wall takes from one voxel it gives to the next, so partial volumes and blur cancel in the sum.

    Parameters
    ----------
    scale
        Map of the casing's phase, (y, x), rotation axis in the middle.
    thickness_mm, radius_mm
        Of the wall; the radius is the outer one.
    step_mm
        Edge of a voxel.

    Raises
    ------
    AttenuationError
        When the phase is nowhere near that radius.
    """
    scale = np.asarray(scale, dtype=float)
    occupied = _casing(scale)
    row, column = np.indices(scale.shape)
    y, x = (
        (row - np.average(row, weights=occupied)) * step_mm,
        (column - np.average(column, weights=occupied)) * step_mm,
    )
    margin = 3 * step_mm
    distance = np.hypot(x, y)
    wall = (distance > radius_mm - thickness_mm - margin) & (distance < radius_mm + margin)
    area = np.pi * (radius_mm**2 - (radius_mm - thickness_mm) ** 2)
    amount = scale[wall].sum() * step_mm**2
    if amount <= 0:
        raise AttenuationError(f"the casing's phase is nowhere near its radius of {radius_mm:g} mm")
    sectors = _sector_sums(np.arctan2(y, x)[wall], scale[wall])
    spread = sectors.std(ddof=1) / sectors.mean()
    value = area / amount
    error = value * spread / np.sqrt(sectors.size)
    return AbsoluteFactor(float(value), float(error), "casing", float(spread), int(np.count_nonzero(wall)))


def _sector_sums(azimuth: np.ndarray, values: np.ndarray, n: int = 16) -> np.ndarray:
    sector = ((azimuth + np.pi) / (2 * np.pi) * n).astype(int) % n
    return np.bincount(sector, weights=values, minlength=n)


def _casing(scale: np.ndarray) -> np.ndarray:
    """Voxels at least half as bright as the phase's brightest ones, 0 or 1."""
    scale = np.asarray(scale, dtype=float)
    occupied = scale[scale > BRIGHT * scale.max()] if scale.max() > 0 else scale[:0]
    if not occupied.size:
        raise AttenuationError("the casing's phase is nowhere in the maps, so that no absolute factor can be told")
    return (scale >= BRIGHT * np.median(occupied)).astype(np.uint8)


def find_factor(
    scales: np.ndarray,
    *,
    measured: np.ndarray | None,
    from_transmission: Callable[[np.ndarray], AbsoluteFactor],
    from_casing: Callable[[np.ndarray], AbsoluteFactor] | None,
) -> AbsoluteFactor:
    """K from the measured transmission where there is one, else from the casing, else not at all.

    Raises
    ------
    AttenuationError
        When there is neither.
    """
    if measured is not None and np.isfinite(measured).any():
        return from_transmission(scales)
    if from_casing is not None:
        return from_casing(scales)
    raise AttenuationError(
        "scales are relative: without an absolute factor there is no attenuation map. Give the counter of transmitted "
        "intensity, or name the phase of the casing (a pure, dense part of the sample)"
    )

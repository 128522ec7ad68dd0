"""The attenuation map µ(x, y) from the scale maps of a fit, and the absolute factor K that it needs.

A scale S_p of the fit is proportional to the volume fraction f_p of a phase, f_p = K S_p, with one factor K for all:

.. math:: \\mu = K \\sum_p S_p \\mu_p + \\mu_{fill} (1 - K \\sum_p S_p) + \\mu_{extra}

µ_p is that of the pure dense phase. Diffraction does not see electrolyte, binder and separator: a *fill* takes what the
phases leave of a voxel, an *extra* is added. Both are maps in 1/mm, 0 where there is none. K comes from the measured
transmission, or from a casing that one phase fills (`factor`, `casing`), and from nowhere else.
"""

import numpy as np

from ..errors import AttenuationError


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
        What is no part of the sample (a hole, the air around it) has none.
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

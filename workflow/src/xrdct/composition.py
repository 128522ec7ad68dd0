"""What a phase is made of: atoms per cell, density, weight fractions."""

from collections import Counter

import gemmi
import numpy as np
from scipy.constants import N_A

from .errors import ConfigError
from .phases import with_cell


def cell_contents(structure: gemmi.SmallStructure) -> dict[str, float]:
    """Atoms of each element per unit cell, occupancies counted (Z times the chemical formula).

    A site in a special position has as many images as the group has operations, divided by those that leave it be.
    """
    work = with_cell(structure)
    n_operations = len(list(work.spacegroup.operations()))
    atoms = Counter()
    for site in work.sites:
        atoms[site.element.name] += site.occ * n_operations
    return {element: atoms[element] for element in sorted(atoms) if atoms[element] > 0}


def molar_mass(contents: dict[str, float]) -> float:
    """Mass of one mole of unit cells, g/mol (Z times the formula's)."""
    return sum(n * gemmi.Element(element).weight for element, n in contents.items())


def density(contents: dict[str, float], volume: float) -> float:
    """Z M / (V N_A) in g/cm³, from atoms per cell and the volume of the cell in Å³."""
    return molar_mass(contents) / N_A / (volume * 1e-24)


def element_fractions(contents: dict[str, float]) -> dict[str, float]:
    """Share of each element in the mass."""
    total = molar_mass(contents)
    return {element: n * gemmi.Element(element).weight / total for element, n in contents.items()}


def weight_fractions(scales: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """Share of each phase in the crystalline mass, as the papers define it.

    .. math:: W_p = \\frac{S_p \\rho_p}{\\sum_k S_k \\rho_k}

    S is proportional to the volume of a phase, because its intensities carry 1/V² (`xrdct.phases.line_list`). With
    the scale S' = S/V² of programs whose intensities do not, this is Hill and Howard's S'ZMV/Σ(S'ZMV) (J. Appl. Cryst.
    20, 1987, 467).

    Parameters
    ----------
    scales
        Shape (n_phases, …), in any common unit, not negative; NaN where nothing was fitted.
    densities
        Of the crystals, g/cm³, shape (n_phases,).

    Returns
    -------
    Shape of `scales`, 0 to 1; NaN where no phase is present (a void has no composition) or a scale is NaN.

    Raises
    ------
    ConfigError
        When there is not one positive density for each phase, or a scale is negative.
    """
    scales, densities = np.asarray(scales, dtype=float), np.asarray(densities, dtype=float)
    if densities.shape != scales.shape[:1] or not (densities > 0).all():
        raise ConfigError(f"weight_fractions needs one positive density for each of {len(scales)}, found {densities}")
    if (scales < 0).any():
        raise ConfigError(f"weight_fractions needs scales that are not negative, found {np.nanmin(scales):g}")
    mass = scales * densities.reshape(-1, *[1] * (scales.ndim - 1))
    total = mass.sum(axis=0)
    return np.divide(mass, total, out=np.full_like(mass, np.nan), where=total > 0)


def weight_errors(scales: np.ndarray, errors: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """Standard errors of `weight_fractions`, from those of the scales as if these were independent.

    .. math:: \\sigma_p^2 = \\frac{(1 - W_p)^2 m_p^2 + W_p^2 \\sum_{k \\ne p} m_k^2}{M^2}

    with m the error of each mass and M the sum of the masses. A scale without an error (one at 0) counts as exact.

    Parameters
    ----------
    scales, densities
        As for `weight_fractions`.
    errors
        Shape of `scales`.
    """
    weights = weight_fractions(scales, densities)
    density = np.asarray(densities, dtype=float).reshape(-1, *[1] * (np.ndim(scales) - 1))
    squares = np.nan_to_num(np.asarray(errors, dtype=float) * density) ** 2
    total = (np.asarray(scales, dtype=float) * density).sum(axis=0)
    spread = (1 - weights) ** 2 * squares + weights**2 * (squares.sum(axis=0) - squares)
    return np.divide(np.sqrt(spread), total, out=np.full_like(spread, np.nan), where=total > 0)

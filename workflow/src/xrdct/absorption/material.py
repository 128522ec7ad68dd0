"""How strongly matter weakens the beam: µ/ρ from compositions (Elam tables by xraydb), µ from densities."""

from collections.abc import Mapping, Sequence

import numpy as np
import xraydb

from ..errors import ConfigError

ENERGIES_KEV = (0.1, 800.0)
"""Range of the Elam tables."""


def composition_of(formula: str) -> dict[str, float]:
    """Atoms of each element in a formula such as 'LiNi0.8Co0.15Al0.05O2' or 'C3H4O3'.

    Raises
    ------
    ConfigError
        When the text is no formula, or names no element that there is.
    """
    try:
        return dict(xraydb.chemparse(formula))
    except ValueError as error:
        raise ConfigError(f"{formula!r} is no chemical formula ({' '.join(str(error).split())}); try C3H4O3") from None


def mass_attenuation(composition: Mapping[str, float], energy_kev: float) -> float:
    """Mass attenuation coefficient µ/ρ in cm²/g, coherent scattering included.

    Elam, Ravel & Sieber, Radiat. Phys. Chem. 63, 121, 2002 (doi:10.1016/S0969-806X(01)00227-4): elements mixed by mass.

    Parameters
    ----------
    composition
        Atoms of each element, in any number of formula units.
    energy_kev
        Of the beam.

    Raises
    ------
    ConfigError
        When an element is unknown, an amount negative or nothing is there, or the energy lies outside the tables.
    """
    low, high = ENERGIES_KEV
    if not low <= energy_kev <= high:
        raise ConfigError(f"no attenuation is tabulated at {energy_kev:g} keV, only from {low:g} to {high:g} keV")
    if not composition or not all(np.isfinite(n) and n >= 0 for n in composition.values()):
        raise ConfigError(f"composition {dict(composition)}: expected elements with their number of atoms, 0 or more")
    mass, weakened = 0.0, 0.0
    for element, atoms in composition.items():
        try:
            of_element = atoms * xraydb.atomic_mass(element)
        except ValueError:
            raise ConfigError(f"composition {dict(composition)}: there is no element {element!r}") from None
        mass += of_element
        weakened += of_element * float(xraydb.mu_elam(element, 1e3 * energy_kev))
    if mass == 0:
        raise ConfigError(f"composition {dict(composition)} holds no atom")
    return weakened / mass


def linear_attenuation(
    densities: Sequence[float], compositions: Sequence[Mapping[str, float]], energy_kev: float
) -> np.ndarray:
    """µ in 1/mm of pure dense materials, shape (n,), from densities in g/cm³ and compositions.

    Raises
    ------
    ConfigError
        As `mass_attenuation`; and when a density is not positive.
    """
    for density, composition in zip(densities, compositions, strict=True):
        if not (np.isfinite(density) and density > 0):
            raise ConfigError(f"density {density} g/cm³ of {dict(composition)}: expected a positive number")
    found = [d * mass_attenuation(c, energy_kev) for d, c in zip(densities, compositions, strict=True)]
    return np.array(found) / 10  # 1/cm to 1/mm

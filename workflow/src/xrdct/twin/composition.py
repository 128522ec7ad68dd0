"""Cells and weight fractions of the phases, as a powder diffractionist tells them."""

import numpy as np

from .attenuation import crystal_density
from .parameters import Parameters, State
from .patterns import lattice_of
from .structures import read_crystal


def lattice_parameters(parameters: Parameters, names: list[str], state: State) -> np.ndarray:
    """Cell of every phase (Å and degrees) in one state, NaN for what has none, shape (n_phases, 6)."""
    amorphous = parameters.amorphous
    return np.array([[np.nan] * 6 if name in amorphous else lattice_of(name, state.lattice) for name in names])


def phase_densities(parameters: Parameters, names: list[str], cells: np.ndarray) -> np.ndarray:
    """Density of every crystalline phase in g/cm³, 0 for the amorphous ones; `cells` of shape (n_phases, 6)."""
    return np.array(
        [
            0.0 if name in parameters.amorphous else crystal_density(read_crystal(name, tuple(cell)))
            for name, cell in zip(names, cells, strict=True)
        ]
    )


def weight_fractions(volumes: np.ndarray, densities: np.ndarray) -> np.ndarray:
    """Share of each phase in the crystalline mass, from volumes (…, n_phases) and densities; 0 where there is none."""
    mass = volumes * densities
    total = mass.sum(axis=-1, keepdims=True)
    return np.divide(mass, total, out=np.zeros_like(mass), where=total > 0)

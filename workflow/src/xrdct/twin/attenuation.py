"""Attenuation of the beam on its way to a voxel and of the scattered ray on its way out.

Attenuation coefficients come from the materials' own densities; optical depths are line integrals over the phantom's
grid. A ray scattered by 2θ towards azimuth φ leaves the slice by so little that only its direction within the slice
counts: α = atan(tan 2θ cos φ), towards larger t. (The longer way out of the slice is left out: at 2θ = 4.6° it is
0.3 % of the optical depth.)
"""

from functools import cache

import gemmi
import numba
import numpy as np
import xraydb

from ..errors import ConfigError
from .parameters import Amorphous
from .structures import Crystal, read_crystal

AVOGADRO = 0.602214076
"""Atomic masses per Å³ to g/cm³ is division by this."""
NODES = 5
"""Exit directions for which optical depths are computed; between them path lengths are interpolated linearly."""


def crystal_density(crystal: Crystal) -> float:
    """g/cm³, from the atoms of the cell."""
    mass = sum(
        occupancy * gemmi.Element(element).weight
        for element, occupancy in zip(crystal.elements, crystal.occupancy, strict=True)
    )
    return mass / AVOGADRO / crystal.volume


def crystal_mu(crystal: Crystal, energy_kev: float) -> float:
    """Linear attenuation coefficient of a crystal in 1/mm: atoms per volume times their cross sections (Elam's)."""
    mass = {}
    for element, occupancy in zip(crystal.elements, crystal.occupancy, strict=True):
        mass[element] = mass.get(element, 0) + occupancy * gemmi.Element(element).weight
    grams = {element: value / AVOGADRO / crystal.volume for element, value in mass.items()}
    return sum(rho * _mass_attenuation(element, energy_kev) for element, rho in grams.items()) / 10


@cache
def _mass_attenuation(element: str, energy_kev: float) -> float:
    """cm²/g; from a database, and asked for at every moment of a series."""
    return float(xraydb.mu_elam(element, 1000 * energy_kev))


def amorphous_mu(name: str, material: Amorphous, energy_kev: float) -> float:
    """Linear attenuation coefficient of a material without a structure, 1/mm.

    Raises
    ------
    ConfigError
        When its formula or density is not given.
    """
    if material.formula is None or material.density is None:
        raise ConfigError(f"amorphous.{name}: attenuation is switched on, so `formula` and `density` must be given")
    return float(xraydb.material_mu(material.formula, 1000 * energy_kev, density=material.density)) / 10


def material_mu(names: list[str], amorphous: dict[str, Amorphous], cells: dict, energy_kev: float) -> np.ndarray:
    """Linear attenuation coefficient of every material in 1/mm, shape (n_materials,).

    `cells` gives the unit cell of each crystalline material in this state.
    """
    return np.array(
        [
            amorphous_mu(name, amorphous[name], energy_kev)
            if name in amorphous
            else crystal_mu(read_crystal(name, cells[name]), energy_kev)
            for name in names
        ]
    )


def exit_angle(two_theta: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Direction within the slice, from the beam towards larger t, of a ray scattered by 2θ towards φ; all radians.

    φ is counted in the detector plane from the direction of increasing t.
    """
    return np.arctan(np.tan(two_theta) * np.cos(azimuth))


def optical_depth(mu: np.ndarray, *, voxel: float, omega: float, angle: float) -> np.ndarray:
    """Integral of µ from every voxel's centre along a straight ray until it has left the map.

    Rays run along the beam turned by `angle` towards larger t; the map is sampled bilinearly every half voxel.

    Parameters
    ----------
    mu
        1/mm, shape (ny, nx), row 0 at the largest y, the rotation axis in the middle.
    voxel
        Edge of a voxel in mm.
    omega
        Rotation in degrees: the beam runs along (−sin ω, cos ω).
    angle
        Radians, from the beam towards (cos ω, sin ω). π: back along the beam, to where it came from.

    Returns
    -------
    numpy.ndarray
        Shape (ny, nx), without unit.
    """
    w = np.radians(omega)
    along_x = -np.sin(w) * np.cos(angle) + np.cos(w) * np.sin(angle)
    along_y = np.cos(w) * np.cos(angle) + np.sin(w) * np.sin(angle)
    return _optical_depth(np.ascontiguousarray(mu, dtype=np.float64), voxel, along_x, along_y)


@numba.njit(cache=True, nogil=True)
def _optical_depth(mu, voxel, along_x, along_y):
    """Cumulated from the far end along rays one voxel apart, then read off at every voxel."""
    ny, nx = mu.shape
    # On axes in voxels with the origin in the middle: s runs along the ray, r across it.
    n = int(np.ceil(np.hypot(nx, ny))) + 4
    half = n / 2
    depth = np.zeros((n, 2 * n + 1))
    for i in range(n):
        r = i - half + 0.5
        before = 0.0
        for j in range(2 * n - 1, -1, -1):
            s = j / 2 - half
            x, y = s * along_x + r * along_y, s * along_y - r * along_x
            here = _sample(mu, (ny - 1) / 2 - y, x + (nx - 1) / 2)
            depth[i, j] = depth[i, j + 1] + (here + before) / 4
            before = here
    found = np.empty((ny, nx))
    for row in range(ny):
        y = (ny - 1) / 2 - row
        for column in range(nx):
            x = column - (nx - 1) / 2
            s, r = x * along_x + y * along_y, x * along_y - y * along_x
            found[row, column] = voxel * _sample(depth, r + half - 0.5, 2 * (s + half))
    return found


@numba.njit(cache=True, nogil=True, inline="always")
def _sample(image, row, column):
    """Bilinear value, 0 outside."""
    i, j = int(np.floor(row)), int(np.floor(column))
    if i < -1 or j < -1 or i >= image.shape[0] or j >= image.shape[1]:
        return 0.0
    down, right = row - i, column - j
    value = 0.0
    if i >= 0:
        if j >= 0:
            value += (1 - down) * (1 - right) * image[i, j]
        if j + 1 < image.shape[1]:
            value += (1 - down) * right * image[i, j + 1]
    if i + 1 < image.shape[0]:
        if j >= 0:
            value += down * (1 - right) * image[i + 1, j]
        if j + 1 < image.shape[1]:
            value += down * right * image[i + 1, j + 1]
    return value

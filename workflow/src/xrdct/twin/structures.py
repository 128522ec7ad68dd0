"""Powder intensities of the twin, by brute force: every atom of the cell, every reflection of the full sphere.

Deliberately not the pipeline's way (`xrdct.phases` takes orbits, multiplicities and gemmi's structure factors): the
two share the reading of the CIF and the table of form factors, and a test compares them.
"""

from dataclasses import dataclass
from functools import cache

import gemmi
import numpy as np

from ..phases import read_structure

TOLERANCE = 1e-3
"""Two symmetry images closer than this (fraction of a cell edge) are one atom; CIFs write 1/3 with 4 digits or more."""


@dataclass(frozen=True)
class Crystal:
    """All atoms of one unit cell."""

    cell: np.ndarray
    """a, b, c in Å and alpha, beta, gamma in degrees, shape (6,)."""
    elements: tuple[str, ...]
    """Element of each atom."""
    positions: np.ndarray
    """Fractional coordinates, shape (n_atoms, 3)."""
    occupancy: np.ndarray
    """Shape (n_atoms,)."""
    b_iso: np.ndarray
    """Å², shape (n_atoms,)."""

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return float(np.sqrt(np.linalg.det(metric_tensor(self.cell))))


@dataclass(frozen=True)
class Lines:
    """Powder lines, grouped by |q|."""

    q: np.ndarray
    """1/Å, shape (n,)."""
    intensity: np.ndarray
    """Σ|F|²/(V² q²) over all reflections at this q, e²/Å⁴, shape (n,)."""


def structure_of(phase: str) -> str:
    """Structure of a phase: `NCA@tab` is NCA with lattice parameters of its own."""
    return phase.split("@")[0]


def read_crystal(name: str, cell: tuple[float, ...] | None = None) -> Crystal:
    """Read a CIF (name in resources/structures, or a path ending in .cif) and fill its unit cell.

    `cell` (a, b, c, alpha, beta, gamma) replaces the file's.

    Raises
    ------
    ConfigError
        When there is no such file, or it does not describe a crystal (as `xrdct.phases.read_structure`).
    """
    structure = read_structure(structure_of(name))
    elements, positions, occupancy, b_iso = [], [], [], []
    for site in structure.sites:
        images = _images(tuple(site.fract.tolist()), structure.spacegroup.xhm())
        elements += [site.element.name] * len(images)
        positions += images
        occupancy += [site.occ] * len(images)
        b_iso += [8 * np.pi**2 * site.u_iso] * len(images)
    cell = np.array(structure.cell.parameters if cell is None else cell, dtype=float)
    return Crystal(cell, tuple(elements), np.array(positions), np.array(occupancy), np.array(b_iso))


@cache
def _images(position: tuple[float, float, float], group: str) -> list[np.ndarray]:
    """The distinct images of one site under all operations of the group, modulo the lattice."""
    found = []
    for operation in gemmi.SpaceGroup(group).operations():
        image = np.array(operation.apply_to_xyz(list(position)))
        offsets = [image - other - np.round(image - other) for other in found]
        if all(np.abs(offset).max() > TOLERANCE for offset in offsets):
            found.append(image)
    return found


def metric_tensor(cell: np.ndarray) -> np.ndarray:
    """G with G_ij = a_i · a_j in Å², from a, b, c (Å) and alpha, beta, gamma (degrees)."""
    a, b, c = cell[:3]
    ca, cb, cg = np.cos(np.radians(cell[3:]))
    return np.array([[a * a, a * b * cg, a * c * cb], [a * b * cg, b * b, b * c * ca], [a * c * cb, b * c * ca, c * c]])


def form_factor(element: str, q: np.ndarray) -> np.ndarray:
    """Form factor of the neutral atom (International Tables C, 1992) at q in 1/Å, in electrons."""
    table = gemmi.Element(element).it92
    s2 = (np.asarray(q) / (4 * np.pi)) ** 2
    terms = [a * np.exp(-b * s2) for a, b in zip(table.a, table.b, strict=True)]
    return np.sum(terms, axis=0) + table.c


def powder_lines(crystal: Crystal, q_max: float) -> Lines:
    """Lines up to `q_max` (1/Å): the sum of |F|²/(V² q²) over every reflection of the full sphere."""
    _, q, intensity = reflections(crystal, q_max)
    return _group(q, intensity)


def reflections(crystal: Crystal, q_max: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every reflection of the full sphere up to `q_max`: indices (n, 3), q in 1/Å, |F|²/(V² q²) in e²/Å⁴."""
    reciprocal = np.linalg.inv(metric_tensor(crystal.cell))
    # |h| <= q a / 2 pi, from h = a . q / 2 pi; the same for k and l.
    limits = np.floor(q_max * crystal.cell[:3] / (2 * np.pi)).astype(int)
    axes = [np.arange(-limit, limit + 1) for limit in limits]
    hkl = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    q = 2 * np.pi * np.sqrt(np.einsum("ni,ij,nj->n", hkl, reciprocal, hkl))
    inside = (q > 0) & (q <= q_max)
    hkl, q = hkl[inside], q[inside]
    amplitude = np.zeros(len(hkl), dtype=complex)
    for element, position, occupancy, b_iso in zip(
        crystal.elements, crystal.positions, crystal.occupancy, crystal.b_iso, strict=True
    ):
        damping = np.exp(-b_iso * (q / (4 * np.pi)) ** 2)
        amplitude += occupancy * form_factor(element, q) * damping * np.exp(2j * np.pi * hkl @ position)
    return hkl, q, np.abs(amplitude) ** 2 / (crystal.volume * q) ** 2


def _group(q: np.ndarray, intensity: np.ndarray) -> Lines:
    """Add up reflections of equal q (within rounding) and drop extinct ones."""
    order = np.argsort(q)
    q, intensity = q[order], intensity[order]
    starts = np.flatnonzero(np.diff(q, prepend=-1.0) > 1e-7)
    if not starts.size:
        return Lines(q, intensity)
    total = np.add.reduceat(intensity, starts)
    present = total > 1e-9 * total.max()
    return Lines(q[starts][present], total[present])


def diffuse(crystal: Crystal, q: np.ndarray) -> np.ndarray:
    """Compton and thermal diffuse scattering per volume, e²/Å³ at q (1/Å).

    Σ_atoms [Z − f²/Z + f² (1 − exp(−2 B s²))] / V: incoherent scattering of independent atoms in Raman's
    approximation, and what the thermal factor takes from the lines, spread smoothly.
    """
    s2 = (np.asarray(q) / (4 * np.pi)) ** 2
    total = np.zeros_like(s2)
    for element, occupancy, b_iso in zip(crystal.elements, crystal.occupancy, crystal.b_iso, strict=True):
        f2 = form_factor(element, q) ** 2
        z = gemmi.Element(element).atomic_number
        total += occupancy * (z - f2 / z + f2 * (1 - np.exp(-2 * b_iso * s2)))
    return total / crystal.volume

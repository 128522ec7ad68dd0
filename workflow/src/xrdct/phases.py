"""Crystal structures and their powder lines: position, multiplicity, structure factor, relative intensity."""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np

from .errors import ConfigError

STRUCTURES = Path(__file__).resolve().parents[3] / "resources" / "structures"
"""The repository's structures; the package is used from a checkout (editable install)."""

SAME_POSITION = 1e-3
"""Atoms closer than this (fraction of a cell edge) share a site."""
OCCUPANCY_ROUNDING = 0.002
"""0.333 + 0.333 + 0.333 or 0.667 + 0.334 are meant to be 1."""


@dataclass(frozen=True)
class LineList:
    """Powder lines of one structure, one entry per orbit of symmetry-equivalent reflections, sorted by q."""

    q: np.ndarray
    """1/Å, shape (n,), increasing."""
    d: np.ndarray
    """Lattice spacing in Å, shape (n,)."""
    hkl: np.ndarray
    """One representative of each orbit, shape (n, 3)."""
    multiplicity: np.ndarray
    """Number of reflections of the full sphere in each orbit (Friedel mates counted), shape (n,)."""
    f2: np.ndarray
    """Squared modulus of the structure factor in e² per unit cell, thermal factor included, shape (n,)."""
    intensity: np.ndarray
    """m |F|² / (V² q²) in e²/Å⁴, shape (n,): area of the line in q per volume of phase (see `line_list`)."""

    def __len__(self):
        return len(self.q)


def structure_path(name: str) -> Path:
    """File of a structure: a name in resources/structures (without suffix), or a path of one's own ending in .cif.

    Raises
    ------
    ConfigError
        When there is no such file; names what exists.
    """
    path = Path(name) if str(name).endswith(".cif") else STRUCTURES / f"{name}.cif"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in STRUCTURES.glob("*.cif"))) or f"none: {STRUCTURES} is empty"
        raise ConfigError(f"{path}: no such structure; give a path ending in .cif or one of the known names ({known})")
    return path


def read_structure(name: str) -> gemmi.SmallStructure:
    """Read a CIF (name or path as in `structure_path`) and make sure that its lines can be computed.

    Raises
    ------
    ConfigError
        When the file is no CIF, or has no cell, no space group, no atoms, an element without a form factor, or a
        position that holds more than one atom.
    """
    path = structure_path(name)
    try:
        structure = gemmi.read_small_structure(str(path))
    except IndexError:
        raise ConfigError(f"{path}: not a readable CIF: the file is empty") from None
    except (ValueError, RuntimeError) as error:
        raise ConfigError(f"{path}: not a readable CIF: {error}") from None
    problem = _problem(structure)
    if problem:
        raise ConfigError(f"{path}: {problem}")
    structure.name = path.stem
    return structure


def _problem(structure: gemmi.SmallStructure) -> str | None:
    """Why no line list can be computed from a structure, or None."""
    cell = structure.cell
    if not cell.is_crystal() or not all(edge > 0 for edge in (cell.a, cell.b, cell.c)):
        return "no unit cell (_cell_length_a … _cell_angle_gamma)"
    if structure.spacegroup is None:
        found = structure.spacegroup_hm
        return f"{'unknown space group ' + repr(found) if found else 'no space group'} (_space_group_name_H-M_alt)"
    if not structure.sites:
        return "no atoms (_atom_site_fract_x …)"
    for site in structure.sites:
        if site.element.atomic_number == 0 or site.element.it92 is None:
            return f"atom {site.label!r} is of no known element (_atom_site_type_symbol {site.type_symbol!r})"
        if not np.isfinite([*site.fract.tolist(), site.occ, site.u_iso]).all():
            return f"atom {site.label!r} lacks a number: coordinates, occupancy and displacement must be known"
    return _overfull_site(structure.sites)


def _overfull_site(sites: list[gemmi.SmallStructure.Site]) -> str | None:
    """Which position of the asymmetric unit holds less than nothing or more than one atom, or None."""
    for site in sites:
        offsets = [np.subtract(other.fract.tolist(), site.fract.tolist()) for other in sites]
        here = [
            other
            for other, offset in zip(sites, offsets, strict=True)
            if np.abs(offset - np.round(offset)).max() < SAME_POSITION
        ]
        total = sum(other.occ for other in here)
        if site.occ < 0 or total > 1 + OCCUPANCY_ROUNDING:
            labels = " + ".join(f"{other.label} {other.occ:g}" for other in here)
            return f"the occupancies of one position are {labels}, not between 0 and 1 (_atom_site_occupancy)"
    return None


def line_list(
    structure: gemmi.SmallStructure,
    q_min: float,
    q_max: float,
    *,
    cell: tuple[float, float, float, float, float, float] | None = None,
) -> LineList:
    """Powder lines of a structure with q_min ≤ q ≤ q_max.

    .. math:: A_{hkl} = \\frac{m\\, |F_{hkl}|^2}{V^2 q^2}

    The area of a line in an azimuthal mean over q whose solid angle and polarisation are corrected is proportional
    to A times the *volume* of the phase (powder Lorentz factor for areas in q; no polarisation term belongs here).
    Form factors: International Tables C (1992), neutral atoms, without anomalous terms (small at 50–100 keV).

    Parameters
    ----------
    structure
        From `read_structure`; is not changed.
    q_min, q_max
        Range in 1/Å.
    cell
        a, b, c (Å), alpha, beta, gamma (degrees) instead of the file's; fractional coordinates stay.
    """
    if not 0 <= q_min < q_max:
        raise ConfigError(f"line_list needs 0 <= q_min < q_max, found {q_min} and {q_max} 1/Å")
    work = with_cell(structure, cell)
    operations = work.spacegroup.operations()
    d_range = (2 * np.pi / q_max, 2 * np.pi / q_min if q_min > 0 else 0.0)
    hkl = gemmi.make_miller_array(work.cell, work.spacegroup, *d_range, unique=True).reshape(-1, 3)
    hkl = hkl[np.any(hkl != 0, axis=1)]
    calculator = gemmi.StructureFactorCalculatorX(work.cell)
    f2 = np.array([abs(calculator.calculate_sf_from_small_structure(work, list(h))) ** 2 for h in hkl])
    multiplicity = np.array([_multiplicity(operations, list(h)) for h in hkl], dtype=int)
    d = np.array([work.cell.calculate_d(list(h)) for h in hkl])
    order = np.argsort(-d, kind="stable")
    hkl, d, multiplicity, f2 = hkl[order], d[order], multiplicity[order], f2[order]
    q = 2 * np.pi / d
    return LineList(q, d, hkl, multiplicity, f2, multiplicity * f2 / (work.cell.volume * q) ** 2)


def with_cell(structure: gemmi.SmallStructure, cell: tuple | None = None) -> gemmi.SmallStructure:
    """A copy with another cell and crystallographic occupancies, ready for structure factors."""
    work = gemmi.SmallStructure()
    work.cell = gemmi.UnitCell(*cell) if cell is not None else structure.cell
    work.spacegroup = structure.spacegroup
    for site in structure.sites:
        work.add_site(site.clone())
    work.setup_cell_images()
    work.change_occupancies_to_crystallographic()
    return work


def _multiplicity(operations: gemmi.GroupOps, hkl: list[int]) -> int:
    """How many reflections of the full sphere are equivalent to hkl.

    The rotations of the group carry hkl onto n/ε reflections, ε being how many of them leave it where it is. Without
    anomalous scattering −h−k−l is as strong; it is among them unless neither the group nor the reflection is centric.
    """
    rotated = len(operations.sym_ops) // operations.epsilon_factor_without_centering(hkl)
    centric = operations.is_centrosymmetric() or operations.is_reflection_centric(hkl)
    return rotated if centric else 2 * rotated

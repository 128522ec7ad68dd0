"""Diffraction pattern of every material, per mm of it in the beam."""

import numpy as np

from ..errors import ConfigError
from ..phases import read_structure
from .parameters import Amorphous, Instrument, LatticeParameters
from .structures import Crystal, Lines, diffuse, powder_lines, read_crystal, structure_of

Q_STEP = 0.0005
"""1/Å: a line of 0.01 is sampled 20 times, linear interpolation errs by less than 1e-3 of its height."""
BEYOND = 1.0
"""1/Å: lines this far beyond the grid are counted too, for their tails reach into it."""


def q_grid(q_max: float) -> np.ndarray:
    """Grid of the patterns: 0 to `q_max`, 1/Å."""
    return np.arange(int(np.ceil(q_max / Q_STEP)) + 2) * Q_STEP


def crystal_pattern(crystal: Crystal, q: np.ndarray, *, instrument: Instrument, size_nm: float) -> np.ndarray:
    """Powder pattern of a phase in e²/Å³: lines of finite width on Compton and thermal diffuse scattering.

    The powder average of the interference function is (2π²/V² q²) Σ|F|² δ(q − q_hkl) e² per volume.
    """
    return bragg_pattern(crystal, q, instrument=instrument, size_nm=size_nm) + diffuse(crystal, q)


def bragg_pattern(crystal: Crystal, q: np.ndarray, *, instrument: Instrument, size_nm: float) -> np.ndarray:
    """The lines alone, e²/Å³."""
    lines = powder_lines(crystal, q[-1] + BEYOND)
    return 2 * np.pi**2 * broaden(lines, q, instrument=instrument, size_nm=size_nm)


def broaden(lines: Lines, q: np.ndarray, *, instrument: Instrument, size_nm: float) -> np.ndarray:
    """Sum of pseudo-Voigts of the lines' areas on the grid `q` (1/Å); shape (…, n_q) for areas of shape (n, …)."""
    pattern = np.zeros((*lines.intensity.shape[1:], q.size))
    size_width = 0.9 * 2 * np.pi / (10 * size_nm)
    for centre, area in zip(lines.q, lines.intensity, strict=True):
        width = np.hypot(instrument.fwhm, instrument.fwhm_slope * centre)
        width, eta = widen(width, instrument.eta, size_width)
        # Over the whole grid: a tail cut off anywhere leaves a step, and a weak line may lie there.
        pattern += np.multiply.outer(area, pseudo_voigt(q - centre, width, eta))
    return pattern


def pseudo_voigt(x: np.ndarray, fwhm: float, eta: float) -> np.ndarray:
    """η Lorentzian + (1 − η) Gaussian of one FWHM, area 1."""
    half = fwhm / 2
    lorentzian = half / np.pi / (x**2 + half**2)
    gaussian = np.sqrt(np.log(2) / np.pi) / half * np.exp(-np.log(2) * (x / half) ** 2)
    return eta * lorentzian + (1 - eta) * gaussian


def widen(fwhm: float, eta: float, lorentzian: float) -> tuple[float, float]:
    """Width and shape of a pseudo-Voigt convolved with a Lorentzian.

    Thompson, Cox & Hastings, J. Appl. Cryst. 20 (1987) 79: the pseudo-Voigt is read as a Voigt, Lorentzian widths add,
    and the Voigt is written as a pseudo-Voigt again (to about 1 % of the height).
    """
    gauss, lorentz = _voigt_widths(fwhm, eta)
    return _pseudo_voigt_of(gauss, lorentz + lorentzian)


def _pseudo_voigt_of(gauss: float, lorentz: float) -> tuple[float, float]:
    powers = [1, 2.69269, 2.42843, 4.47163, 0.07842, 1]
    total = sum(p * gauss ** (5 - k) * lorentz**k for k, p in enumerate(powers)) ** 0.2
    ratio = lorentz / total
    return total, 1.36603 * ratio - 0.47719 * ratio**2 + 0.11116 * ratio**3


def _voigt_widths(fwhm: float, eta: float) -> tuple[float, float]:
    """Gaussian and Lorentzian FWHM of the Voigt that a pseudo-Voigt stands for (same source, inverse series)."""
    gauss = fwhm * np.sqrt(max(1 - 0.74417 * eta - 0.24781 * eta**2 - 0.00810 * eta**3, 0))
    return gauss, fwhm * (0.72928 * eta + 0.19289 * eta**2 + 0.07783 * eta**3)


def amorphous_pattern(material: Amorphous, q: np.ndarray) -> np.ndarray:
    """A halo on Compton scattering that rises from 0 to the density of electrons (e²/Å³)."""
    halo = material.height * np.exp(-4 * np.log(2) * ((q - material.q) / material.fwhm) ** 2)
    # Half of the electrons of light elements scatter incoherently by q = 2 1/Å, nearly all by 6.
    return halo + material.electrons * (1 - np.exp(-((q / 2.4) ** 2)))


def lattice_of(phase: str, changed: dict[str, LatticeParameters]) -> tuple[float, ...]:
    """a, b, c, alpha, beta, gamma of a phase in one state: the file's cell with the state's a and c.

    What symmetry makes equal stays equal: b = a in tetragonal, trigonal and hexagonal phases, c = b = a in cubic ones.
    """
    structure = read_structure(structure_of(phase))
    a, b, c, *angles = structure.cell.parameters
    own = changed.get(phase, changed.get(structure_of(phase), LatticeParameters()))
    system = structure.spacegroup.crystal_system_str()
    if system == "cubic" and own.c is not None:
        raise ConfigError(f"states.lattice.{phase}: the phase is cubic, give `a` alone (found c: {own.c})")
    if own.a is not None:
        a, b = own.a, b if system in ("triclinic", "monoclinic", "orthorhombic") else own.a
        c = own.a if system == "cubic" else c
    return a, b, own.c or c, *angles


def size_of(phase: str, instrument: Instrument) -> float:
    """Size of a phase's crystallites in nm."""
    sizes = instrument.sizes_nm
    return sizes.get(phase, sizes.get(structure_of(phase), instrument.size_nm))


def material_patterns(
    names: list[str],
    q: np.ndarray,
    *,
    instrument: Instrument,
    amorphous: dict[str, Amorphous],
    lattice: dict[str, LatticeParameters],
) -> np.ndarray:
    """Patterns of all materials, shape (n_materials, n_q), e²/Å³."""
    patterns = np.zeros((len(names), q.size))
    for row, name in enumerate(names):
        if name in amorphous:
            patterns[row] = amorphous_pattern(amorphous[name], q)
        else:
            size = size_of(name, instrument)
            crystal = read_crystal(name, lattice_of(name, lattice))
            patterns[row] = crystal_pattern(crystal, q, instrument=instrument, size_nm=size)
    return patterns

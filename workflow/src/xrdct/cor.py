"""Centre of rotation of a half-turn scan, from the sinogram alone."""

import logging

import numpy as np
from scipy.optimize import minimize_scalar

from .errors import GeometryError
from .geometry import LARGEST_GAP_DEG

log = logging.getLogger(__name__)


def find_cor(projections: np.ndarray, angles: np.ndarray) -> float:
    """Centre of rotation of a half-turn scan, without a pair of opposite projections.

    The half turn is completed to a full one by flipping it about a trial centre; only at the true centre are the
    two halves one sinogram, whose Fourier transform is empty outside the double wedge
    |angular frequency| > 2π R |spatial frequency| (Vo et al., Optics Express 22, 19078, 2014). The energy outside is
    minimised. The search starts where the centres of mass put the axis (they move on cor + A cos ω + B sin ω) and
    reaches far, since in a sample that absorbs unevenly they miss by many pixels.

    Assumes that opposite projections mirror each other: true with attenuation too, at small scattering angles.

    Parameters
    ----------
    projections
        Shape (n_angles, n_positions), air subtracted, for example the sum over q.
    angles
        Degrees, any order, covering 180°. (A full turn is cut to its first half.)

    Returns
    -------
    float
        Pixels from the centre of the first column.

    Raises
    ------
    GeometryError
        If fewer than 8 projections lie in the half turn, they leave a gap, or there is no signal.
    """
    projections, angles = _half_turn(np.asarray(projections, dtype=float), np.asarray(angles, dtype=float))
    n_positions = projections.shape[1]
    start = _centre_of_mass_axis(projections, angles)
    if not n_positions * 0.25 < start < n_positions * 0.75:
        raise GeometryError(
            f"the centre of mass puts the axis at {start:.1f} of {n_positions} columns: no sample, or not all of it in "
            "the field; set assemble.cor"
        )
    mismatch = _wedge_energy(_regular(projections, angles, start))
    reach = max(4.0, n_positions / 10)
    trials = start + np.arange(-reach, reach + 0.25, 0.25)
    best = int(np.argmin([mismatch(trial) for trial in trials]))
    if best in (0, trials.size - 1):
        raise GeometryError(
            f"no centre of rotation within {reach:.0f} columns of the centre of mass, {start:.1f}; set assemble.cor"
        )
    around = (trials[best - 1], trials[best + 1])
    found = float(minimize_scalar(mismatch, bounds=around, method="bounded", options={"xatol": 1e-4}).x)
    log.info("centre of rotation %.3f px (centre of mass alone: %.3f px)", found, start)
    return found


def _half_turn(projections, angles):
    """The first half turn, ascending; refused where it is too coarse or has a hole."""
    order = np.argsort(angles, kind="stable")
    order = order[angles[order] < angles.min() + 180.0 - 1e-6]
    if order.size < 8:
        raise GeometryError(f"{order.size} projections are too few to find the centre of rotation; set assemble.cor")
    angles = angles[order]
    gaps = np.diff(angles, append=angles[0] + 180.0)
    if gaps.max() > LARGEST_GAP_DEG:
        k = int(gaps.argmax())
        raise GeometryError(
            f"no projection between {angles[k]:.2f}° and {angles[k] + gaps[k]:.2f}°: the centre of rotation needs a "
            f"half turn with gaps of at most {LARGEST_GAP_DEG:g}°; set assemble.cor"
        )
    return projections[order], angles


def _centre_of_mass_axis(projections, angles):
    mass = projections.sum(axis=1)
    if not (mass > 0).all():
        raise GeometryError(
            "a projection has no signal above the air; set assemble.cor, or check assemble.air_positions"
        )
    centre = projections @ np.arange(projections.shape[1]) / mass
    omega = np.radians(angles)
    design = np.stack([np.ones_like(omega), np.cos(omega), np.sin(omega)], axis=1)
    return np.linalg.lstsq(design, centre, rcond=None)[0][0]


def _regular(projections, angles, cor):
    """Projections at equal steps over the half turn: lines that are missing are interpolated.

    After the last angle the first projection returns, flipped about `cor`, which need not be exact for that.
    """
    n_angles, n_positions = projections.shape
    columns = np.arange(n_positions)
    closed = np.vstack([projections, np.interp(2 * cor - columns, columns, projections[0], left=0.0, right=0.0)])
    known = np.append(angles, angles[0] + 180.0)
    wanted = angles[0] + np.arange(n_angles) * 180.0 / n_angles
    return np.stack([np.interp(wanted, known, column) for column in closed.T], axis=1)


def _wedge_energy(projections):
    """Energy outside the double wedge as a function of the trial centre, up to a constant and a factor.

    With A and B the spectra of the two halves for an axis at 0, moving the axis to c shifts the flipped half by 2c,
    and |A + B exp(−4πi f c)|² depends on c only through the product A B*. A phase, unlike interpolation between
    columns, leaves the noise as strong at every trial.
    """
    n_angles, n_positions = projections.shape
    spatial = np.fft.rfftfreq(n_positions)
    angular = np.abs(np.fft.fftfreq(2 * n_angles)) * 2 * n_angles
    # A few harmonics of margin; high spatial frequencies hold little but noise.
    outside = (angular[:, None] > np.pi * n_positions * spatial + 4) & (spatial < 0.25)
    spectrum = np.fft.rfft(projections, axis=1)
    first = np.fft.fft(spectrum, 2 * n_angles, axis=0)
    second = np.fft.fft(spectrum.conj(), 2 * n_angles, axis=0)
    second[1::2] *= -1  # half a turn later
    cross = (first * second.conj() * outside).sum(axis=0)
    return lambda cor: float((cross * np.exp(4j * np.pi * spatial * cor)).sum().real)

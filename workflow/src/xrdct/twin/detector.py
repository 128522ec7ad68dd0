"""The detector as the photons see it: q, solid angle and polarisation of every pixel, and which pixels are bad."""

from dataclasses import dataclass

import numpy as np
from scipy import constants

from .parameters import BadPixels, Beam, Detector
from .seeds import generator

GAP_VALUE, FLAGGED_VALUE = -1, -2
"""What a Pilatus writes where there is no pixel, and where there is one that it does not trust."""


@dataclass(frozen=True)
class Pixels:
    """Where every pixel stands; arrays of the detector's shape [row, column]."""

    q: np.ndarray
    """1/Å at the pixel's centre."""
    efficiency: np.ndarray
    """Solid angle relative to the foot of the perpendicular, times the polarisation factor."""
    exit: np.ndarray
    """Direction of the scattered ray within the slice: radians from the beam towards larger t. Columns count along t,
    so it grows with the column."""
    azimuth: np.ndarray
    """Radians about the beam, from the direction of increasing columns towards increasing rows."""
    shadow: np.ndarray
    """Whether the beamstop covers the pixel."""


def place_pixels(detector: Detector, beam: Beam, *, beamstop_px: float = 0) -> Pixels:
    """q, efficiency and shadow of every pixel.

    All vectors are written on the detector's own axes: normal, along a column (increasing row), along a row
    (increasing column). The beam comes in along b; a pixel at p scatters along s = p/|p| with
    q = (2π/λ) |s − b|, solid angle ∝ cos³ of the angle of incidence, and polarisation
    1 − (1+f)/2 (s·h)² − (1−f)/2 (s·v)² for the horizontal h and the vertical v.
    """
    tilt, lean = np.radians([detector.tilt_deg, detector.tilt_plane_deg])
    b = np.array([np.cos(tilt), np.sin(tilt) * np.sin(lean), np.sin(tilt) * np.cos(lean)])
    edge = detector.pixel_um / 1000
    row = (np.arange(detector.shape[0]) + 0.5 - detector.beam_centre[0]) * edge
    column = (np.arange(detector.shape[1]) + 0.5 - detector.beam_centre[1]) * edge
    p = np.empty((*detector.shape, 3))
    p[..., 0] = 0
    p[..., 1] = row[:, None]
    p[..., 2] = column[None, :]
    from_beam = np.hypot(p[..., 1], p[..., 2])
    p += detector.distance_mm * b
    length = np.linalg.norm(p, axis=-1)
    s = p / length[..., None]
    q = 2 * np.pi / wavelength(beam.energy_kev) * np.linalg.norm(s - b, axis=-1)
    solid_angle = (p[..., 0] / length) ** 3
    # The rows were horizontal before the detector leant by `tilt` towards u, about the axis w, without turning.
    u = np.array([-np.sin(tilt), np.cos(tilt) * np.sin(lean), np.cos(tilt) * np.cos(lean)])
    w = np.array([0, np.cos(lean), -np.sin(lean)])
    horizontal = np.cos(lean) * u - np.sin(lean) * w
    vertical = np.cross(b, horizontal)
    f = beam.polarization
    polarisation = 1 - (1 + f) / 2 * (s @ horizontal) ** 2 - (1 - f) / 2 * (s @ vertical) ** 2
    exit_angle = np.arctan2(s @ horizontal, s @ b)
    azimuth = np.arctan2(p[..., 1], p[..., 2])
    return Pixels(q, solid_angle * polarisation, exit_angle, azimuth, from_beam < beamstop_px * edge)


def wavelength(energy_kev: float) -> float:
    """Å."""
    return constants.h * constants.c / constants.e / (1000 * energy_kev) * 1e10


def gaps(detector: Detector) -> np.ndarray:
    """True where there is no pixel between two modules, [row, column]."""
    missing = np.zeros(detector.shape, dtype=bool)
    for first, n in detector.column_gaps:
        missing[:, first : first + n] = True
    for first, n in detector.row_gaps:
        missing[first : first + n] = True
    return missing


@dataclass(frozen=True)
class Defects:
    """Pixels that do not count as they should: flat indices into a frame."""

    hot: np.ndarray
    hot_counts: np.ndarray
    flickering: np.ndarray
    flicker_counts: np.ndarray
    flicker_share: float
    dead: np.ndarray
    flagged: np.ndarray
    missing: np.ndarray
    """Gaps between modules."""


def draw_defects(detector: Detector, bad: BadPixels | None, *, seed: int) -> Defects:
    """Choose bad pixels outside the gaps; the same ones for every scan of a beamtime."""
    bad = bad or BadPixels()
    missing = gaps(detector).ravel()
    rng = generator(seed, "defects")
    numbers = [bad.n_hot, bad.n_flickering, bad.n_dead, bad.n_flagged]
    chosen = rng.permutation(np.flatnonzero(~missing))[: sum(numbers)]
    hot, flickering, dead, flagged = np.split(chosen, np.cumsum(numbers)[:-1])
    # Evenly spread over two decades: some hot pixels are hidden under the rings, some outshine everything.
    rates = bad.hot_counts * 10.0 ** -rng.uniform(0, 2, bad.n_hot + bad.n_flickering)
    return Defects(
        hot,
        rates[: bad.n_hot],
        flickering,
        rates[bad.n_hot :],
        bad.flicker_share,
        dead,
        flagged,
        np.flatnonzero(missing),
    )

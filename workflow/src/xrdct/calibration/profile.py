"""The instrument profile: pseudo-Voigt fits of the calibrant's single lines, and how width and shape run with angle."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import curve_fit

from ..errors import CalibrationError
from ..units import two_theta_from_q
from .calibrants import Calibrant
from .pattern import Pattern

ISOLATED = 5.0
"""A line is single when its neighbours are further away than this many widths (FWHM)."""
LEAST_SIGNIFICANCE = 20.0
"""Height over its standard error below which a line says nothing about its width."""


@dataclass(frozen=True)
class Line:
    """One fitted line of the pattern; q and FWHM in 1/Å, angles in degrees of two_theta."""

    ring: int
    hkl: str
    q: float
    q_error: float
    fwhm_q: float
    two_theta: float
    fwhm: float
    eta: float
    height: float
    background: float
    """Level under the line, counts."""
    misfit: float
    """Root mean square of the residual relative to the line's height."""
    clean: bool
    """Isolated and significant: used for the profile."""


@dataclass(frozen=True)
class InstrumentProfile:
    """Width and shape of a line that the sample does not broaden.

    FWHM² = U tan²θ + V tanθ + W in degrees² of two_theta (Caglioti, Paoletti & Ricci 1958,
    doi:10.1016/0369-643X(58)90029-X); the shape is eta × Lorentzian + (1 − eta) × Gaussian, eta linear in two_theta.
    Both hold for patterns made with the same filter as the calibrant's. Bins wider than `q_step` broaden: add
    8 ln 2 / 12 times the difference of the squared bin widths to the squared FWHM.
    """

    u: float
    v: float
    w: float
    eta0: float
    eta1: float
    """Change of eta per degree of two_theta."""
    two_theta_range: tuple[float, float]
    """Where lines were measured, degrees."""
    wavelength: float
    q_step: float
    trim: float
    lines: tuple[Line, ...]

    def fwhm(self, two_theta) -> np.ndarray:
        """Full width at half maximum in degrees at two_theta in degrees."""
        t = np.tan(np.radians(np.asarray(two_theta) / 2))
        return np.sqrt(self.u * t * t + self.v * t + self.w)

    def fwhm_q(self, q) -> np.ndarray:
        """Full width at half maximum in 1/Å at q in 1/Å."""
        two_theta = two_theta_from_q(q, wavelength=self.wavelength)
        return 2 * np.pi / self.wavelength * np.cos(two_theta / 2) * np.radians(self.fwhm(np.degrees(two_theta)))

    def eta(self, two_theta) -> np.ndarray:
        """Lorentzian share, 0 to 1, at two_theta in degrees."""
        return np.clip(self.eta0 + self.eta1 * np.asarray(two_theta), 0, 1)


def pseudo_voigt(x, *, centre, fwhm, eta):
    """eta × Lorentzian + (1 − eta) × Gaussian of the same width, height 1."""
    u = 2 * (x - centre) / fwhm
    return eta / (1 + u * u) + (1 - eta) * np.exp(-np.log(2) * u * u)


def fit_lines(pattern: Pattern, calibrant: Calibrant, *, fwhm_q: np.ndarray) -> list[Line]:
    """Fit every ring of a pattern that stands apart from its neighbours.

    Parameters
    ----------
    fwhm_q
        Expected width of every ring, 1/Å, shape (n_rings,).

    Returns
    -------
    list of Line
        Those whose fit converged, from the innermost outwards; not all of them are clean.
    """
    known = np.isfinite(pattern.intensity)
    q, intensity = pattern.q[known], pattern.intensity[known]
    gap = np.diff(np.concatenate([[-np.inf], calibrant.q, [np.inf]]))
    gap = np.minimum(gap[:-1], gap[1:])
    lines = []
    for k in np.flatnonzero((calibrant.q > q[0]) & (calibrant.q < q[-1])):
        half = min(0.45 * gap[k], max(4 * fwhm_q[k], 6 * pattern.step))
        window = np.abs(q - calibrant.q[k]) < half
        # Both flanks must be there: a line cut by the rim of the detector is none.
        sides = np.count_nonzero(window & (q < calibrant.q[k])), np.count_nonzero(window & (q > calibrant.q[k]))
        if min(sides) < 3 or half < 1.2 * fwhm_q[k] or half - np.ptp(q[window]) / 2 > 1.5 * pattern.step:
            continue
        line = _fit_line(q[window], intensity[window], calibrant, int(k), fwhm_q[k], gap[k])
        if line is not None:
            lines.append(line)
    return lines


def _fit_line(q, intensity, calibrant: Calibrant, k: int, fwhm: float, gap: float) -> Line | None:
    expected = calibrant.q[k]
    base, top = np.median(np.sort(intensity)[: len(q) // 3 + 1]), intensity.max()

    def model(x, height, centre, width, eta, offset, slope):
        return height * pseudo_voigt(x, centre=centre, fwhm=width, eta=eta) + offset + slope * (x - expected)

    start = (max(top - base, 1e-6), q[intensity.argmax()], fwhm, 0.2, base, 0.0)
    low = (0, q[0], 0.3 * fwhm, 0, -np.inf, -np.inf)
    high = (np.inf, q[-1], 4 * fwhm, 1, np.inf, np.inf)
    if len(q) < 7:
        return None
    # Counting statistics: without it the foot, which tells the shape, has no say beside the top.
    noise = np.sqrt(np.maximum(intensity, 1e-3 * top))
    try:
        values, covariance = curve_fit(model, q, intensity, p0=start, sigma=noise, bounds=(low, high), max_nfev=400)
    except RuntimeError:  # no convergence: the line is left out of the table
        return None
    height, centre, width, eta, offset, slope = values
    if not np.all(np.isfinite(covariance)) or height <= 0:
        return None
    error = np.sqrt(np.diag(covariance))
    misfit = float(np.sqrt(np.mean((intensity - model(q, *values)) ** 2)) / height)
    inside = q[0] < centre < q[-1] and 0.31 * fwhm < width < 3.9 * fwhm
    clean = bool(inside and height > LEAST_SIGNIFICANCE * error[0] and gap > ISOLATED * width and misfit < 0.05)
    angle = two_theta_from_q(centre, wavelength=calibrant.wavelength)
    return Line(
        ring=k,
        hkl=calibrant.hkl[k],
        q=float(centre),
        q_error=float(error[1]),
        fwhm_q=float(width),
        two_theta=float(np.degrees(angle)),
        # dq = (2π/λ) cos θ d(2θ)
        fwhm=float(np.degrees(width * calibrant.wavelength / (2 * np.pi * np.cos(angle / 2)))),
        eta=float(eta),
        height=float(height),
        background=float(offset + slope * (centre - expected)),
        misfit=misfit,
        clean=clean,
    )


def instrument_profile(lines: list[Line], *, wavelength: float, q_step: float, trim: float) -> InstrumentProfile:
    """Caglioti's U, V, W and a linear eta through the clean lines.

    With few lines, or where the parabola would turn negative, terms are left out: first V, then U.

    Raises
    ------
    CalibrationError
        When there is no clean line at all.
    """
    clean = [line for line in lines if line.clean]
    if not clean:
        raise CalibrationError(
            "no single line of the calibrant is strong and isolated enough to measure the instrument's profile; "
            "is the frame exposed long enough?"
        )
    two_theta, fwhm, eta = (np.array([getattr(line, key) for line in clean]) for key in ("two_theta", "fwhm", "eta"))
    u, v, w = _caglioti(np.tan(np.radians(two_theta / 2)), fwhm)
    eta1, eta0 = np.polyfit(two_theta, eta, 1) if len(clean) >= 4 else (0.0, float(np.median(eta)))
    return InstrumentProfile(
        u=u,
        v=v,
        w=w,
        eta0=float(eta0),
        eta1=float(eta1),
        two_theta_range=(float(two_theta.min()), float(two_theta.max())),
        wavelength=wavelength,
        q_step=q_step,
        trim=trim,
        lines=tuple(lines),
    )


def _caglioti(t: np.ndarray, fwhm: np.ndarray) -> tuple[float, float, float]:
    """U, V, W by least squares of FWHM² with the relative error of all widths alike."""
    grid = np.linspace(0, 1.2 * t.max(), 200)
    for terms, least in (((2, 1, 0), 5), ((2, 0), 3), ((0,), 1)):
        if len(t) < least:
            continue
        design = np.stack([t**n for n in terms], axis=1)
        values = np.linalg.lstsq(design / fwhm[:, None] ** 2, np.ones(len(t)), rcond=None)[0]
        if np.all(sum(value * grid**n for value, n in zip(values, terms, strict=True)) > 0):
            break
    found = dict(zip(terms, values, strict=True))
    return tuple(float(found.get(n, 0.0)) for n in (2, 1, 0))

"""The calibrant's pattern, integrated as the data will be, its cake, and lines that do not belong to it."""

from dataclasses import dataclass

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.signal import find_peaks

from ..quiet import quiet
from .calibrants import Calibrant

NO_SPLITTING = ("no", "csr", "cython")
"""No pixel splitting: it smears lines and ties neighbouring bins together."""
CAKE_SECTORS = 360
SIGNIFICANCE = 10.0
"""Height of an unexpected line over the noise from bin to bin."""


@dataclass(frozen=True)
class Pattern:
    """Intensity against q: `q` in 1/Å and `intensity` in counts, both of shape (n_bins,); NaN where a bin is empty."""

    q: np.ndarray
    intensity: np.ndarray

    @property
    def step(self) -> float:
        """Width of a bin in 1/Å."""
        return float(self.q[1] - self.q[0])


@dataclass(frozen=True)
class Cake:
    """Mean intensity against azimuth and q: shape (n_chi, n_q), counts, NaN where no pixel is; `chi` in degrees."""

    intensity: np.ndarray
    chi: np.ndarray
    q: np.ndarray


def natural_bins(geometry: AzimuthalIntegrator, shape: tuple[int, int]) -> int:
    """Number of bins, each half a pixel wide, from the smallest to the largest angle of a frame.

    The data need one bin per pixel; here lines may be 1.2 pixels wide, and their width is what is to be measured.
    """
    two_theta = geometry.center_array(shape, unit="2th_rad", scale=False)
    radius = geometry.dist * np.tan(np.array([two_theta.min(), min(two_theta.max(), 1.5)])) / geometry.pixel2
    return max(50, int(np.ceil(2 * (radius[1] - radius[0]))))


def integrate_pattern(
    frame: np.ndarray,
    valid: np.ndarray,
    geometry: AzimuthalIntegrator,
    *,
    n_bins: int,
    trim: float,
    polarization: float,
) -> Pattern:
    """Azimuthal trimmed mean over the whole frame, solid angle and polarisation corrected, without pixel splitting.

    Lines move by up to 150 ppm and change width with the filter, so the calibrant gets the one of the data: `trim` is
    the share of pixels dropped, half at either end.
    """
    tail = 50 * trim
    with quiet("pyFAI"):
        result = geometry.medfilt1d_ng(
            np.where(valid, frame, 0),
            n_bins,
            mask=~valid,
            polarization_factor=polarization,
            correctSolidAngle=True,
            percentile=(tail, 100 - tail),
            unit="q_A^-1",
            method=NO_SPLITTING,
        )
    # pyFAI writes 0 where a bin holds no pixel, or too few for the percentiles.
    empty = np.asarray(result.count) == 0
    return Pattern(
        np.asarray(result.radial, dtype=np.float64),
        np.where(empty, np.nan, np.asarray(result.intensity, dtype=np.float64)),
    )


def integrate_cake(
    frame: np.ndarray, valid: np.ndarray, geometry: AzimuthalIntegrator, *, n_bins: int, polarization: float
) -> Cake:
    """Mean over cells of q and azimuth (1° wide), for looking at."""
    with quiet("pyFAI"):
        result = geometry.integrate2d_ng(
            np.where(valid, frame, 0),
            n_bins,
            CAKE_SECTORS,
            mask=~valid,
            polarization_factor=polarization,
            unit="q_A^-1",
            method=("no", "histogram", "cython"),
        )
    intensity = np.where(np.asarray(result.count) > 0, result.intensity, np.nan).astype(np.float32)
    return Cake(intensity, np.asarray(result.azimuthal, dtype=np.float64), np.asarray(result.radial, dtype=np.float64))


def find_strangers(pattern: Pattern, calibrant: Calibrant, *, fwhm_q: np.ndarray) -> list[tuple[float, float]]:
    """Lines of the pattern that the calibrant does not have.

    Parameters
    ----------
    fwhm_q
        Width of every ring in 1/Å, shape (n_rings,).

    Returns
    -------
    list of tuple of float
        (q in 1/Å, height relative to the strongest line of the calibrant), strongest first.
    """
    known = np.isfinite(pattern.intensity)
    q, intensity = pattern.q[known], pattern.intensity[known]
    noise = 1.4826 * np.median(np.abs(np.diff(intensity))) / np.sqrt(2)
    width_bins = np.median(fwhm_q) / pattern.step
    peaks, found = find_peaks(
        intensity,
        prominence=SIGNIFICANCE * max(noise, 1e-12),
        wlen=int(max(15, 12 * width_bins)) | 1,
        width=(1, 4 * width_bins),
    )
    nearest = np.abs(q[peaks][:, None] - calibrant.q).argmin(axis=1)
    own = np.abs(q[peaks] - calibrant.q[nearest]) < 2 * fwhm_q[nearest] + 2 * pattern.step
    # Inside the first ring there may be the rim of the beam stop.
    inner = q[peaks] < 0.9 * calibrant.q[0]
    height = found["prominences"]
    if not own.any():
        return []
    strange = [
        (float(q[p]), float(h / height[own].max())) for p, h, s in zip(peaks, height, ~own & ~inner, strict=True) if s
    ]
    return sorted(strange, key=lambda line: -line[1])

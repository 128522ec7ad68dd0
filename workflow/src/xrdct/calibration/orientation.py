"""Whether a geometry and a frame have the same orientation."""

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from ..errors import CalibrationError
from .calibrants import Calibrant
from .detector import FLIPS
from .plane import pixel_step

MAX_RINGS = 15
CLEARLY = 1.25
"""How much higher the ring contrast of another orientation must be before the stored one is refused. A right geometry
that is off by a pixel can gain some per cent from a flip about a centre near its own; a wrong one loses most of it."""
TURNED = {
    "transposed": lambda image: image.T,
    "transposed and flipped up-down": lambda image: image.T[::-1],
    "transposed and flipped left-right": lambda image: image.T[:, ::-1],
    "transposed and flipped both ways": lambda image: image.T[::-1, ::-1],
}
STORED = "as stored"


def ring_contrast(
    frame: np.ndarray, valid: np.ndarray, two_theta: np.ndarray, calibrant: Calibrant, *, step: float
) -> float:
    """How much higher the mean pattern is on the calibrant's rings than half way between them.

    Parameters
    ----------
    two_theta
        Scattering angle of every pixel, rad, same shape as the frame.
    step
        Width of the bins, rad: about one pixel.

    Returns
    -------
    float
        Per cent of the level between the rings, mean over the innermost rings on the frame; 0 when fewer than two
        rings are on it.
    """
    counts = np.minimum(frame[valid], np.percentile(frame[valid], 99.9))
    bins = (two_theta[valid] / step).astype(int)
    n_pixels = np.bincount(bins)
    mean = np.bincount(bins, weights=counts) / np.maximum(n_pixels, 1)
    mean[n_pixels < 5] = np.nan
    rings = calibrant.two_theta[: MAX_RINGS + 1]
    on_ring, between = (_sample(mean, angles / step) for angles in (rings[:-1], (rings[:-1] + rings[1:]) / 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        contrast = 100 * (on_ring / between - 1)
    contrast = contrast[np.isfinite(contrast)]
    return float(contrast.mean()) if len(contrast) > 1 else 0.0


def _sample(profile: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Mean of the two bins nearest to each position (in bins from the profile's start); NaN outside."""
    upper = np.round(position).astype(int)
    inside = (upper > 0) & (upper < len(profile))
    upper = np.where(inside, upper, 1)
    return np.where(inside, (profile[upper - 1] + profile[upper]) / 2, np.nan)


def orientation_contrasts(
    frame: np.ndarray, valid: np.ndarray, geometry: AzimuthalIntegrator, calibrant: Calibrant
) -> dict[str, float]:
    """Ring contrast of the frame as stored and turned in every way that keeps its shape: {name: per cent}."""
    two_theta = geometry.center_array(frame.shape, unit="2th_rad", scale=False)
    step = pixel_step(geometry)
    turns = {STORED: lambda image: image} | FLIPS
    if frame.shape[0] == frame.shape[1]:
        turns |= TURNED
    return {
        name: ring_contrast(turn(frame), turn(valid), two_theta, calibrant, step=step) for name, turn in turns.items()
    }


def check_orientation(contrasts: dict[str, float]) -> list[str]:
    """Refuse a geometry that belongs to the frame in another orientation.

    Parameters
    ----------
    contrasts
        From `orientation_contrasts`.

    Returns
    -------
    list of str
        What was compared, and which orientations cannot be told apart (a beam in the middle of the detector makes
        flips invisible, and harmless for the rings; not for a mask).

    Raises
    ------
    CalibrationError
        When another orientation has a clearly higher contrast; names it.
    """
    stored = contrasts[STORED]
    others = {name: value for name, value in contrasts.items() if name != STORED}
    best = max(others, key=others.get)
    if others[best] > CLEARLY * max(stored, 1.0):
        how = best if best.startswith("transposed") else f"flipped {best}"
        raise CalibrationError(
            f"the geometry belongs to the frame {how}: ring contrast {others[best]:.0f} with the frame {how}, "
            f"{stored:.0f} as stored. Turn the frames (all of them, and the mask), or leave out calibrate.poni and "
            "have the geometry found from the frame as it is stored"
        )
    messages = [f"ring contrast {stored:.0f} as stored; " + ", ".join(f"{v:.0f} {k}" for k, v in others.items())]
    same = [name for name, value in others.items() if value > stored / CLEARLY]
    if same:
        messages.append(
            f"the rings cannot tell the orientation as stored from: {', '.join(same)} (the beam is near the middle of "
            "the detector); check it by the mask or by the detector's gaps"
        )
    return messages

"""What every calibration must pass before it is handed out."""

import numpy as np

from ..errors import CalibrationError
from .calibrants import Calibrant
from .pattern import Pattern, find_strangers
from .plane import pixel_step
from .refine import Refinement, energy_shift
from .rings import RingPoints

LEAST_RINGS = 3
LEAST_POINTS = 16
SEEN, MISSED = 0.5, 0.2
"""Share of its sectors in which a ring shows a peak: at least `SEEN` it is seen, below `MISSED` it is missing."""
MISSING_SHARE = 0.25
"""Share of the expected rings that may be missing before the calibrant is doubted."""
STRANGER, FAINT = 0.10, 0.01
"""Height of an unexpected line, in units of the calibrant's strongest, that means another substance, and below which
it is not mentioned."""
ENERGY_DOUBTED, ENERGY_REFUSED = 0.005, 0.02
"""Relative deviation of the energy, where the rings can tell it, that is worth a warning, and that means a wrong energy
or a wrong calibrant."""
MAX_RMS_PX, MAX_RMS_FWHM = 0.5, 0.1
"""Scatter of the ring points in pixels, or in line widths if that is more, that is refused whatever its angle: far from
the sample half a pixel is a small angle, but rings of another calibrant still miss by more. Displaced detector modules
give 0.1–0.3 px."""


def check_points(points: RingPoints, refinement: Refinement, *, max_rms_deg: float) -> None:
    """Refuse a geometry whose points are too few or too far from their rings."""
    n_rings = np.count_nonzero(points.count() >= 3)
    if n_rings < LEAST_RINGS or refinement.kept.sum() < LEAST_POINTS:
        raise CalibrationError(
            f"only {refinement.kept.sum()} points on {n_rings} rings agree with the calibrant (at least {LEAST_POINTS} "
            f"on {LEAST_RINGS} are needed). Is this the calibrant's frame, and are energy and pixel size right?"
        )
    rms = np.degrees(refinement.rms)
    outside = 1 - refinement.kept.mean()
    pixel = np.degrees(pixel_step(refinement.geometry))
    relative = max(MAX_RMS_PX * pixel, MAX_RMS_FWHM * np.degrees(np.nanmedian(points.fwhm)))
    if rms > min(max_rms_deg, relative):
        limit = f"max_rms_deg = {max_rms_deg:g}°" if max_rms_deg < relative else f"{relative / pixel:.2f} px"
        raise CalibrationError(
            f"the ring points scatter by {rms:.4f}° of two_theta ({rms / pixel:.2f} px) about their rings, more than "
            f"{limit}: this geometry cannot be trusted. Check calibrant, energy and pixel size first; then the mask (a "
            f"shadow, a second phase). One pixel is {pixel:.4f}°: if a third of it is more than calibrate.max_rms_deg, "
            "the detector is near and that limit may be raised"
        )
    if outside > 0.2:
        raise CalibrationError(
            f"{outside:.0%} of the ring points do not lie on their rings: the calibrant, the energy or the frame is "
            "not what was said"
        )


def check_missing(points: RingPoints, calibrant: Calibrant) -> None:
    """Refuse a calibrant whose strong rings, or many of whose rings, are missing as far out as the frame shows any."""
    tried, count = points.tried, points.count()
    share = count / np.maximum(tried, 1)
    looked_at = (tried >= 5) & ~calibrant.weak
    seen = looked_at & (share > SEEN)
    if not seen.any():
        raise CalibrationError(f"no ring of {calibrant.name} is seen in more than half of its sectors")
    expected = looked_at & (np.arange(len(tried)) <= np.flatnonzero(seen)[-1])
    missing = expected & (share < MISSED)
    if np.any(missing & calibrant.strong) or missing.sum() > MISSING_SHARE * expected.sum():
        names = ", ".join(calibrant.hkl[k] for k in np.flatnonzero(missing)[:6])
        raise CalibrationError(
            f"{missing.sum()} of the {expected.sum()} rings that {calibrant.name} should show are missing ({names}): "
            "the frame is of another calibrant, or the energy is wrong"
        )


def check_strangers(pattern: Pattern, calibrant: Calibrant, *, fwhm_q: np.ndarray) -> list[str]:
    """Refuse a frame with strong lines that the calibrant has not; faint ones are a warning."""
    strangers = [line for line in find_strangers(pattern, calibrant, fwhm_q=fwhm_q) if line[1] > FAINT]
    if not strangers:
        return []
    listed = ", ".join(f"{q:.3f} ({height:.0%})" for q, height in strangers[:5])
    text = (
        f"{len(strangers)} lines do not belong to {calibrant.name}, at q = {listed} 1/Å (height relative to its "
        "strongest)"
    )
    if strangers[0][1] > STRANGER:
        raise CalibrationError(f"{text}: the frame is of another calibrant, or the energy is wrong")
    return [f"{text}: an impurity, or the sample holder"]


def check_energy(
    points: RingPoints, refinement: Refinement, calibrant: Calibrant, *, energy_kev: float
) -> tuple[str, list[str]]:
    """What the rings say about the energy: one sentence, and a warning when they contradict the given one.

    At small angles a wrong energy, or a calibrant with the same sequence of rings, is a wrong distance and nothing
    else; only the curvature of Bragg's law tells them apart. The sentence says how well.

    Raises
    ------
    CalibrationError
        When the rings can tell the energy and it is another one by more than `ENERGY_REFUSED`.
    """
    shift, error = energy_shift(points, refinement, calibrant)
    said = (
        f"with energy and distance both free the rings would give {energy_kev * (1 + shift):.2f} ± "
        f"{energy_kev * error:.2f} keV (given: {energy_kev:g} keV, kept)"
    )
    if abs(shift) > max(3 * error, ENERGY_REFUSED):
        raise CalibrationError(f"{said}: the energy is wrong, or the frame is of another calibrant with similar rings")
    if abs(shift) > max(3 * error, ENERGY_DOUBTED):
        return said, [f"{said}: check the energy, and the distance against the motor's"]
    return said, []

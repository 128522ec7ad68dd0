"""How far away the detector is: the distance at which the calibrant's rings fall onto the frame's."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from ..errors import CalibrationError
from .calibrants import Calibrant

MAX_RINGS = 20
"""Rings used for the score: enough to tell two distances apart, few enough to stay apart themselves."""
LEAST_RINGS = 3
"""Rings that must lie on the detector for a distance to be tried."""
LEAST_PIXELS = 8
"""Pixels at one radius below which the profile is not used there."""
BACKGROUND_PX = 61
"""Width of the running median that is taken as the background of the profile."""


@dataclass(frozen=True)
class DistanceScore:
    """The best distance, its score, and that of the best distance elsewhere (further than 3 % away)."""

    distance: float
    """mm"""
    score: float
    runner_up: float


def radial_profile(frame: np.ndarray, valid: np.ndarray, *, centre: tuple[float, float]) -> np.ndarray:
    """Median of the counts at each whole pixel radius around `centre` (row, column from the frame's outer corner).

    Returns shape (n_radii,); element i covers radii i to i + 1; NaN where fewer than `LEAST_PIXELS` are valid.
    The median keeps hot pixels and single grains out.
    """
    rows, columns = np.nonzero(valid)
    radius = np.hypot(rows + 0.5 - centre[0], columns + 0.5 - centre[1]).astype(np.int64)
    values = frame[valid].astype(np.float64)
    order = np.lexsort((values, radius))
    count = np.bincount(radius)
    first = np.cumsum(count) - count
    middle = np.minimum(first + count // 2, len(values) - 1)
    return np.where(count >= LEAST_PIXELS, values[order][middle], np.nan)


def find_distance(
    profile: np.ndarray,
    calibrant: Calibrant,
    *,
    pixel_mm: float,
    least_mm: float = 30.0,
    most_mm: float = 10_000.0,
) -> DistanceScore:
    """Score a logarithmic grid of distances by how much of the profile's structure lies on predicted rings.

    The score is the mean height of the background-free logarithmic profile at the rings' radii D tan(2θ) minus that
    half way between them, in units of the profile's spread, times √(number of rings on the detector).

    Parameters
    ----------
    profile
        Counts against radius in pixels, from `radial_profile`.
    pixel_mm
        Edge of a pixel.
    least_mm, most_mm
        Range of distances.

    Raises
    ------
    CalibrationError
        When the profile is flat, or no distance puts enough rings onto the detector.
    """
    known = np.isfinite(profile)
    if known.sum() < 20:
        raise CalibrationError(f"only {known.sum()} radii of the frame hold enough valid pixels to look for rings")
    radius = np.flatnonzero(known) + 0.5
    height = np.log1p(np.clip(profile[known], 0, None))
    height = height - median_filter(height, min(BACKGROUND_PX, len(height)), mode="nearest")
    spread = height.std()
    if spread == 0:
        raise CalibrationError("the frame shows no rings: its radial profile is smooth. Is it a calibrant frame?")
    forward = calibrant.two_theta < np.radians(80)
    tangent = np.tan(calibrant.two_theta[forward][: MAX_RINGS + 1])
    # Steps of a quarter of a pixel at the outermost radius.
    step = 0.25 / radius[-1]
    grid = np.geomspace(least_mm, most_mm, int(np.log(most_mm / least_mm) / step))
    rings = grid[:, None] * tangent / pixel_mm
    between = (rings[:, :-1] + rings[:, 1:]) / 2
    rings = rings[:, :-1]
    inside = (rings > radius[0]) & (rings < radius[-1])
    count = inside.sum(axis=1)
    contrast = np.interp(rings, radius, height) - np.interp(between, radius, height)
    score = np.where(inside, contrast, 0).sum(axis=1) / np.sqrt(np.maximum(count, 1)) / spread
    score[count < LEAST_RINGS] = -np.inf
    best = int(score.argmax())
    if not np.isfinite(score[best]):
        raise CalibrationError(
            f"no distance between {least_mm:g} and {most_mm:g} mm puts {LEAST_RINGS} rings of {calibrant.name} onto "
            "the detector"
        )
    elsewhere = np.abs(np.log(grid / grid[best])) > 0.03
    return DistanceScore(float(grid[best]), float(score[best]), float(score[elsewhere].max()))

"""Frames that cannot be what they should be, found in the data: dark, too weak or too strong, whole lines.

A frame is compared with what all frames around it span on the neighbouring projections: a sample is not dimmer there
than everything next to it. Its pattern is looked at in bands of q, of which more than half must agree, so that the
Bragg spot of a single grain makes no bad frame.
"""

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

GOOD, INVALID, DARK, WEAK, STRONG, LINE = range(6)
KINDS = ("good", "invalid", "dark", "weak", "strong", "line")
"""Why a frame is bad, by number; 'invalid' ones were not read, came without beam, or repeat the frame before them."""
BANDS = 8
"""Bands of q that vote."""
DARKNESS = 0.1
"""A frame below this share of the air alone has seen no beam."""
OUTSIDE = 0.1
"""Share by which a frame must lie outside what its neighbours span: smaller faults do no harm worth a guess."""
NOISE = 6.0
"""And standard errors: chance reaches five in a million frames."""
MOSTLY_BAD = 0.5
"""A line with a larger share of bad frames is bad as a whole."""
REACH = 2
"""Neighbouring projections on either side."""


def find_bad_frames(
    intensity: np.ndarray, variance: np.ndarray, angles: np.ndarray, *, invalid: np.ndarray
) -> np.ndarray:
    """Classify every frame of a sinogram that has not been repaired, air not subtracted.

    Parameters
    ----------
    intensity, variance
        Shape (n_angles, n_positions, n_q), at one intensity, angles ascending.
    angles
        Degrees, shape (n_angles,).
    invalid
        Frames that are known to be bad, shape (n_angles, n_positions), bool.

    Returns
    -------
    numpy.ndarray
        One of `KINDS` by number, shape (n_angles, n_positions), uint8.
    """
    bands, errors = _bands(intensity, variance)
    kind = np.where(invalid | ~np.isfinite(bands).any(axis=2), INVALID, GOOD).astype(np.uint8)
    kind[(kind == GOOD) & _dark(bands, kind)] = DARK
    columns = _columns_moved(angles, intensity.shape[1])
    for _ in range(3):  # a fault hides from its neighbours as long as they are bad themselves
        low, high = _spanned(np.where((kind == GOOD)[..., None], bands, np.nan), columns)
        weak = _most(bands + NOISE * errors < (1 - OUTSIDE) * low, bands)
        strong = _most(bands - NOISE * errors > (1 + OUTSIDE) * high, bands)
        new = (kind == GOOD) & (weak | strong)
        if not new.any():
            break
        kind[new] = np.where(weak, WEAK, STRONG)[new]
    lost = (kind != GOOD).mean(axis=1) > MOSTLY_BAD
    kind[lost] = np.where(kind[lost] == GOOD, LINE, kind[lost])
    return kind


def _bands(intensity, variance):
    """Sums over bands of q and their standard errors, shape (n_angles, n_positions, BANDS); NaN where all is NaN."""
    limits = np.linspace(0, intensity.shape[2], min(BANDS, intensity.shape[2]) + 1).astype(int)[:-1]
    sums, errors = [], []
    for line, its_variance in zip(intensity, variance, strict=True):
        seen = np.isfinite(line)
        count = np.add.reduceat(seen, limits, axis=1)
        sums.append(np.where(count, np.add.reduceat(np.where(seen, line, 0), limits, axis=1), np.nan))
        errors.append(np.sqrt(np.add.reduceat(np.where(seen, its_variance, 0), limits, axis=1)))
    return np.array(sums, dtype=float), np.array(errors, dtype=float)


def _dark(bands, kind):
    """Frames with less than a tenth of what the dimmest column has: every beam scatters from air."""
    good = np.where((kind == GOOD)[..., None], bands, np.nan)
    seen = np.isfinite(good).any(axis=0)
    median = np.full(seen.shape, np.inf)
    median[seen] = np.nanmedian(good[:, seen], axis=0)
    dimmest = median.min(axis=0)
    return _most(bands < DARKNESS * np.where(np.isfinite(dimmest), dimmest, 0), bands)


def _columns_moved(angles, n_positions):
    """How many columns a part of the sample at the edge of the field moves within the reach of neighbours."""
    step = np.median(np.diff(np.sort(angles))) if len(angles) > 1 else 0.0
    return int(np.ceil(np.radians(step) * REACH * n_positions / 2)) + 1


def _spanned(bands, columns):
    """Smallest and largest value in `columns` on either side, on `REACH` projections on either side."""
    size = 2 * columns + 1
    low = minimum_filter1d(np.where(np.isnan(bands), np.inf, bands), size, axis=1, mode="nearest")
    high = maximum_filter1d(np.where(np.isnan(bands), -np.inf, bands), size, axis=1, mode="nearest")
    lowest, highest = np.full_like(low, np.inf), np.full_like(high, -np.inf)
    for shift in (k for k in range(-REACH, REACH + 1) if k):
        here, there = _overlap(len(bands), shift)
        np.minimum(lowest[here], low[there], out=lowest[here])
        np.maximum(highest[here], high[there], out=highest[here])
    # Where no neighbour is good nothing is known.
    return np.where(np.isinf(lowest), -np.inf, lowest), np.where(np.isinf(highest), np.inf, highest)


def _overlap(n, shift):
    """Lines that have a neighbour `shift` lines on, and these neighbours."""
    return (slice(0, n - shift), slice(shift, n)) if shift > 0 else (slice(-shift, n), slice(0, n + shift))


def _most(votes, bands):
    """Whether more than half of the bands that are seen agree."""
    return votes.sum(axis=2) > 0.5 * np.isfinite(bands).sum(axis=2)

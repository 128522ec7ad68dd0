"""What every backend of the trimmed mean shares: which pixels are valid, and the formulas from sums to patterns."""

from dataclasses import dataclass

import numpy as np

from ..errors import GeometryError, RawDataError

PIXEL_TYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
SUMS = (
    "n",
    "weight",
    "signal",
    "low",
    "high",
    "weight_below_high",
    "n_kept",
    "weight_inside",
    "signal_inside",
    "square_inside",
)
"""What a backend returns per frame and bin, in this order, float64; zeros where no pixel is valid.

n, weight, signal: number, summed weight and summed signal of the valid pixels; low, high: smallest and largest key
(signal/weight, float32) that the cuts leave, in full or in part; weight_below_high: summed weight of keys < high;
n_kept: number of low <= key <= high; the rest: sums over low < key < high of weight, signal, weight (key - low)².
"""


@dataclass(frozen=True)
class Patterns:
    """Azimuthal patterns of a block of frames. Arrays (n_frames, n_bins); NaN where a bin has no valid pixel."""

    intensity: np.ndarray
    """Trimmed mean, float64, counts per unit weight."""
    sem: np.ndarray
    """Its standard error by the Winsorised variance, float64; NaN where fewer than two pixels are valid."""
    mean: np.ndarray
    """Untrimmed weighted mean, float64."""
    kept: np.ndarray
    """Number of pixels whose key lies between the cuts, those at a cut included, int64."""
    groups: np.ndarray | None = None
    """Trimmed means of the disjoint pixel groups, (n_frames, n_groups, n_bins), float64; None without groups."""


def valid_range(dtype: np.dtype, invalid_above: float | None) -> tuple[int | float, int | float]:
    """Smallest and largest valid pixel value of a frame's type (both inclusive; NaN is outside of any range).

    Integers: negative values mark gaps and bad pixels, and so does the largest value of an unsigned type (that is
    what -1 becomes). Floats: NaN and infinities are invalid, negative values are not. Values of `invalid_above` and
    more (saturation) are invalid in both.

    Raises
    ------
    RawDataError
        The type is none of `PIXEL_TYPES`.
    GeometryError
        `invalid_above` is not positive.
    """
    if dtype.name not in PIXEL_TYPES:
        raise RawDataError(f"frames are of type {dtype}, expected one of {', '.join(PIXEL_TYPES)}")
    if invalid_above is not None and not invalid_above > 0:
        raise GeometryError(f"pixels are invalid from {invalid_above} counts on; a saturation must be positive")
    if dtype.kind == "f":
        limit = 2.0**100  # leaves a float32 room to be divided by a small weight
        if invalid_above is None or invalid_above > limit:
            return -limit, limit
        return -limit, float(np.nextafter(dtype.type(invalid_above), dtype.type(-np.inf)))
    highest = int(np.iinfo(dtype).max) - (dtype.kind == "u")
    if invalid_above is None or invalid_above > highest:
        return 0, highest
    return 0, int(np.ceil(invalid_above)) - 1


def patterns_from_sums(sums: np.ndarray, *, trim: float) -> Patterns:
    """The formulas of the trimmed mean.

    The cuts lie at the weights t_low = g W and t_high = (1 - g) W, g = trim/2. What is kept at key `high` is
    t_high - weight_below_high, at key `low` what then is missing to t_high - t_low; all terms add, nothing cancels:

        intensity = (low kept_at_low + signal_inside + high kept_at_high) / (t_high - t_low)

    Parameters
    ----------
    sums
        Shape (n_frames, n_bins, 1 + n_groups, len(SUMS)): the whole bin, then its groups if there are several.
    trim
        Share of the weight that is cut off, both tails together.
    """
    n, weight, signal, low, high, below_high, n_kept, weight_inside, signal_inside, square_inside = np.moveaxis(
        sums, -1, 0
    )
    with np.errstate(invalid="ignore", divide="ignore"):  # empty bins are 0/0 = NaN, single pixels x/0
        t_low, t_high = trim / 2 * weight, (1 - trim / 2) * weight
        kept_at_low = below_high - weight_inside - t_low
        kept_at_high = t_high - below_high
        intensity = (low * kept_at_low + signal_inside + high * kept_at_high) / (t_high - t_low)

        # Moments of the Winsorised keys about `low`: near them, however far a hot pixel pulls the mean.
        spread, from_high = high - low, weight - below_high
        first = (signal_inside - low * weight_inside + from_high * spread) / weight
        second = (square_inside + from_high * spread**2) / weight
        variance = np.maximum(second - first**2, 0) / (n - 1)
        sem = np.where(n > 1, np.sqrt(variance) / (1 - trim), np.nan)
        mean = signal / weight
    whole = (slice(None), slice(None), 0)
    groups = np.moveaxis(intensity[:, :, 1:], 2, 1) if sums.shape[2] > 1 else None
    return Patterns(intensity[whole], sem[whole], mean[whole], n_kept[whole].astype(np.int64), groups)

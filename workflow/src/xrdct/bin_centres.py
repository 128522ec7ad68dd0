"""From what the pixels of half bins show to what whole bins would.

A bin holds whole pixels and shows the mean of the pattern where they lie. On a whole detector they fill it evenly; on a
strip, between gaps and at the beam stop they lie beside its centre, by a tenth of it and more, or in two heaps. Lines
then seem to shift by as much, and to change by a per cent in area.

A line may be little wider than a bin: no curve through neighbouring bins follows it then, and pixels that a trimmed
mean compares differ by the line's own slope. So patterns are made of half bins, and a cubic through four of them, the
bin's own two and the nearer one of either neighbour, is averaged over the bin.
"""

from dataclasses import dataclass
from math import comb

import numpy as np

PLACES = np.array([-0.75, -0.25, 0.25, 0.75])
"""Centres of these four from that of the bin, in widths of the bin; the two in the middle are its own."""
OF_A_BIN = np.array([1.0, 0.0, 1 / 12, 0.0])
"""Means of 1, x, x² and x³ over a bin of width 1 about 0."""
NOISIEST = 2.0
"""Variance of a bin's noise, relative to that of the mean of its pixels, which no curve may reach: where the few pixels
of two halves touch, it would follow their noise."""


@dataclass(frozen=True)
class Centring:
    """How half bins make whole ones; leading axes of the arrays are those of the patterns behind their first."""

    weights: np.ndarray
    """What each of the four halves (`PLACES`) contributes to a bin, from `centring_weights`, shape (…, 4, n_bins)."""
    size: np.ndarray
    """Weight of the pixels in every half, shape (…, 2 n_bins)."""

    def whole(self, halves: np.ndarray) -> np.ndarray:
        """Patterns (…, n_bins) from those of half bins (…, 2 n_bins).

        Where a half that contributes is NaN, `mean` of the bin's own is what remains.
        """
        return self._joined(halves, self.weights)

    def variance(self, halves: np.ndarray) -> np.ndarray:
        """Variances of whole bins from those of halves; where one is missing, an upper limit."""
        return self._joined(halves, self.weights**2)

    def mean(self, halves: np.ndarray) -> np.ndarray:
        """Mean of a bin's own halves by the weight of their pixels; of the only one if the other is NaN."""
        pairs, size = (values.reshape(*values.shape[:-1], -1, 2) for values in (halves, self.size))
        share = np.where(np.isfinite(pairs), size, 0)
        total = share.sum(axis=-1)
        sums = np.where(share, share * pairs, 0).sum(axis=-1)
        return np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)

    def _joined(self, halves, weights):
        n, own = halves.shape[-1], self.mean(halves)
        padded = np.pad(halves, [(0, 0)] * (halves.ndim - 1) + [(1, 1)])  # what lies beyond the ends weighs nothing
        parts = [padded[..., k : k + n : 2] for k in range(len(PLACES))]
        found = sum(np.where(w, w * part, 0) for w, part in zip(np.moveaxis(weights, -2, 0), parts, strict=True))
        return np.where(np.isfinite(found) & np.isfinite(own), found, own)


def mean_of_bins(values: np.ndarray, weights: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Weighted mean of the values that belong to each of `n` places; NaN where there are none, shape (n,)."""
    total = np.bincount(places, weights=weights, minlength=n)
    sums = np.bincount(places, weights=weights.astype(float) * values, minlength=n)
    return np.divide(sums, total, out=np.full(n, np.nan), where=total > 0)


def centring_weights(moments: np.ndarray, size: np.ndarray) -> np.ndarray:
    """What four halves contribute to the value of a whole bin.

    A cubic whose means over the pixels of the halves are what these show is averaged over the bin. Where it would be
    too noisy (`NOISIEST`) or a half is missing, it is the least noisy parabola or straight line, and at last the mean
    of the bin's pixels.

    Parameters
    ----------
    moments
        Means of 1, x, x², x³ over the pixels of every half, x being the distance from the half's centre in widths of a
        whole bin; NaN for a half without any, shape (4, 2 n_bins).
    size
        Weight of the pixels of every half, shape (2 n_bins,).

    Returns
    -------
    numpy.ndarray
        Shape (4, n_bins); zeros for a bin without pixels.
    """
    n = size.size // 2
    near = 2 * np.arange(n) + np.arange(len(PLACES))[:, None]  # with one more half in front
    moments = np.pad(moments, ((0, 0), (1, 1)), constant_values=np.nan)[:, near]  # (4 moments, 4 halves, n_bins)
    size = np.pad(size, 1)[near]
    moments = np.stack(
        [
            sum(comb(k, r) * PLACES[:, None] ** (k - r) * moments[r] for r in range(k + 1))  # from the bin's centre
            for k in range(len(moments))
        ]
    )
    weights = np.zeros((len(PLACES), n))
    for k in np.flatnonzero(size[1:3].sum(axis=0) > 0):
        there = size[:, k] > 0
        weights[there, k] = _weights_of_bin(moments[:, there, k], size[there, k], own=np.abs(PLACES[there]) < 0.5)
    return weights


def _weights_of_bin(moments, size, *, own):
    """Weights of the halves that there are, shape (n_halves,)."""
    plain = np.where(own, size, 0) / size[own].sum()
    for n in range(size.size, 1, -1):
        rows = moments[:n]
        found = size * (np.linalg.pinv(rows * size @ rows.T, hermitian=True) @ OF_A_BIN[:n] @ rows)
        if found**2 @ (1 / size) < NOISIEST / size[own].sum() and np.allclose(rows @ found, OF_A_BIN[:n], atol=1e-6):
            return found
    return plain

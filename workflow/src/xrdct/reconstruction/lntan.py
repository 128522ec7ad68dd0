"""Patterns on a uniform axis of Y = ln tan 2θ, and back to q: on it parallax is one shift for all reflections.

What lies at depth u puts its ring where integration reads tan 2θ' = (1 − u/L) tan 2θ (`geometry`: u is positive towards
the detector, at distance L from the axis), so that Y' = Y + ln(1 − u/L). A pixel there is nearer to what it sees, by
(1 − u/L)⁻² cos³ 2θ / cos³ 2θ' in intensity. The cosines are a factor of either side: patterns are multiplied by cos³ 2θ
on the way to Y and divided on the way back, which leaves a factor of depth alone between them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from ..errors import GeometryError
from ..units import q_from_two_theta, two_theta_from_q

OVERSAMPLING = 2.0
"""Bins of Y per bin of q where bins of q are narrowest in Y, at the upper end. With two, a line as wide as two bins of
q (FWHM) is shifted by half a bin of Y to within 0.5 % of its height; with one it would be to within 10 %."""


@dataclass(frozen=True)
class LnTanAxis:
    """Bins of q, evenly spaced, and bins of Y, evenly spaced, over the same range.

    Resampling goes through the cumulated pattern, as a cubic spline between the edges of the bins: the integral over
    any range between edges is kept, and a bin holds its mean, as a bin of the detector does. Linear in the pattern.
    """

    q: np.ndarray
    """Centres of the bins, 1/Å, shape (n_q,)."""
    wavelength: float
    """Å."""
    first: float
    """Lower edge of the first bin of Y."""
    step: float
    """Width of a bin of Y."""
    n_bins: int

    @property
    def q_edges(self) -> np.ndarray:
        """Edges of the bins of q, shape (n_q + 1,)."""
        width = (self.q[-1] - self.q[0]) / (self.q.size - 1)
        return np.append(self.q - width / 2, self.q[-1] + width / 2)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins of Y, shape (n_bins + 1,)."""
        return self.first + self.step * np.arange(self.n_bins + 1)

    @property
    def two_theta(self) -> np.ndarray:
        """Scattering angle at the centres of the bins of Y, radians, shape (n_bins,)."""
        return np.arctan(np.exp(self.first + self.step * (np.arange(self.n_bins) + 0.5)))

    @property
    def mapped_edges(self) -> np.ndarray:
        """q (1/Å) at the edges of the bins of Y; the first and last are those of q."""
        edges = q_from_two_theta(np.arctan(np.exp(self.edges)), wavelength=self.wavelength)
        return np.clip(edges, self.q_edges[0], self.q_edges[-1])

    def from_q(self) -> np.ndarray:
        """Matrix that takes a pattern in q to Y, times cos³ 2θ; shape (n_bins, n_q), float64."""
        return np.cos(self.two_theta)[:, None] ** 3 * rebinning(self.q_edges, self.mapped_edges)

    def to_q(self) -> np.ndarray:
        """Matrix that takes a pattern in Y back to q; shape (n_q, n_bins), float64."""
        return rebinning(self.mapped_edges, self.q_edges) / np.cos(self.two_theta) ** 3


def lntan_axis(q: np.ndarray, *, wavelength: float, oversampling: float = OVERSAMPLING) -> LnTanAxis:
    """The axis of Y for patterns in q.

    Parameters
    ----------
    q
        Bin centres in 1/Å, evenly spaced, shape (n_q,).
    wavelength
        Å.
    oversampling
        See `OVERSAMPLING`.

    Raises
    ------
    GeometryError
        If the bins are not evenly spaced, reach to q = 0, or beyond 2θ = 90°, where Y ends.
    """
    q = np.asarray(q, dtype=float)
    if q.ndim != 1 or q.size < 4 or not np.allclose(np.diff(q), q[1] - q[0], rtol=1e-3):
        raise GeometryError("the bins of a pattern must be evenly spaced in q, and at least four")
    half = (q[1] - q[0]) / 2
    highest = q_from_two_theta(np.pi / 2, wavelength=wavelength)
    if q[0] - half <= 0 or q[-1] + half >= highest:
        raise GeometryError(
            f"q from {q[0] - half:g} to {q[-1] + half:g} 1/Å has no ln tan 2θ everywhere: it must be above 0 and below "
            f"{highest:g} 1/Å (2θ = 90°); change integrate.q_min or q_max"
        )
    low, below, high = np.log(
        np.tan(two_theta_from_q([q[0] - half, q[-1] - half, q[-1] + half], wavelength=wavelength))
    )
    n_bins = int(np.ceil(oversampling * (high - low) / (high - below)))
    return LnTanAxis(q, wavelength, low, (high - low) / n_bins, n_bins)


def rebinning(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Matrix from means over bins with edges `old` to means over bins with edges `new`, shape (len(new)−1, len(old)−1).

    Both rise from the same first to the same last edge; the integral is kept.
    """
    cumulated = np.vstack([np.zeros(old.size - 1), np.cumsum(np.diag(np.diff(old)), axis=0)])
    at_new = CubicSpline(old, cumulated, bc_type="not-a-knot")(new)
    return np.diff(at_new, axis=0) / np.diff(new)[:, None]

"""Which detector pixels belong to which q bin, and where in the bin they lie."""

from dataclasses import dataclass

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from .bin_centres import OF_A_BIN, Centring, centring_weights, mean_of_bins
from .errors import GeometryError


@dataclass(frozen=True)
class PixelBins:
    """Which detector pixels belong to which q bin, sorted by bin."""

    q: np.ndarray
    """Bin centres in 1/Å, shape (n_bins,)."""
    indices: np.ndarray
    """Flat pixel numbers, bin after bin, ascending inside a bin, int32."""
    indptr: np.ndarray
    """`indices[indptr[k]:indptr[k + 1]]` are the pixels of bin k, shape (n_bins + 1,)."""
    weights: np.ndarray
    """Solid angle × polarisation of each listed pixel, relative to the beam centre, float32."""
    pixel_q: np.ndarray
    """q of the centre of each listed pixel in 1/Å."""

    def centring(self, gaps: np.ndarray | None = None, group: np.ndarray | None = None, n_groups: int = 1) -> Centring:
        """What makes whole bins of these, two of them each.

        Parameters
        ----------
        gaps
            Pixels to leave out, shape (rows, columns), bool.
        group, n_groups
            Group of each listed pixel, 0 … n_groups − 1; None: all are one.

        Returns
        -------
        Centring
            For patterns (…, 2 n_bins); with groups for (…, n_groups, 2 n_bins).
        """
        n = self.q.size
        places = np.repeat(np.arange(n), np.diff(self.indptr)) + (0 if group is None else n * group)
        seen = slice(None) if gaps is None else ~gaps.ravel()[self.indices].astype(bool)
        distance = (self.pixel_q - self.q[places % n]) / (2 * (self.q[1] - self.q[0]))
        places, distance, own = places[seen], distance[seen], self.weights[seen]
        size = np.bincount(places, weights=own, minlength=n * n_groups).reshape(n_groups, n)
        moments = np.stack(
            [mean_of_bins(distance**k, own, places, n * n_groups).reshape(n_groups, n) for k in range(OF_A_BIN.size)],
            axis=1,
        )
        weights = np.stack([centring_weights(*one) for one in zip(moments, size, strict=True)])
        return Centring(weights[0], size[0]) if group is None else Centring(weights, size)


def bin_pixels(
    geometry: AzimuthalIntegrator,
    mask: np.ndarray,
    *,
    q_min: float,
    q_max: float,
    n_bins: int,
    polarization: float,
) -> PixelBins:
    """Sort the unmasked pixels of a detector into equal q bins between `q_min` and `q_max` (1/Å).

    Raises
    ------
    GeometryError
        If the mask leaves nothing, or the range reaches outside what the unmasked detector sees.
    """
    shape, usable = mask.shape, ~mask.astype(bool)
    q = check_q_range(geometry, usable, q_min=q_min, q_max=q_max)
    number = np.floor((q - q_min) / (q_max - q_min) * n_bins).astype(np.int64)
    inside = np.flatnonzero((usable & (number >= 0) & (number < n_bins)).ravel())
    inside = inside[np.argsort(number.ravel()[inside], kind="stable")]
    weights = geometry.solidAngleArray(shape) * geometry.polarization(shape, polarization)
    counts = np.bincount(number.ravel()[inside], minlength=n_bins)
    return PixelBins(
        q=q_min + (np.arange(n_bins) + 0.5) * (q_max - q_min) / n_bins,
        indices=inside.astype(np.int32),
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        weights=weights.ravel()[inside].astype(np.float32),
        pixel_q=q.ravel()[inside],
    )


def check_q_range(geometry: AzimuthalIntegrator, usable: np.ndarray, *, q_min: float, q_max: float) -> np.ndarray:
    """q of every pixel in 1/Å, once `q_min` and `q_max` are known to lie within what the usable pixels see.

    Raises
    ------
    GeometryError
        As `bin_pixels`.
    """
    if not usable.any():
        raise GeometryError(f"the mask leaves none of the {usable.size} pixels of the detector")
    q = geometry.center_array(usable.shape, unit="q_A^-1", scale=True)
    seen = float(q[usable].min()), float(q[usable].max())
    if q_min < seen[0] or q_max > seen[1]:
        raise GeometryError(
            f"integrate.q_min–q_max is {q_min}–{q_max} 1/Å, but the unmasked detector sees only "
            f"{seen[0]:.3f}–{seen[1]:.3f} 1/Å; narrow the range or check beam.energy_kev and the geometry"
        )
    return q

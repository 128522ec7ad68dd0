"""Air scatter, from the positions at either end of a projection that see no sample, taken from all of it.

The shape of the air's pattern is common to a scan; what changes from projection to projection is its strength. Where
the data agree, all ends share one shape, and the air adds next to no noise; otherwise each projection has its own.

Air in front of the sample is attenuated with the beam that scatters it, and what air behind the sample scatters comes
from an attenuated beam: in the sample's shadow a frame holds T times the air. Without T too much is taken there; the
correction for absorption, which finds T, puts (1 − T) of the air back before it divides by T.
"""

import logging
from dataclasses import replace

import numpy as np

from .errors import GeometryError
from .sinogram import Sinogram

log = logging.getLogger(__name__)

MOST_AT_AN_EDGE = 0.1
"""Share of the positions that is looked at on either side for air: a field is rarely wider."""
SAME = 4.0
"""A column whose total differs from the outermost one's by more than this many standard errors sees the sample."""
SAME_SHAPE = 1.5
"""Reduced χ² up to which the ends of all projections are taken to have one shape."""
VARYING = 0.03
"""Ends whose difference changes with the angle by more than this share of the strongest column see the sample."""


def find_air_positions(sinogram: Sinogram) -> int:
    """How many positions at either edge see no sample in any projection, at least 1.

    Columns are added from the outside while they are as bright as the outermost one, in every projection.

    Raises
    ------
    GeometryError
        If the outermost columns change with the angle: the sample reaches them.
    """
    total, error = _totals(sinogram)
    _refuse_sample_at_the_edge(total, error, 1)
    n_positions = total.shape[1]
    most = max(1, int(MOST_AT_AN_EDGE * n_positions))
    free = []
    for side in (slice(None, most), slice(None, -most - 1, -1)):
        of_side, its_error = total[:, side], error[:, side]
        excess = (of_side - of_side[:, :1]) / np.hypot(its_error, its_error[:, :1])
        # The mean over the angles sees what all of them share, the largest what only some of them see.
        mean = excess.mean(axis=0) * np.sqrt(len(excess))
        highest = excess.max(axis=0) - np.sqrt(2 * np.log(len(excess)))
        other = np.flatnonzero((np.abs(mean) > SAME) | (highest > SAME))
        free.append(int(other[0]) if other.size else most)
    return max(1, min(free))


def subtract_air(
    sinogram: Sinogram, *, positions: int, transmission: np.ndarray | None = None
) -> tuple[Sinogram, np.ndarray]:
    """Subtract what the sample-free ends of each projection see.

    Parameters
    ----------
    sinogram
        Without bad frames.
    positions
        Columns at either edge that see no sample; 0: nothing is subtracted.
    transmission
        Of the direct beam, shape (n_angles, n_positions); None: taken as 1.

    Returns
    -------
    Sinogram, numpy.ndarray
        The corrected sinogram, and the air of each angle before attenuation, shape (n_angles, n_q).

    Raises
    ------
    GeometryError
        If the edges would meet, or see the sample.
    """
    n_angles, n_positions, n_q = sinogram.intensity.shape
    if positions == 0:
        return sinogram, np.zeros((n_angles, n_q), dtype=np.float32)
    if 2 * positions >= n_positions:
        raise GeometryError(
            f"assemble.air_positions = {positions} at either edge leaves nothing of {n_positions} positions"
        )
    _refuse_sample_at_the_edge(*_totals(sinogram), positions)
    air, variance = _air(sinogram, np.r_[:positions, n_positions - positions : n_positions])
    share = np.ones((n_angles, n_positions), np.float32) if transmission is None else transmission.astype(np.float32)
    intensity, total_variance = np.empty_like(sinogram.intensity), np.empty_like(sinogram.variance)
    for line in range(n_angles):
        intensity[line] = sinogram.intensity[line] - share[line][:, None] * air[line]
        total_variance[line] = sinogram.variance[line] + share[line][:, None] ** 2 * variance[line]
    return replace(sinogram, intensity=intensity, variance=total_variance), air


def _air(sinogram, edges):
    """Air and its variance of every angle, shape (n_angles, n_q) each."""
    own = sinogram.intensity[:, edges].mean(axis=1)
    own_variance = sinogram.variance[:, edges].mean(axis=1) / edges.size
    seen = np.isfinite(own).all(axis=0) & (own_variance > 0).all(axis=0)
    if not seen.any():
        return own, own_variance
    shape = own.mean(axis=0)
    strength = own[:, seen].sum(axis=1, keepdims=True) / shape[seen].sum()
    common = strength * shape
    chi2 = np.mean((own - common)[:, seen] ** 2 / own_variance[:, seen])
    if chi2 > SAME_SHAPE:
        log.info("air: each projection has its own shape (χ² %.2f with one for all)", chi2)
        return own, own_variance
    log.info("air: one shape for all projections (χ² %.2f)", chi2)
    of_strength = own_variance[:, seen].sum(axis=1, keepdims=True) / shape[seen].sum() ** 2
    of_shape = own_variance.mean(axis=0) / len(own)
    return common.astype(np.float32), (of_strength * shape**2 + strength**2 * of_shape).astype(np.float32)


def _totals(sinogram):
    """Sum over q of every frame and its standard error, shape (n_angles, n_positions) each."""
    total = np.array([np.nansum(line, axis=1) for line in sinogram.intensity])
    variance = np.array([np.nansum(line, axis=1) for line in sinogram.variance])
    return total, np.sqrt(np.maximum(variance, np.finfo(np.float32).tiny))


def _refuse_sample_at_the_edge(total, error, positions):
    """Both ends see the same air, whatever it does; a sample that reaches one end reaches it at some angles only."""
    ends = (np.s_[:, :positions], np.s_[:, -positions:])
    first, last = (total[end].mean(axis=1) for end in ends)
    noise = sum((error[end] ** 2).mean(axis=1) / positions for end in ends).mean()
    by_chance = noise * (1 + SAME * np.sqrt(2 / len(total)))  # a variance is known to √(2/n) from n values
    change = np.sqrt(max(np.var(first - last) - by_chance, 0.0)) / total.mean(axis=0).max()
    if change > VARYING:
        raise GeometryError(
            f"the outermost {positions} positions see the sample at some angles: they differ by {100 * change:.0f} % "
            "of the strongest column's total; set assemble.air_positions to what is free at both ends, or to 0"
        )

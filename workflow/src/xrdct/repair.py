"""Bad frames filled in from their neighbours, in position and in angle."""

from dataclasses import replace

import numpy as np

from .errors import RawDataError
from .sinogram import Sinogram

ONE_SIDED, UNREACHED = 10**9, 10**9 + 1
"""Distances between good neighbours where one or both are missing: larger than any that can be."""


def repair(sinogram: Sinogram, *, max_bad_share: float) -> Sinogram:
    """Interpolate frames marked in `repaired` between their neighbours, or refuse when there are too many.

    Along the line or between the neighbouring angles, whichever has good frames on both sides closer together (the
    line when equal); at a corner the nearest good frame is repeated. Bins that are NaN in good frames are filled
    in the same way and their frames marked, unless so many lack a bin that the detector may not see it: then it
    stays NaN. Lines see the axis at their own `offset`, and are compared place by place. The variance is interpolated
    like the intensity: never less than that of the interpolated value.

    Raises
    ------
    RawDataError
        If more than `max_bad_share` of the frames, or all, are bad.
    """
    bad = sinogram.repaired
    if bad.mean() > max_bad_share or bad.all():
        line, point = np.argwhere(bad)[0]
        raise RawDataError(
            f"{bad.sum()} of {bad.size} frames are bad (first: angle {sinogram.angles[line]:.3f}°, position {point}), "
            f"more than assemble.max_bad_share = {max_bad_share}"
        )
    lacking = np.mean(
        [np.isnan(line[good]).mean(axis=0) for line, good in zip(sinogram.intensity, ~bad, strict=True) if good.any()],
        axis=0,
    )
    patched = np.flatnonzero((lacking > 0) & (lacking <= max_bad_share))
    if not bad.any() and not patched.size:
        return sinogram
    intensity, variance, marked = sinogram.intensity.copy(), sinogram.variance.copy(), bad.copy()
    _fill(intensity, variance, sinogram.angles, sinogram.offset, bad)
    for k in patched:
        holes = np.isnan(intensity[..., k])
        _fill(intensity[..., k], variance[..., k], sinogram.angles, sinogram.offset, holes)
        marked |= holes
    return replace(sinogram, intensity=intensity, variance=variance, repaired=marked)


def _fill(intensity, variance, angles, offset, bad):
    """Interpolate samples `bad` (angle, position) of arrays (angle, position, …) in place."""
    bad = bad.copy()
    while bad.any():  # twice at most: where a bad line crosses a bad column, the second pass uses the first
        along, across = _good_neighbours(bad, axis=1), _good_neighbours(bad, axis=0)
        filled = []
        for line, point in np.argwhere(bad):
            (left, right, gap), (above, below, jump) = along[:, line, point], across[:, line, point]
            if min(gap, jump) == UNREACHED:
                continue
            if gap <= jump:
                sources, share = [(line, left, 0.0), (line, right, 0.0)], _share(point, left, right)
            else:
                sources = [(other, point, offset[other] - offset[line]) for other in (above, below)]
                share = _share(angles[line], angles[above], angles[below])
            for values in (intensity, variance):
                one, other = (_between(values, bad, *source) for source in sources)
                values[line, point] = (1 - share) * one + share * other
            filled.append((line, point))
        bad[tuple(np.transpose(filled))] = False


def _between(values, bad, line, point, shift):
    """A line's values `shift` columns beside a good point, towards the next column where that is good too."""
    beside = point + int(np.sign(shift))
    if not 0 <= beside < values.shape[1] or bad[line, beside]:
        return values[line, point]
    share = min(abs(shift), 1.0)
    return (1 - share) * values[line, point] + share * values[line, beside]


def _good_neighbours(bad, axis):
    """The nearest good samples before and after each sample along `axis`, and their distance; shape (3, *bad.shape).

    Where one side has none, the other's stands twice and the distance is `ONE_SIDED`; where both have none,
    the distance is `UNREACHED`.
    """
    n = bad.shape[axis]
    index = np.expand_dims(np.arange(n), 1 - axis)
    before = np.maximum.accumulate(np.where(bad, -1, index), axis=axis)
    after = np.flip(np.minimum.accumulate(np.flip(np.where(bad, n, index), axis), axis=axis), axis)
    none_before, none_after = before < 0, after >= n
    distance = np.where(none_before | none_after, ONE_SIDED, after - before)
    distance[none_before & none_after] = UNREACHED
    return np.stack([np.where(none_before, after, before), np.where(none_after, before, after), distance])


def _share(x, start, end):
    return 0.0 if start == end else float((x - start) / (end - start))

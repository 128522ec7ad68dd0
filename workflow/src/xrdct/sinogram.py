"""Patterns of interlaced subsets to one sinogram: placed, normalised, repaired, air subtracted, centred.

Axes and signs as in `geometry`. Arrays of patterns are [line, point, q] in acquisition order; a sinogram is
[angle, position, q] with angles ascending and positions ascending along the translation.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np

from .alignment import Alignment
from .errors import GeometryError, RawDataError

log = logging.getLogger(__name__)

ONE_SIDED, UNREACHED = 10**9, 10**9 + 1
"""Distances between good neighbours where one or both are missing: larger than any that can be."""


@dataclass(frozen=True)
class SubsetPatterns:
    """One interlaced subset in acquisition order."""

    intensity: np.ndarray
    """Patterns, shape (n_lines, n_points, n_q), counts."""
    variance: np.ndarray
    """Their variance, same shape, counts²."""
    columns: np.ndarray
    """Position of each frame in pixels along the translation, shape (n_lines, n_points)."""
    angles: np.ndarray
    """Rotation of each line in degrees, shape (n_lines,)."""
    monitor: np.ndarray
    """Incoming beam, shape (n_lines, n_points), any unit."""
    valid: np.ndarray
    """Whether the frame may be used, shape (n_lines, n_points), bool."""


@dataclass(frozen=True)
class Sinogram:
    """All subsets merged."""

    intensity: np.ndarray
    """Shape (n_angles, n_positions, n_q), counts at the mean monitor."""
    variance: np.ndarray
    """Same shape, counts²."""
    angles: np.ndarray
    """Degrees, ascending, shape (n_angles,)."""
    subset: np.ndarray
    """Number of the subset (1, 2, …) that each angle comes from, shape (n_angles,)."""
    direction: np.ndarray
    """+1 where the translation ran towards larger columns, −1 where it ran back, shape (n_angles,)."""
    offset: np.ndarray
    """How much farther along than the scan's mean each line sees the axis, pixels, shape (n_angles,)."""
    repaired: np.ndarray
    """Where a bad frame, or single bins of one, were interpolated, shape (n_angles, n_positions), bool."""


def columns_from_translation(translation: np.ndarray, *, step: float, origin: float) -> np.ndarray:
    """Recorded translation (mm) in pixels: 0 at `origin` (mm), one per `step` (mm)."""
    return (translation - origin) / step


def merge_subsets(subsets: list[SubsetPatterns]) -> Sinogram:
    """Put every frame where it was taken: lines sorted by true angle, points by position.

    Raises
    ------
    RawDataError
        If a line does not visit every position once, or a subset has no frame with beam.
    GeometryError
        If two lines have the same angle, or the subsets differ in positions or q.
    """
    shapes = {s.intensity.shape[1:] for s in subsets}
    if len(shapes) > 1:
        raise GeometryError(f"subsets differ in (positions, q bins): {sorted(shapes)}")
    columns = [_whole_columns(s.columns, number) for number, s in enumerate(subsets, 1)]
    mean_monitor = np.mean([_mean_monitor(s, number) for number, s in enumerate(subsets, 1)])
    angles = np.concatenate([s.angles for s in subsets])
    numbers = np.concatenate([np.full(s.angles.size, k) for k, s in enumerate(subsets, 1)])
    order = np.argsort(angles, kind="stable")
    _refuse_equal_angles(angles[order], numbers[order])
    # Line by line into the result: a scan fills gigabytes, and every whole-array step would hold one more copy.
    intensity = np.empty((angles.size, *shapes.pop()), dtype=np.float32)
    variance = np.empty_like(intensity)
    valid = np.empty(intensity.shape[:2], dtype=bool)
    lines = ((subset, own, line) for subset, own in zip(subsets, columns, strict=True) for line in range(len(own)))
    for row, (subset, own, line) in zip(np.argsort(order), lines, strict=True):
        factor, good = _monitor_factor(subset, line, mean_monitor)
        intensity[row, own[line]] = subset.intensity[line] * factor[:, None]
        variance[row, own[line]] = subset.variance[line] * factor[:, None] ** 2
        valid[row, own[line]] = good
    direction = np.concatenate([np.where(own[:, -1] > own[:, 0], 1, -1) for own in columns])
    return Sinogram(intensity, variance, angles[order], numbers[order], direction[order], np.zeros(angles.size), ~valid)


def aligned(sinogram: Sinogram, alignment: Alignment) -> Sinogram:
    """The sinogram with its subsets brought to one intensity and with the offset of every line; changed in place."""
    factor = alignment.factor[sinogram.subset - 1].astype(np.float32)
    for line in range(factor.size):
        sinogram.intensity[line] /= factor[line]
        sinogram.variance[line] /= factor[line] ** 2
    return replace(sinogram, offset=alignment.offsets(sinogram.subset, sinogram.direction))


def repair(sinogram: Sinogram, *, max_bad_share: float) -> Sinogram:
    """Interpolate frames marked in `repaired` between their neighbours, or refuse when there are too many.

    Along the line or between the neighbouring angles, whichever has good frames on both sides closer together (the
    line when equal); at a corner the nearest good frame is repeated. Bins that are NaN in good frames are filled
    in the same way and their frames marked, unless so many lack a bin that the detector may not see it: then it
    stays NaN. The variance is interpolated like the intensity.

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
    lacking = np.isnan(sinogram.intensity)[~bad].mean(axis=0)
    patched = np.flatnonzero((lacking > 0) & (lacking <= max_bad_share))
    if not bad.any() and not patched.size:
        return sinogram
    intensity, variance, marked = sinogram.intensity.copy(), sinogram.variance.copy(), bad.copy()
    _fill(intensity, variance, sinogram.angles, bad)
    for k in patched:
        holes = np.isnan(intensity[..., k])
        _fill(intensity[..., k], variance[..., k], sinogram.angles, holes)
        marked |= holes
    log.warning(
        "%d of %d frames are bad, %d lack some bins; interpolated from their neighbours",
        bad.sum(),
        bad.size,
        marked.sum() - bad.sum(),
    )
    return replace(sinogram, intensity=intensity, variance=variance, repaired=marked)


def subtract_air(sinogram: Sinogram, *, positions: int) -> tuple[Sinogram, np.ndarray]:
    """Subtract what the sample-free edges of each projection see.

    The mean over `positions` columns at both edges, per angle and q, is taken from all columns. Its variance is
    added, as for independent counts: right in the sample, too much at the edges themselves, which share their
    counts with the mean. Air in the sample's shadow is attenuated, so that a strongly absorbing sample is
    over-subtracted by (1 − T) of the air; that is left as it is here.

    Returns
    -------
    Sinogram, numpy.ndarray
        The corrected sinogram and the air pattern of each angle, shape (n_angles, n_q).

    Raises
    ------
    GeometryError
        If the edges would meet.
    """
    n_angles, n_positions, n_q = sinogram.intensity.shape
    if positions == 0:
        return sinogram, np.zeros((n_angles, n_q), dtype=np.float32)
    if 2 * positions >= n_positions:
        raise GeometryError(
            f"assemble.air_positions = {positions} at either edge leaves nothing of {n_positions} positions"
        )
    edges = np.r_[:positions, n_positions - positions : n_positions]
    air = sinogram.intensity[:, edges].mean(axis=1)
    variance = sinogram.variance[:, edges].mean(axis=1) / edges.size
    corrected = replace(
        sinogram, intensity=sinogram.intensity - air[:, None], variance=sinogram.variance + variance[:, None]
    )
    return corrected, air


def _mean_monitor(subset: SubsetPatterns, number: int) -> float:
    usable = subset.monitor[subset.valid & (subset.monitor > 0)]
    if not usable.size:
        raise RawDataError(f"subset {number}: no valid frame has a monitor reading above 0; check raw.monitor")
    return usable.mean()


def _monitor_factor(subset: SubsetPatterns, line: int, mean_monitor: float) -> tuple[np.ndarray, np.ndarray]:
    """What brings a line to the mean monitor (NaN for a bad frame), and which frames are good.

    Frames without beam or with an unreadable monitor become bad ones.
    """
    monitor = subset.monitor[line]
    good = subset.valid[line] & np.isfinite(monitor) & (monitor > 0.01 * mean_monitor)
    return np.where(good, mean_monitor / np.where(good, monitor, 1), np.nan).astype(np.float32), good


def _whole_columns(columns: np.ndarray, number: int) -> np.ndarray:
    """Recorded positions of a subset as whole columns, each line a permutation of 0 … n − 1."""
    n = columns.shape[1]
    known = np.isfinite(columns)
    nearest = np.rint(np.where(known, columns, -1)).astype(int)
    wrong = (np.sort(nearest, axis=1) != np.arange(n)).any(axis=1)
    if wrong.any():
        line = int(wrong.argmax())
        if not known[line].all():
            point = int(known[line].argmin())
            raise RawDataError(f"subset {number}, line {line}: the position of point {point} was not recorded")
        raise RawDataError(
            f"subset {number}, line {line}: the recorded positions {columns[line].min():.2f} … "
            f"{columns[line].max():.2f} px do not visit each of the {n} columns once; check step_mm and n_positions"
        )
    return nearest


def _refuse_equal_angles(angles, numbers):
    equal = np.flatnonzero(np.diff(angles) < 1e-6)
    if equal.size:
        k = equal[0]
        raise GeometryError(
            f"subsets {numbers[k]} and {numbers[k + 1]} both have a projection at {angles[k]:.4f}°; "
            "check angle_start_deg"
        )


def _fill(intensity, variance, angles, bad):
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
                ends, share = ((line, left), (line, right)), _share(point, left, right)
            else:
                ends, share = ((above, point), (below, point)), _share(angles[line], angles[above], angles[below])
            for values in (intensity, variance):
                values[line, point] = (1 - share) * values[ends[0]] + share * values[ends[1]]
            filled.append((line, point))
        bad[tuple(np.transpose(filled))] = False


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

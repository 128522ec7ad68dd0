"""Patterns of interlaced subsets to one sinogram: every frame placed where it was taken, at one intensity.

Axes and signs as in `geometry`. Arrays of patterns are [line, point, q] in acquisition order; a sinogram is
[angle, position, q] with angles ascending and positions ascending along the translation.
"""

from dataclasses import dataclass, replace

import numpy as np

from .alignment import Alignment
from .errors import GeometryError, RawDataError


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
    transmitted: np.ndarray | None = None
    """Direct beam behind the sample, shape (n_lines, n_points), any unit; None: not recorded."""


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
    transmitted: np.ndarray | None = None
    """Direct beam behind the sample over the incoming one, shape (n_angles, n_positions), any unit; NaN where the frame
    is bad; None: not recorded."""


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
    return Sinogram(
        intensity,
        variance,
        angles[order],
        numbers[order],
        direction[order],
        np.zeros(angles.size),
        ~valid,
        _merged_transmission(subsets, columns, order, valid),
    )


def _merged_transmission(subsets, columns, order, valid):
    """Transmitted over incoming beam as [angle, position], NaN in bad frames; None unless all subsets recorded it."""
    if any(subset.transmitted is None for subset in subsets):
        return None
    merged = np.full(valid.shape, np.nan)
    lines = ((subset, own, line) for subset, own in zip(subsets, columns, strict=True) for line in range(len(own)))
    for row, (subset, own, line) in zip(np.argsort(order), lines, strict=True):
        merged[row, own[line]] = subset.transmitted[line] / np.where(
            subset.monitor[line] > 0, subset.monitor[line], np.nan
        )
    return np.where(valid, merged, np.nan)


def aligned(sinogram: Sinogram, alignment: Alignment) -> Sinogram:
    """The sinogram with its subsets brought to one intensity and with the offset of every line; changed in place."""
    factor = alignment.factor[sinogram.subset - 1].astype(np.float32)
    for line in range(factor.size):
        sinogram.intensity[line] /= factor[line]
        sinogram.variance[line] /= factor[line] ** 2
    return replace(sinogram, offset=alignment.offsets(sinogram.subset, sinogram.direction))


def _mean_monitor(subset: SubsetPatterns, number: int) -> float:
    usable = subset.monitor[subset.valid & (subset.monitor > 0)]
    if not usable.size:
        raise RawDataError(f"subset {number}: no valid frame has a monitor reading above 0; check raw.monitor")
    return usable.mean()


def _monitor_factor(subset: SubsetPatterns, line: int, mean_monitor: float) -> tuple[np.ndarray, np.ndarray]:
    """What brings a line to the mean monitor (NaN for a bad frame), and which frames are good.

    Frames without beam or with an unreadable monitor become bad ones, and those that a detector sent twice.
    """
    monitor = subset.monitor[line]
    good = subset.valid[line] & np.isfinite(monitor) & (monitor > 0.01 * mean_monitor)
    good[1:] &= ~_repeats(subset.intensity[line])
    return np.where(good, mean_monitor / np.where(good, monitor, 1), np.nan).astype(np.float32), good


def _repeats(patterns):
    """Which frames of a line are bit for bit the one before: photons never fall twice in the same way."""
    return (patterns[1:] == patterns[:-1]).all(axis=1) & (patterns[1:] != 0).any(axis=1)


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

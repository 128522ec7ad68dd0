"""Patterns of interlaced subsets to one sinogram: placed, normalised, repaired, air subtracted, centred.

Axes and signs as in `geometry`. Arrays of patterns are [line, point, q] in acquisition order; a sinogram is
[angle, position, q] with angles ascending and positions ascending along the translation.
"""

import logging
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize_scalar

from .errors import GeometryError, RawDataError

log = logging.getLogger(__name__)


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
    repaired: np.ndarray
    """Where a bad frame was interpolated, shape (n_angles, n_positions), bool."""


def columns_from_translation(translation: np.ndarray, *, step: float, origin: float) -> np.ndarray:
    """Recorded translation (mm) in pixels: 0 at `origin` (mm), one per `step` (mm)."""
    return (translation - origin) / step


def merge_subsets(subsets: list[SubsetPatterns]) -> Sinogram:
    """Put every frame where it was taken: lines sorted by true angle, points by position.

    Raises
    ------
    RawDataError
        If a line does not visit every position once.
    GeometryError
        If two lines have the same angle, or the subsets differ in positions or q.
    """
    shapes = {s.intensity.shape[1:] for s in subsets}
    if len(shapes) > 1:
        raise GeometryError(f"subsets differ in (positions, q bins): {sorted(shapes)}")
    mean_monitor = np.mean([s.monitor[s.valid & (s.monitor > 0)].mean() for s in subsets])
    placed = [_place(_normalise(s, mean_monitor), number) for number, s in enumerate(subsets, 1)]
    angles = np.concatenate([s.angles for s in subsets])
    numbers = np.concatenate([np.full(s.angles.size, k) for k, s in enumerate(subsets, 1)])
    order = np.argsort(angles, kind="stable")
    _refuse_equal_angles(angles[order], numbers[order])
    intensity, variance, valid = (np.concatenate(part)[order] for part in zip(*placed, strict=True))
    return Sinogram(intensity, variance, angles[order], numbers[order], ~valid)


def repair(sinogram: Sinogram, *, max_bad_share: float) -> Sinogram:
    """Interpolate frames marked in `repaired` between their neighbours, or refuse when there are too many.

    Along the line where the line has good frames on both sides, else between the neighbouring angles. The variance
    of a filled frame is interpolated likewise: too small by up to 2, but never zero.

    Raises
    ------
    RawDataError
        If more than `max_bad_share` of the frames are bad.
    """
    bad = sinogram.repaired
    if bad.mean() > max_bad_share:
        line, point = np.argwhere(bad)[0]
        raise RawDataError(
            f"{bad.sum()} of {bad.size} frames are bad (first: angle {sinogram.angles[line]:.3f}°, position {point}), "
            f"more than assemble.max_bad_share = {max_bad_share}"
        )
    if not bad.any():
        return sinogram
    log.warning("%d of %d frames are bad and interpolated from their neighbours", bad.sum(), bad.size)
    intensity, variance = sinogram.intensity.copy(), sinogram.variance.copy()
    whole_lines = bad.all(axis=1)
    for line in np.flatnonzero(bad.any(axis=1) & ~whole_lines):
        _interpolate(intensity[line], variance[line], np.arange(bad.shape[1]), bad[line])
    if whole_lines.any():
        flat_i, flat_v = (a.reshape(a.shape[0], -1) for a in (intensity, variance))
        _interpolate(flat_i, flat_v, sinogram.angles, whole_lines)
    return replace(sinogram, intensity=intensity, variance=variance)


def subtract_air(sinogram: Sinogram, *, positions: int) -> tuple[Sinogram, np.ndarray]:
    """Subtract what the sample-free edges of each projection see.

    The mean over `positions` columns at both edges, per angle and q, is taken from all columns. Its variance is
    added. Air in the sample's shadow is attenuated, so that a strongly absorbing sample is over-subtracted by
    (1 − T) of the air; that is left as it is here.

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


def find_cor(projections: np.ndarray, angles: np.ndarray) -> float:
    """Centre of rotation of a half-turn scan, without a pair of opposite projections.

    Start: the centre of mass of a projection moves on cor + A cos ω + B sin ω. Then the half turn is completed to a
    full one by flipping it about a trial centre; only at the true centre are the two halves one sinogram, whose
    Fourier transform is empty outside the double wedge |angular frequency| > 2π R |spatial frequency|
    (Vo et al., Optics Express 22, 19078, 2014). The energy outside is minimised.

    Parameters
    ----------
    projections
        Shape (n_angles, n_positions), air subtracted, for example the sum over q.
    angles
        Degrees, ascending, close to regular over 180°. (A full turn is cut to its first half.)

    Returns
    -------
    float
        Pixels from the centre of the first column.

    Raises
    ------
    GeometryError
        If fewer than 8 projections lie in the half turn or there is no signal.
    """
    half = angles < angles[0] + 180.0 - 1e-6
    projections, angles = np.asarray(projections, dtype=float)[half], angles[half]
    n_angles, n_positions = projections.shape
    if n_angles < 8:
        raise GeometryError(f"{n_angles} projections are too few to find the centre of rotation; set assemble.cor")
    start = _centre_of_mass_axis(projections, angles)
    if not n_positions * 0.25 < start < n_positions * 0.75:
        raise GeometryError(
            f"the centre of mass puts the axis at {start:.1f} of {n_positions} columns: no sample, or not all of it in the "
            "field; set assemble.cor"
        )
    outside = _outside_double_wedge(n_angles, n_positions)
    trials = start + np.arange(-4, 4.01, 0.5)
    energies = [_wedge_energy(trial, projections, outside) for trial in trials]
    best = trials[int(np.argmin(energies))]
    found = minimize_scalar(
        _wedge_energy,
        bracket=(best - 0.5, best, best + 0.5),
        args=(projections, outside),
        options={"xtol": 1e-4},
    ).x
    log.info("centre of rotation %.3f px (centre of mass alone: %.3f px)", found, start)
    return float(found)


def _normalise(subset: SubsetPatterns, mean_monitor: float) -> SubsetPatterns:
    """Counts at the mean monitor; frames without beam or with an unreadable monitor become bad ones."""
    valid = subset.valid & np.isfinite(subset.monitor) & (subset.monitor > 0.01 * mean_monitor)
    factor = np.where(valid, mean_monitor / np.where(valid, subset.monitor, 1), np.nan)[..., None].astype(np.float32)
    return replace(subset, intensity=subset.intensity * factor, variance=subset.variance * factor**2, valid=valid)


def _place(subset: SubsetPatterns, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nearest = np.rint(subset.columns).astype(int)
    n = nearest.shape[1]
    wrong = (np.sort(nearest, axis=1) != np.arange(n)).any(axis=1)
    if wrong.any():
        line = int(wrong.argmax())
        raise RawDataError(
            f"subset {number}, line {line}: the recorded positions {subset.columns[line].min():.2f} … "
            f"{subset.columns[line].max():.2f} px do not visit each of the {n} columns once; check step_mm and n_positions"
        )
    order = np.argsort(nearest, axis=1)
    lines = np.arange(nearest.shape[0])[:, None]
    return tuple(part[lines, order] for part in (subset.intensity, subset.variance, subset.valid))


def _refuse_equal_angles(angles, numbers):
    equal = np.flatnonzero(np.diff(angles) < 1e-6)
    if equal.size:
        k = equal[0]
        raise GeometryError(
            f"subsets {numbers[k]} and {numbers[k + 1]} both have a projection at {angles[k]:.4f}°; check angle_start_deg"
        )


def _interpolate(intensity, variance, axis, bad):
    """Fill rows `bad` of (n, …) arrays in place, linearly along `axis` (n,); ends repeat the nearest good row."""
    good = np.flatnonzero(~bad)
    for k in np.flatnonzero(bad):
        after = np.searchsorted(good, k)
        left, right = good[max(after - 1, 0)], good[min(after, good.size - 1)]
        share = 0.0 if left == right else np.clip((axis[k] - axis[left]) / (axis[right] - axis[left]), 0, 1)
        for values in (intensity, variance):
            values[k] = (1 - share) * values[left] + share * values[right]


def _centre_of_mass_axis(projections, angles):
    mass = projections.sum(axis=1)
    if not (mass > 0).all():
        raise GeometryError(
            "a projection has no signal above the air; set assemble.cor, or check assemble.air_positions"
        )
    centre = projections @ np.arange(projections.shape[1]) / mass
    omega = np.radians(angles)
    design = np.stack([np.ones_like(omega), np.cos(omega), np.sin(omega)], axis=1)
    return np.linalg.lstsq(design, centre, rcond=None)[0][0]


def _outside_double_wedge(n_angles, n_positions):
    """Frequencies (of the completed turn) that a sample inside the field cannot reach; bool mask.

    High spatial frequencies are left out, where interpolation and noise live.
    """
    angular = np.abs(np.fft.fftfreq(2 * n_angles)) * 2 * n_angles
    spatial = np.fft.rfftfreq(n_positions)
    margin = 4
    return (angular[:, None] > np.pi * n_positions * spatial + margin) & (spatial < 0.25)


def _wedge_energy(cor, projections, outside):
    columns = np.arange(projections.shape[1])
    mirrored = [np.interp(2 * cor - columns, columns, p, left=0.0, right=0.0) for p in projections]
    spectrum = np.fft.fft(np.fft.rfft(np.concatenate([projections, mirrored]), axis=1), axis=0)
    return np.abs(spectrum[outside]).sum()

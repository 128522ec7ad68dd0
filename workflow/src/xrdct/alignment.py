"""What the motors and the ring did between the subsets of a scan: found in the projections themselves.

Positions are not resampled. A line that was driven backwards with play in the screw, or a subset after which the sample
had moved a little, keeps its measured columns and gets an offset; the reconstruction knows the axis of every line. Axes
and signs as in `geometry`: column k of line i lies ``k − cor − offset[i]`` pixels from the axis.
"""

import logging
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.linalg import helmert

from .consistency import Agreement, agree, disagreement, spectra
from .errors import GeometryError
from .geometry import missing_angles

log = logging.getLogger(__name__)

OUTLIER = 6.0
"""A line whose misfit is this many times the median takes no part: chance does not reach 3 with ten frequencies."""
LEAST_LINES = 8
"""Fewer projections do not say where the axis is."""
STRANGE, STRANGER = 0.02, 10.0
"""Two subsets of one sample differ by less than a fiftieth of what changes from angle to angle, or by little more than
all others do where noise is stronger; another sample differs by all of it, one moved by two pixels by a tenth."""
ATTEMPTS = 4
"""Times that the fit is repeated without lines that do not fit."""
MOST_SILENT = 0.1
"""Share of the lines that may hold no signal: a few were lost, more mean that there is no sample, or wrong air."""
SEARCH = 16
"""Frequencies that the search for the axis looks at."""


@dataclass(frozen=True)
class Alignment:
    """Where the axis is, and how the subsets differ. Standard errors are those of the least-squares fit."""

    cor: float
    """Centre of rotation: mean over subsets and directions, pixels from the centre of the first column."""
    cor_err: float
    backlash: float | None
    """Forward lines see the axis half of this farther along than `cor`, backward lines half of it less far; pixels.
    None where the scan has only one direction."""
    backlash_err: float | None
    shift: np.ndarray
    """How much farther along each subset sees the axis than the mean of them does, pixels, shape (n_subsets,)."""
    shift_err: np.ndarray
    factor: np.ndarray
    """How much stronger each subset is than their geometric mean, shape (n_subsets,)."""
    factor_err: np.ndarray
    left_out: np.ndarray
    """Lines that fit so badly that they took no part, shape (n_lines,), bool."""

    def offsets(self, subset: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Offset of every line in pixels, from its subset's number (1, 2, …) and direction (+1 or −1)."""
        return self.shift[subset - 1] + 0.5 * (self.backlash or 0.0) * direction

    @classmethod
    def none(cls, n_subsets: int) -> "Alignment":
        """Subsets that are taken not to differ; the axis is not known."""
        zero, one = np.zeros(n_subsets), np.ones(n_subsets)
        return cls(np.nan, np.nan, None, None, zero, zero, one, zero, np.zeros(0, bool))

    def __str__(self) -> str:
        play = "one direction" if self.backlash is None else f"play {self.backlash:.3f} ± {self.backlash_err:.3f} px"
        subsets = ", ".join(
            f"{k}: {shift:+.3f} ± {error:.3f} px, × {factor:.4f}"
            for k, (shift, error, factor) in enumerate(zip(self.shift, self.shift_err, self.factor, strict=True), 1)
        )
        left_out = f"; {self.left_out.sum()} lines fit badly and took no part" if self.left_out.any() else ""
        return f"centre {self.cor:.3f} ± {self.cor_err:.3f} px, {play}; subsets {subsets}{left_out}"


def find_alignment(
    projections: np.ndarray,
    angles: np.ndarray,
    subset: np.ndarray,
    direction: np.ndarray,
    *,
    cor: float | None = None,
) -> Alignment:
    """Centre of rotation, backlash, and each subset's shift and intensity, from how well all lines agree.

    Parameters
    ----------
    projections
        Shape (n_lines, n_positions), air subtracted, for example the sum over q; NaN where a frame is bad.
    angles
        Degrees, shape (n_lines,).
    subset
        Number (1, 2, …) of the subset that each line comes from.
    direction
        +1 where the translation ran towards larger columns, −1 where it ran back.
    cor
        Where the user knows the axis to be; None: found.

    Raises
    ------
    GeometryError
        If there are too few lines, they hold no signal, or the axis is nowhere near the middle or given outside the
        field.
    """
    projections = np.asarray(projections, dtype=float)
    _refuse_outside(cor, projections.shape[1])
    kept = np.isfinite(projections).any(axis=1)
    if cor is None:
        _refuse_too_few(angles[kept])
    lines = fill_gaps(projections)
    kept &= _with_signal(lines, kept)
    columns = _Columns.of(subset, direction, axis_free=cor is None)
    if columns.are_none:
        return replace(Alignment.none(1), cor=float(cor), cor_err=0.0, left_out=~kept)
    axis = find_axis(lines[kept], angles[kept]) if cor is None else float(cor)
    for _ in range(ATTEMPTS):
        waves = spectra(lines[kept], angles[kept], radius=radius_about(axis, lines.shape[1]))
        offsets = np.full(kept.sum(), axis)
        found = agree(waves, offsets, columns.shifts[kept], columns.log_factors[kept])
        odd = found.misfit > OUTLIER * np.median(found.misfit)
        if not odd.any():
            break
        kept[np.flatnonzero(kept)[odd]] = False
    return columns.alignment(found, axis, left_out=~kept)


@dataclass(frozen=True)
class _Columns:
    """What may differ between groups of lines, as columns of a design matrix."""

    shifts: np.ndarray
    log_factors: np.ndarray
    axis_free: bool
    both_ways: bool
    contrasts: np.ndarray
    """Orthonormal columns that add up to 0 over the subsets, shape (n_subsets, n_subsets − 1)."""

    @classmethod
    def of(cls, subset, direction, *, axis_free):
        contrasts = helmert(subset.max()).T if subset.max() > 1 else np.empty((1, 0))
        both_ways = bool((direction > 0).any() and (direction < 0).any())
        shifts = [np.ones((len(subset), 1))] * axis_free + [direction[:, None] / 2] * both_ways
        of_lines = contrasts[subset - 1]
        return cls(np.hstack([*shifts, of_lines]), of_lines, axis_free, both_ways, contrasts)

    @property
    def are_none(self) -> bool:
        """Whether nothing may differ: one subset in one direction, about an axis that is known."""
        return self.shifts.shape[1] == 0

    def alignment(self, found: Agreement, axis: float, *, left_out: np.ndarray) -> Alignment:
        err = np.sqrt(np.diag(found.covariance))
        n_shifts, first = len(found.shifts), self.axis_free + self.both_ways
        shift_cov = found.covariance[first:n_shifts, first:n_shifts]
        factor_cov = found.covariance[n_shifts:, n_shifts:]
        factor = np.exp(self.contrasts @ found.log_factors)
        return Alignment(
            cor=axis + (found.shifts[0] if self.axis_free else 0.0),
            cor_err=float(err[0]) if self.axis_free else 0.0,
            backlash=float(found.shifts[int(self.axis_free)]) if self.both_ways else None,
            backlash_err=float(err[int(self.axis_free)]) if self.both_ways else None,
            shift=self.contrasts @ found.shifts[first:],
            shift_err=np.sqrt(np.diag(self.contrasts @ shift_cov @ self.contrasts.T)),
            factor=factor,
            factor_err=factor * np.sqrt(np.diag(self.contrasts @ factor_cov @ self.contrasts.T)),
            left_out=left_out,
        )


def find_strangers(
    projections: np.ndarray, angles: np.ndarray, subset: np.ndarray, direction: np.ndarray, alignment: Alignment
) -> np.ndarray:
    """How badly each subset agrees with the one that it agrees with best, and which do not belong to the scan.

    Any two subsets are compared at the long waves that their lines resolve, apart from a shift and a factor between
    them.

    Parameters
    ----------
    projections, angles, subset, direction
        As for `find_alignment`.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Misfit of every subset, as a share of what changes from angle to angle, shape (n_subsets,), NaN for a single
        one; and whether it is a stranger, bool.
    """
    n_subsets = int(subset.max())
    misfit = np.full((n_subsets, n_subsets), np.nan)
    lines, offsets = fill_gaps(np.asarray(projections, float)), alignment.cor + alignment.offsets(subset, direction)
    radius = radius_about(alignment.cor, lines.shape[1])
    for one, other in combinations(range(1, n_subsets + 1), 2):
        pair = (subset == one) | (subset == other)
        waves = spectra(lines[pair], angles[pair], radius=radius)
        between = np.where(subset[pair] == one, 0.5, -0.5)[:, None]
        found = agree(waves, offsets[pair], between, between)
        misfit[one - 1, other - 1] = misfit[other - 1, one - 1] = found.share
    if n_subsets == 1:
        return misfit[0], np.zeros(1, bool)
    best = np.nanmin(misfit, axis=1)
    # Of two subsets that differ nobody knows which is right: both are named.
    usual = np.median(best) if n_subsets > 2 else 0.0
    return best, (best > STRANGE) & (best > STRANGER * usual)


def find_zigzag(projections: np.ndarray, angles: np.ndarray, line: np.ndarray) -> tuple[bool, float]:
    """Whether every second line was driven backwards, from the lines in the order of acquisition.

    Parameters
    ----------
    projections
        Shape (n_lines, n_positions) in the order of acquisition, air subtracted; NaN where a frame is bad.
    angles
        Degrees, shape (n_lines,).
    line
        Number of each line in its own subset (0, 1, …): odd ones may run backwards.

    Returns
    -------
    bool, float
        The answer, and by which factor the lines disagree more when it is taken to be wrong.
    """
    straight = fill_gaps(np.asarray(projections, dtype=float))
    loud = _with_signal(straight, np.ones(len(straight), bool))
    straight, angles = straight[loud], np.asarray(angles)[loud]
    turned = straight.copy()
    odd = np.asarray(line)[loud] % 2 == 1
    turned[odd] = turned[odd, ::-1]
    left = {}
    for zigzag, lines in ((False, straight), (True, turned)):
        axis = find_axis(lines, angles)
        waves = spectra(lines, angles, radius=radius_about(axis, lines.shape[1]))
        way = np.where(odd, -0.5, 0.5)[:, None]
        columns = np.hstack([np.ones_like(way), way])
        left[zigzag] = agree(waves, np.full(len(lines), axis), columns, np.empty((len(lines), 0))).share
    return bool(left[True] < left[False]), max(left.values()) / max(min(left.values()), np.finfo(float).tiny)


def _refuse_outside(cor, n_positions):
    if cor is not None and not 0 <= cor <= n_positions - 1:
        raise GeometryError(
            f"assemble.cor = {cor} lies outside the field of {n_positions} columns (0 … {n_positions - 1})"
        )


def _with_signal(lines, kept):
    """Which lines hold anything above the air; refused where many of those that are kept do not."""
    loud = lines.sum(axis=1) > 0
    if not kept.any() or (~loud[kept]).mean() > MOST_SILENT:
        raise GeometryError(
            f"{(~loud[kept]).sum()} of {kept.sum()} projections have no signal above the air; check the frames and "
            "assemble.air_positions"
        )
    return loud


def _refuse_too_few(angles):
    """The axis is found from a half turn, modulo which the angles may leave no wide gap."""
    if angles.size < LEAST_LINES:
        raise GeometryError(f"{angles.size} projections are too few to find the centre of rotation; set assemble.cor")
    hole = missing_angles(angles)
    if hole is not None:
        raise GeometryError(
            f"no projection between {hole[0]:.2f}° and {hole[1]:.2f}° (modulo 180°): the centre of rotation needs a "
            "half turn; set assemble.cor"
        )


def find_axis(lines: np.ndarray, angles: np.ndarray) -> float:
    """Centre of rotation to half a pixel, from how well the lines agree; the start for `find_alignment`.

    Raises
    ------
    GeometryError
        If the best centre is at the end of the middle half of the field.
    """
    n_positions = lines.shape[1]
    waves = spectra(lines, angles, radius=n_positions / 2)
    waves = waves.some(np.unique(np.linspace(0, waves.frequencies.size - 1, SEARCH).astype(int)))
    trials = np.arange(n_positions / 4, 3 * n_positions / 4, 0.5)
    best = int(np.argmin([disagreement(waves, np.full(len(lines), trial)) for trial in trials]))
    if best in (0, trials.size - 1):
        raise GeometryError(
            f"no centre of rotation in the middle half of {n_positions} columns: no sample, or not all of it in the "
            "field; set assemble.cor"
        )
    return float(trials[best])


def radius_about(axis: float, n_positions: int) -> float:
    """Radius in pixels of the circle about the axis that every line sees in full or in half."""
    return max(axis, n_positions - 1 - axis)


def fill_gaps(projections: np.ndarray) -> np.ndarray:
    """NaN replaced by a straight line between the neighbours on the same line, 0 where there are none."""
    filled = projections.copy()
    columns = np.arange(projections.shape[1])
    for line in np.flatnonzero(np.isnan(projections).any(axis=1)):
        good = np.isfinite(projections[line])
        filled[line] = np.interp(columns, columns[good], projections[line, good]) if good.any() else 0.0
    return filled

"""How the motors moved: lines, direction and steps found in recorded positions."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Motion:
    """A scan whose translation is the fast axis (`geometry`), as its recorded positions show it."""

    n_projections: int
    n_positions: int
    zigzag: bool
    """Whether every second line was driven backwards."""
    step: float
    """Translation from frame to frame, unit of the record (mm)."""


def find_motion(translation: np.ndarray) -> Motion | None:
    """Lines in the recorded translation of every frame, None where it does not run in equal lines.

    A line is the longest run of frames that divides the scan evenly, goes one way, and covers the same range
    each time. One line in fifty may break the rule (a motor that stalled).

    Parameters
    ----------
    translation
        Positions in acquisition order, shape (n_frames,), mm.
    """
    step = np.median(np.abs(np.diff(translation))) if len(translation) > 1 else 0.0
    if not step > 0:
        return None
    n_frames = len(translation)
    for n in (n for n in range(n_frames, 1, -1) if n_frames % n == 0):
        lines = translation.reshape(-1, n)
        if _are_lines(lines, step):
            way = np.sign(lines[:, -1] - lines[:, 0])
            zigzag = len(way) > 1 and np.median(way[1:] * way[:-1]) < 0
            return Motion(len(lines), n, bool(zigzag), float(step))
    return None


def _are_lines(lines: np.ndarray, step: float) -> bool:
    way = np.sign(lines[:, -1:] - lines[:, :1])
    # A third of a step backwards is jitter of the encoder, not a turn.
    one_way = (np.diff(lines, axis=1) * way > -0.3 * step).all(axis=1) & (way[:, 0] != 0)
    low, high = lines.min(axis=1), lines.max(axis=1)
    same = (np.abs(low - np.median(low)) < 2 * step) & (np.abs(high - np.median(high)) < 2 * step)
    return np.mean(one_way & same) >= 0.98


def line_angles(omega: np.ndarray, n_positions: int) -> np.ndarray:
    """Mean rotation of every line, shape (n_projections,), unit of the record (degrees)."""
    return omega.reshape(-1, n_positions).mean(axis=1)


def is_slow_axis(values: np.ndarray, n_positions: int) -> bool:
    """Whether a motor moves on evenly from line to line, and within a line by no more than one such step."""
    lines = values.reshape(-1, n_positions)
    steps = np.diff(lines.mean(axis=1))
    if not len(steps) or not np.isfinite(values).all():
        return False
    step = np.median(steps)
    even = np.abs(steps - step) < 0.1 * abs(step)
    within = np.ptp(lines, axis=1) < 1.1 * abs(step)
    return step != 0 and np.mean(even) >= 0.98 and np.mean(within) >= 0.98

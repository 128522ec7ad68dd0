"""Axes, signs and positions: defined here, once, and proved in `tests/library/test_geometry.py`.

The sample frame, seen from above along the rotation axis::

                y (image rows count against it: row 0 is the largest y)
                ^                     omega = 0: the beam travels along +y,
                |                     the translation t runs along +x
                |        .
                |      .  omega > 0: counter-clockwise turn of the BEAM FRAME
                |    .               (beam and translation axis) about the sample
                +-----------> x (image columns)

- A map is an array ``[y, x]``: ``map[row, column]``, x = (column − (n−1)/2)·step and
  y = ((n−1)/2 − row)·step, both in mm, origin on the rotation axis.
- A projection at omega (degrees) measures, at translation t (mm from the axis),
  the line integral over all points with ``t = x cos(omega) + y sin(omega)``.
- Depth along the beam, positive downstream (towards the detector):
  ``u = −x sin(omega) + y cos(omega)``.
- Positions are stored as column indices of the sinogram; `cor` is the index (in pixels, counted from the
  centre of the first column, not necessarily whole) onto which the rotation axis projects:
  ``t = (column − cor)·step``.
- A detector frame is an array ``[row, column]`` as the file holds it; how it maps to space is pyFAI's business
  and recorded in the .poni (``orientation``).
- Frames are numbered in acquisition order: translation is the fast axis (`point`), rotation the slow one (`line`):
  ``frame = line·n_positions + point``.
"""

import numpy as np

LARGEST_GAP_DEG = 10.0
"""Widest hole in the angles of a half turn that reconstruction and the search for the axis accept."""
COARSE = 2.5
"""Evenly spaced projections may lie farther apart: a hole is wider than this many of the usual steps too."""
COARSEST_DEG = 30.0
"""But not by any more than this: six projections of a half turn."""


def lateral_position(x, y, omega):
    """Where a point of the sample projects to: t = x cos ω + y sin ω (same unit as x and y; ω in degrees)."""
    w = np.radians(omega)
    return np.asarray(x) * np.cos(w) + np.asarray(y) * np.sin(w)


def depth(x, y, omega):
    """How far downstream of the rotation axis a point lies: u = −x sin ω + y cos ω (ω in degrees)."""
    w = np.radians(omega)
    return -np.asarray(x) * np.sin(w) + np.asarray(y) * np.cos(w)


def missing_angles(angles: np.ndarray) -> tuple[float, float] | None:
    """The widest hole that angles (degrees) leave in a half turn, start and end modulo 180°; None if there is none."""
    folded = np.sort(np.asarray(angles, dtype=float) % 180.0)
    ahead = np.diff(folded, append=folded[0] + 180.0)
    usual = np.median(ahead[ahead > 1e-6]) if (ahead > 1e-6).any() else 180.0
    if ahead.max() <= min(max(LARGEST_GAP_DEG, COARSE * usual), COARSEST_DEG):
        return None
    start = float(folded[ahead.argmax()])
    return start, start + float(ahead.max())


def pixel_centres(n: int, step: float) -> np.ndarray:
    """Coordinates in mm of `n` pixel centres of width `step` mm, increasing, with the rotation axis at 0."""
    return (np.arange(n) - (n - 1) / 2) * step


def nominal_positions(n_lines: int, n_positions: int, *, zigzag: bool) -> np.ndarray:
    """Column index of every frame of a scan whose translation is the fast axis.

    Parameters
    ----------
    n_lines, n_positions
        Number of lines (projections) and of frames on each.
    zigzag
        Whether every second line (1, 3, …) was driven backwards.

    Returns
    -------
    numpy.ndarray
        Shape (n_lines, n_positions), float64, pixels.
    """
    columns = np.tile(np.arange(n_positions, dtype=float), (n_lines, 1))
    if zigzag:
        columns[1::2] = columns[1::2, ::-1]
    return columns

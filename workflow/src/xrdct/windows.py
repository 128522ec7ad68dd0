"""Maps of the area under a peak: the quickest look at where a phase is."""

import numpy as np

from .errors import GeometryError

SHOULDER_BINS = 3
"""Bins at either end of a window whose mean anchors the straight background."""


def window_area(
    volume: np.ndarray, q: np.ndarray, *, q_min: float, q_max: float, background: str = "linear"
) -> tuple[np.ndarray, np.ndarray]:
    """Area and centre of what stands in a q window, voxel by voxel.

    With ``background="linear"`` the straight line through the means of the outermost bins at either end of the
    window is subtracted first; a peak must therefore fit into the window with its feet. The centre is the
    first moment of the positive part, sum(q I)/sum(I).

    Parameters
    ----------
    volume
        Patterns, shape (…, n_q), any unit.
    q
        Bin centres in 1/Å, shape (n_q,), ascending.
    q_min, q_max
        The window in 1/Å.
    background
        "linear" or "none".

    Returns
    -------
    area, centre
        Shape (…): the volume's unit × 1/Å, and 1/Å (NaN where nothing is positive).

    Raises
    ------
    GeometryError
        If the window holds too few bins or reaches outside `q`.
    """
    inside = np.flatnonzero((q >= q_min) & (q <= q_max))
    step = q[1] - q[0]
    least = 2 * SHOULDER_BINS + 1 if background == "linear" else 1
    if q_min < q[0] - step or q_max > q[-1] + step or inside.size < least:
        raise GeometryError(
            f"window {q_min}–{q_max} 1/Å holds {inside.size} of the volume's q bins ({q[0]:.3f}–{q[-1]:.3f} 1/Å); a "
            f"{background} background needs {least}; widen the window or raise integrate.n_bins"
        )
    axis = q[inside]
    signal = np.asarray(volume[..., inside[0] : inside[-1] + 1], dtype=np.float64)
    if background == "linear":
        signal = signal - _straight_line(signal, axis)
    area = signal.sum(axis=-1) * step
    positive = np.clip(signal, 0, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = positive @ axis / positive.sum(axis=-1)
    return area, centre


def _straight_line(signal, axis):
    left, right = (
        (axis[part].mean(), signal[..., part].mean(axis=-1))
        for part in (slice(SHOULDER_BINS), slice(-SHOULDER_BINS, None))
    )
    slope = (right[1] - left[1]) / (right[0] - left[0])
    return left[1][..., None] + slope[..., None] * (axis - left[0])

"""Maps of the area under a peak: the quickest look at where a phase is."""

import numpy as np

from .errors import GeometryError

SHOULDER_BINS = 2
"""Bins just outside either end of a window whose mean anchors the straight background."""


def window_area(
    volume: np.ndarray, q: np.ndarray, *, q_min: float, q_max: float, background: str = "linear"
) -> tuple[np.ndarray, np.ndarray]:
    """Area and centre of what stands in a q window, voxel by voxel.

    With ``background="linear"`` the straight line through the shoulders, the bins just outside either end of the
    window, is subtracted first; the published windows hug their peaks, so shoulders inside would cut into them. The
    centre is the first moment of the positive part, sum(q I)/sum(I). A NaN bin in window or shoulder makes both NaN.

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
        If the window holds no bin, or window or shoulders reach outside `q`.
    """
    inside = np.flatnonzero((q >= q_min) & (q <= q_max))
    width = SHOULDER_BINS if background == "linear" else 0
    if not inside.size or q_min < q[0] or q_max > q[-1] or inside[0] < width or inside[-1] + width >= q.size:
        raise GeometryError(
            f"window {q_min}–{q_max} 1/Å holds {inside.size} q bins of the volume's {q[0]:.3f}–{q[-1]:.3f} 1/Å; a "
            f"{background} background needs {width} more on either side: widen integrate.q_min–q_max or raise n_bins"
        )
    axis = q[inside]
    signal = np.asarray(volume[..., inside], dtype=np.float64)
    if background == "linear":
        left = np.arange(inside[0] - width, inside[0])
        right = np.arange(inside[-1] + 1, inside[-1] + 1 + width)
        signal = signal - _straight_line(volume, q, left, right, axis)
    area = signal.sum(axis=-1) * (q[1] - q[0])
    positive = np.clip(signal, 0, None)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = positive @ axis / positive.sum(axis=-1)
    return area, centre


def _straight_line(volume, q, left, right, axis):
    """The line through the mean points of the bins `left` and `right`, at `axis`."""
    start, end = (volume[..., bins].mean(axis=-1, dtype=np.float64) for bins in (left, right))
    slope = (end - start) / (q[right].mean() - q[left].mean())
    return start[..., None] + slope[..., None] * (axis - q[left].mean())

"""Stripes along the angles of a sinogram, which become rings in the image: removed by sorting.

Vo, Atwood & Drakopoulos, Optics Express 26, 28396, 2018 (doi:10.1364/OE.26.028396), algorithm 3. Each column is
sorted by brightness; columns that answer alike then look alike, and a median along the positions removes the one that
does not.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.ndimage import median_filter

BLOCK = 8
"""Channels sorted at a time: their indices take twice the memory of what is sorted."""


def remove_stripes(intensity: np.ndarray, *, width: int, progress: Callable[[Iterable], Iterable] = iter) -> None:
    """Remove stripes narrower than half of `width` columns, in place.

    A ring of the sample about the axis, a casing for example, is narrow too, and is bent where it is tangential to the
    rays: not to be used unless there are stripes.

    Parameters
    ----------
    intensity
        Shape (n_angles, n_positions, n_q); channels with NaN are left alone.
    width
        Columns of the median, odd, at least 3.
    progress
        Wraps the blocks of channels.
    """
    if width < 3 or width % 2 == 0:
        raise ValueError(f"the width of the median must be odd and at least 3, found {width}")
    for start in progress(range(0, intensity.shape[2], BLOCK)):
        channels = slice(start, start + BLOCK)
        order = np.argsort(intensity[..., channels], axis=0, kind="stable")
        ordered = np.take_along_axis(intensity[..., channels], order, axis=0)
        smooth = median_filter(ordered, size=(1, width, 1), mode="nearest")
        smooth = np.where(np.isnan(ordered).any(axis=(0, 1)), ordered, smooth)
        part = np.empty_like(ordered)
        np.put_along_axis(part, order, smooth, axis=0)
        intensity[..., channels] = part

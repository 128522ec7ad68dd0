"""Optical depths along bundles of parallel rays, bent or straight: what `first_order` and `leaving` are made of."""

import numba
import numpy as np


@numba.njit(cache=True, inline="always")
def bilinear(image, row, column):
    """Value between four pixels, 0 outside."""
    i, j = int(np.floor(row)), int(np.floor(column))
    n = image.shape[0]
    value = 0.0
    for a in range(2):
        for b in range(2):
            if 0 <= i + a < n and 0 <= j + b < n:
                value += image[i + a, j + b] * (1 - abs(row - i - a)) * (1 - abs(column - j - b))
    return value


@numba.njit(cache=True)
def sheared(mu, centre, cos, sin, slope, length, h, out):
    """Optical depth from (t, u) to the far end, on rays t = t0 + slope·u; t0 and u on axes of step h, in pixels.

    `centre` is the pixel on the rotation axis, (t0, u) = (0, 0) the middle of `out`; a step du is `length` times as
    long.
    """
    n_rays, n_depths = out.shape
    for i in range(n_rays):
        start = (i - (n_rays - 1) / 2) * h
        total, before = 0.0, 0.0
        for j in range(n_depths - 1, -1, -1):
            u = (j - (n_depths - 1) / 2) * h
            t = start + slope * u
            x, y = t * cos - u * sin, t * sin + u * cos
            here = bilinear(mu, centre - y, centre + x) * h * length
            total += (here + before) / 2
            out[i, j] = total
            before = here


@numba.njit(cache=True, inline="always")
def along(depths, t, h, j):
    """Between two neighbouring rays at depth number j; 0 outside the bundle, where there is nothing."""
    place = t / h + (depths.shape[0] - 1) / 2
    i = int(np.floor(place))
    if i < 0 or i >= depths.shape[0] - 1:
        return 0.0
    share = place - i
    return depths[i, j] * (1 - share) + depths[i + 1, j] * share


@numba.njit(cache=True, inline="always")
def between(depths, t, u, h):
    """Between two neighbouring rays and two neighbouring depths; the first or last depth beyond them."""
    place = min(max(u / h + (depths.shape[1] - 1) / 2, 0.0), depths.shape[1] - 1.001)
    j = int(place)
    share = place - j
    return along(depths, t, h, j) * (1 - share) + along(depths, t, h, j + 1) * share

"""Parallel projection of square voxels onto a beam of finite width, exact in area."""

import numba
import numpy as np


def project(
    maps: np.ndarray, *, voxel: float, angles: np.ndarray, cor: float, n_positions: int, step: float
) -> np.ndarray:
    """Path lengths through every material, averaged over the width of the beam.

    A point (x, y) meets the beam at t = x cos ω + y sin ω; column j of the sinogram is a beam of width `step` centred
    on t = (j − cor)·step. Each voxel's shadow is a trapezoid, integrated in closed form.

    Parameters
    ----------
    maps
        Volume fractions, shape (ny, nx, n_materials), row 0 at the largest y, the rotation axis in the middle.
    voxel
        Edge of a voxel in mm.
    angles
        Rotations in degrees, shape (n_angles,).
    cor
        Column of the rotation axis, in pixels from the centre of the first column.
    n_positions, step
        Columns, and their distance in mm.

    Returns
    -------
    numpy.ndarray
        Shape (n_angles, n_positions, n_materials), mm.
    """
    ny, nx, _ = maps.shape
    rows, columns = np.nonzero(maps.any(axis=2))
    x = (columns - (nx - 1) / 2) * voxel
    y = ((ny - 1) / 2 - rows) * voxel
    amounts = np.ascontiguousarray(maps[rows, columns]) * voxel**2
    return _project(amounts, x, y, voxel, np.radians(angles), cor, n_positions, step)


@numba.njit(cache=True, parallel=True)
def _project(amounts, x, y, voxel, angles, cor, n_positions, step):
    n_materials = amounts.shape[1]
    sinogram = np.zeros((angles.size, n_positions, n_materials))
    for k in numba.prange(angles.size):
        cosine, sine = np.cos(angles[k]), np.sin(angles[k])
        wide = voxel * max(abs(cosine), abs(sine))
        narrow = voxel * min(abs(cosine), abs(sine))
        reach = (wide + narrow) / 2
        for i in range(x.size):
            t = x[i] * cosine + y[i] * sine
            first = max(0, int(np.ceil((t - reach) / step + cor - 0.5)))
            last = min(n_positions - 1, int(np.floor((t + reach) / step + cor + 0.5)))
            for j in range(first, last + 1):
                left = (j - cor - 0.5) * step - t
                share = shadow(left + step, wide, narrow) - shadow(left, wide, narrow)
                for m in range(n_materials):
                    sinogram[k, j, m] += amounts[i, m] * share / step
    return sinogram


@numba.njit(cache=True)
def shadow(t, wide, narrow):
    """Share of a square's shadow left of t: the integral of a unit trapezoid (two boxes convolved) centred on 0."""
    if narrow < 1e-6 * wide:
        return min(max(t / wide + 0.5, 0.0), 1.0)
    outer, inner = (wide + narrow) / 2, (wide - narrow) / 2
    rising = max(t + outer, 0.0) ** 2 - max(t + inner, 0.0) ** 2
    falling = max(t - inner, 0.0) ** 2 - max(t - outer, 0.0) ** 2
    return (rising - falling) / (2 * wide * narrow)

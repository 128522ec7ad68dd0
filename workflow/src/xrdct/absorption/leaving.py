"""What leaves the sample of what matter at every depth of a ray scatters, over what would leave straight on.

A ray that is divided by its straight transmission is right for a full ring to first order, and for all of its depths
together. Not so for each of them: from the entrance the scattered rays of a ring stray through all of the sample, from
the exit not at all. Without parallax that is a per cent or two of brightness. With parallax depth is where in the
pattern a line is seen, and what is too bright at the entrance looks like lines that are shifted.
"""

from collections.abc import Callable

import numba
import numpy as np

from .correction import check_mu
from .tracing import between, sheared

DEPTHS = 256
"""Depths that are told apart at most."""
FINE = 400
"""Cells along the edge of a map: voxels are cut until there are about as many, for a casing is as thin as they are."""
STEPS = 2
"""Rays, and steps along them, per cell."""


class Leaving:
    """Shares by scattering angle.

    Parameters
    ----------
    mu
        1/mm, (y, x), rotation axis in the middle.
    angles
        Degrees, shape (n_angles,).
    azimuths
        From 2θ in radians to the azimuths, from the direction of growing t, at which the detector sees its ring.
    step_mm
        Edge of a voxel, and between positions.
    cor, n_positions
        As for `correction.transmission`.

    Raises
    ------
    AttenuationError
        When the map is not square, negative or not finite.
    """

    def __init__(
        self,
        mu: np.ndarray,
        angles: np.ndarray,
        *,
        azimuths: Callable[[float], np.ndarray],
        step_mm: float,
        cor: float | np.ndarray,
        n_positions: int,
    ):
        check_mu(mu)
        finer = max(1, FINE // len(mu))
        self._mu = np.kron(mu, np.ones((finer, finer))) * step_mm / finer
        self._angles, self._finer = np.radians(np.asarray(angles, dtype=float)), finer
        self._cor = np.broadcast_to(np.asarray(cor, dtype=float), self._angles.shape).copy()
        self._azimuths, self._n_positions = azimuths, n_positions
        across = 2**0.5 * len(mu)
        self.cell = max(1.0, across / DEPTHS)
        """Pixels of a depth."""
        self._n_depths = int(np.ceil(across / self.cell)) + 1

    def __call__(self, two_theta: float) -> np.ndarray:
        """Shares at a scattering angle in radians, float32, (angle, position, depth); 1 where nothing is absorbed."""
        slopes, counts = np.unique(np.round(np.cos(self._azimuths(two_theta)), 9), return_counts=True)
        found = np.empty((self._angles.size, self._n_positions, self._n_depths), dtype=np.float32)
        turned = np.cos(self._angles), np.sin(self._angles), self._cor
        ways = np.tan(two_theta) * slopes, counts / counts.sum(), 1 / np.cos(two_theta)
        _leaving(self._mu, *turned, *ways, self._finer, self.cell, found)
        return found


@numba.njit(cache=True, parallel=True)
def _leaving(mu, cosines, sines, cor, slopes, weights, length, finer, cell, found):
    n_angles, n_positions, n_places = found.shape
    centre, h = (mu.shape[0] - 1) / 2, 1.0 / STEPS
    n_depths = int(np.ceil(1.4143 * mu.shape[0] * STEPS)) + 3
    n_rays = int(np.ceil((1 + np.abs(slopes).max()) * n_depths)) + 3
    beside = finer * STEPS  # rays side by side in a beam
    for a in numba.prange(n_angles):
        straight, way = np.empty((n_rays, n_depths)), np.empty((n_rays, n_depths))
        sheared(mu, centre, cosines[a], sines[a], 0.0, 1.0, h, straight)
        begin = -(n_depths - 1) / 2 * h
        found[a] = 0.0
        for k in range(slopes.size):
            sheared(mu, centre, cosines[a], sines[a], slopes[k], length, h, way)
            for p in range(n_positions):
                for s in range(beside):
                    t = (p - cor[a] + (s + 0.5) / beside - 0.5) * finer
                    whole = between(straight, t, begin, h)
                    for d in range(n_places):
                        u = (d + 0.5 - n_places / 2) * cell * finer
                        inward = whole - between(straight, t, u, h)
                        found[a, p, d] += weights[k] * np.exp(-inward - between(way, t - slopes[k] * u, u, h))
        for p in range(n_positions):
            through = 0.0
            for s in range(beside):
                t = (p - cor[a] + (s + 0.5) / beside - 0.5) * finer
                through += np.exp(-between(straight, t, begin, h))
            found[a, p] /= through

"""Frames with powder rings, drawn by geometry alone: no pyFAI, so that a wrong convention cannot hide itself."""

from dataclasses import dataclass

import numpy as np

A_CEO2, A_LAB6, A_SI = 5.411651, 4.156826, 5.431179
"""Å: NIST SRM 674b, 660c and 640e, as pyFAI lists them (Si: within 1e-5)."""


def cubic_lines(a, allowed, n_max=60):
    """q (1/Å) and height of the rings of a cubic lattice; heights fall as those of a real powder do."""
    sums = {h * h + k * k + m * m for h in range(9) for k in range(h + 1) for m in range(k + 1) if allowed(h, k, m)}
    q = 2 * np.pi / a * np.sqrt(sorted(s for s in sums if 0 < s <= n_max))
    return q, np.exp(-((q - q[0]) / 4))


def fcc(h, k, m):
    return h % 2 == k % 2 == m % 2


def diamond(h, k, m):
    return fcc(h, k, m) and (h % 2 == 1 or (h + k + m) % 4 == 0)


CEO2 = cubic_lines(A_CEO2, fcc)
LAB6 = cubic_lines(A_LAB6, lambda *_: True)
SILICON = cubic_lines(A_SI, diamond)


@dataclass(frozen=True)
class Setup:
    """A detector in space: `centre` (row, column) where the beam hits it, px from the first corner; lengths in mm."""

    shape: tuple[int, int] = (400, 420)
    centre: tuple[float, float] = (193.4, 221.7)
    distance: float = 200.0
    rot1: float = 0.0
    rot2: float = 0.0
    energy: float = 71.0
    pixel: float = 0.172

    def two_theta(self, row, column):
        """Scattering angle (rad) at positions in px from the first corner.

        The detector's row and column directions are turned by rot1 about the vertical and rot2 about the horizontal
        axis, about the point where the beam hits.
        """
        a, b = np.radians([self.rot1, self.rot2])
        up = np.array([np.cos(b), 0, np.sin(b)])
        side = np.array([np.sin(a) * np.sin(b), np.cos(a), -np.sin(a) * np.cos(b)])
        y = (np.asarray(row) - self.centre[0])[..., None] * self.pixel
        x = (np.asarray(column) - self.centre[1])[..., None] * self.pixel
        place = y * up + x * side + [0, 0, self.distance]
        return np.arctan2(np.hypot(place[..., 0], place[..., 1]), place[..., 2])


def draw(setup, lines=CEO2, *, height=2000.0, fwhm_px=2.0, background=20.0, seed=1, shift=None, oversample=3):
    """Poisson counts of Gaussian rings, integrated over each pixel; shape `setup.shape`, int32.

    `shift(row, column)` returns by how many pixels a module is displaced there: (rows, columns).
    """
    q, heights = lines
    q, heights = np.asarray(q), np.asarray(heights)
    wavelength = 12.398419843320026 / setup.energy
    rings = 2 * np.arcsin(q * wavelength / (4 * np.pi))
    sigma = fwhm_px * setup.pixel / setup.distance / np.sqrt(8 * np.log(2))
    expected = np.zeros(setup.shape)
    for i in range(oversample):
        for j in range(oversample):
            row, column = np.meshgrid(
                np.arange(setup.shape[0]) + (i + 0.5) / oversample,
                np.arange(setup.shape[1]) + (j + 0.5) / oversample,
                indexing="ij",
            )
            if shift is not None:
                down, right = shift(row, column)
                row, column = row + down, column + right
            angle = setup.two_theta(row, column)
            for ring, weight in zip(rings, heights, strict=True):
                near = np.abs(angle - ring) < 6 * sigma
                expected[near] += height * weight * np.exp(-0.5 * ((angle[near] - ring) / sigma) ** 2)
    expected = expected / oversample**2 + background
    return np.random.default_rng(seed).poisson(expected).astype(np.int32)

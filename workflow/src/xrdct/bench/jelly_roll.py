"""A small jelly roll whose every channel is known: the phantom of the denoising marks.

Cathode with a lattice parameter c that varies and jumps in a dry spot, two stages of lithiated graphite, a weak and
local third one, a bright foil, and a grain of three voxels. The lines lie side by side in q so that few channels do
(the foil's and the grain's are not where nature has them). Projected by the twin's projector, which the pipeline has
not.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..twin.projector import project

N, N_ANGLES, N_CHANNELS, PARTS = 128, 80, 72, 4
FINE = 2
"""Voxels of the phantom per pixel of the reconstruction."""
STEP = 0.00828
Q = 1.28 + STEP * np.arange(N_CHANNELS)
"""1/Å; one pixel of the detector apart."""
FWHM = 0.0175
FOIL, GRAIN, LIC6, LIC12, LIC30 = 1.50, 1.60, 1.70, 1.7825, 1.823
C, C_DRY, C_SPREAD, C_LEVELS = 14.35, 14.43, 0.04, 24
AIR = 0.3
"""Of the strongest peak, in every frame."""


@dataclass(frozen=True)
class JellyRoll:
    """Noise-free data of one phantom."""

    angles: np.ndarray
    """Degrees, those of the scan; `dense` has four times as many."""
    sinogram: np.ndarray
    """Shape (N_ANGLES, N, N_CHANNELS), intensity 1 for a voxel of cathode at the top of its peak."""
    dense_angles: np.ndarray
    dense: np.ndarray
    """Shape (4 N_ANGLES, N, N_CHANNELS)."""
    cathode: np.ndarray
    """Voxels that are mostly cathode, shape (N, N), bool."""
    dry: np.ndarray
    """Those of them in the dry spot."""
    grain: np.ndarray
    """The three voxels of the grain."""
    grain_only: np.ndarray
    """Sinogram of the grain alone, shape of `sinogram`."""

    def groups(self, counts: float, seed: int) -> np.ndarray:
        """Poisson counts of four groups of pixels, air subtracted; (angle, position, group, channel).

        `counts`: of all groups together where the first 20 channels are strongest.
        """
        unit = np.percentile(self.sinogram[..., :20].max(axis=-1), 99) / counts
        expected = (self.sinogram / unit + AIR * counts) / PARTS
        rng = np.random.default_rng((seed, int(counts)))
        drawn = rng.poisson(np.repeat(expected[:, :, None], PARTS, axis=2))
        return ((drawn * PARTS - AIR * counts) * unit).astype(np.float32)


def jelly_roll(seed: int) -> JellyRoll:
    """The phantom that a seed draws."""
    maps, patterns, c_of, grain = _phantom(np.random.default_rng(seed))
    dense_angles = np.arange(4 * N_ANGLES) * 45 / N_ANGLES
    shared = {"voxel": 1 / FINE, "cor": (N - 1) / 2, "n_positions": N, "step": 1.0}
    lengths = project(maps, angles=dense_angles, **shared)
    dense = (lengths @ patterns).astype(np.float32)
    grain_only = (lengths[::4, :, -1:] @ patterns[-1:]).astype(np.float32)
    amount = maps[..., :C_LEVELS].sum(axis=2)
    dry = np.where(c_of > C + 1.2 * C_SPREAD, amount, 0)
    return JellyRoll(
        dense_angles[::4],
        dense[::4],
        dense_angles,
        dense,
        cathode=_coarse(amount) > 0.6,
        dry=_coarse(dry) > 0.6,
        grain=_coarse(grain) > 0.9,
        grain_only=grain_only,
    )


def peak(q0) -> np.ndarray:
    """Pseudo-Voigt of height 1, a fifth Lorentzian; shape of `q0` with the channels last."""
    x = (Q - np.asarray(q0)[..., None]) / FWHM
    return 0.8 * np.exp(-4 * np.log(2) * x**2) + 0.2 / (1 + 4 * x**2)


def _phantom(rng):
    """Amounts (n, n, materials), their patterns, c of every voxel, and where the grain is."""
    n = N * FINE
    y, x = np.mgrid[:n, :n] - (n - 1) / 2
    radius = 0.47 * n
    r, phi = np.hypot(x, y) / radius, np.arctan2(y, x)
    layer = ((r - 0.1) / 0.19 - phi / (2 * np.pi) + rng.random()) % 1
    roll = (r > 0.13) & (r < 0.87)

    def texture(width):
        drawn = gaussian_filter(rng.normal(size=(n, n)), width * n, mode="wrap")
        return (drawn - drawn.mean()) / drawn.std()

    density = np.clip(1 + 0.12 * texture(0.04) + 0.05 * texture(0.01), 0.3, 1.7)
    anode, cathode, foil = (roll & (layer >= a) & (layer < b) for a, b in ((0.05, 0.45), (0.52, 0.84), (0.84, 0.9)))
    lithiated = 1 / (1 + np.exp(-12 * (r - 0.6) - 0.8 * texture(0.05)))
    weak = 0.18 * np.exp(-((x / radius + 0.35) ** 2 + (y / radius - 0.3) ** 2) / (2 * 0.12**2))
    spot = (np.abs(r - 0.55) < 0.12) & (np.abs(phi - 2.2) < 0.35)
    c = np.where(spot, C_DRY, C + C_SPREAD * np.clip(texture(0.06), -1.1, 1.1))
    levels = np.linspace(C - 1.2 * C_SPREAD, C_DRY, C_LEVELS)
    position = (c - levels[0]) / (levels[1] - levels[0])
    amount = cathode * density
    # A voxel between two levels of c is a mixture of both: its centre of mass is right, its peak hardly wider.
    cathodes = [np.clip(1 - np.abs(position - k), 0, None) * amount for k in range(C_LEVELS)]
    grain = np.zeros((n, n))
    row, column = int(0.5 * n - 0.3 * radius) // FINE * FINE, int(0.5 * n + 0.35 * radius) // FINE * FINE
    for i, j in ((0, 0), (0, 1), (1, 1)):
        grain[row + i * FINE : row + (i + 1) * FINE, column + j * FINE : column + (j + 1) * FINE] = 1
    amounts = [
        *cathodes,
        anode * density * (1 - lithiated) * (1 - weak),
        anode * density * lithiated * (1 - weak),
        anode * density * weak,
        foil,
        (0.8 * anode + 0.6 * cathode + 0.3 * foil) * density,
        grain,
    ]
    lines = [peak(6 * np.pi / levels), 0.7 * peak([LIC12, LIC6, LIC30]), 2.5 * peak([FOIL])]
    flat = np.full((1, N_CHANNELS), 0.13)
    return np.stack(amounts, axis=-1), np.concatenate([*lines, flat, peak([GRAIN])]), c, grain


def _coarse(fine):
    return fine.reshape(N, FINE, N, FINE).mean(axis=(1, 3))

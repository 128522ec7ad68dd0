"""A small scan in closed form: discs with peaks along q, their chords as sinogram, Poisson counts in four groups."""

import numpy as np

from xrdct.denoise.splits import by_group, reconstruct_parts
from xrdct.geometry import lateral_position, pixel_centres

N, N_ANGLES, N_CHANNELS, K = 48, 60, 24, 4
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
COR = (N - 1) / 2
# x, y, radius (pixels), centre and height of the peak (channels, counts per voxel)
DISCS = [(2, 1, 19, 6, 1.0), (-7, 4, 6, 12, 1.5), (8, -6, 5, 13, 1.2), (4, 9, 3, 18, 2.0)]
BACKGROUND = 0.2


def patterns():
    """Pattern of every disc, shape (n_discs, N_CHANNELS)."""
    q = np.arange(N_CHANNELS)
    return np.array([height * np.exp(-0.5 * ((q - centre) / 1.2) ** 2) for *_, centre, height in DISCS])


def clean_sinogram(angles=ANGLES):
    """Noise-free, shape (n_angles, N, N_CHANNELS), counts."""
    t = np.arange(N) - COR
    chords = np.stack(
        [
            2 * np.sqrt(np.clip(r**2 - (t - lateral_position(x, y, angles)[:, None]) ** 2, 0, None))
            for x, y, r, *_ in DISCS
        ],
        axis=-1,
    )
    return chords @ patterns() + BACKGROUND * chords[..., :1]


def poisson_groups(*, dose, seed, air=5.0):
    """Counts of four groups of pixels, air subtracted, unit of `clean_sinogram`; (angle, position, K, channel)."""
    rng = np.random.default_rng(seed)
    expected = (clean_sinogram() + air)[:, :, None] * dose / K
    counts = rng.poisson(np.repeat(expected, K, axis=2))
    return (counts * K / dose - air).astype(np.float32)


def inside(margin=1.0):
    """Voxels in the circle of the reconstruction."""
    axis = pixel_centres(N, 1.0)
    return np.hypot(axis[None], axis[:, None]) < N / 2 - margin


def noisy_parts(*, dose=3.0, seed=0):
    """Reconstructed groups, shape (N_CHANNELS, K, N, N)."""
    return reconstruct_parts(by_group(poisson_groups(dose=dose, seed=seed), ANGLES, cor=COR))


def clean_volume():
    """Noise-free reconstruction from the same angles, shape (N_CHANNELS, N, N)."""
    groups = np.repeat(clean_sinogram()[:, :, None], 2, axis=2)
    return reconstruct_parts(by_group(groups, ANGLES, cor=COR))[:, 0]


def psnr(found, expected, where):
    """dB per channel, the range of the expected channel as peak."""
    error = ((found - expected)[:, where] ** 2).mean(axis=1)
    return 10 * np.log10(np.ptp(expected[:, where], axis=1) ** 2 / error)

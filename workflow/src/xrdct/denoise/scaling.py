"""What a channel is scaled by, so that one network serves them all."""

from dataclasses import dataclass

import numpy as np

NOISE_UNITS = 2.0
"""A scaled channel has noise of 1 / this."""


@dataclass(frozen=True)
class Scales:
    """Mean and noise of every channel; scaled values are (value − mean) / (2 noise)."""

    mean: np.ndarray
    """Mean over the voxels, shape (n_channels,), the volume's unit."""
    noise: np.ndarray
    """Standard deviation of the noise of the mean of all parts, same shape and unit; NaN: the channel has NaN."""

    def scaled(self, values: np.ndarray, channel: int) -> np.ndarray:
        """In units of noise."""
        return ((values - self.mean[channel]) / (NOISE_UNITS * self.noise[channel])).astype(np.float32)

    def restored(self, values: np.ndarray, channel: int) -> np.ndarray:
        """From units of noise to the volume's own."""
        return (values * (NOISE_UNITS * self.noise[channel]) + self.mean[channel]).astype(np.float32)

    @property
    def usable(self) -> np.ndarray:
        """Channels that are finite and have noise, ascending numbers."""
        return np.flatnonzero(np.isfinite(self.noise) & (self.noise > 0))


def find_scales(parts, inside: np.ndarray) -> Scales:
    """Mean and noise of every channel, from how its parts differ.

    Two numbers per channel are taken from all parts together, the held-out one included: with some thousand voxels
    they tell nothing about any single one.

    Parameters
    ----------
    parts
        Shape (n_channels, K, n_y, n_x).
    inside
        The voxels that count, shape (n_y, n_x), bool.
    """
    mean, noise = np.empty(len(parts)), np.empty(len(parts))
    for channel in range(len(parts)):
        values = np.asarray(parts[channel])[:, inside].astype(float)
        mean[channel] = values.mean()
        noise[channel] = np.sqrt(values.var(axis=0, ddof=1).mean() / len(values))
    return Scales(mean, noise)


def noise_map(parts: np.ndarray, *, width: float = 4.0) -> np.ndarray:
    """Standard deviation of the noise of the mean of all parts, voxel by voxel.

    The variance between K parts has K − 1 degrees of freedom in each voxel; the noise of a reconstruction varies
    slowly over the image, and a Gaussian of `width` pixels averages it.

    Parameters
    ----------
    parts
        One channel, shape (K, n_y, n_x).
    """
    from scipy.ndimage import gaussian_filter

    return np.sqrt(gaussian_filter(parts.var(axis=0, ddof=1) / len(parts), width))

"""All channels at once: few patterns explain most voxels.

The channel axis holds more than the image axis, and is dangerous: a low-rank projection erases a phase that only a few
voxels have, and pulls a local lattice parameter towards the common one. The `guard` gives both back where they stand
out of the noise. Offer the method only to data on which `gates` let it pass.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from .baseline import blend, filtered
from .scaling import Scales
from .splits import leave_one_out

LARGEST_RANK = 32
"""Patterns looked at, at most."""
FEWEST_PARTS = 3
"""One to predict, and two whose covariance has no noise of its own."""
ROWS = 32
"""Image rows in memory at a time."""


@dataclass(frozen=True)
class Basis:
    """Patterns that a denoised voxel is made of, found without one of the parts."""

    mean: np.ndarray
    """Shape (n_channels,), units of noise."""
    patterns: np.ndarray
    """Orthonormal, in units of noise, shape (n_channels, rank)."""

    def project(self, values: np.ndarray) -> np.ndarray:
        """The nearest mixture of the patterns; `values` in units of noise, shape (n_channels, …)."""
        flat = values.reshape(len(values), -1) - self.mean[:, None]
        return (self.patterns @ (self.patterns.T @ flat) + self.mean[:, None]).reshape(values.shape)


def find_basis(parts, scales: Scales, inside: np.ndarray, held_out: int) -> Basis:
    """The patterns, and how many of them, that predict the held-out part best.

    Directions come from the covariance *between* the other parts, which independent noise does not enter on average
    (two of them at least); their number is the one with the smallest error on the held-out part.

    Parameters
    ----------
    parts
        Shape (n_channels, K, n_y, n_x), K ≥ `FEWEST_PARTS`.
    """
    others = [k for k in range(parts.shape[1]) if k != held_out]
    channels = scales.usable
    n, total = len(channels), int(inside.sum())
    mean, covariance = np.zeros(n), np.zeros((n, n))
    for rows in _row_blocks(parts):
        x = _scaled(parts, scales, channels, rows, inside)[:, others]  # (C, K − 1, V)
        summed = x.sum(axis=1)
        mean += summed.sum(axis=1) / (len(others) * total)
        covariance += summed @ summed.T - np.einsum("ckv,dkv->cd", x, x, optimize=True)
    covariance /= len(others) * (len(others) - 1) * total
    covariance -= np.outer(mean, mean)
    _, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    vectors = vectors[:, ::-1][:, :LARGEST_RANK]
    gain = np.zeros(vectors.shape[1])
    for rows in _row_blocks(parts):
        x = _scaled(parts, scales, channels, rows, inside)
        known, target = (vectors.T @ (values - mean[:, None]) for values in (x[:, others].mean(axis=1), x[:, held_out]))
        gain += (2 * known * target - known**2).sum(axis=1)
    rank = 1 + int(np.cumsum(gain).argmax())
    return Basis(mean, vectors[:, :rank])


def project_leave_one_out(parts, scales: Scales, inside: np.ndarray, *, out=None) -> np.ndarray:
    """The mean of all parts but k, projected on a basis that does not know part k, for every k.

    Returns
    -------
    numpy.ndarray
        Shape and unit of `parts`, float32; in `out` where given. Channels that are not usable are copied.
    """
    out = np.empty(parts.shape, np.float32) if out is None else out
    channels = scales.usable
    unit = 2 * scales.noise[channels, None, None]
    bases = [find_basis(parts, scales, inside, k) for k in range(parts.shape[1])]
    for rows in _row_blocks(parts):
        values = np.asarray(parts[:, :, rows])
        out[:, :, rows] = values
        for k, basis in enumerate(bases):
            noisy = np.delete(values[channels], k, axis=1).mean(axis=1)
            scaled = (noisy - scales.mean[channels, None, None]) / unit
            out[channels, k, rows] = basis.project(scaled) * unit + scales.mean[channels, None, None]
    return out


def blend_channel(values: np.ndarray, projected: np.ndarray, inside: np.ndarray, network=None) -> np.ndarray:
    """The truth-free blend of reconstruction, Gaussians, and projection with and without a Gaussian.

    A network's answer may be among them: it sees the image where the projection sees the pattern.

    Parameters
    ----------
    values, projected
        One channel of the parts and of `project_leave_one_out`, shape (K, n_y, n_x).
    network
        `inference.outputs` of the channel, same shape; None: without.

    Returns
    -------
    numpy.ndarray
        Leave-one-out results, shape (K, n_y, n_x).
    """
    features = [
        np.stack([*filtered(leave_one_out(values, k)), projected[k], gaussian_filter(projected[k], 1.0)])
        for k in range(len(values))
    ]
    if network is not None:
        features = [np.concatenate([own, found[None]]) for own, found in zip(features, network, strict=True)]
    return blend(np.stack(features), values, inside)[0]


def denoise_jointly(parts, scales: Scales, inside: np.ndarray) -> np.ndarray:
    """The blend of every channel, for a volume in memory and without the guard; shape (n_channels, n_y, n_x)."""
    projected = project_leave_one_out(parts, scales, inside)
    return np.stack([blend_channel(v, p, inside).mean(axis=0) for v, p in zip(parts, projected, strict=True)])


def _row_blocks(parts):
    return [slice(start, start + ROWS) for start in range(0, parts.shape[2], ROWS)]


def _scaled(parts, scales, channels, rows, inside):
    """Usable channels of some rows, the voxels inside, in units of noise: shape (C, K, V)."""
    values = np.asarray(parts[:, :, rows])[channels][:, :, inside[rows]].astype(float)
    return (values - scales.mean[channels, None, None]) / (2 * scales.noise[channels, None, None])

"""An approximate inverse of the curvature of DLSR: the parameters of a voxel exactly, those of neighbours as a filter.

Two voxels are coupled by the rays that cross both: the fewer, the farther they are apart. JᵀWJ blurs every map of
parameters as AᵀA blurs an image, with 1/r, which weighs frequencies with 1/|k| (Fourier slice theorem); the prior
weighs them with their square. Dividing by both is the ramp filter of back-projection, between roots of the blocks of
single voxels, so that the whole stays symmetric (Fessler & Booth, IEEE Trans. Image Process. 8, 688, 1999,
doi:10.1109/83.760336, for images).
"""

import numpy as np
import scipy.fft

from .bands import parts
from .unknowns import Unknowns

LEAST = 0.3
"""Weight of a frequency, of the mean of all, below which none is taken to lie: noise there would be made larger."""
INDEPENDENT = 1e-6
"""Smallest eigenvalue of a voxel's correlations that counts as one."""


class Preconditioner:
    """``preconditioner @ vector`` for a vector of the unknowns.

    Parameters
    ----------
    unknowns
        What is free.
    mask
        Where the voxels are, shape (n_y, n_x).
    blocks
        Curvature of the local parameters of every voxel, the prior's diagonal included, shape (n_voxels, n_local,
        n_local), positive definite. Taken over: it holds their roots afterwards, for it is large.
    prior
        That diagonal, shape (n_voxels, n_local).
    shared
        Inverse curvature of each shared parameter, shape (n_shared,).
    """

    def __init__(self, unknowns: Unknowns, mask: np.ndarray, blocks: np.ndarray, prior: np.ndarray, shared: np.ndarray):
        self._unknowns, self._mask, self._shared = unknowns, mask, shared
        size = np.sqrt(np.einsum("vii->vi", blocks))
        for part in parts(len(blocks)):
            blocks[part] = _inverse_roots(blocks[part] / size[part, :, None] / size[part, None, :])
        self._roots, self._scale = blocks, 1 / size
        columns = zip(unknowns.member.T, (prior / size**2).T, strict=True)
        shares = [float(np.median(share[there])) if there.any() else 0.0 for there, share in columns]
        self._shape = tuple(2 * n for n in mask.shape)  # nothing is filtered across the rim
        self._weights = {share: frequency_weights(self._shape, share) for share in set(shares)}
        self._shares = shares

    def __matmul__(self, vector: np.ndarray) -> np.ndarray:
        unknowns = self._unknowns
        change = unknowns.expand(vector)[:, : len(unknowns.local)] * self._scale
        change = np.einsum("vij,vj->vi", self._roots, change)
        for column, share in enumerate(self._shares):
            change[:, column] = self._filtered(change[:, column] * unknowns.member[:, column], self._weights[share])
        change = np.einsum("vij,vj->vi", self._roots, change * unknowns.member) * self._scale
        return np.r_[change[unknowns.member], vector[unknowns.n_local :] * self._shared]

    def _filtered(self, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
        image = np.zeros(self._mask.shape)
        image[self._mask] = values
        found = scipy.fft.irfft2(scipy.fft.rfft2(image, self._shape) / weights, self._shape)
        return found[: image.shape[0], : image.shape[1]][self._mask]


def frequency_weights(shape: tuple[int, int], prior: float) -> np.ndarray:
    """Weight of each frequency of a map in the curvature, in the form of rfft2; the mean over all is one.

    Parameters
    ----------
    shape
        Of the image that is transformed.
    prior
        Share of the prior in the curvature of a single voxel, 0 to 1.
    """
    ky, kx = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.fftfreq(shape[1])
    rays = 1 / np.maximum(np.hypot(ky, kx), 0.5 / max(shape))
    differences = 1 - (np.cos(2 * np.pi * ky) + np.cos(2 * np.pi * kx)) / 2
    weights = (1 - prior) * rays / rays.mean() + prior * differences
    return np.maximum(weights, LEAST)[:, : shape[1] // 2 + 1]


def _inverse_roots(correlations: np.ndarray) -> np.ndarray:
    """Symmetric C^−½ of each matrix."""
    values, vectors = np.linalg.eigh(correlations)
    return np.einsum("vij,vj,vkj->vik", vectors, 1 / np.sqrt(np.maximum(values, INDEPENDENT)), vectors)

"""A denoiser without a network and without the truth: weights of a few filters that predict the held-out part.

Seconds for a whole scan, and the safety net below every other method: what does worse on held-out data than this is not
used. With parts split by angle the held-out part misleads (see `splits`), here as everywhere.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from .splits import leave_one_out

WIDTHS = (0.6, 1.0, 2.0, 4.0)
"""Standard deviations of the Gaussian filters in pixels, beside the reconstruction itself."""
RIDGE = 1e-6
"""Of the mean diagonal of the normal equations: only a guard against features that are equal."""


def filtered(image: np.ndarray) -> np.ndarray:
    """The image and its Gaussian-filtered copies, shape (1 + len(WIDTHS), n_y, n_x)."""
    return np.stack([image, *(gaussian_filter(image, width) for width in WIDTHS)])


def features_of(values: np.ndarray) -> np.ndarray:
    """`filtered` of every leave-one-out mean of one channel's parts (K, n_y, n_x); shape (K, n_features, n_y, n_x)."""
    return np.stack([filtered(leave_one_out(values, k)) for k in range(len(values))])


def blend(features: np.ndarray, values: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Combine features so that they predict the parts which they do not know.

    Least squares for one weight per feature and a constant, over all K pairs and the voxels `inside`.

    Parameters
    ----------
    features
        Of one channel, shape (K, n_features, n_y, n_x); those of row k made without part k.
    values
        Its parts, shape (K, n_y, n_x).
    inside
        Shape (n_y, n_x), bool.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        The blend of every row, shape (K, n_y, n_x), float32, and the weights, shape (n_features,).
    """
    chosen = features[:, :, inside].astype(float)
    target = values[:, inside].astype(float)
    means = chosen.mean(axis=(0, 2))
    chosen -= means[:, None]
    normal = np.einsum("kfv,kgv->fg", chosen, chosen)
    right = np.einsum("kfv,kv->f", chosen, target - target.mean())
    ridge = RIDGE * np.trace(normal) / len(normal) + np.finfo(float).tiny
    weights = np.linalg.solve(normal + ridge * np.eye(len(normal)), right)
    mixed = np.tensordot(features, weights, axes=(1, 0)) + (target.mean() - weights @ means)
    return mixed.astype(np.float32), weights


def held_out_error(found: np.ndarray, values: np.ndarray, inside: np.ndarray) -> float:
    """Mean squared difference between leave-one-out results and the parts they do not know, both (K, n_y, n_x).

    It holds the noise of a part, the same for all methods; only differences between methods mean something.
    """
    return float(np.mean((found[:, inside] - values[:, inside]).astype(float) ** 2))


def choose(candidates: dict[str, np.ndarray], values: np.ndarray, inside: np.ndarray) -> tuple[str, dict[str, float]]:
    """Name of the candidate that predicts the held-out parts best, and the `held_out_error` of each.

    Parameters
    ----------
    candidates
        Leave-one-out results by name, each of shape (K, n_y, n_x).
    """
    errors = {name: held_out_error(found, values, inside) for name, found in candidates.items()}
    return min(errors, key=errors.get), errors

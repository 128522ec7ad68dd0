"""What the iterative methods share; for NumPy arrays and PyTorch tensors alike, so that they run on either device."""

from collections.abc import Callable, Iterable

import numpy as np

Progress = Callable[[Iterable], Iterable]
"""Wraps an iteration to show how far it is."""

SMALLEST_SUM = 1e-3
"""Rays and pixels that see less than this many pixels or rays are left as they are."""


def without_progress(steps: Iterable) -> Iterable:
    """The steps as they are."""
    return steps


def sums(A):
    """Sums of the rows of A, as a sinogram, and of its columns, as an image; both with one channel.

    What one channel of the sinogram sends back to several of the image, as in `TiltedBeam`, is what one channel of the
    image gets back from several of the sinogram, except near the ends, where it gets less.
    """
    return A @ A.constant_image(1, 1), (A.T @ A.constant_sinogram(1, 1)).sum(2)[..., None]


def reciprocal(x):
    """1/x, and 0 where x is no more than `SMALLEST_SUM`."""
    return (x > SMALLEST_SUM) / x.clip(min=SMALLEST_SUM)


def starting_image(A, b, start, columns):
    """`start`, or zeros, as a new image with the channels of `b`; 0 where `columns` says that no ray passes."""
    if start is None:
        return A.constant_image(0, b.shape[2])
    return start * (columns > SMALLEST_SUM)


def squared_norm(x, *, together: bool = False):
    """Sum of squares of each channel, shape (n_channels,), or of all together, shape (1,)."""
    if together:
        return squared_norm(x).sum(0)[None]
    if isinstance(x, np.ndarray):
        return np.einsum("ijk,ijk->k", x, x, dtype=np.float64).astype(np.float32)
    return (x * x).sum(dim=(0, 1))  # PyTorch adds in a tree: float32 does

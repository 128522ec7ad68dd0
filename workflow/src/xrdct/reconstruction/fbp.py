"""Filtered back-projection: a ramp along positions, a weight per projection, and the transpose of the projector."""

import numba
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from ..errors import GeometryError
from ..geometry import missing_angles
from .operator import ParallelBeam

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hann")
BLOCK = 8
"""Projections filtered at a time: the filter needs five times the memory of what it filters."""


def fbp(A: ParallelBeam, sinogram: np.ndarray, *, filter: str = "ram-lak") -> np.ndarray:
    """Filtered back-projection of every channel on its own.

    A voxel's value is what this voxel adds to a ray that crosses it fully: independent of the number of angles and of
    their span, in the sinogram's unit per voxel. No constraint is applied: values can be negative.

    Parameters
    ----------
    A
        The scan; its angles cover a half turn or a whole one, in any order.
    sinogram
        Shape (n_angles, n_positions[, n_channels]), any unit.
    filter
        One of `FILTERS`.

    Returns
    -------
    numpy.ndarray
        Shape (n_pixels, n_pixels[, n_channels]), float32, rotation axis at the centre.

    Raises
    ------
    GeometryError
        If shapes differ, or the angles leave a gap.
    """
    if sinogram.shape[:2] != A.shape[0]:
        raise GeometryError(f"expected a sinogram of {A.shape[0]}, found {sinogram.shape[:2]}")
    weights = angular_weights(A.angles).astype(np.float32)
    filtered = filter_projections(sinogram, filter)
    filtered *= weights.reshape(-1, *[1] * (filtered.ndim - 1))
    return A.T @ filtered


def filter_projections(sinogram: np.ndarray, filter: str) -> np.ndarray:
    """Ramp-filter along positions (axis 1), zero-padded so that nothing wraps around; float32, same shape."""
    n = sinogram.shape[1]
    padded, response = filter_response(n, filter)
    response = response.astype(np.float32).reshape(-1, *[1] * (sinogram.ndim - 2))
    filtered = np.empty(sinogram.shape, dtype=np.float32)
    for a in range(0, len(sinogram), BLOCK):
        part = np.asarray(sinogram[a : a + BLOCK], dtype=np.float32)
        spectrum = rfft(part, padded, axis=1, workers=numba.get_num_threads())
        spectrum *= response
        filtered[a : a + BLOCK] = irfft(spectrum, padded, axis=1, workers=numba.get_num_threads())[:, :n]
    return filtered


def filter_response(n: int, filter: str) -> tuple[int, np.ndarray]:
    """Length to which `n` positions are padded, and the filter's real response at its frequencies (`rfftfreq`).

    The ramp is the transform of its exact band-limited kernel (Kak & Slaney, Principles of Computerized Tomographic
    Imaging, 1988, eq. 61), which keeps the mean of the image right where sampling |f| would lower it.
    """
    padded = next_fast_len(2 * n, real=True)
    return padded, _ramp(padded) * _apodisation(rfftfreq(padded), filter)


def angular_weights(angles: np.ndarray) -> np.ndarray:
    """The share of the half turn that each projection stands for, radians; they sum to π.

    Opposite projections count as the same angle, so 0–180 and 0–360 scans, regular or not, need no other factor.

    Raises
    ------
    GeometryError
        If the angles leave a hole (`geometry.missing_angles`): a missing wedge, smeared without a word.
    """
    hole = missing_angles(angles)
    if hole is not None:
        raise GeometryError(
            f"no projection between {hole[0]:.2f}° and {hole[1]:.2f}° (modulo 180°): the angles must cover a half turn"
        )
    folded = np.asarray(angles, dtype=float) % 180.0
    order = np.argsort(folded, kind="stable")
    ahead = np.diff(folded[order], append=folded[order[0]] + 180.0)
    weights = np.empty(folded.size)
    weights[order] = np.radians(ahead + np.roll(ahead, 1)) / 2
    return weights


def _ramp(n: int) -> np.ndarray:
    distance = np.minimum(np.arange(n), n - np.arange(n))
    kernel = np.zeros(n)
    kernel[0] = 0.25
    odd = distance % 2 == 1
    kernel[odd] = -1 / (np.pi * distance[odd]) ** 2
    return rfft(kernel).real


def _apodisation(frequency: np.ndarray, filter: str) -> np.ndarray:
    """Factor on the ramp at `frequency` in cycles per pixel (0 to 0.5)."""
    shapes = {
        "ram-lak": np.ones_like,
        "shepp-logan": np.sinc,
        "cosine": lambda f: np.cos(np.pi * f),
        "hann": lambda f: 0.5 * (1 + np.cos(2 * np.pi * f)),
    }
    if filter not in shapes:
        raise ValueError(f"unknown filter {filter!r}, expected one of {', '.join(FILTERS)}")
    return shapes[filter](frequency)

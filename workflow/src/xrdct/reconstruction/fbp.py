"""Filtered back-projection: the filter is ours, the back-projector ASTRA's (CPU).

Axes and signs as in `geometry`: a sinogram is [angle, position(, channel)], an image [y, x], row 0 at the largest y.
"""

from collections.abc import Callable, Iterable

import astra
import numpy as np
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

from ..errors import GeometryError
from ..geometry import LARGEST_GAP_DEG

FILTERS = ("ram-lak", "shepp-logan", "cosine", "hann")
BLOCK = 16
"""Channels filtered at a time: the filter needs five times the memory of what it filters."""


def reconstruct_fbp(
    sinogram: np.ndarray,
    angles: np.ndarray,
    *,
    cor: float,
    filter: str = "ram-lak",
    progress: Callable[[Iterable], Iterable] = lambda steps: steps,
) -> np.ndarray:
    """Filtered back-projection of every channel on its own.

    A voxel's value is what this voxel adds to a ray that crosses it fully: independent of the number of angles, in
    the sinogram's unit per voxel. No constraint is applied: values can be negative. Channels with NaN come out NaN.

    Parameters
    ----------
    sinogram
        Shape (n_angles, n_positions, n_channels), any unit.
    angles
        Degrees, shape (n_angles,), any order; 0–180 or 0–360.
    cor
        Column of the rotation axis, pixels from the centre of the first column.
    filter
        One of `FILTERS`.
    progress
        Wraps the iteration over channels.

    Returns
    -------
    numpy.ndarray
        Shape (n_positions, n_positions, n_channels), float32, rotation axis at the centre.

    Raises
    ------
    GeometryError
        If shapes differ, the centre lies outside the field, or the angles leave a gap.
    """
    n_angles, n_positions, n_channels = sinogram.shape
    if len(angles) != n_angles:
        raise GeometryError(f"{len(angles)} angles for a sinogram of {n_angles} projections")
    if not 0 <= cor <= n_positions - 1:
        raise GeometryError(f"centre of rotation {cor} lies outside the field of {n_positions} positions")
    weights = angular_weights(angles).astype(np.float32)[:, None, None]
    volume = np.empty((n_positions, n_positions, n_channels), dtype=np.float32)
    back_project = _BackProjector(np.radians(angles), n_positions, cor)
    with back_project:
        for k in progress(range(n_channels)):
            if k % BLOCK == 0:
                filtered = filter_projections(sinogram[..., k : k + BLOCK], filter) * weights
            volume[..., k] = back_project(filtered[..., k % BLOCK])
    return volume


def filter_projections(sinogram: np.ndarray, filter: str) -> np.ndarray:
    """Ramp-filter along positions (axis 1), zero-padded so that nothing wraps around; float32, same shape.

    The ramp is the transform of its exact band-limited kernel (Kak & Slaney, Principles of Computerized Tomographic
    Imaging, 1988, eq. 61), which keeps the mean of the image right where sampling |f| would lower it.
    """
    n = sinogram.shape[1]
    padded = next_fast_len(2 * n, real=True)
    response = _ramp(padded) * _apodisation(rfftfreq(padded), filter)
    spectrum = rfft(np.asarray(sinogram, dtype=np.float32), padded, axis=1)
    spectrum *= response[None, :, None].astype(np.float32)
    return irfft(spectrum, padded, axis=1)[:, :n]


def angular_weights(angles: np.ndarray) -> np.ndarray:
    """The share of the half turn that each projection stands for, radians; they sum to π.

    Opposite projections count as the same angle, so 0–180 and 0–360 scans, regular or not, need no other factor.

    Raises
    ------
    GeometryError
        If the angles leave a gap wider than `LARGEST_GAP_DEG`: a missing wedge, smeared without a word.
    """
    folded = np.asarray(angles, dtype=float) % 180.0
    order = np.argsort(folded, kind="stable")
    ahead = np.diff(folded[order], append=folded[order[0]] + 180.0)
    if ahead.max() > LARGEST_GAP_DEG:
        k = int(ahead.argmax())
        start = folded[order[k]]
        raise GeometryError(
            f"no projection between {start:.2f}° and {start + ahead[k]:.2f}° (modulo 180°): the angles must cover a "
            f"half turn with gaps of at most {LARGEST_GAP_DEG:g}°"
        )
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


class _BackProjector:
    """ASTRA's linear back-projector for one geometry; a context that frees ASTRA's memory."""

    def __init__(self, angles: np.ndarray, n: int, cor: float):
        self._n = n
        cos, sin = np.cos(angles), np.sin(angles)
        centre = (n - 1) / 2 - cor  # the detector's centre, seen from the axis along the translation
        vectors = np.stack([sin, -cos, centre * cos, centre * sin, cos, sin], axis=1)
        projections = astra.create_proj_geom("parallel_vec", n, vectors)
        image = astra.create_vol_geom(n, n)
        self._projector = astra.create_projector("linear", projections, image)
        self._sinogram = astra.data2d.create("-sino", projections)
        self._image = astra.data2d.create("-vol", image)
        settings = astra.astra_dict("BP")
        settings["ProjectorId"] = self._projector
        settings["ProjectionDataId"] = self._sinogram
        settings["ReconstructionDataId"] = self._image
        self._algorithm = astra.algorithm.create(settings)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        astra.algorithm.delete(self._algorithm)
        astra.data2d.delete([self._sinogram, self._image])
        astra.projector.delete(self._projector)

    def __call__(self, sinogram: np.ndarray) -> np.ndarray:
        if not np.isfinite(sinogram).all():
            return np.full((self._n, self._n), np.nan, dtype=np.float32)
        astra.data2d.store(self._sinogram, np.ascontiguousarray(sinogram, dtype=np.float32))
        astra.algorithm.run(self._algorithm)
        return astra.data2d.get(self._image)

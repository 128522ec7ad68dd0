"""Trimmed mean over a pixel-to-bin table: one object per geometry, called on blocks of frames."""

import logging
import threading

import numpy as np

from ..errors import GeometryError, RawDataError
from ..gpu_memory import FittingParts
from . import cuda, native, portable
from .patterns import SUMS, Patterns, patterns_from_sums, valid_range

log = logging.getLogger(__name__)

BACKENDS = ("auto", "cuda", "native", "numba")
MOST_AT_A_TIME = 1024
"""Frames of one call that go to a GPU together, at most."""


class TrimmedMean:
    """Trimmed mean of every bin of a frame, equal to `reference.trimmed_mean`, at the cost of little more than reading.

    A call is single-threaded, holds no state and releases the GIL: run it in one thread per core on different
    frames. The result is the same to the bit for any number of threads and any backend (the standard errors to the
    rounding of a sum).

    Parameters
    ----------
    indices
        Flat pixel number (row · columns + column) of every pixel that belongs to a bin, sorted by bin, int32.
    indptr
        Shape (n_bins + 1): bin b holds the pixels ``indices[indptr[b]:indptr[b + 1]]``.
    weights
        Solid angle × polarisation of every listed pixel, > 0, float32.
    trim
        Share of the weight that is cut off, both tails together, 0 <= trim < 1.
    groups
        Group (0, 1, …) of every listed pixel (`azimuthal_groups`), for the trimmed means of disjoint pixel groups.
    backend
        'cuda' (Triton on a GPU), 'native' (C, compiled on first use by the machine's own compiler; numba where there
        is none), 'numba', or 'auto': the first of these that works.

    Raises
    ------
    GeometryError
        The arrays do not fit together, or a weight is not positive.
    """

    def __init__(
        self,
        indices: np.ndarray,
        indptr: np.ndarray,
        weights: np.ndarray,
        *,
        trim: float,
        groups: np.ndarray | None = None,
        backend: str = "auto",
    ):
        if backend not in BACKENDS:
            raise ValueError(f"backend {backend!r} is none of {', '.join(BACKENDS)}")
        if not 0 <= trim < 1:
            raise GeometryError(f"trim is {trim}, expected 0 <= trim < 1")
        _check_table(indices, indptr, weights)
        order, self._edges = _parts(np.asarray(indptr, np.int64), groups)
        padded = np.append(np.asarray(indices)[order], np.zeros(portable.LOOK_AHEAD))
        self._indices = np.ascontiguousarray(padded, np.int32)
        self._weights = np.ascontiguousarray(np.asarray(weights)[order], np.float32)
        self._n_pixels = int(self._indices.max(initial=-1)) + 1
        self.trim = trim
        self.n_bins = len(indptr) - 1
        self.n_groups = self._edges.shape[1] - 1
        self.backend = self._choose(backend)
        self._prepare()

    def _prepare(self) -> None:
        """What stays with this process."""
        self._cuda, self._uploading = None, threading.Lock()
        self._parts_on_gpu = FittingParts("integration, frames", MOST_AT_A_TIME, self._give_up_gpu)

    def _give_up_gpu(self) -> None:
        self.backend, self._cuda = self._choose("native"), None

    def _choose(self, backend: str) -> str:
        if backend == "cuda" or (backend == "auto" and cuda.is_available()):
            longest = int(np.diff(self._edges[:, [0, -1]]).max())
            if longest <= cuda.LONGEST_BIN:
                return "cuda"
            log.info("a bin holds %d pixels, more than %d: working on the CPU", longest, cuda.LONGEST_BIN)
        return "native" if backend != "numba" and native.library() else "numba"

    def __getstate__(self) -> dict:
        of_process = ("_cuda", "_uploading", "_parts_on_gpu")
        return {key: value for key, value in self.__dict__.items() if key not in of_process}

    def __setstate__(self, state: dict) -> None:
        self.__dict__ |= state
        self._prepare()

    def __call__(self, frames: np.ndarray, invalid_above: float | None = None) -> Patterns:
        """Integrate a block of frames.

        Parameters
        ----------
        frames
            Shape (n_frames, rows, columns), any integer or float type. Negative integers, the largest value of an
            unsigned type and NaN are invalid pixels and left out, as if they were not in the table.
        invalid_above
            Values of this and more are invalid too: the saturation of the detector. None: no limit.

        Raises
        ------
        RawDataError
            The frames are of another kind or smaller than the table expects.
        """
        if frames.ndim != 3 or frames.shape[1] * frames.shape[2] < self._n_pixels:
            raise RawDataError(
                f"frames have shape {frames.shape}, expected (frames, rows, columns) with {self._n_pixels} pixels or "
                "more in each; were they taken with the detector that the geometry describes?"
            )
        lowest, highest = valid_range(frames.dtype, invalid_above)
        n_frames, n_rows, n_columns = frames.shape
        flat = np.ascontiguousarray(frames, frames.dtype.newbyteorder("=")).reshape(n_frames, n_rows * n_columns)
        if self.backend != "cuda" or not n_frames:
            return patterns_from_sums(self._sums_on_cpu(flat, lowest, highest), trim=self.trim)
        sums = self._parts_on_gpu.run(lambda part: self._sums(flat[part], lowest, highest), n_frames)
        return patterns_from_sums(np.concatenate(sums), trim=self.trim)

    def _sums(self, flat: np.ndarray, lowest: float, highest: float) -> np.ndarray:
        """Sums of flat frames, on the GPU until that is given up."""
        if self.backend != "cuda":
            return self._sums_on_cpu(flat, lowest, highest)
        with self._uploading:  # by the first of the threads alone
            if self._cuda is None:
                self._cuda = cuda.CudaSums(self._indices, self._edges, self._weights, self.trim)
            on_gpu = self._cuda
        return on_gpu(flat, lowest, highest)

    def _sums_on_cpu(self, flat: np.ndarray, lowest: float, highest: float) -> np.ndarray:
        table = self._indices, self._edges, self._weights, self.trim
        bounds = np.array([lowest, highest], dtype=flat.dtype)
        sums = np.empty((len(flat), self.n_bins, self.n_groups + (self.n_groups > 1), len(SUMS)))
        # Asked for again and not kept, so that a kernel can be sent to another process.
        library = native.library() if self.backend == "native" else None
        if library:
            native.sum_frames(library, flat, bounds, *table, sums)
        else:
            for frame, frame_sums in zip(flat, sums, strict=True):
                portable.sum_frame(frame, *bounds, *table, frame_sums)
        return sums


def _check_table(indices: np.ndarray, indptr: np.ndarray, weights: np.ndarray) -> None:
    if len(indices) != len(weights) or len(indptr) < 2 or indptr[0] != 0 or indptr[-1] != len(indices):
        raise GeometryError(
            f"pixel table: {len(indices)} pixels, {len(weights)} weights, bins from {indptr[0]} to {indptr[-1]}; "
            "expected as many weights as pixels and bins from 0 to their number"
        )
    if np.any(np.diff(indptr) < 0) or np.any(np.asarray(indices) < 0):
        raise GeometryError("pixel table: bin limits must not decrease and pixel numbers must not be negative")
    if not np.all(np.asarray(weights) > 0):
        raise GeometryError("pixel table: weights must be positive; mask the pixels without solid angle or response")


def _parts(indptr: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Order of the table by bin, then group; where a bin's groups begin and end, shape (n_bins, n_groups + 1)."""
    n_bins = len(indptr) - 1
    if groups is None:
        return np.arange(indptr[-1]), np.stack([indptr[:-1], indptr[1:]], axis=1)
    if len(groups) != indptr[-1] or np.any(np.asarray(groups) < 0):
        raise GeometryError(f"groups name {len(groups)} pixels, the table {indptr[-1]}; groups count from 0")
    n_groups = int(np.max(groups)) + 1
    part = np.repeat(np.arange(n_bins), np.diff(indptr)) * n_groups + groups
    ends = np.cumsum(np.bincount(part, minlength=n_bins * n_groups)).reshape(n_bins, n_groups)
    return np.argsort(part, kind="stable"), np.concatenate([indptr[:-1, None], ends], axis=1)

"""The trimmed mean on an NVIDIA GPU: one program per bin and frame, written in Triton (which comes with CUDA torch).

A bin's keys stay in registers; both cuts are found by bisection on the bits of the float32 keys, which ends at the
exact key after 32 halvings, and one pass makes the sums. These are the sums of the other backends up to the rounding
of the search's float32 weights, so that intensities agree to 1e-6.
"""

import ctypes
import logging

import numpy as np

from ..gpu_memory import has_room

log = logging.getLogger(__name__)

LONGEST_BIN = 32768
"""Pixels per bin that one program holds; with more (few bins on a large detector) the CPU does the work."""


def is_available() -> bool:
    """Whether torch and Triton can use a CUDA device; the log says when a driver is there in vain."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False  # no driver: the usual case, found without importing torch
    try:
        import torch
        import triton  # noqa: F401
    except ImportError as error:
        log.info("a GPU driver is there, but %s: working on the CPU", error)
        return False
    if not torch.cuda.is_available():
        log.info("a GPU driver is there, but torch sees no CUDA device: working on the CPU")
        return False
    return has_room()


class CudaSums:
    """The pixel table on the GPU, and the sums of blocks of frames.

    Parameters
    ----------
    indices, edges, weights
        As `portable.sum_frame` takes them.
    trim
        Share of the weight that is cut off, both tails together.
    device
        torch device.
    """

    def __init__(self, indices: np.ndarray, edges: np.ndarray, weights: np.ndarray, trim: float, device: str = "cuda"):
        import torch

        self._torch, self.device, self.trim = torch, torch.device(device), trim
        # Every part of a bin: the whole one first where there are groups, as in `Patterns`.
        whole = [edges[:, [0, -1]]] if edges.shape[1] > 2 else []
        parts = np.stack([*whole, *(edges[:, k : k + 2] for k in range(edges.shape[1] - 1))], axis=1)
        self.shape = parts.shape[:2]
        self.longest = int((parts[..., 1] - parts[..., 0]).max())
        self._parts = self._to_device(parts.reshape(-1, 2).astype(np.int32))
        self._indices, self._weights = self._to_device(indices), self._to_device(weights)

    def __call__(self, frames: np.ndarray, lowest: float, highest: float) -> np.ndarray:
        """Sums of every frame and bin, shape (n_frames, n_bins, 1 + n_groups or 1, len(SUMS)), float64.

        Parameters
        ----------
        frames
            Flat frames, shape (n_frames, n_pixels), any integer or float type.
        lowest, highest
            Range of valid values, both inclusive.
        """
        from .cuda_program import sum_parts

        values = self._to_numbers(frames)
        if values.dtype == self._torch.int32:
            highest = min(highest, 2**31 - 1)
        n_parts = self.shape[0] * self.shape[1]
        sums = self._torch.empty((len(frames), n_parts, 10), dtype=self._torch.float64, device=self.device)
        sum_parts(values, self._indices, self._weights, self._parts, sums, lowest, highest, self.trim, self.longest)
        return sums.cpu().numpy().reshape(len(frames), *self.shape, 10)

    def _to_device(self, array):
        return self._torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _to_numbers(self, frames):
        """Frames on the device as int32 or float32; what an int32 cannot hold becomes negative, hence invalid."""
        torch, kind, size = self._torch, frames.dtype.kind, frames.dtype.itemsize
        if kind == "f":
            return self._to_device(frames).to(torch.float32)
        if kind == "u" and size < 8:
            signed = self._to_device(frames.view(f"i{size}"))
            return signed if size == 4 else signed.to(torch.int32) & (2 ** (8 * size) - 1)
        values = self._to_device(frames.view("i8") if kind == "u" else frames)
        too_large = values > 2**31 - 1 if size == 8 else None
        return values.to(torch.int32) if too_large is None else torch.where(too_large, -1, values).to(torch.int32)

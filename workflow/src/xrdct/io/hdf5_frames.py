"""Frames in HDF5: plain or compressed stacks, behind external links and virtual datasets or not."""

from pathlib import Path

import h5py
import numpy as np

from ..errors import RawDataError
from .frame_source import FrameSource
from .hdf5_links import check_sources, follow, open_hdf5
from .nexus import find_stacks, read_recorded


class Hdf5Frames(FrameSource):
    """A stack (n_frames, rows, columns), or a single frame (rows, columns), in an HDF5 file.

    Parameters
    ----------
    path
        Master or data file.
    dataset
        Path of the frames in it; None: the only stack there is.

    Raises
    ------
    RawDataError
        When file, dataset, or a source of a virtual dataset is missing, truncated, or of the wrong shape.
    """

    def __init__(self, path: str | Path, dataset: str | None = None):
        self.path = Path(path)
        self._file = None
        with open_hdf5(self.path) as file:
            self.dataset = dataset or _only_stack(file)
            frames = _frames_in(file, self.dataset)
            self.files = check_sources(frames)
            self.shape = (1, *frames.shape)[-3:]
            self.dtype = frames.dtype.newbyteorder("=")
            self.frames_per_chunk = frames.chunks[0] if frames.chunks and frames.ndim == 3 else 1

    def _frames(self) -> h5py.Dataset:
        """The open dataset. Sources are looked at again on every opening: files may have gone since."""
        if self._file is None:
            self._file = open_hdf5(self.path)
            check_sources(_frames_in(self._file, self.dataset))
        return _frames_in(self._file, self.dataset)

    def _read(self, start: int, stop: int) -> np.ndarray:
        frames = self._frames()
        block = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if not block.size:
            return block
        try:
            _read_into(frames, block, start)
        except OSError as error:
            raise RawDataError(
                f"{self.path}: {self.dataset}: frame {self._first_unreadable(start, stop)} cannot be read: "
                f"truncated or damaged file ({error})"
            ) from None
        return block

    def _first_unreadable(self, start: int, stop: int) -> int:
        frames, one = self._frames(), np.empty((1, *self.shape[1:]), self.dtype)
        for number in range(start, stop):
            try:
                _read_into(frames, one, number)
            except OSError:
                return number
        return start

    def values(self, name: str) -> np.ndarray:
        """See `FrameSource.values`; where names are looked for: `nexus.read_recorded`."""
        with open_hdf5(self.path) as file:
            return read_recorded(file, self.dataset, name, self.shape[0])

    def describe(self) -> dict:
        """See `FrameSource.describe`."""
        return {
            "format": "HDF5",
            "files": [str(file) for file in self.files],
            "dataset": self.dataset,
            "shape": list(self.shape),
            "dtype": str(self.dtype),
        }

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_file": None}


def _read_into(frames: h5py.Dataset, block: np.ndarray, start: int) -> None:
    frames.read_direct(block, np.s_[start : start + len(block)] if frames.ndim == 3 else np.s_[None, :, :])


def _only_stack(file: h5py.File) -> str:
    stacks = find_stacks(file) or find_stacks(file, ndim=2)
    if len(stacks) == 1:
        return next(iter(stacks))
    if stacks:
        listed = ", ".join(f"{path} {shape}" for path, shape in sorted(stacks.items()))
        raise RawDataError(f"{file.filename}: several stacks of frames, name one as `dataset`: {listed}")
    wrong = find_stacks(file, ndim=4)
    hint = f"; {', '.join(f'{path} has shape {shape}' for path, shape in wrong.items())}" if wrong else ""
    raise RawDataError(f"{file.filename}: no dataset of shape (n_frames, rows, columns){hint}")


def _frames_in(file: h5py.File, dataset: str) -> h5py.Dataset:
    frames = follow(file, dataset)
    if frames is None:
        there = ", ".join(sorted(find_stacks(file))) or "none"
        raise RawDataError(f"{file.filename}: no dataset {dataset!r}; stacks of frames in it: {there}")
    if not isinstance(frames, h5py.Dataset):
        raise RawDataError(f"{file.filename}: {dataset!r} is a group, not a dataset")
    if frames.ndim not in (2, 3) or frames.dtype.kind not in "iufb" or not frames.size:
        raise RawDataError(
            f"{file.filename}: {dataset!r} is {frames.dtype} of shape {frames.shape}; "
            "expected numbers of shape (n_frames, rows, columns)"
        )
    return frames

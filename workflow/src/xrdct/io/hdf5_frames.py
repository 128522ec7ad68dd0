"""Frames in HDF5: plain or compressed stacks, behind external links and virtual datasets or not."""

from pathlib import Path

import h5py
import numpy as np

from ..errors import RawDataError
from .chunks import read_frames
from .frame_source import FrameSource
from .hdf5_layout import Segment, find_layout
from .hdf5_links import follow, open_hdf5, reading
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
        self._open_part: tuple[Segment, h5py.Dataset] | None = None
        with reading(self.path) as file:
            self.dataset = dataset or _only_stack(file)
            frames = _dataset(file, self.dataset)
            layout = find_layout(frames)
            self.shape = (1, *frames.shape)[-3:]
            self.dtype = frames.dtype.newbyteorder("=")
        self.files = layout.files
        self._joined_by_hdf5 = layout.segments is None
        self.segments = layout.segments or [Segment(0, self.shape[0], self.path, self.dataset, 0)]

    def _read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for segment in self.segments:
            low, high = max(start, segment.start), min(stop, segment.stop)
            if low < high:
                self._read_part(segment, low, block[low - start : high - start])
        gone = [str(file) for file in self.files if self._joined_by_hdf5 and not file.is_file()]
        if gone:
            raise RawDataError(f"{self.path}: {self.dataset} needs {', '.join(gone)}, which went missing")
        return block

    def _read_part(self, segment: Segment, start: int, out: np.ndarray) -> None:
        """Fill `out` with the frames from `start` on, all of one segment."""
        frames = self._opened(segment)
        offset = segment.first - segment.start
        try:
            _read_into(frames, out, start + offset)
        except OSError as error:
            bad = next((i for i in range(len(out)) if not _is_readable(frames, start + offset + i)), 0)
            raise RawDataError(
                f"{self._place(segment, start + bad)} cannot be read: truncated or damaged file ({error})"
            ) from None
        unwritten = [i for i in range(len(out)) if not _is_written(frames, start + offset + i)]
        if unwritten:
            raise RawDataError(
                f"{self._place(segment, start + unwritten[0])} was never written: "
                "the scan was aborted, or is still being written"
            )

    def _place(self, segment: Segment, number: int) -> str:
        source = "" if segment.file == self.path else f" (in {segment.file})"
        return f"{self.path}: {self.dataset}: frame {number}{source}"

    def _opened(self, segment: Segment) -> h5py.Dataset:
        """The dataset of a segment; one file is held open, the last one."""
        if self._open_part is None or self._open_part[0] != segment:
            self.close()
            self._open_part = segment, _dataset(open_hdf5(segment.file), segment.dataset)
        return self._open_part[1]

    def count_unwritten(self) -> int:
        """See `FrameSource.count_unwritten`."""
        return sum(_count_unwritten(self._opened(segment)) for segment in self.segments)

    def values(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """See `FrameSource.values`; where names are looked for: `nexus.read_recorded`."""
        with reading(self.path) as file:
            return read_recorded(file, self.dataset, name, self.shape[0])[start:stop]

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
        if self._open_part is not None:
            self._open_part[1].file.close()
            self._open_part = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_open_part": None}


def _read_into(frames: h5py.Dataset, out: np.ndarray, start: int) -> None:
    if frames.ndim == 3:
        read_frames(frames, start, start + len(out), out)
    else:
        frames.read_direct(out[0])


def _is_readable(frames: h5py.Dataset, number: int) -> bool:
    try:
        frames[number if frames.ndim == 3 else ...]
    except OSError:
        return False
    return True


def _is_written(frames: h5py.Dataset, number: int) -> bool:
    """Whether the file holds a frame: HDF5 returns its fill value for chunks that were never written."""
    if frames.is_virtual or frames.chunks is None or frames.ndim != 3:
        return True
    return frames.id.get_chunk_info_by_coord((number, 0, 0)).byte_offset is not None


def _count_unwritten(frames: h5py.Dataset) -> int:
    if frames.is_virtual or frames.chunks is None or frames.ndim != 3:
        return 0
    per_frame = np.prod([-(-n // c) for n, c in zip(frames.shape[1:], frames.chunks[1:], strict=True)])
    full = -(-frames.shape[0] // frames.chunks[0])
    missing = full - frames.id.get_num_chunks() // int(per_frame)
    return min(frames.shape[0], missing * frames.chunks[0])


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


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    frames = follow(file, name)
    if frames is None:
        there = ", ".join(sorted(find_stacks(file))) or "none"
        raise RawDataError(f"{file.filename}: no dataset {name!r}; stacks of frames in it: {there}")
    if not isinstance(frames, h5py.Dataset):
        raise RawDataError(f"{file.filename}: {name!r} is a group, not a dataset")
    empty = not frames.size and not frames.is_virtual
    if frames.ndim not in (2, 3) or frames.dtype.kind not in "iufb" or empty:
        raise RawDataError(
            f"{file.filename}: {name!r} is {frames.dtype} of shape {frames.shape}; "
            "expected numbers of shape (n_frames, rows, columns)"
        )
    return frames

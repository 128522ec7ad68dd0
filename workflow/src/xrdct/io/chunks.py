"""Frames straight from bitshuffle-LZ4 chunks, past the filter pipeline of HDF5.

A detector writes one frame per chunk. Read raw and decoded here a frame costs about half the time, and threads decode
side by side: HDF5 holds its global lock only while the compressed bytes are read. The decoder is the one in the
plugin that hdf5plugin ships, called directly; where anything is not as expected, h5py reads the frame.
"""

import ctypes
from functools import cache
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

from ..errors import RawDataError

BITSHUFFLE, LZ4 = 32008, 2
"""Registered number of the HDF5 filter, and its option for LZ4."""
HEADER = 12
"""A chunk begins with the number of decoded bytes (8) and of bytes per block (4), big-endian
(bitshuffle, src/bshuf_h5filter.c)."""


def read_frames(dataset: h5py.Dataset, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
    """Frames start … stop - 1 of a stack (frame, row, column), decoded directly where that is possible.

    They go into `out`, an array of their shape and type, where one is given.

    Raises
    ------
    RawDataError
        A chunk does not decode to one frame: the file is damaged.
    """
    frames = np.empty((max(0, stop - start), *dataset.shape[1:]), dataset.dtype) if out is None else out
    if not is_direct(dataset):
        if len(frames):
            dataset.read_direct(frames, np.s_[start:stop])
        return frames
    for i, frame in enumerate(frames, start):
        if dataset.id.get_chunk_info_by_coord((i, 0, 0)).byte_offset is None:
            frame[:] = dataset[i]  # never written: h5py gives the fill value
            continue
        filters_skipped, chunk = dataset.id.read_direct_chunk((i, 0, 0))
        if filters_skipped:
            frame[:] = dataset[i]
        else:
            _decode(chunk, frame, f"{dataset.file.filename}: {dataset.name}, frame {i}")
    return frames


def is_direct(dataset: h5py.Dataset) -> bool:
    """Whether `read_frames` decodes this dataset itself: a frame per chunk, bitshuffle-LZ4 and no other filter."""
    if dataset.ndim != 3 or dataset.chunks != (1, *dataset.shape[1:]) or not dataset.dtype.isnative:
        return False
    settings = dataset.id.get_create_plist()
    if settings.get_nfilters() != 1 or _decoder() is None:
        return False
    number, _, options, _ = settings.get_filter(0)
    return number == BITSHUFFLE and len(options) > 4 and options[4] == LZ4


@cache
def _decoder():
    """``bshuf_decompress_lz4(in, out, n_elements, element_bytes, block_elements)``: bytes read, < 0 for an error."""
    for path in sorted(Path(hdf5plugin.PLUGIN_PATH).glob("libh5bshuf.*")):
        function = getattr(ctypes.CDLL(str(path)), "bshuf_decompress_lz4", None)
        if function is not None:
            function.restype = ctypes.c_int64
            function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t]
            return function
    return None


def _decode(chunk: bytes, frame: np.ndarray, name: str) -> None:
    size, block = int.from_bytes(chunk[:8], "big"), int.from_bytes(chunk[8:HEADER], "big")
    if len(chunk) < HEADER or size != frame.nbytes or block % frame.itemsize:
        raise RawDataError(f"{name}: the chunk claims {size} bytes, a frame has {frame.nbytes}; copy the file again")
    read = _decoder()(chunk[HEADER:], frame.ctypes.data, frame.size, frame.itemsize, block // frame.itemsize)
    if read != len(chunk) - HEADER:
        raise RawDataError(f"{name}: the chunk of {len(chunk)} bytes does not decode; copy the file again")

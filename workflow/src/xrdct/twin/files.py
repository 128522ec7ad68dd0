"""Files that the twin writes, whatever the layout. Each is renamed into place when it is whole."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import fabio.cbfimage
import fabio.edfimage
import h5py
import hdf5plugin
import numpy as np
import xarray as xr

STAMP = "twin_stamp"
FramesFrom = Callable[[int], Iterator[np.ndarray]]
"""From the number of a frame to blocks of this and all later frames of a subset."""


@contextmanager
def whole(path: Path):
    """Give a temporary name to write to, and rename it to `path` at the end; an existing file or folder is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{path.suffix}")
    _remove(part)
    yield part
    take_place(part, path)


def take_place(part: Path, path: Path) -> None:
    """Rename what is whole to its final name."""
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(part, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def write_frames(
    path: Path,
    name: str,
    blocks: Iterator[np.ndarray],
    *,
    shape: tuple[int, int, int],
    stamp: str,
    begun: np.ndarray | None = None,
    beside: dict[str, np.ndarray] | None = None,
) -> np.ndarray | None:
    """Write an HDF5 file with frames, bitshuffle-LZ4, a frame a chunk.

    Parameters
    ----------
    path, name
        File, and dataset in it.
    blocks
        Frames in blocks (n, n_rows, n_columns) int32 of any length; as many are taken as the file holds.
    shape
        Frames, rows, columns of the file.
    stamp
        Kept in the file: which parameters made it.
    begun
        Frames that stand before `blocks`, left over from the file before.
    beside
        Further datasets in the group of the frames.

    Returns
    -------
    numpy.ndarray or None
        What is left of the last block.
    """
    n_frames, *frame = shape
    with whole(path) as part, h5py.File(part, "w", libver="v110") as file:
        file.attrs[STAMP] = stamp
        dataset = file.create_dataset(name, shape, "int32", chunks=(1, *frame), **hdf5plugin.Bitshuffle(cname="lz4"))
        block, start = begun, 0
        while start < n_frames:
            if block is None or not len(block):
                block = next(blocks)
            here = block[: n_frames - start]
            dataset[start : start + len(here)] = here
            start, block = start + len(here), block[len(here) :]
        for other, values in (beside or {}).items():
            dataset.parent[other] = values
    return block


def has_stamp(path: Path, stamp: str) -> bool:
    """Whether an HDF5 file stands, made from the parameters of this stamp."""
    if not path.is_file():
        return False
    with h5py.File(path) as file:
        return file.attrs.get(STAMP) == stamp


def write_frame(path: Path, counts: np.ndarray, header: list[str] | None = None) -> None:
    """Write one frame as CBF, int32, with these lines of a Pilatus header if there are any."""
    image = fabio.cbfimage.CbfImage(data=np.asarray(counts, dtype=np.int32))
    if header:
        image.header["_array_data.header_convention"] = "PILATUS_1.2"
        image.header["_array_data.header_contents"] = "\n".join(f"# {line}" for line in header)
    with whole(path) as part:
        image.write(str(part))


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask as EDF: 1 where a pixel is bad."""
    with whole(path) as part:
        fabio.edfimage.EdfImage(data=mask.astype(np.uint8)).write(str(part))


def write_text(path: Path, text: str) -> None:
    """Write a text file, its line ends as they are."""
    with whole(path) as part:
        part.write_bytes(text.encode("utf-8"))


def write_record(path: Path, parameters: dict, stamp: str) -> None:
    """Write down which parameters a beamtime was made from: the last file, so that it stands for all of them."""
    with whole(path) as part:
        part.write_text(json.dumps({STAMP: stamp, "parameters": parameters}, indent=1) + "\n", encoding="utf-8")


def has_record(path: Path, stamp: str) -> bool:
    """Whether a beamtime of these parameters was written to its end."""
    return path.is_file() and json.loads(path.read_text(encoding="utf-8"))[STAMP] == stamp


def write_truth(path: Path, truth: xr.Dataset) -> None:
    """Write the truth of one scan as a Zarr store (format 3)."""
    with whole(path) as part:
        truth.to_zarr(part, mode="w", zarr_format=3, consolidated=False)


def has_truth(path: Path, stamp: str) -> bool:
    """Whether the truth of these parameters stands."""
    if not (path / "zarr.json").is_file():
        return False
    with xr.open_zarr(path, consolidated=False) as truth:
        return truth.attrs.get(STAMP) == stamp

"""Raw files as a beamline writes them, and the truth beside them. Each is renamed into place when it is whole."""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import fabio.cbfimage
import fabio.edfimage
import h5py
import hdf5plugin
import numpy as np
import xarray as xr

DATASET = "/1.1/measurement/pilatus"
"""Where the master file shows the frames."""
FRAMES = "/entry_0000/measurement/data"
"""Where the detector's own file holds them."""
STAMP = "twin_stamp"


@contextmanager
def whole(path: Path):
    """Give a temporary name to write to, and rename it to `path` at the end; an existing file or folder is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part{path.suffix}")
    _remove(part)
    yield part
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(part, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def write_subset(
    master: Path,
    blocks: Iterable[np.ndarray],
    *,
    shape: tuple[int, int, int],
    counters: dict[str, np.ndarray],
    title: str,
    start_time: str,
    sample: str,
    stamp: str,
) -> None:
    """Write one subset the way ESRF's BLISS does: a master file, and the detector's file in a folder beside it.

    Parameters
    ----------
    master
        ``<folder>/<name>.h5``; the frames go to ``<folder>/<name>/pilatus_0000.h5``, bitshuffle-LZ4, a frame a chunk.
    blocks
        The frames in acquisition order, in blocks (n, n_rows, n_columns) int32 of any length.
    shape
        Frames, rows, columns.
    counters
        `mon`, `rot` (degrees) and `ty` (mm), one value per frame, shape (n_frames,).
    title, start_time, sample
        Texts of the master file.
    stamp
        Kept in the master file: which parameters made it.
    """
    n_frames, *frame = shape
    data = master.with_suffix("") / "pilatus_0000.h5"
    master.unlink(missing_ok=True)
    with whole(data) as part, h5py.File(part, "w", libver="v110") as file:
        dataset = file.create_dataset(
            FRAMES, (n_frames, *frame), "int32", chunks=(1, *frame), **hdf5plugin.Bitshuffle(cname="lz4")
        )
        start = 0
        for block in blocks:
            dataset[start : start + len(block)] = block
            start += len(block)
    with whole(master) as part, h5py.File(part, "w", libver="v110") as file:
        file.attrs[STAMP] = stamp
        file.attrs["creator"] = "xrdct.twin"
        entry = _group(file, "1.1", "NXentry")
        entry["title"], entry["start_time"] = title, start_time
        _group(entry, "sample", "NXsample")["name"] = sample
        instrument = _group(entry, "instrument", "NXinstrument")
        detector = _group(instrument, "pilatus", "NXdetector")
        _show_frames(detector, f"{data.parent.name}/{data.name}", shape)
        positioners = _group(instrument, "positioners", "NXcollection")
        measurement = _group(entry, "measurement", "NXcollection")
        measurement["pilatus"] = h5py.SoftLink("/1.1/instrument/pilatus/data")
        for name, values in counters.items():
            measurement[name] = values
        for name, unit in (("rot", "deg"), ("ty", "mm")):
            positioners[name] = counters[name]
            for dataset in (positioners[name], measurement[name]):
                dataset.attrs["units"] = unit


def _show_frames(group: h5py.Group, source: str, shape: tuple[int, int, int]) -> None:
    """Virtual dataset ``data`` of the frames in the file `source` (relative to this one).

    Through h5py's low-level calls, because `create_virtual_dataset` stores the time and no two files would be equal.
    """
    space = h5py.h5s.create_simple(shape)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    creation.set_virtual(space, source.encode(), FRAMES.encode(), space)
    h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_INT32, space, creation)


def _group(parent: h5py.Group, name: str, nexus_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nexus_class
    return group


def has_subset(master: Path, stamp: str) -> bool:
    """Whether a master file of these parameters stands, with its frames."""
    if not (master.is_file() and (master.with_suffix("") / "pilatus_0000.h5").is_file()):
        return False
    with h5py.File(master) as file:
        return file.attrs.get(STAMP) == stamp


def write_frame(path: Path, counts: np.ndarray) -> None:
    """Write one frame as CBF, int32."""
    with whole(path) as part:
        fabio.cbfimage.CbfImage(data=np.asarray(counts, dtype=np.int32)).write(str(part))


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask as EDF: 1 where a pixel is bad."""
    with whole(path) as part:
        fabio.edfimage.EdfImage(data=mask.astype(np.uint8)).write(str(part))


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

"""Raw files as ESRF's BLISS writes them: a master file that shows the frames of the detector's own files."""

import re
from pathlib import Path

import h5py
import numpy as np

from .files import STAMP, FramesFrom, has_stamp, whole, write_frames

DATASET = "/1.1/measurement/pilatus"
"""Where the master file shows the frames."""
FRAMES = "/entry_0000/measurement/data"
"""Where the detector's own files hold them."""


def frame_files(master: Path, n_frames: int, per_file: int | None) -> list[tuple[Path, int, int]]:
    """The detector's files of a master, in the folder beside it: path, first frame, number of frames."""
    per_file = min(per_file or n_frames, n_frames)
    return [
        (master.with_suffix("") / f"pilatus_{k:04d}.h5", first, min(per_file, n_frames - first))
        for k, first in enumerate(range(0, n_frames, per_file))
    ]


def has_subset(master: Path, stamp: str) -> bool:
    """Whether a master file of these parameters stands, with all the frames that it shows."""
    if not master.is_file():
        return False
    with h5py.File(master) as file:
        if file.attrs.get(STAMP) != stamp:
            return False
        shown = {source.file_name for source in file[DATASET].virtual_sources()}
    return all((master.parent / name).is_file() for name in shown)


def write_subset(
    master: Path,
    frames_from: FramesFrom,
    *,
    shape: tuple[int, int, int],
    frames_per_file: int | None,
    counters: dict[str, np.ndarray],
    title: str,
    start_time: str,
    sample: str,
    stamp: str,
) -> None:
    """Write one subset; files of frames that stand already, from the same parameters, are kept.

    Parameters
    ----------
    master
        ``<folder>/<name>.h5``; frames go to ``<folder>/<name>/pilatus_0000.h5``, …, bitshuffle-LZ4, a frame a chunk.
    frames_from
        Called with the number of a frame: this and all later ones in acquisition order, in blocks
        (n, n_rows, n_columns) int32 of any length.
    shape
        Frames, rows, columns.
    frames_per_file
        Frames in one of the detector's files; null: all.
    counters
        One value per frame by name, shape (n_frames,); `rot` (degrees) and `ty` (mm) among them.
    title, start_time, sample
        Texts of the master file.
    stamp
        Kept in every file: which parameters made it.
    """
    master.unlink(missing_ok=True)
    parts = frame_files(master, shape[0], frames_per_file)
    _remove_strangers(master.with_suffix(""), {path.name for path, _, _ in parts})
    standing = next((k for k, (path, _, _) in enumerate(parts) if not has_stamp(path, stamp)), len(parts))
    if standing < len(parts):
        blocks = frames_from(parts[standing][1])
        left = None
        for path, _, n in parts[standing:]:
            left = write_frames(path, FRAMES, blocks, shape=(n, *shape[1:]), stamp=stamp, begun=left)
    with whole(master) as part, h5py.File(part, "w", libver="v110") as file:
        file.attrs[STAMP] = stamp
        file.attrs["creator"] = "xrdct.twin"
        entry = _group(file, "1.1", "NXentry")
        entry["title"], entry["start_time"] = title, start_time
        _group(entry, "sample", "NXsample")["name"] = sample
        instrument = _group(entry, "instrument", "NXinstrument")
        detector = _group(instrument, "pilatus", "NXdetector")
        _show_frames(detector, [(f"{path.parent.name}/{path.name}", first, n) for path, first, n in parts], shape)
        positioners = _group(instrument, "positioners", "NXcollection")
        measurement = _group(entry, "measurement", "NXcollection")
        measurement["pilatus"] = h5py.SoftLink("/1.1/instrument/pilatus/data")
        for name, values in counters.items():
            measurement[name] = values
        for name, unit in (("rot", "deg"), ("ty", "mm")):
            positioners[name] = counters[name]
            for dataset in (positioners[name], measurement[name]):
                dataset.attrs["units"] = unit
        for name in {"epoch", "elapsed_time"} & set(counters):
            measurement[name].attrs["units"] = "s"


def _remove_strangers(folder: Path, known: set[str]) -> None:
    """Delete files that the new master does not show: more of them from before, or half a one from a kill."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in known and re.fullmatch(r"\.?pilatus_\d+\.h5(\.part\.h5)?", path.name):
            path.unlink()


def _show_frames(group: h5py.Group, sources: list[tuple[str, int, int]], shape: tuple[int, int, int]) -> None:
    """Virtual dataset ``data`` of the frames in several files (path relative to this one, first frame, number).

    Through h5py's low-level calls, because `create_virtual_dataset` stores the time and no two files would be equal.
    """
    space = h5py.h5s.create_simple(shape)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_obj_track_times(False)
    for source, first, n in sources:
        space.select_hyperslab((first, 0, 0), (n, *shape[1:]))
        creation.set_virtual(space, source.encode(), FRAMES.encode(), h5py.h5s.create_simple((n, *shape[1:])))
    space.select_all()
    h5py.h5d.create(group.id, b"data", h5py.h5t.NATIVE_INT32, space, creation)


def _group(parent: h5py.Group, name: str, nexus_class: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = nexus_class
    return group

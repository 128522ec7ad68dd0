"""Series of frames in a folder of raw data: BLISS/NeXus masters, plain HDF5 stacks, numbered images."""

import glob
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np

from ..errors import RawDataError
from .frames import HDF5_SUFFIXES, open_frames
from .hdf5_links import follow, locate, reading
from .image_series import natural_key
from .nexus import ScanInfo, find_stacks, list_scans, names_per_frame, read_recorded, split_name

IMAGE = re.compile(r"(?P<prefix>.*?)(?P<number>\d*)(?P<suffix>\.(cbf|edf|tiff?|npy)(\.gz|\.bz2)?)", re.IGNORECASE)
CALIBRANT = re.compile("ceo2|lab6|agbh|al2o3|cr2o3|calib|silicon", re.IGNORECASE)

CLOCKS = {"elapsed_time", "epoch", "timer_trig", "epoch_trig", "timer_period", "sampling_time"}
"""What BLISS records beside the frames and is neither a motor nor a counter of the beam."""


@dataclass(frozen=True)
class Series:
    """Frames that belong together: one scan of a master, one stack, or one numbered series of images."""

    label: str
    """Name as the files have it; two scans of one master share it."""
    number: int | None
    """Number of the scan in a master; None for a series that has its file or folder to itself."""
    file: str
    """File or pattern relative to the folder that was searched."""
    dataset: str | None
    title: str
    sample: str
    n_frames: int
    recorded: dict[str, np.ndarray] = field(default_factory=dict, compare=False)
    """Counters and motors with one value per frame."""
    sources: frozenset[Path] = frozenset()
    """Every file with a part of the frames, resolved."""
    identity: tuple = ()
    """The same for two series that show the same frames through different links."""
    linked: bool = False
    """Whether another file holds the scan."""


def find_series(folder: str | Path) -> tuple[list[Series], list[str]]:
    """Every series of at least two frames below `folder`, and a note on each file that holds none.

    Frames that a master links to are found once: where most was recorded beside them.

    Raises
    ------
    RawDataError
        When there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RawDataError(f"{folder}: no such folder")
    files = sorted((Path(root) / name for root, _, names in os.walk(folder) for name in names), key=natural_key)
    files = [path for path in files if not path.name.startswith(".")]
    notes: list[str] = []
    stacks = [
        series
        for path in files
        if path.name.lower().endswith(HDF5_SUFFIXES)
        for series in _series_of_hdf5(path, folder, notes)
    ]
    stacks = [series for series in stacks if not _is_part_of_another(series, stacks, folder)]
    return _once(stacks) + _image_series(files, folder, notes), list(dict.fromkeys(notes))


def _series_of_hdf5(path: Path, folder: Path, notes: list[str]) -> list[Series]:
    """The series of one file: scans of a master, or plain stacks."""
    name = str(path.relative_to(folder))
    try:
        scans = list_scans(path)
        notes += [f"broken link: {text}" for scan in scans for text in scan.broken]
        scans = [scan for scan in scans if scan.dataset]
        found = _scans_of_master(scans, path, folder) if scans else _plain_stacks(path, folder, notes)
    except RawDataError as error:
        notes += [f"left out: {line}" for line in str(error).splitlines()]
        return []
    for scan in scans:
        if scan.others:
            notes.append(f"{name} scan {scan.name}: {scan.dataset} is taken; there are also {', '.join(scan.others)}")
    for series in found:
        if series.n_frames < 2:
            notes.append(f"left out: {name} {series.dataset}: a single frame {_purpose(name)}")
        notes += _missing_frames(path, series.dataset)
    return [series for series in found if series.n_frames > 1]


def _scans_of_master(scans: list[ScanInfo], path: Path, folder: Path) -> list[Series]:
    stems = Counter(split_name(scan.name)[0] for scan in scans)
    found = []
    for scan in scans:
        stem, number, _ = split_name(scan.name)
        label = "_".join(filter(None, [_label(path, folder), stem.strip("_-") if scan.linked else ""]))
        one_of_many = number if stems[stem] > 1 else None
        details = scan.title, scan.sample, scan.n_frames
        with reading(path) as file:
            found.append(
                Series(
                    label,
                    one_of_many,
                    str(path.relative_to(folder)),
                    scan.dataset,
                    *details,
                    _recorded(file, scan.dataset, scan.recorded, scan.n_frames),
                    *_origin(file, scan.dataset),
                    scan.linked,
                )
            )
    return found


def _plain_stacks(path: Path, folder: Path, notes: list[str]) -> list[Series]:
    name, label = str(path.relative_to(folder)), _label(path, folder)
    broken: list[str] = []
    found = []
    with reading(path) as file:
        stacks = find_stacks(file, broken=broken)
        single = dict.fromkeys(find_stacks(file, ndim=2, broken=broken), (1,)) if not stacks else {}
        for dataset, (n_frames, *_) in (stacks | single).items():
            own = label if len(stacks) == 1 else f"{label}_{dataset.strip('/').replace('/', '_')}"
            recorded = _recorded(file, dataset, names_per_frame(file, dataset, n_frames), n_frames)
            found.append(Series(own, None, name, dataset, "", "", n_frames, recorded, *_origin(file, dataset)))
    notes += [f"broken link: {text}" for text in broken]
    if not found:
        notes.append(f"left out: {name}: no stack of frames")
    return found


def _origin(file: h5py.File, dataset: str) -> tuple[frozenset[Path], tuple]:
    """Files with a part of the frames, whether they exist or not, and what tells the frames from others."""
    frames = follow(file, dataset)
    container = Path(frames.file.filename)
    virtual = frames.virtual_sources() if frames.is_virtual else ()
    sources = {container, *(locate(part.file_name, container) for part in virtual)}
    identity = container.resolve(), h5py.h5o.get_info(frames.id).addr
    return frozenset(path.resolve() for path in sources), identity


def _missing_frames(path: Path, dataset: str) -> list[str]:
    try:
        open_frames(path, dataset).close()
    except RawDataError as error:
        return [f"frames are missing: {line}" for line in str(error).splitlines()]
    return []


def _recorded(file: h5py.File, dataset: str, names: tuple[str, ...], n_frames: int) -> dict[str, np.ndarray]:
    return {name: read_recorded(file, dataset, name, n_frames) for name in names if name not in CLOCKS}


def _label(path: Path, folder: Path) -> str:
    """Name of a file with its folders, but a folder that the file repeats counts once."""
    parts = [*path.relative_to(folder).parent.parts, path.stem]
    above = [part for part, below in pairwise(parts) if not below.startswith(part)]
    return "_".join(above + parts[-1:])


def _is_part_of_another(series: Series, all_series: list[Series], folder: Path) -> bool:
    """Whether a stack lies in a file of which a master takes frames."""
    own = (folder / series.file).resolve()
    masters = (other for other in all_series if not other.linked and (folder / other.file).resolve() != own)
    return any(own in master.sources for master in masters)


def _once(stacks: list[Series]) -> list[Series]:
    """One series for each set of frames: that with most counters, in the file that holds the scan."""
    best: dict[tuple, Series] = {}
    for series in stacks:
        other = best.get(series.identity)
        if other is None or (len(other.recorded), not other.linked) < (len(series.recorded), not series.linked):
            best[series.identity] = series
    return [series for series in stacks if best[series.identity] is series]


def _image_series(files: list[Path], folder: Path, notes: list[str]) -> list[Series]:
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for path in files:
        parts = IMAGE.fullmatch(path.name)
        if parts:
            groups.setdefault((path.parent, parts["prefix"], parts["suffix"]), []).append(path)
    in_folder = Counter(parent for (parent, _, _), members in groups.items() if len(members) > 1)
    found = []
    for (parent, prefix, suffix), members in groups.items():
        inside = parent.relative_to(folder)
        if len(members) < 2 or suffix.lower() == ".npy":
            notes += [f"left out: {path.relative_to(folder)}: a single frame {_purpose(path.name)}" for path in members]
            continue
        pattern = str(Path(glob.escape(str(inside))) / f"{glob.escape(prefix)}[0-9]*{suffix}")
        alone = in_folder[parent] == 1 and inside.parts
        label = "_".join([*inside.parts, "" if alone else prefix.strip("_-.")]).strip("_")
        found.append(Series(label or folder.resolve().name, None, pattern, None, "", "", len(members)))
    return found


def _purpose(name: str) -> str:
    """What a single frame may be for."""
    if "mask" in name.lower():
        return "(detector.mask?)"
    return "(calibrate.frame?)" if CALIBRANT.search(name) else "(a calibrant?)"

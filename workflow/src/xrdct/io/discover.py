"""Series of frames in a folder of raw data: BLISS/NeXus masters, plain HDF5 stacks, numbered images."""

import glob
import os
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import RawDataError
from .frames import HDF5_SUFFIXES, open_frames
from .hdf5_links import reading
from .image_series import natural_key
from .nexus import find_stacks, list_scans, read_recorded

IMAGE = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)(?P<suffix>\.(cbf|edf|tiff?)(\.gz|\.bz2)?)", re.IGNORECASE)

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
    n_frames: int
    recorded: dict[str, np.ndarray] = field(default_factory=dict, compare=False)
    """Counters and motors with one value per frame."""
    sources: frozenset[Path] = frozenset()
    """Every file with a part of the frames, resolved."""


def find_series(folder: str | Path) -> tuple[list[Series], list[str]]:
    """Every series of at least two frames below `folder`, and a note on each file that holds none.

    Raises
    ------
    RawDataError
        When there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RawDataError(f"{folder}: no such folder")
    files = sorted((Path(root) / name for root, _, names in os.walk(folder) for name in names), key=natural_key)
    notes: list[str] = []
    stacks = [
        series
        for path in files
        if path.name.lower().endswith(HDF5_SUFFIXES)
        for series in _series_of_hdf5(path, folder, notes)
    ]
    stacks = [series for series in stacks if not _is_part_of_another(series, stacks, folder)]
    return stacks + _image_series(files, folder, notes), notes


def _series_of_hdf5(path: Path, folder: Path, notes: list[str]) -> list[Series]:
    """The series of one file; of a sample's file that only links to scans elsewhere, none."""
    name = str(path.relative_to(folder))
    try:
        scans = list_scans(path)
        if not any(scan.dataset for scan in scans):
            return _plain_stacks(path, folder)
    except RawDataError as error:
        notes += [f"left out: {line}" for line in str(error).splitlines()]
        return []
    own = [scan for scan in scans if scan.dataset and not scan.linked]
    found = []
    for scan in own:
        if scan.n_frames < 2:
            notes.append(f"left out: {name} scan {scan.name}: a single frame (a calibrant?)")
            continue
        if scan.others:
            notes.append(f"{name} scan {scan.name}: {scan.dataset} is taken; there are also {', '.join(scan.others)}")
        digits = re.match(r"\d+", scan.name)
        number = int(digits[0]) if digits and len(own) > 1 else None
        recorded = _recorded(path, scan.dataset, scan.recorded, scan.n_frames)
        dataset, title, n_frames = scan.dataset, scan.title, scan.n_frames
        sources = _sources(path, dataset, notes)
        found.append(Series(_label(path, folder), number, name, dataset, title, n_frames, recorded, sources))
    return found


def _plain_stacks(path: Path, folder: Path) -> list[Series]:
    with reading(path) as file:
        stacks = {dataset: shape[0] for dataset, shape in find_stacks(file).items() if shape[0] > 1}
    name, label = str(path.relative_to(folder)), _label(path, folder)
    labels = {
        dataset: label if len(stacks) == 1 else f"{label}_{dataset.strip('/').replace('/', '_')}" for dataset in stacks
    }
    own = frozenset({path.resolve()})
    return [Series(labels[d], None, name, d, "", n_frames, {}, own) for d, n_frames in stacks.items()]


def _sources(path: Path, dataset: str, notes: list[str]) -> frozenset[Path]:
    try:
        with open_frames(path, dataset) as source:
            return frozenset(file.resolve() for file in source.files)
    except RawDataError as error:
        notes += [f"frames are missing: {line}" for line in str(error).splitlines()]
        return frozenset({path.resolve()})


def _recorded(path: Path, dataset: str, names: tuple[str, ...], n_frames: int) -> dict[str, np.ndarray]:
    with reading(path) as file:
        return {name: read_recorded(file, dataset, name, n_frames) for name in names if name not in CLOCKS}


def _label(path: Path, folder: Path) -> str:
    """Name of a file with its folders, but a folder that the file repeats counts once."""
    parts = [*path.relative_to(folder).parent.parts, path.stem]
    above = [part for part, below in pairwise(parts) if not below.startswith(part)]
    return "_".join(above + parts[-1:])


def _is_part_of_another(series: Series, all_series: list[Series], folder: Path) -> bool:
    """Whether a stack is what a master beside it refers to."""
    own = (folder / series.file).resolve()
    return any(other.file != series.file and own in other.sources for other in all_series)


def _image_series(files: list[Path], folder: Path, notes: list[str]) -> list[Series]:
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for path in files:
        parts = IMAGE.fullmatch(path.name)
        if parts:
            groups.setdefault((path.parent, parts["prefix"], parts["suffix"]), []).append(path)
    found = []
    for (parent, prefix, suffix), members in groups.items():
        if len(members) < 2:
            notes.append(f"left out: {members[0].relative_to(folder)}: a single frame (a calibrant?)")
            continue
        inside = parent.relative_to(folder)
        pattern = str(inside / f"{glob.escape(prefix)}[0-9]*{suffix}")
        label = "_".join([*inside.parts, prefix.strip("_-.")]).strip("_")
        found.append(Series(label or folder.resolve().name, None, pattern, None, "", len(members)))
    return found

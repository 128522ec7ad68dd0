"""Where the frames of an HDF5 dataset really lie: virtual datasets taken apart down to their source files.

HDF5 fills a virtual dataset with zeros, without a word, where a source is missing, truncated, too short, or
cannot be opened because too many files are open. So nothing is read through it: every source is opened and
measured here, and the frames are then read from the sources themselves.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..errors import RawDataError
from .hdf5_links import follow, locate, open_hdf5


@dataclass(frozen=True)
class Segment:
    """Frames `start` to `stop` − 1 are the frames from `first` on of a dataset that is not virtual."""

    start: int
    stop: int
    file: Path
    dataset: str
    first: int


@dataclass(frozen=True)
class Layout:
    """Files with a part of the dataset, and the segments in order.

    `segments` is None where sources hold parts of frames (modules of a detector): only HDF5 can join these.
    """

    files: list[Path]
    segments: list[Segment] | None


def find_layout(dataset: h5py.Dataset) -> Layout:
    """Look into every file that holds a part of `dataset`, a stack (n_frames, rows, columns) or one frame.

    Raises
    ------
    RawDataError
        With one line for every source that is missing, truncated, lacks the dataset or is too short, and for
        frames that no source covers.
    """
    files, problems = set(), []
    segments = _visit(dataset, files, problems)
    if problems:
        raise RawDataError("\n".join(dict.fromkeys(problems)))
    return Layout(sorted(files), segments)


def _visit(dataset: h5py.Dataset, files: set[Path], problems: list[str]) -> list[Segment] | None:
    container = Path(dataset.file.filename)
    files.add(container)
    n_frames = _stacked(dataset.shape)[0]
    if not dataset.is_virtual:
        return [Segment(0, n_frames, container, dataset.name, 0)]
    here = f"{container}: virtual dataset {dataset.name}"
    by_file: dict[str, list] = {}
    for mapping in dataset.virtual_sources():
        by_file.setdefault(mapping.file_name, []).append(mapping)
    parts = []
    for name, mappings in by_file.items():
        path = locate(name, container)
        if not path.is_file():
            problems.append(f"{here} needs {path}, which is missing")
            continue
        try:
            with open_hdf5(path) as file:
                parts += [_visit_source(file, mapping, dataset, files, problems) for mapping in mappings]
        except RawDataError as error:
            problems.append(f"{here}: {error}")
    problems += _uncovered(dataset, here)
    return _in_order(parts, n_frames)


def _visit_source(file, mapping, dataset, files, problems) -> list[Segment] | None:
    source = follow(file, mapping.dset_name)
    here = f"{dataset.file.filename}: virtual dataset {dataset.name}"
    wanted = f"{here} needs {mapping.dset_name} in {file.filename}"
    if not isinstance(source, h5py.Dataset):
        problems.append(f"{wanted}, which does not exist there")
        return None
    inner = _visit(source, files, problems)
    if not _holds(source, mapping):
        part = _bounds(mapping.src_space) or f"{mapping.vspace.get_select_npoints()} values"
        problems.append(f"{wanted} with {part}, but it has {source.shape}: still being written, or cut short")
    into = _whole_frames(mapping.vspace, dataset.shape)
    taken = _whole_frames(mapping.src_space, source.shape)
    if inner is None or into is None or taken is None:
        return None
    return _shifted(inner, taken, into[0])


def _shifted(segments: list[Segment], taken: tuple[int, int], into: int) -> list[Segment]:
    """The frames taken[0] to taken[1] − 1 of what `segments` describe, counted from `into`."""
    first, last = taken
    return [
        Segment(
            into + max(s.start, first) - first,
            into + min(s.stop, last) - first,
            s.file,
            s.dataset,
            s.first + max(first - s.start, 0),
        )
        for s in segments
        if s.start < last and s.stop > first
    ]


def _in_order(parts: list[list[Segment] | None], n_frames: int) -> list[Segment] | None:
    """All segments by frame number, None unless they follow each other without gap or overlap."""
    if any(part is None for part in parts):
        return None
    segments = sorted((s for part in parts for s in part), key=lambda s: s.start)
    starts, stops = [s.start for s in segments], [s.stop for s in segments]
    return segments if [0, *stops] == [*starts, n_frames] else None


def _whole_frames(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """First and last + 1 frame of a selection, None unless it is a run of whole frames."""
    if space.get_select_type() == h5py.h5s.SEL_ALL:
        return 0, _stacked(shape)[0]
    if _is_unlimited(space):
        return None
    low, high = (np.array(bound, dtype=int) for bound in space.get_select_bounds())
    extent = high - low + 1
    solid = space.get_select_npoints() == extent.prod()
    if not solid or tuple(extent[-2:]) != tuple(shape[-2:]):
        return None
    return (0, 1) if len(shape) == 2 else (int(low[0]), int(high[0]) + 1)


def _holds(source: h5py.Dataset, mapping) -> bool:
    """Whether the source is as large as the mapping supposes."""
    if mapping.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        return _is_unlimited(mapping.vspace) or source.size == mapping.vspace.get_select_npoints()
    extent = _bounds(mapping.src_space)
    if extent is None:
        return True
    return len(extent) == source.ndim and all(have >= n for have, n in zip(source.shape, extent, strict=True))


def _bounds(space: h5py.h5s.SpaceID) -> tuple[int, ...] | None:
    """Smallest shape that holds a selection; None where the selection sets no bound of its own."""
    if space.get_select_type() == h5py.h5s.SEL_ALL or _is_unlimited(space):
        return None
    return tuple(int(last) + 1 for last in space.get_select_bounds()[1])


def _is_unlimited(space: h5py.h5s.SpaceID) -> bool:
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        return False
    return h5py.h5s.UNLIMITED in space.get_regular_hyperslab()[2]


def _uncovered(dataset: h5py.Dataset, here: str) -> list[str]:
    """Frames that no source fills: HDF5 would return its fill value for them."""
    covered = np.zeros(_stacked(dataset.shape)[0], bool)
    for mapping in dataset.virtual_sources():
        covered[_selected_frames(mapping.vspace, dataset.shape)] = True
    gap = np.flatnonzero(~covered)
    if not len(gap):
        return []
    return [f"{here}: no source for {len(gap)} of its {len(covered)} frames (the first: frame {gap[0]})"]


def _selected_frames(space: h5py.h5s.SpaceID, shape: tuple[int, ...]) -> np.ndarray | slice:
    if len(shape) == 2 or space.get_select_type() == h5py.h5s.SEL_ALL:
        return slice(None)
    if not space.is_regular_hyperslab():
        first, last = (int(bound[0]) for bound in space.get_select_bounds())
        return slice(first, last + 1)
    start, stride, count, block = (int(axis[0]) for axis in space.get_regular_hyperslab())
    starts = np.arange(start, shape[0], stride)[:count]
    frames = (starts[:, None] + np.arange(min(block, shape[0]))).ravel()
    return frames[frames < shape[0]]


def _stacked(shape: tuple[int, ...]) -> tuple[int, ...]:
    """(n_frames, rows, columns), also of one frame."""
    return (1, *shape) if len(shape) == 2 else shape

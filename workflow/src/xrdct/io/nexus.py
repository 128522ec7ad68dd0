"""Scans inside an HDF5 master (NeXus, ESRF BLISS): where the frames are, and what was recorded beside them.

BLISS lays a scan out as ``/1.1/title``, ``/1.1/measurement/<counter, motor or detector>``,
``/1.1/instrument/positioners/<motor>`` and ``/1.1/instrument/<device>/{data,value}``; a sample's file holds
external links to the scans of its datasets' files.
"""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from ..errors import RawDataError
from .hdf5_links import follow, reading


@dataclass(frozen=True)
class ScanInfo:
    """One scan of a master file."""

    name: str
    """Name of its group, such as '1.1'."""
    title: str
    """Command that made it, such as 'fscan2d rot 0 1.8 100 ty -9 0.03 600 0.01'; empty where not recorded."""
    dataset: str | None
    """Path of the frames; None for a scan without an area detector."""
    shape: tuple[int, ...]
    """(n_frames, rows, columns); empty without frames."""
    recorded: tuple[str, ...]
    """Counters and motors with one value per frame."""
    linked: bool
    """Whether the scan lives in another file that this one links to."""
    others: tuple[str, ...] = ()
    """Further stacks, of detectors that took less data."""
    sample: str = ""
    """Name of the sample; empty where not recorded."""
    broken: tuple[str, ...] = ()
    """Links in the scan that lead nowhere, one sentence each."""

    @property
    def n_frames(self) -> int:
        """Number of frames, 0 without an area detector."""
        return self.shape[0] if self.shape else 0


def list_scans(path: str | Path) -> list[ScanInfo]:
    """Scans of a master file, by number; one whose link is broken has no frames and says so.

    Raises
    ------
    RawDataError
        When the file cannot be opened.
    """
    with reading(path) as file:
        scans = [_describe_scan(file, name) for name in sorted(file, key=split_name)]
        return [scan for scan in scans if scan is not None]


def split_name(name: str) -> tuple[str, int, int]:
    """'cell_12.1' into 'cell_', 12 and 1; a name of another form into itself, 0 and 0."""
    head, _, tail = name.rpartition(".")
    stem = head.rstrip("0123456789")
    number = head[len(stem) :]
    return (stem, int(number or 0), int(tail)) if tail.isdecimal() else (name, 0, 0)


def _describe_scan(file: h5py.File, name: str) -> ScanInfo | None:
    """None for what is not a scan."""
    linked = isinstance(file.get(name, getlink=True), h5py.ExternalLink)
    broken: list[str] = []
    try:
        scan = follow(file, name)
    except RawDataError as error:
        return ScanInfo(name, "", None, (), (), linked, broken=(str(error),))
    if not isinstance(scan, h5py.Group) or not {"measurement", "instrument"} & set(scan):
        return None
    stacks = find_stacks(file, name, broken=broken)
    # Largest first: a camera that looks on has fewer or smaller frames than the area detector.
    dataset, *others = sorted(stacks, key=lambda path: (-np.prod(stacks[path], dtype=float), path)) or [None]
    shape = stacks[dataset] if dataset else ()
    recorded = names_per_frame(file, dataset, shape[0]) if dataset else ()
    title, sample = _text(file, f"{name}/title", broken), _text(file, f"{name}/sample/name", broken)
    return ScanInfo(name, title, dataset, shape, recorded, linked, tuple(others), sample, tuple(dict.fromkeys(broken)))


def _text(file: h5py.File, path: str, broken: list[str]) -> str:
    try:
        node = follow(file, path)
    except RawDataError as error:
        broken.append(str(error))
        return ""
    if not isinstance(node, h5py.Dataset) or node.dtype.kind not in "OS" or node.size != 1:
        return ""
    return str(np.ravel(node.asstr()[()])[0])


def find_stacks(
    file: h5py.File, below: str = "/", *, ndim: int = 3, broken: list[str] | None = None
) -> dict[str, tuple[int, ...]]:
    """Paths and shapes of the numeric datasets with `ndim` axes, through every link; one path per dataset.

    Of several paths to one dataset the shortest counts, in BLISS ``/1.1/measurement/<detector>``.

    Raises
    ------
    RawDataError
        At a link that leads nowhere; with a list as `broken` it is said there and passed over.
    """
    found: dict[tuple, list[str]] = {}
    shapes, seen, waiting = {}, set(), ["/" + below.strip("/")]
    while waiting:
        path = waiting.pop()
        try:
            node = follow(file, path)
        except RawDataError as error:
            if broken is None:
                raise
            broken.append(str(error))
            continue
        info = h5py.h5o.get_info(node.id)
        key = (info.fileno, info.addr)
        if isinstance(node, h5py.Dataset):
            if node.ndim == ndim and node.dtype.kind in "iuf" and (node.size or node.is_virtual):
                found.setdefault(key, []).append(path)
                shapes[key] = node.shape
        elif key not in seen:
            seen.add(key)
            waiting += [f"{path.rstrip('/')}/{name}" for name in node]
    return {min(paths, key=lambda p: (p.count("/"), p)): shapes[key] for key, paths in found.items()}


def read_recorded(file: h5py.File, dataset: str, name: str, n_frames: int) -> np.ndarray:
    """A counter or motor of the scan that holds the frames at `dataset`: shape (n_frames,), float64.

    A bare name is looked for beside the frames, then in the scan's measurement, positioners and devices; a
    name with a leading '/' is a path in the file. A single value (a motor that stood still) counts for every
    frame.

    Raises
    ------
    RawDataError
        When there is no such name, or not one value per frame.
    """
    for path in _places(dataset, name):
        node = follow(file, path)
        if isinstance(node, h5py.Dataset):
            return _one_per_frame(node, f"{file.filename}: {path}", n_frames)
    known = ", ".join(names_per_frame(file, dataset, n_frames)) or "nothing"
    raise RawDataError(
        f"{file.filename}: no counter or motor {name!r} for the frames {dataset}; recorded per frame: {known}"
    )


def _one_per_frame(node: h5py.Dataset, where: str, n_frames: int) -> np.ndarray:
    if node.dtype.kind not in "iufb":
        raise RawDataError(f"{where}: expected numbers, found {node.dtype}")
    if node.size == 1 and node.ndim == 0:
        return np.full(n_frames, node[()], dtype=np.float64)
    if node.shape != (n_frames,):
        raise RawDataError(f"{where}: {node.shape} values for {n_frames} frames")
    try:
        return node[()].astype(np.float64)
    except OSError as error:
        raise RawDataError(f"{where}: cannot be read: truncated or damaged file ({error})") from None


def _places(dataset: str, name: str) -> list[str]:
    if name.startswith("/"):
        return [name]
    beside = dataset.rpartition("/")[0]
    scan = "/" + dataset.strip("/").partition("/")[0]
    devices = f"{scan}/instrument"
    return [
        f"{beside}/{name}",
        f"{scan}/measurement/{name}",
        f"{devices}/positioners/{name}",
        f"{devices}/{name}/data",
        f"{devices}/{name}/value",
    ]


def names_per_frame(file: h5py.File, dataset: str, n_frames: int) -> tuple[str, ...]:
    """Counters and motors with one value per frame, of the scan that holds the frames; broken links are passed over."""
    names = set()
    folders = {path.rpartition("/")[0] for path in _places(dataset, "any")[:3]}
    for folder in sorted(folders):
        group = follow(file, folder)
        for name in group if isinstance(group, h5py.Group) else ():
            try:
                node = follow(file, f"{folder}/{name}")
            except RawDataError:
                continue
            if isinstance(node, h5py.Dataset) and node.shape == (n_frames,) and node.dtype.kind in "iuf":
                names.add(name)
    return tuple(sorted(names))

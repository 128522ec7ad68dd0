"""HDF5 files as beamlines write them: external links and virtual datasets, with every missing part named.

HDF5 fills a virtual dataset with zeros, without a word, where a source is missing, truncated or too short.
Nothing here trusts it: every source is opened and measured before a frame is read.
"""

from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers bitshuffle-LZ4 and the other detector compressions with HDF5)
import numpy as np

from ..errors import RawDataError
from .frame_source import missing_file


def open_hdf5(path: str | Path) -> h5py.File:
    """Open for reading.

    Raises
    ------
    RawDataError
        When the file is missing, truncated, being written, or no HDF5.
    """
    path = Path(path)
    if not path.is_file():
        raise RawDataError(missing_file(path))
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise RawDataError(f"{path}: {_open_failure(path, str(error))}") from None


def _open_failure(path: Path, message: str) -> str:
    if "truncated file" in message:
        return f"truncated or still being written (the file ends after {path.stat().st_size} bytes)"
    if "signature not found" in message:
        size = path.stat().st_size
        return "not an HDF5 file" if size > 2048 else f"no HDF5 file, or truncated ({size} bytes)"
    if "lock" in message or "already open" in message:
        return "truncated or still being written (another program holds it open)"
    return f"truncated or damaged: {message}"


def follow(file: h5py.File, name: str) -> h5py.Group | h5py.Dataset | None:
    """The object at the path `name`, through soft and external links; None where nothing of that name exists.

    Raises
    ------
    RawDataError
        When a link on the way is broken; names the link and what it points to.
    """
    node = file["/"]
    for part in filter(None, name.split("/")):
        if not isinstance(node, h5py.Group):
            return None
        link = node.get(part, getlink=True)
        if link is None:
            return None
        node = _step(node, part, link)
    return node


def _step(group: h5py.Group, part: str, link) -> h5py.Group | h5py.Dataset:
    here = f"{group.file.filename}: {group.name.rstrip('/')}/{part}"
    if isinstance(link, h5py.ExternalLink):
        target = locate(link.filename, Path(group.file.filename))
        if not target.is_file():
            raise RawDataError(f"{here} links to {target}, which is missing")
        open_hdf5(target).close()
    try:
        return group[part]
    except (KeyError, OSError, RuntimeError) as error:
        if isinstance(link, h5py.ExternalLink):
            raise RawDataError(f"{here} links to {link.path} in {target}, which does not exist there") from None
        if isinstance(link, h5py.SoftLink):
            raise RawDataError(f"{here} links to {link.path}, which does not exist") from None
        raise RawDataError(f"{here} cannot be read: truncated or damaged file ({error})") from None


def locate(name: str, container: Path) -> Path:
    """Where HDF5 finds the file `name` that a link or virtual dataset inside `container` refers to.

    Relative names count from the container's folder (also from where a symbolic link to it leads). Of an
    absolute name that does not exist, the last part is looked for there: a copied beamtime still opens.
    """
    if name == ".":
        return container
    wanted = Path(name)
    places = [wanted] if wanted.is_absolute() else []
    relative = wanted.name if wanted.is_absolute() else wanted
    places += [container.parent / relative, container.resolve().parent / relative]
    return next((place for place in places if place.is_file()), places[0])


def check_sources(dataset: h5py.Dataset) -> list[Path]:
    """Every file that holds a part of `dataset`, after a look into each.

    Raises
    ------
    RawDataError
        With one line for every source that is missing, truncated, lacks the dataset or is too short, and for
        frames that no source covers.
    """
    files, problems = set(), []
    _visit(dataset, files, problems)
    if problems:
        raise RawDataError("\n".join(dict.fromkeys(problems)))
    return sorted(files)


def _visit(dataset: h5py.Dataset, files: set[Path], problems: list[str]) -> None:
    container = Path(dataset.file.filename)
    files.add(container)
    if not dataset.is_virtual:
        return
    here = f"{container}: virtual dataset {dataset.name}"
    covered = np.zeros(dataset.shape[0] if dataset.ndim else 0, bool)
    needed: dict[tuple[str, str], np.ndarray] = {}
    for mapping in dataset.virtual_sources():
        covered[_selected_frames(mapping.vspace, len(covered))] = True
        key = (mapping.file_name, mapping.dset_name)
        whole = mapping.src_space.get_select_type() == h5py.h5s.SEL_ALL
        extent = _length(mapping.vspace) if whole else _extent(mapping.src_space)
        needed[key] = np.maximum(needed.get(key, 0), extent)
    if not covered.all():
        gap = np.flatnonzero(~covered)
        problems.append(f"{here}: no source for {len(gap)} of {len(covered)} frames (first: {gap[0]})")
    for (file_name, name), extent in needed.items():
        path = locate(file_name, container)
        if not path.is_file():
            problems.append(f"{here} needs {path}, which is missing")
            continue
        try:
            with open_hdf5(path) as file:
                _visit_source(follow(file, name), f"{here} needs {name} in {path}", extent, files, problems)
        except RawDataError as error:
            problems.append(f"{here}: {error}")


def _visit_source(source, wanted: str, extent: np.ndarray, files: set[Path], problems: list[str]) -> None:
    if not isinstance(source, h5py.Dataset):
        problems.append(f"{wanted}, which does not exist there")
    elif source.ndim != len(extent) or (np.array(source.shape) < extent).any():
        problems.append(f"{wanted} with at least {tuple(map(int, extent))} values, but it has {source.shape}")
    else:
        _visit(source, files, problems)


def _extent(space: h5py.h5s.SpaceID) -> np.ndarray:
    """Smallest shape that holds the selection of a mapping in its source."""
    return np.array(space.get_select_bounds()[1]) + 1


def _length(space: h5py.h5s.SpaceID) -> np.ndarray:
    """Shape of the box that a selection fills."""
    first, last = space.get_select_bounds()
    return np.array(last) - first + 1


def _selected_frames(space: h5py.h5s.SpaceID, n_frames: int) -> np.ndarray:
    """Indices along the first axis that a mapping fills."""
    if space.get_select_type() == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = (axis[0] for axis in space.get_regular_hyperslab())
        frames = start + stride * np.arange(count)[:, None] + np.arange(block)
        return frames.ravel()
    first, last = (bound[0] for bound in space.get_select_bounds())
    return np.arange(first, min(last + 1, n_frames))

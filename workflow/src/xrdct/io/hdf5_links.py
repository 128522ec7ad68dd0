"""HDF5 files and the links in them: what is missing, truncated or damaged is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (registers bitshuffle-LZ4 and the other detector compressions with HDF5)

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


@contextmanager
def reading(path: str | Path) -> Iterator[h5py.File]:
    """Open for reading, and name the file too when HDF5 stumbles over damage further in.

    Raises
    ------
    RawDataError
        As `open_hdf5`; also for what cannot be read inside the block.
    """
    with open_hdf5(path) as file:
        try:
            yield file
        except RawDataError:
            raise
        except (OSError, RuntimeError, KeyError) as error:
            raise RawDataError(f"{path}: truncated or damaged: {error}") from None


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
    name = name.replace("%%", "%")
    wanted = Path(name)
    places = [wanted] if wanted.is_absolute() else []
    relative = wanted.name if wanted.is_absolute() else wanted
    places += [container.parent / relative, container.resolve().parent / relative]
    return next((place for place in places if place.is_file()), places[0])

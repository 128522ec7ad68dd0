"""Detector frames from whatever a beamline writes."""

import glob
import hashlib
import os
import pickle
import threading
from pathlib import Path

import numpy as np

from ..errors import RawDataError
from .frame_source import FrameSource, missing_file
from .hdf5_frames import Hdf5Frames
from .image_series import ImageSeries

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5")


def open_frames(path: str | Path, dataset: str | None = None) -> FrameSource:
    """A series of frames, read in blocks when asked.

    Parameters
    ----------
    path
        HDF5 file (stack, or master with links), image file, or pattern of image files: ``scan1/*.cbf``.
    dataset
        Path of the frames in an HDF5 file; None: the only stack there is.

    Raises
    ------
    RawDataError
        When files or parts of them are missing, truncated or of the wrong shape.
    """
    if is_hdf5(path):
        if is_pattern(path):
            raise RawDataError(f"{path}: a pattern of HDF5 files; give their master, or one file per row of the table")
        return Hdf5Frames(path, dataset)
    if dataset:
        raise RawDataError(f"{path}: a dataset ({dataset}) was named, but this is not an HDF5 file (.h5, .nxs, …)")
    return ImageSeries(path)


def read_image(path: str | Path, dataset: str | None = None) -> np.ndarray:
    """One image, such as a calibrant frame or a mask: shape (rows, columns), values as stored.

    Parameters
    ----------
    path
        NPY, HDF5, or an image file that fabio reads (EDF, TIFF, CBF …; .gz too).
    dataset
        Path of the image in an HDF5 file; None: the only one there is.

    Raises
    ------
    RawDataError
        When the file is missing, damaged, or holds anything but one image.
    """
    if str(path).endswith(".npy"):
        return _read_npy(Path(path))
    with open_frames(path, dataset) as source:
        if source.shape[0] != 1:
            raise RawDataError(f"{path}: expected one image, found {source.shape[0]} frames")
        return source.read(0, 1)[0]


def is_hdf5(path: str | Path) -> bool:
    """Whether the name says HDF5."""
    return str(path).lower().endswith(HDF5_SUFFIXES)


def is_pattern(path: str | Path) -> bool:
    """Whether the name has wildcards; a file that is called so counts as a file."""
    return glob.has_magic(str(path)) and not os.path.exists(path)


def raw_path(root: str | Path, file: str) -> Path:
    """Where a file of the configuration or the table lies; symbolic links inside `root` may lead anywhere.

    Of a pattern, wildcards count in `file` and not in `root`.

    Raises
    ------
    RawDataError
        When the name leads out of `root`, as '../x' or an absolute path does.
    """
    inside = os.path.normpath(file)
    if os.path.isabs(file) or inside.split(os.sep)[0] == os.pardir:
        raise RawDataError(f"{file!r} leads out of raw.root ({root}); give a path inside it")
    path = Path(root) / inside
    return Path(glob.escape(str(root))) / inside if is_pattern(path) and glob.has_magic(file) else path


def _read_npy(path: Path) -> np.ndarray:
    try:
        image = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise RawDataError(missing_file(path)) from None
    except (OSError, ValueError, EOFError) as error:
        raise RawDataError(f"{path}: not a NumPy file, or truncated ({error})") from None
    if image.ndim != 2 or image.dtype.kind not in "iufb":
        raise RawDataError(f"{path}: expected one image, found {image.dtype} of shape {image.shape}")
    return image


class ThreadLocal:
    """A series of frames that several threads read at once: each gets a copy with files of its own."""

    def __init__(self, source: FrameSource):
        self._pickled = pickle.dumps(source)
        self._local = threading.local()

    def read(self, start: int, stop: int) -> np.ndarray:
        """As `FrameSource.read`."""
        if not hasattr(self._local, "source"):
            self._local.source = pickle.loads(self._pickled)
        return self._local.source.read(start, stop)


def files_behind(path: str | Path, dataset: str | None = None) -> list[str]:
    """Files whose change is a change of the frames, for a workflow to watch: an HDF5 file and all it links to.

    Of a pattern they are the folders that it leads to: a list of a hundred thousand inputs would only slow the
    workflow down, and what happens to the files themselves shows in `series_stamp`. What cannot be opened, or matches
    nothing, is returned as named: the job that reads it says why.
    """
    if is_pattern(path):
        folder = str(Path(path).parent)
        return sorted(filter(os.path.isdir, glob.glob(folder, recursive=True))) or [folder]
    if not is_hdf5(path):
        return [str(path)]
    try:
        with open_frames(path, dataset) as source:
            return sorted({str(path), *map(str, source.files)})
    except RawDataError:
        return [str(path)]


def series_stamp(path: str | Path) -> str | None:
    """Short hash over names, sizes and times of all files of a pattern, None where `path` is no pattern.

    It changes when a file comes, goes, or is written again in place, and takes about a second for a quarter of a
    million files, none of which is opened.
    """
    if not is_pattern(path):
        return None
    digest = hashlib.sha256()
    for name in sorted(glob.glob(str(path), recursive=True)):
        try:
            status = os.stat(name)
        except FileNotFoundError:
            continue  # a link that leads nowhere, or gone just now
        digest.update(f"{name}\0{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]

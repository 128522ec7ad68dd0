"""Frames as image files: CBF, EDF, TIFF and what else fabio reads, one file or a numbered series."""

import glob
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np

from ..errors import RawDataError
from .fabio_image import load_header, load_image, pixels
from .frame_source import FrameSource, missing_file
from .image_header import header_value


class ImageSeries(FrameSource):
    """Image files in the numerical order of their names, one or more frames each.

    Parameters
    ----------
    path
        One file, or a pattern such as ``scan1/frame_*.cbf``; compressed (.gz, .bz2) files too.

    Raises
    ------
    RawDataError
        When nothing matches, or the first file is no image.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.files = list_files(path)
        image = load_image(self.files[0])
        first = pixels(image, 0, self.files[0])
        self.dtype = first.dtype.newbyteorder("=")
        self._format = type(image).__name__.removesuffix("Image").upper()
        counts = [image.nframes]
        if image.nframes > 1:
            # One file per frame is the rule, and then only one of many thousands is opened here.
            counts += [load_image(file).nframes for file in self.files[1:]]
        else:
            counts *= len(self.files)
        self._ends = np.cumsum(counts)
        self.shape = (int(self._ends[-1]), *first.shape)

    def _read(self, start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *self.shape[1:]), self.dtype)
        image, opened = None, None
        for number in range(start, stop):
            which = int(np.searchsorted(self._ends, number, side="right"))
            file = self.files[which]
            if file != opened:
                image, opened = load_image(file), file
            first = int(self._ends[which - 1]) if which else 0
            block[number - start] = self._checked(pixels(image, number - first, file), file)
        return block

    def _checked(self, frame: np.ndarray, file: Path) -> np.ndarray:
        if frame.shape != self.shape[1:]:
            raise RawDataError(f"{file}: frame of shape {frame.shape}, but {self.files[0]} has {self.shape[1:]}")
        if not np.can_cast(frame.dtype, self.dtype, "same_kind"):
            raise RawDataError(f"{file}: pixels are {frame.dtype}, but {self.files[0]} has {self.dtype}")
        return frame

    def values(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """See `FrameSource.values`; `name` is a header key (`image_header.header_value`)."""
        if len(self.files) != self.shape[0]:
            raise RawDataError(
                f"{self.path}: {len(self.files)} files with {self.shape[0]} frames: {name!r} needs a header per frame"
            )
        return np.array([header_value(load_header(file), name, origin=file) for file in self.files[start:stop]])

    def describe(self) -> dict:
        """See `FrameSource.describe`."""
        return {
            "format": self._format,
            "files": [str(file) for file in self.files],
            "shape": list(self.shape),
            "dtype": str(self.dtype),
        }


def list_files(path: str | Path) -> list[Path]:
    """Files of a series in numerical order: frame_2 stands before frame_10.

    Raises
    ------
    RawDataError
        When there are none, or `path` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        kinds = Counter(p.name[p.name.find(".") :] for p in path.iterdir() if p.is_file())
        held = ", ".join(f"{n} *{kind}" for kind, n in kinds.most_common(3)) or "no files"
        raise RawDataError(f"{path}: is a folder ({held}); give a file, or a pattern such as {path}/*.cbf")
    if path.is_file():
        return [path]
    if not glob.has_magic(str(path)):
        raise RawDataError(missing_file(path))
    files = [Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)]
    if not files:
        raise RawDataError(f"{path}: no file matches this pattern")
    return sorted(files, key=natural_key)


def natural_key(path: Path | str) -> list:
    """Sort key by which numbers in names count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]

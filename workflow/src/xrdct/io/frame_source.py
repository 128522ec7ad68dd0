"""What every series of detector frames can do, whatever files hold it."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np


class FrameSource(ABC):
    """A series of frames of one shape, read in blocks when asked.

    Opening looks at headers only. A source can be pickled: a worker process opens the files again by itself.

    Attributes
    ----------
    path
        File or pattern as the user gave it.
    shape
        (n_frames, rows, columns).
    dtype
        Type of the pixels, in the machine's byte order.
    files
        Every file whose bytes the frames come from, sources of virtual datasets included.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    files: list[Path]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Frames `start` to `stop` − 1, shape (stop − start, rows, columns), counts as stored.

        Raises
        ------
        RawDataError
            When a frame is damaged or of another shape; names the file or the frame.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise IndexError(f"{self.path}: frames {start}:{stop} asked for, there are {self.shape[0]}")
        return self._read(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray: ...

    @abstractmethod
    def values(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """A counter or motor position of every frame: shape (n_frames,), float64, unit as recorded.

        With `start` and `stop` only those of frames `start` to `stop` − 1 (a series opens a file for each).

        Raises
        ------
        RawDataError
            When there is no such name (the message lists what there is), or not one value per frame.
        """

    def count_unwritten(self) -> int:
        """Frames that the file has room for but does not hold, as after an aborted scan. No frame is read."""
        return 0

    @abstractmethod
    def describe(self) -> dict:
        """Format, files, shape and type of the frames, as plain values that JSON can hold."""

    @property
    def frame_bytes(self) -> int:
        """Size of one frame in memory."""
        return int(np.prod(self.shape[1:])) * self.dtype.itemsize

    def close(self) -> None:  # noqa: B027  (a source that keeps no file open has nothing to do)
        """Let go of open files; reading again opens them again."""

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.close()


def missing_file(path: Path) -> str:
    """'no such file', and what the folder holds under a similar name."""
    import difflib

    if not path.parent.is_dir():
        return f"{path}: no such file; the folder {path.parent} does not exist"
    near = difflib.get_close_matches(path.name, sorted(p.name for p in path.parent.iterdir()), n=3)
    return f"{path}: no such file" + (f"; the folder holds {', '.join(near)}" if near else "")

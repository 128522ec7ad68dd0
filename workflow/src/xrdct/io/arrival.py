"""Has a scan arrived whole, or is it still being measured?"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import RawDataError
from .frames import open_frames


@dataclass(frozen=True)
class Arrival:
    """What stands of a scan's raw files at one moment."""

    stamp: tuple[tuple[str, int, int], ...]
    """Name, size and time of every file: two looks with the same stamp saw the same files."""
    lacking: str | None
    """What is not there yet, or not as the table says; None: every frame that the table asks for is there."""


@dataclass(frozen=True)
class Expected:
    """What the table says of one series of frames."""

    file: Path
    dataset: str | None
    n_frames: int


def look_at_frames(series: Iterable[Expected]) -> Arrival:
    """Look at the raw files of a scan (all its subsets); headers are read, frames are not.

    A file that says it holds all frames may still be written to: a scan is whole when a later look, some time after,
    finds the same stamp and nothing lacking.
    """
    stamps, lacking = [], []
    for one in series:
        try:
            with open_frames(one.file, one.dataset) as frames:
                stamps += _stamps({one.file, *map(Path, frames.files)})
                there = frames.shape[0] - frames.count_unwritten()
                if not there == one.n_frames == frames.shape[0]:
                    lacking.append(f"{one.file}: {there} of {one.n_frames} frames")
        except RawDataError as error:
            stamps += _stamps([one.file])
            lacking.append(str(error))
    return Arrival(tuple(sorted(stamps)), "; ".join(lacking) or None)


def stamp_of(paths: Iterable[str | Path]) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of files, those that are there."""
    return tuple(sorted(_stamps(map(Path, paths))))


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # not there yet, or a pattern
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return found

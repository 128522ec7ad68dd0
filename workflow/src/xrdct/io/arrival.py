"""Has a scan arrived whole, or is it still being measured?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import RawDataError
from ..scans import Subset
from .frames import open_frames, raw_path


@dataclass(frozen=True)
class Arrival:
    """What stands of a scan's raw files at one moment."""

    stamp: tuple[tuple[str, int, int], ...]
    """Name, size and time of every file: two looks with the same stamp saw the same files."""
    lacking: str | None
    """What is not there yet, or not as the table says; None: every frame that the table asks for is there."""


def look_at_scan(rows: Sequence[Subset], root: str | Path) -> Arrival:
    """Look at the raw files of all subsets of a scan; headers are read, frames are not.

    A file that says it holds all frames may still be written to: a scan is whole when a later look, some time after,
    finds the same stamp and nothing lacking.

    Parameters
    ----------
    rows
        Of one scan.
    root
        Of the raw files.
    """
    stamps, lacking = [], []
    for row in rows:
        path = raw_path(root, row.file)
        try:
            with open_frames(path, row.dataset) as frames:
                stamps += _stamps({path, *map(Path, frames.files)})
                lacking += _lacking_frames(frames, row)
        except RawDataError as error:
            stamps += _stamps([path])
            lacking.append(str(error))
    return Arrival(tuple(sorted(stamps)), "; ".join(lacking) or None)


def stamp_of(paths: Iterable[str | Path]) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of files, those that are there."""
    return tuple(sorted(_stamps(map(Path, paths))))


def _lacking_frames(frames, row: Subset) -> list[str]:
    wanted = row.n_projections * row.n_positions
    there = frames.shape[0] - frames.count_unwritten()
    if there == wanted == frames.shape[0]:
        return []
    return [f"{frames.path}: {there} of {wanted} frames"]


def _stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # not there yet, or a pattern
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return found

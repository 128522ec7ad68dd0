"""Do the frames, clocks and cycler's logs of the series agree with their table?"""

from pathlib import Path

import numpy as np

from .check_frames import shape_problem
from .config import Section
from .cycler import align
from .errors import XrdctError
from .io.cycler import read_cycler
from .io.frame_source import FrameSource
from .io.frames import open_frames, raw_path
from .series import SeriesRow, parse_series


def check_series(
    path: Path, sections: dict[str, Section | None], root: Path | None, shape: tuple[int, int] | None
) -> tuple[list[str], int]:
    """One line per problem, and the number of series.

    Parameters
    ----------
    path
        The table.
    sections
        Sections of the configuration by name, None for those that are wrong in themselves.
    root
        Folder of the raw files; None when not known: then they are not looked at.
    shape
        Rows and columns of the detector; None when not known.
    """
    try:
        numbered, problems = parse_series(path)
    except XrdctError as error:
        return str(error).splitlines(), 0
    for number, row in numbered if root is not None else []:
        where = f"{path}: line {number} (series {row.series}): "
        try:
            with open_frames(raw_path(root, row.file), row.dataset) as source:
                problems += [where + text for text in _frame_problems(source, row, shape)]
                epoch = source.values(sections["series"].epoch)
            if row.log is not None:
                _align(raw_path(root, row.log), epoch, sections["series"])
        except XrdctError as error:
            problems += [where + line for line in str(error).splitlines()]
    return problems, len(numbered)


def _frame_problems(source: FrameSource, row: SeriesRow, shape: tuple[int, int] | None) -> list[str]:
    n_frames, *found = source.shape
    problems = []
    if n_frames != row.n_repeats * row.n_positions:
        problems.append(
            f"{source.path}: holds {n_frames} frames, but n_repeats × n_positions = {row.n_repeats} × {row.n_positions}"
        )
    if shape is not None and tuple(found) != shape:
        problems.append(f"{source.path}: {shape_problem(tuple(found), shape)}")
    return problems


def _align(path: Path, epoch: np.ndarray, series: Section) -> None:
    reading = series.model_dump(mode="json", include={"maker", "columns", "zone", "log_start"})
    align(read_cycler(path, **reading), epoch, offset_s=series.offset_s)

"""The table of points and lines against time: one row per series."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from .config import PlainName, Section
from .errors import TableError
from .table import format_rows, parse_rows


class SeriesRow(Section):
    """One row of the table: a point or a line, measured again and again at one rotation."""

    series: PlainName
    """Name of the series; becomes the name of its results folder."""
    sample: str = ""
    """Sample or cell."""
    file: str
    """Raw file relative to raw.root: HDF5 (master or stack), or a pattern such as line1/*.cbf."""
    dataset: str | None = None
    """Dataset with the frames, for HDF5."""
    log: str | None = None
    """The cycler's log relative to raw.root; empty: none."""
    n_repeats: Annotated[int, Field(ge=1)]
    """How often the line was measured."""
    n_positions: Annotated[int, Field(ge=1)] = 1
    """Frames of a line; 1 is a point."""
    angle_deg: float | None = None
    """Rotation in degrees, for the record."""
    ty_mm: float = 0.0
    """Position of the first frame in mm."""
    step_mm: Annotated[float, Field(gt=0)] | None = None
    """Translation from frame to frame in mm; a line needs it."""


def read_series(path: str | Path) -> list[SeriesRow]:
    """Read and check a tab-separated table; rows that start with # are comments.

    Raises
    ------
    TableError
        With one line per problem, naming table, line and column.
    """
    numbered, problems = parse_series(path)
    if problems:
        raise TableError("\n".join(problems))
    return [row for _, row in numbered]


def write_series(path: str | Path, rows: list[SeriesRow]) -> None:
    """Write rows as a table that `read_series` reads back."""
    Path(path).write_text(format_rows(rows, SeriesRow), encoding="utf-8")


def parse_series(path: str | Path) -> tuple[list[tuple[int, SeriesRow]], list[str]]:
    """Good rows with their line numbers, and one line per problem.

    Raises
    ------
    TableError
        When there is no table to read rows from.
    """
    numbered, problems = parse_rows(path, SeriesRow)
    seen = {}
    for number, row in numbered:
        if row.series in seen:
            problems.append(f"{path}: line {number}: series {row.series} stands already in line {seen[row.series]}")
        seen.setdefault(row.series, number)
        if row.n_positions > 1 and row.step_mm is None:
            problems.append(f"{path}: line {number}: column step_mm: empty, but a line has {row.n_positions} positions")
    if not numbered and not problems:
        problems.append(f"{path}: the table has a header but no rows")
    return numbered, problems

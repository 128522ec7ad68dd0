"""The scan table: one row per (scan, subset), read once and checked whole."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from .config import PlainName, Section
from .errors import TableError
from .table import format_rows, parse_rows


class Subset(Section):
    """One row of the table: an interlaced subset of a scan, one series of frames."""

    scan: PlainName
    """Name of the scan; becomes the name of its results folder."""
    subset: Annotated[int, Field(ge=1)]
    """Number of the subset in the scan: 1, 2, …, in the order they were taken."""
    sample: str = ""
    """Sample or cell."""
    cycle: str = ""
    """Cycle of the cell."""
    state: str = ""
    """State of the cell: charged, discharged, …"""
    voltage_V: float | None = None
    """Cell voltage in V."""
    file: str
    """Raw file relative to raw.root: HDF5 (master or stack), or a pattern such as scan1/*.cbf."""
    dataset: str | None = None
    """Dataset with the frames, for HDF5."""
    n_projections: Annotated[int, Field(ge=1)]
    """Lines: angles of this subset."""
    n_positions: Annotated[int, Field(ge=2)]
    """Frames on a line: positions of the translation."""
    angle_start_deg: float
    """Rotation of the first line in degrees."""
    angle_step_deg: float
    """Rotation from line to line in degrees."""
    step_mm: Annotated[float, Field(gt=0)]
    """Translation from frame to frame in mm: the pixel of the sinogram."""
    zigzag: Literal["yes", "no", "auto"] = "auto"
    """yes: every second line was driven backwards; auto: found from recorded positions, else from the frames."""


def read_scans(path: str | Path, *, may_be_empty: bool = False) -> list[Subset]:
    """Read and check a tab-separated table; rows that start with # are comments.

    Only a beamtime of series (`series.read_series`) may have a table without rows.

    Raises
    ------
    TableError
        With one line per problem, naming table, line and column.
    """
    numbered, problems = parse_scans(path, may_be_empty=may_be_empty)
    if problems:
        raise TableError("\n".join(problems))
    return [row for _, row in numbered]


def parse_scans(path: str | Path, *, may_be_empty: bool = False) -> tuple[list[tuple[int, Subset]], list[str]]:
    """What can be read of a table: its good rows with their line numbers, and one line per problem.

    Raises
    ------
    TableError
        When there is no table to read rows from: no file, no text, or a header with wrong columns.
    """
    path = Path(path)
    rows, problems = parse_rows(path, Subset, hint="; `xrdct init RAW_FOLDER` proposes one")
    problems += _cross_problems(rows, path)
    if not rows and not problems and not may_be_empty:
        problems.append(f"{path}: the table has a header but no rows")
    return rows, problems


def write_scans(path: str | Path, rows: list[Subset]) -> None:
    """Write rows as a table that `read_scans` reads back."""
    Path(path).write_text(format_scans(rows), encoding="utf-8")


def format_scans(rows: list[Subset], *, notes: Sequence[str] = ()) -> str:
    """The text of a table; `notes` stand above the rows as comment lines."""
    return format_rows(rows, Subset, notes=notes)


def scan_names(rows: list[Subset]) -> list[str]:
    """Names of the scans in the order of the table."""
    return list(dict.fromkeys(row.scan for row in rows))


def subsets_of(rows: list[Subset], scan: str) -> list[Subset]:
    """Rows of one scan, by subset number."""
    return sorted((row for row in rows if row.scan == scan), key=lambda row: row.subset)


def missing_subsets(rows: list[Subset], *, expected: int | None = None) -> list[str]:
    """One sentence for every subset that the table should have and has not."""
    problems = []
    for scan in scan_names(rows):
        have = {row.subset for row in rows if row.scan == scan}
        last = max(have) if expected is None else max(max(have), expected)
        problems += [
            f"scan {scan}: subset {k} of {last} is missing from the table" for k in range(1, last + 1) if k not in have
        ]
        if expected is not None and max(have) > expected:
            problems.append(f"scan {scan}: subset {max(have)} exceeds raw.subsets_per_scan = {expected}")
    return problems


def _cross_problems(rows: list[tuple[int, Subset]], path: Path) -> list[str]:
    seen, problems = {}, []
    for number, row in rows:
        key = (row.scan, row.subset)
        if key in seen:
            problems.append(
                f"{path}: line {number}: scan {row.scan} subset {row.subset} stands already in line {seen[key]}"
            )
        seen.setdefault(key, number)
    for scan in scan_names([row for _, row in rows]):
        own = [(number, row) for number, row in rows if row.scan == scan]
        for column in ("n_positions", "step_mm", "sample", "state", "voltage_V", "cycle"):
            first = getattr(own[0][1], column)
            problems += [
                f"{path}: line {number}: scan {scan} has {column} {getattr(row, column)!r} here "
                f"but {first!r} in line {own[0][0]}"
                for number, row in own[1:]
                if getattr(row, column) != first
            ]
    return problems

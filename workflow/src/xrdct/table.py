"""Tab-separated tables with a header: every row checked against its model, every problem named with its line."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from .config import Section
from .errors import TableError

Row = TypeVar("Row", bound=Section)


def parse_rows(path: str | Path, model: type[Row], *, hint: str = "") -> tuple[list[tuple[int, Row]], list[str]]:
    """What can be read of a table: its good rows with their line numbers, and one line per problem.

    Rows that start with # are comments. A column is a field of the model; an empty cell has the field's default.

    Parameters
    ----------
    path
        The file, UTF-8.
    model
        What a row is.
    hint
        Said when there is no such file.

    Raises
    ------
    TableError
        When there is no table to read rows from: no file, no text, or a header with wrong columns.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # -sig: spreadsheets put a byte-order mark
    except FileNotFoundError:
        raise TableError(f"{path}: no such table{hint}") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise TableError(f"{path}: not a text file in UTF-8 ({error})") from None
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not numbered:
        raise TableError(f"{path}: the table is empty")
    header = numbered[0][1].split("\t")
    problems = _header_problems(header, model, path)
    if problems:
        raise TableError("\n".join(problems))
    rows = []
    for number, line in numbered[1:]:
        values = next(csv.reader([line], delimiter="\t"))
        try:
            rows.append((number, _parse_row(header, values, model)))
        except ValidationError as error:
            problems += [f"{path}: line {number}: {_describe(problem)}" for problem in error.errors()]
        except TableError as error:
            problems.append(f"{path}: line {number}: {error}")
    return rows, problems


def format_rows(rows: Sequence[Row], model: type[Row], *, notes: Sequence[str] = ()) -> str:
    """The text of a table that `parse_rows` reads back; `notes` stand above the rows as comment lines."""
    columns = list(model.model_fields)
    lines = [f"# {line}" for note in notes for line in note.splitlines()]
    lines.append("\t".join(columns))
    lines += ["\t".join(_cell(getattr(row, c)) for c in columns) for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _header_problems(header: list[str], model: type[Section], path: Path) -> list[str]:
    known = model.model_fields
    required = [name for name, field in known.items() if field.is_required()]
    problems = [f"{path}: unknown column {name!r}" for name in header if name not in known]
    problems += [f"{path}: column {name!r} is missing" for name in required if name not in header]
    problems += [f"{path}: column {name!r} appears twice" for name in sorted(set(header)) if header.count(name) > 1]
    return problems


def _parse_row(header: list[str], values: list[str], model: type[Row]) -> Row:
    if len(values) != len(header):
        raise TableError(f"{len(values)} cells for {len(header)} columns (cells are separated by tabs)")
    filled = {name: value.strip() for name, value in zip(header, values, strict=True) if value.strip()}
    return model.model_validate(filled)


def _describe(problem: dict) -> str:
    column = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"column {column}: empty"
    return f"column {column}: {problem['msg'].removeprefix('Value error, ')} (found {problem.get('input')!r})"

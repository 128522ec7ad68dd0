"""Logs of battery cyclers: BioLogic (.mpt, .mpr), and the CSV of Arbin, Neware or anyone, by a mapping of columns.

Every reader gives the same `CyclerLog`: seconds, volts, amperes, ampere hours.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from ..errors import CyclerError
from .mpr import mpr_lines

QUANTITIES = ("time", "voltage", "current", "capacity", "cycle")
NEEDED = ("time", "voltage", "current")
UNITS = {
    "s": 1.0, "min": 60.0, "h": 3600.0, "V": 1.0, "mV": 1e-3, "A": 1.0, "mA": 1e-3, "uA": 1e-6, "µA": 1e-6,
    "Ah": 1.0, "mAh": 1e-3, "A.h": 1.0, "mA.h": 1e-3, "Sec": 1.0,
}  # fmt: skip
"""Factors to seconds, volts, amperes and ampere hours, as they stand in the heads of columns."""

COLUMNS = {
    "biologic": {"time": "time/s", "voltage": "Ewe/V", "current": "<I>/mA", "cycle": "cycle number"},
    "arbin": {
        "time": "Test_Time(s)",
        "voltage": "Voltage(V)",
        "current": "Current(A)",
        "cycle": "Cycle_Index",
    },
    "neware": {
        "time": "Total Time(s)",
        "voltage": "Voltage(V)",
        "current": "Current(A)",
        "cycle": "Cycle Index",
    },
    "plain": {"time": "time_s", "voltage": "voltage_V", "current": "current_A"},
}
"""Columns of the makers' files by quantity; exports differ, and a mapping of one's own says how."""
OTHER_NAMES = {"Ewe/V": ("<Ewe>/V", "Ecell/V"), "<I>/mA": ("I/mA", "control/V/mA")}
"""What BioLogic calls the same quantity in other techniques."""
STAMPS = ("%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%m/%d/%y %H:%M:%S")
"""Forms of date and time in headers and columns."""


@dataclass(frozen=True)
class CyclerLog:
    """What a cycler wrote down, in order of time."""

    time_s: np.ndarray
    """Since the first record."""
    voltage_V: np.ndarray
    current_A: np.ndarray
    """Positive while charging."""
    cycle: np.ndarray
    """Number of the cycle; 0 where the file has none."""
    started: float | None
    """When time 0 was: seconds since 1970 by the clock of the cycler's computer; None where the file does not say."""


def read_cycler(
    path: str | Path,
    *,
    maker: str = "plain",
    columns: Mapping[str, str] | None = None,
    zone: str = "UTC",
    log_start: str | None = None,
) -> CyclerLog:
    """Read a log.

    Parameters
    ----------
    path
        Text file, or .mpr; .mpt and .mpr are BioLogic's whatever the maker is said to be.
    maker
        One of `COLUMNS`: what the columns are called.
    columns
        Other names by quantity (`QUANTITIES`); the unit stands in the name after '/' or '_' or in brackets.
    zone
        Time zone of the cycler's computer by its IANA name, such as Europe/Paris: logs hold what its clock showed.
    log_start
        What that clock showed at time 0, in ISO form, for a log that does not say.

    Raises
    ------
    CyclerError
        If the file is missing, a column is missing, or a value is no number.
    """
    path, start = Path(path), None if log_start is None else datetime.fromisoformat(log_start)
    kind, biologic = path.suffix.lower(), {**COLUMNS["biologic"], **(columns or {})}
    if kind == ".mpr":
        lines, said = mpr_lines(path)
        return _to_log(lines, "\t", biologic, path, zone, said or start)
    if maker not in COLUMNS:
        raise CyclerError(f"{path}: no maker is called {maker!r}, only {', '.join(COLUMNS)}; or name the columns")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="latin-1")  # EC-Lab writes µ and ° so
    except OSError as error:
        raise CyclerError(f"{path}: cannot be read: {error.strerror}") from None
    if kind == ".mpt":
        head, table = _split_mpt(text, path)
        return _to_log(table, "\t", biologic, path, zone, _mpt_start(head) or start)
    return _to_log(text.splitlines(), None, {**COLUMNS[maker], **(columns or {})}, path, zone, start)


def _split_mpt(text: str, path: Path) -> tuple[list[str], list[str]]:
    """Head and table; EC-Lab states how many lines the head has."""
    lines = text.splitlines()
    said = re.search(r"Nb header lines\s*:\s*(\d+)", text[:2000])
    if said is None:
        raise CyclerError(f"{path}: no line 'Nb header lines' as EC-Lab writes into .mpt files")
    count = int(said.group(1))
    if not 0 < count <= len(lines):
        raise CyclerError(f"{path}: {count} header lines are announced, the file has {len(lines)}")
    return lines[: count - 1], lines[count - 1 :]


def _mpt_start(head: list[str]) -> datetime | None:
    for line in head:
        found = re.match(r"\s*Acquisition started on\s*:\s*(.+)", line)
        if found:
            return _timestamp(found.group(1))
    return None


def _to_log(lines, delimiter, columns, path, zone, started):
    rows = [row for row in csv.reader(lines, delimiter=delimiter or _delimiter(lines)) if any(map(str.strip, row))]
    if len(rows) < 2:
        raise CyclerError(f"{path}: no records")
    header = [cell.strip() for cell in rows[0]]
    places = {quantity: _place(header, name) for quantity, name in columns.items() if quantity in QUANTITIES}
    missing = [columns.get(quantity, quantity) for quantity in NEEDED if places.get(quantity) is None]
    if missing:
        raise CyclerError(f"{path}: no column {', '.join(missing)}; found {', '.join(filter(None, header))}")
    values = {}
    for quantity, place in places.items():
        if place is not None and quantity != "time":
            values[quantity] = _numbers(rows, place, path) * _factor(header[place])
    time, first_date = _times(rows, places["time"], header[places["time"]], path)
    order = np.argsort(time, kind="stable")
    cycle = values.get("cycle", np.zeros(time.size))
    first = time[order[0]]
    begun = first_date or (started and started + timedelta(seconds=first))
    return CyclerLog(
        time[order] - first,
        values["voltage"][order],
        values["current"][order],
        cycle[order].astype(int),
        begun and begun.replace(tzinfo=ZoneInfo(zone)).timestamp(),
    )


def _delimiter(lines):
    """The mark that the header holds most of."""
    return max(",;\t", key=lines[0].count) if lines else ","


def _place(header, name):
    for wanted in (name, *OTHER_NAMES.get(name, ())):
        if wanted in header:
            return header.index(wanted)
    return None


def _numbers(rows, place, path):
    numbers = np.empty(len(rows) - 1)
    for k, row in enumerate(rows[1:]):
        try:
            numbers[k] = float(row[place].replace(",", "."))
        except (ValueError, IndexError):
            found = row[place] if place < len(row) else "nothing"
            raise CyclerError(f"{path}: record {k + 1}: {found!r} in column {rows[0][place]} is no number") from None
    return numbers


def _times(rows, place, name, path):
    """Seconds of every record, and what the clock showed at the first one where the column holds dates."""
    first = rows[1][place] if place < len(rows[1]) else ""
    if _timestamp(first) is None:
        return _numbers(rows, place, path) * _factor(name), None
    stamps = [_timestamp(row[place]) if place < len(row) else None for row in rows[1:]]
    if None in stamps:
        raise CyclerError(f"{path}: record {stamps.index(None) + 1}: no date and time in column {name}")
    return np.array([(stamp - min(stamps)).total_seconds() for stamp in stamps]), min(stamps)


def _timestamp(text: str) -> datetime | None:
    """A date and time; None if it is none."""
    for form in STAMPS:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def _factor(name: str) -> float:
    """Of the unit that stands in a column's name: Ewe/V, Current(mA), time_h; 1 where there is none."""
    found = re.search(r"(?:/|_|\()\s*([A-Za-zµ.]+)\s*\)?\s*$", name)
    return UNITS.get(found.group(1), 1.0) if found else 1.0

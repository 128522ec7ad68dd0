"""One measured mark: what was aimed at, what came out, and whether it holds."""

import datetime
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..machine import machine


@dataclass(frozen=True)
class Mark:
    """A row of the table *mark · goal · measured · holds*."""

    name: str
    """What is measured."""
    goal: str
    """What it should be, as text; empty when it is only reported."""
    measured: float | str
    """What came out, or 'not measured' with the reason."""
    unit: str
    """Unit of the measured value."""
    holds: bool | None
    """Whether the goal is reached; None when there is none, or nothing was measured."""


def at_least(name: str, goal: float, measured: float, unit: str = "") -> Mark:
    """A mark that holds from `goal` upwards."""
    return Mark(name, f"≥ {goal:g}", float(measured), unit, bool(measured >= goal))


def at_most(name: str, goal: float, measured: float, unit: str = "") -> Mark:
    """A mark that holds up to `goal`."""
    return Mark(name, f"≤ {goal:g}", float(measured), unit, bool(measured <= goal))


def between(name: str, low: float, high: float, measured: float, unit: str = "") -> Mark:
    """A mark that holds from `low` to `high`."""
    return Mark(name, f"{low:g}–{high:g}", float(measured), unit, bool(low <= measured <= high))


def near(name: str, planted: float, tolerance: float, measured: float, unit: str = "") -> Mark:
    """A mark that holds within a tolerance of what was planted."""
    return Mark(name, f"{planted:g} ± {tolerance:g}", float(measured), unit, bool(abs(measured - planted) <= tolerance))


def same(name: str, planted: str, measured: str) -> Mark:
    """A mark in words that holds when they are the planted ones."""
    return Mark(name, planted, measured, "", planted == measured)


def reported(name: str, measured: float, unit: str = "") -> Mark:
    """A figure without a goal."""
    return Mark(name, "", float(measured), unit, None)


def not_measured(name: str, goal: str, reason: str) -> Mark:
    """A mark that this machine cannot measure."""
    return Mark(name, goal, f"not measured ({reason})", "", None)


def summary(name: str, marks: Sequence[Mark], *, device: str) -> dict:
    """Marks with machine, device, date and revision, as written to JSON."""
    from ..io.store import git_revision  # here, so that a bare GPU machine without xarray can measure

    return {
        "bench": name,
        "machine": machine(),
        "device": device,
        "date": datetime.date.today().isoformat(),
        "revision": git_revision(),
        "marks": {mark.name: {k: v for k, v in asdict(mark).items() if k != "name"} for mark in marks},
    }


def table(found: dict) -> str:
    """A summary as a Markdown table."""
    return _rows(found["marks"])


def page(summaries: Sequence[dict]) -> str:
    """BENCHMARKS.md from the summaries, and from nothing else: what holds and what does not first."""
    parts = [
        "# Benchmarks",
        "Made by `python3 run.py bench page` from the files in `tests/benchmarks`, each written by "
        "`python3 run.py bench NAME --json FILE`. Nothing here is written by hand.",
        _overview(summaries),
    ]
    for found in summaries:
        goals = {name: mark for name, mark in found["marks"].items() if mark["goal"]}
        figures = {name: mark for name, mark in found["marks"].items() if not mark["goal"]}
        parts.append(f"## {found['bench']}")
        parts.append(f"{found['date']}, revision {found['revision']}, {found['machine']}; {found['device']}")
        if goals:
            parts.append(_rows(goals))
        if figures:
            count = f"{len(figures)} figures without a goal"
            parts.append(f"<details><summary>{count}</summary>\n\n{_rows(figures)}\n\n</details>")
    return "\n\n".join(parts) + "\n"


def _overview(summaries: Sequence[dict]) -> str:
    lines = ["| bench | goals held | missed | not measured |", "|---|---|---|---|"]
    missed = []
    for found in summaries:
        goals = {name: mark for name, mark in found["marks"].items() if mark["goal"]}
        counts = [sum(mark["holds"] is state for mark in goals.values()) for state in (True, False, None)]
        lines.append(f"| [{found['bench']}](#{found['bench']}) | {counts[0]} | {counts[1]} | {counts[2]} |")
        missed += [
            f"- {found['bench']}: {name}: {_value(mark)}, goal {mark['goal']}"
            for name, mark in goals.items()
            if mark["holds"] is False
        ]
    if missed:
        lines += ["", "Missed:", "", *missed]
    return "\n".join(lines)


def _rows(marks: dict) -> str:
    lines = ["| mark | goal | measured | holds |", "|---|---|---|---|"]
    for name, mark in marks.items():
        holds = {True: "yes", False: "**no**", None: "–"}[mark["holds"]]
        cells = (name, mark["goal"] or "–", _value(mark), holds)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _value(mark: dict) -> str:
    value = mark["measured"]
    digits = 6 if "±" in mark["goal"] else 4  # beside a planted value all its digits count
    return value if isinstance(value, str) else f"{value:.{digits}g} {mark['unit']}".strip()


def publish(found: dict, path: Path | None) -> None:
    """Print a summary as a table, and write it where a path is given."""
    print(table(found))
    if path:
        write_summary(found, path)


def publish_parts(name: str, parts: Iterable[list[Mark]], *, device: str, path: Path | None) -> None:
    """As `publish`, of marks that come part by part; the file is written after each of them."""
    marks = []
    for part in parts:
        marks += part
        if path:
            write_summary(summary(name, marks, device=device), path)
    print(table(summary(name, marks, device=device)))


def write_summary(found: dict, path: str | Path) -> None:
    """Write a summary as JSON, whole or not at all."""
    from ..io.store import replaced_when_whole

    with replaced_when_whole(path) as partial:
        partial.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

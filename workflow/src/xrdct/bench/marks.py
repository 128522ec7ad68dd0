"""One measured mark: what was aimed at, what came out, and whether it holds."""

import datetime
import json
from collections.abc import Sequence
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
    lines = ["| mark | goal | measured | holds |", "|---|---|---|---|"]
    for name, mark in found["marks"].items():
        value = mark["measured"]
        digits = 6 if "±" in mark["goal"] else 4  # beside a planted value all its digits count
        text = value if isinstance(value, str) else f"{value:.{digits}g} {mark['unit']}".strip()
        holds = {True: "yes", False: "**no**", None: "–"}[mark["holds"]]
        lines.append(f"| {name} | {mark['goal'] or '–'} | {text} | {holds} |")
    return "\n".join(lines)


def page(summaries: Sequence[dict]) -> str:
    """BENCHMARKS.md from the summaries, and from nothing else."""
    parts = [
        "# Benchmarks",
        "Made by `python3 run.py bench page` from the files in `tests/benchmarks`, each written by "
        "`python3 run.py bench NAME --json FILE`. Nothing here is written by hand.",
    ]
    for found in summaries:
        parts.append(f"## {found['bench']}")
        parts.append(f"{found['date']}, revision {found['revision']}, {found['machine']}; {found['device']}")
        parts.append(table(found))
    return "\n\n".join(parts) + "\n"


def write_summary(found: dict, path: str | Path) -> None:
    """Write a summary as JSON, whole or not at all."""
    from ..io.store import replaced_when_whole

    with replaced_when_whole(path) as partial:
        partial.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

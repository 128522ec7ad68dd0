"""A first scan table from a folder of raw data: what the files say, and marked guesses for the rest."""

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from .errors import RawDataError
from .io.discover import Series, find_series
from .io.image_series import natural_key
from .motion import find_motion, is_slow_axis, line_angles
from .scans import Subset, format_scans, scan_names

SUBSET_MARK = re.compile(r"(.+?)[_-](?:s|sub|subset|part)[_-]?(\d+)((?:[_-].*)?)", re.IGNORECASE)
LAST_NUMBER = re.compile(r"(.+?)[_-]+(\d+)")
STATE = re.compile(r"(?<![a-z])(pristine|formed|discharged|charged)", re.IGNORECASE)
VOLTAGE = re.compile(r"(?<!\d)(\d)[p.](\d+)V", re.IGNORECASE)


@dataclass(frozen=True)
class Grid:
    """The columns of the table that say how a series was scanned."""

    n_projections: int
    n_positions: int
    angle_start_deg: float
    angle_step_deg: float
    step_mm: float
    zigzag: str
    told_by: str
    """Where this comes from: 'positions', 'title', or 'guess'."""
    translation: str | None = None
    """Recorded motor of the translation."""
    omega: str | None = None
    """Recorded motor of the rotation."""


@dataclass(frozen=True)
class Candidate:
    """A series of frames, with the scan and the number that its name suggests."""

    series: Series
    grid: Grid
    scan: str
    number: int | None
    marked: bool
    """Whether the name says that this is a subset, not just a numbered file."""


@dataclass(frozen=True)
class Proposal:
    """A scan table to be read before it is trusted."""

    rows: list[Subset]
    notes: list[str]
    """What was guessed, left out, or belongs into config.yaml."""

    def table(self) -> str:
        """The text of the table, the notes above it as comment lines."""
        return format_scans(self.rows, notes=self.notes)

    def summary(self) -> str:
        """'2 scans, 8 subsets'."""
        counts = {"scan": len(scan_names(self.rows)), "subset": len(self.rows)}
        return ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())


def propose_scans(raw_folder: str | Path) -> Proposal:
    """Propose rows for every series of frames below a folder.

    Interlaced subsets of one scan are recognised by a mark in the name (``cell_s1``, ``cell_s2``), or by
    start angles that lie within one angular step.

    Parameters
    ----------
    raw_folder
        Becomes `raw.root`: the `file` column is relative to it.

    Raises
    ------
    RawDataError
        When there is no such folder, or it holds no series of frames.
    """
    found, left_out = find_series(raw_folder)
    if not found:
        raise RawDataError("\n".join([f"{raw_folder}: no series of frames found", *left_out]))
    scans = _group([_candidate(series) for series in found])
    rows = [_row(scan, number, member) for scan, members in scans.items() for number, member in members]
    notes = [f"Proposed by `xrdct init` from {raw_folder}, which becomes raw.root. Read it before you trust it."]
    notes += _setting_notes(scans)
    notes += [note for scan, members in scans.items() for note in _scan_notes(scan, members)]
    return Proposal(rows, notes + left_out)


def _candidate(series: Series) -> Candidate:
    grid = _grid_from_positions(series) or _grid_from_title(series) or _guessed_grid(series)
    mark, last = SUBSET_MARK.fullmatch(series.label), LAST_NUMBER.fullmatch(series.label)
    if series.number is not None:
        return Candidate(series, grid, series.label, series.number, False)
    if mark:
        return Candidate(series, grid, mark[1] + mark[3], int(mark[2]), True)
    if last:
        return Candidate(series, grid, last[1], int(last[2]), False)
    return Candidate(series, grid, series.label, None, False)


def _grid_from_positions(series: Series) -> Grid | None:
    """The translation is the motor that runs in lines; the rotation one that moves on from line to line."""
    named = series.title.split()
    by_likelihood = sorted(series.recorded, key=lambda name: (name not in named, len(name), name))
    for translation in by_likelihood:
        motion = find_motion(series.recorded[translation])
        if motion is None or motion.n_projections < 2:
            continue
        for omega in by_likelihood:
            if omega != translation and is_slow_axis(series.recorded[omega], motion.n_positions):
                angles = line_angles(series.recorded[omega], motion.n_positions)
                return Grid(
                    motion.n_projections,
                    motion.n_positions,
                    _rounded(angles[0]),
                    _rounded(np.median(np.diff(angles))),
                    _rounded(motion.step),
                    "yes" if motion.zigzag else "no",
                    "positions",
                    translation,
                    omega,
                )
    return None


def _grid_from_title(series: Series) -> Grid | None:
    """``fscan2d SLOW start step n FAST start step n …``, ``amesh FAST start stop n SLOW start stop n …``."""
    command, *words = series.title.split() or [""]
    try:
        first, second = [float(w) for w in words[1:4]], [float(w) for w in words[5:8]]
    except ValueError:
        return None
    if command not in ("fscan2d", "amesh") or len(second) != 3:
        return None
    if command == "amesh":
        second, first = ((start, (stop - start) / max(n, 1), n + 1) for start, stop, n in (first, second))
    start, angle_step, n_projections = first
    _, step, n_positions = second
    if n_projections * n_positions != series.n_frames or n_positions < 2 or not step:
        return None
    return Grid(int(n_projections), int(n_positions), start, _rounded(angle_step), _rounded(abs(step)), "auto", "title")


def _guessed_grid(series: Series) -> Grid:
    # One line of all frames is the only shape that surely has as many frames as there are.
    return Grid(1, series.n_frames, 0.0, 1.0, 1.0, "auto", "guess")


def _rounded(value: float) -> float:
    """To six digits, as steps are set; encoders jitter below."""
    return float(f"{value:.6g}")


def _group(candidates: list[Candidate]) -> dict[str, list[tuple[int, Candidate]]]:
    """Scans by name, their members by number of the subset."""
    candidates.sort(key=lambda c: (natural_key(c.scan), c.marked, c.number or 0))
    scans: dict[str, list[tuple[int, Candidate]]] = {}
    for (scan, marked), group in groupby(candidates, key=lambda c: (c.scan, c.marked)):
        members = list(group)
        if marked:
            shift = 1 if members[0].number == 0 else 0
            scans[_free_name(scan, scans)] = [(c.number + shift, c) for c in members]
            continue
        runs = _interlaced_runs(members)
        for run in runs:
            whole = run[0].number is None or (len(runs) == 1 and len(run) > 1)
            name = scan if whole else f"{scan}_{run[0].number}"
            scans[_free_name(name, scans)] = list(enumerate(run, 1))
    return scans


def _interlaced_runs(members: list[Candidate]) -> list[list[Candidate]]:
    """Members in order, divided where an angle comes again or the scan is another one."""
    runs: list[list[Candidate]] = []
    for member in members:
        if runs and all(_interlaces(member.grid, other.grid) for other in runs[-1]):
            runs[-1].append(member)
        else:
            runs.append([member])
    return runs


def _interlaces(a: Grid, b: Grid) -> bool:
    """Whether two series measure between each other's angles, on the same positions."""
    if "guess" in (a.told_by, b.told_by) or a.n_positions != b.n_positions:
        return False
    same_steps = np.allclose([a.angle_step_deg, a.step_mm], [b.angle_step_deg, b.step_mm], rtol=0.01, atol=0)
    apart = abs(a.angle_start_deg - b.angle_start_deg) / abs(a.angle_step_deg) if a.angle_step_deg else 0
    return bool(same_steps and 0.01 < apart < 0.99)


def _free_name(name: str, taken: dict) -> str:
    """`name` as the table allows it, with a number behind it when it is taken."""
    plain = re.sub(r"[^A-Za-z0-9_+-]+", "_", name).strip("_-+") or "scan"
    free, n = plain, 1
    while free in taken:
        n += 1
        free = f"{plain}_{n}"
    return free


def _row(scan: str, number: int, member: Candidate) -> Subset:
    grid, volts, state = member.grid, VOLTAGE.search(scan), STATE.search(scan)
    return Subset(
        scan=scan,
        subset=number,
        sample=" ".join(member.series.sample.split()),
        state=state[1].lower() if state else "",
        voltage_V=float(f"{volts[1]}.{volts[2]}") if volts else None,
        file=member.series.file,
        dataset=member.series.dataset,
        n_projections=grid.n_projections,
        n_positions=grid.n_positions,
        angle_start_deg=grid.angle_start_deg,
        angle_step_deg=grid.angle_step_deg,
        step_mm=grid.step_mm,
        zigzag=grid.zigzag,
    )


def _setting_notes(scans: dict[str, list[tuple[int, Candidate]]]) -> list[str]:
    """Which names of the files belong into config.yaml."""
    members = [member for group in scans.values() for _, member in group]
    notes = []
    for key in ("translation", "omega"):
        names = sorted({name for m in members if (name := getattr(m.grid, key))})
        unit = {"translation": "mm", "omega": "degrees"}[key]
        if names:
            notes.append(f"config.yaml: raw.{key}: {' or '.join(names)} (recorded; taken to be in {unit})")
    motors = {name for m in members for name in (m.grid.translation, m.grid.omega)}
    counters = sorted({name for m in members for name in m.series.recorded} - motors)
    if counters:
        notes.append(f"config.yaml: raw.monitor: perhaps one of {', '.join(counters)}")
    if any(VOLTAGE.search(scan) for scan in scans):
        notes.append("voltage_V is read from the scan's name.")
    if any(STATE.search(scan) for scan in scans):
        notes.append("state is read from the scan's name.")
    return notes


def _scan_notes(scan: str, members: list[tuple[int, Candidate]]) -> list[str]:
    """What of a scan is not known but guessed."""
    told = {member.grid.told_by for _, member in members}
    notes = []
    if "guess" in told:
        notes.append(
            f"scan {scan}: GUESSED: no recorded positions were found, so lines, angles and step_mm are "
            "placeholders (one line of all frames). Fill them in, or move a point or line against time to series.tsv."
        )
    if "title" in told:
        notes.append(f"scan {scan}: lines, angles and step from the title; zigzag is found from the frames.")
    if len(members) > 1 and not members[0][1].marked:
        notes.append(f"scan {scan}: {len(members)} subsets, because their start angles interlace.")
    starts = [member.grid.angle_start_deg for _, member in members]
    if "guess" not in told and len(set(starts)) < len(starts):
        notes.append(f"scan {scan}: subsets with the same start angle: are they repeats, not interlaced subsets?")
    return notes

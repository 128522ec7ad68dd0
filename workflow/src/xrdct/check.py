"""Is a beamtime ready to run? Configuration, table and raw files, with every problem named at once.

Files are opened, frames are not read.
"""

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from .config import Calibrate, Config, Detector, Integrate, Raw, Report, Section, load
from .errors import ConfigError, RawDataError, TableError
from .io.frame_source import FrameSource
from .io.frames import open_frames, raw_path, read_image
from .motion import find_motion, line_angles
from .scans import Subset, missing_subsets, parse_scans, scan_names

SECTIONS = {"raw": Raw, "detector": Detector, "calibrate": Calibrate, "integrate": Integrate, "report": Report}

POSITION_TOLERANCE = 0.05
"""Recorded steps may differ from the table's by this share: motors are better, a wrong unit is worse."""


@dataclass
class Findings:
    """What a look at a beamtime found."""

    problems: list[str] = field(default_factory=list)
    """What must be put right before a run, one line each."""
    notes: list[str] = field(default_factory=list)
    """What is worth knowing and stops nothing."""
    n_scans: int = 0
    n_subsets: int = 0
    n_frames: int = 0

    def add(self, where: str, error: Exception) -> None:
        """Take over the lines of an error, each with the place it belongs to."""
        self.problems += [f"{where}{line}" for line in str(error).splitlines()]


def check_beamtime(config_path: str | Path) -> list[str]:
    """Every problem of a beamtime, one line each; empty when it is ready to run."""
    return examine_beamtime(config_path).problems


def examine_beamtime(config_path: str | Path) -> Findings:
    """Check configuration, table and raw files, going on past problems as far as they allow.

    Parameters
    ----------
    config_path
        The YAML file. Its `scans` is relative to it; `raw.root` to the working folder.
    """
    config_path = Path(config_path)
    findings = Findings()
    try:
        load(config_path)
    except ConfigError as error:
        findings.add("", error)
    settings = _plain_settings(config_path)
    sections = {name: _valid_section(settings, name) for name in SECTIONS}
    shape = _check_detector(sections["detector"], sections["raw"], config_path, findings)
    _check_calibration(sections["calibrate"], sections["raw"], shape, config_path, findings)
    _check_phases(sections["report"], config_path, findings)
    table = settings.get("scans", Config.model_fields["scans"].default)
    _check_table(config_path.parent / str(table), sections, shape, findings)
    return findings


def _plain_settings(path: Path) -> dict:
    """The settings as written, as far as they are YAML; what is wrong with them was said already."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _valid_section(settings: dict, name: str) -> Section | None:
    """One section by itself, so that a mistake in another does not hide what this one leads to."""
    try:
        return SECTIONS[name].model_validate(settings.get(name, {}))
    except ValidationError:
        return None


def _check_detector(
    detector: Detector | None, raw: Raw | None, origin: Path, findings: Findings
) -> tuple[int, int] | None:
    """The shape of a frame, when it is known; the mask is checked against it."""
    from .calibration import detector_from

    if detector is None:
        return None
    try:
        shape = tuple(int(n) for n in detector_from(detector).max_shape)
    except ConfigError as error:
        findings.add(f"{origin}: ", error)
        shape = None
    if detector.mask is not None and raw is not None:
        where = f"{origin}: detector.mask: "
        try:
            _check_image(raw_path(raw.root, detector.mask), None, shape, where, findings)
        except RawDataError as error:
            findings.add(where, error)
    return shape


def _check_phases(report: Report | None, origin: Path, findings: Findings) -> None:
    from .phases import read_structure

    for name in report.phases if report else ():
        try:
            read_structure(name)
        except ConfigError as error:
            findings.add(f"{origin}: report.phases: ", error)


def _check_calibration(
    calibrate: Calibrate | None,
    raw: Raw | None,
    shape: tuple[int, int] | None,
    origin: Path,
    findings: Findings,
) -> None:
    from pyFAI.calibrant import ALL_CALIBRANTS

    if calibrate is None:
        return
    if calibrate.calibrant not in ALL_CALIBRANTS:
        near = difflib.get_close_matches(calibrate.calibrant, list(ALL_CALIBRANTS.keys()), n=3, cutoff=0.4)
        hint = f"; close: {', '.join(near)}" if near else ""
        findings.problems.append(
            f"{origin}: calibrate.calibrant: pyFAI knows no calibrant {calibrate.calibrant!r}{hint}"
        )
    if raw is None:
        return
    try:
        frame = raw_path(raw.root, calibrate.frame)
    except RawDataError as error:
        findings.add(f"{origin}: calibrate.frame: ", error)
    else:
        _check_image(frame, calibrate.dataset, shape, f"{origin}: calibrate.frame: ", findings)
    if calibrate.poni is not None:
        _check_poni(raw, calibrate.poni, f"{origin}: calibrate.poni: ", findings)


def _check_poni(raw: Raw, poni: str, where: str, findings: Findings) -> None:
    try:
        path = raw_path(raw.root, poni)
    except RawDataError as error:
        findings.add(where, error)
        return
    if not path.is_file():
        findings.problems.append(f"{where}{path}: no such file")


def _check_image(
    path: Path, dataset: str | None, shape: tuple[int, int] | None, where: str, findings: Findings
) -> None:
    try:
        found = read_image(path, dataset).shape
    except RawDataError as error:
        findings.add(where, error)
        return
    if shape is not None and found != shape:
        findings.problems.append(f"{where}{path}: {_shape_problem(found, shape)}")


def _shape_problem(found: tuple[int, int], shape: tuple[int, int]) -> str:
    hint = ", the same transposed: another detector orientation?" if found == shape[::-1] else ""
    return f"shape {found}, but the detector's is {shape} (rows, columns){hint}"


def _check_table(path: Path, sections: dict, shape: tuple[int, int] | None, findings: Findings) -> None:
    try:
        numbered, problems = parse_scans(path)
    except TableError as error:
        findings.add("", error)
        return
    raw = sections["raw"]
    rows = [row for _, row in numbered]
    findings.problems += problems
    expected = raw.subsets_per_scan if raw else None
    findings.problems += [f"{path}: {problem}" for problem in missing_subsets(rows, expected=expected)]
    findings.problems += _shared_frames(numbered, path)
    findings.n_scans, findings.n_subsets = len(scan_names(rows)), len(rows)
    if raw is None:
        return
    if not Path(raw.root).is_dir():
        findings.problems.append(f"raw.root: {raw.root}: no such folder (seen from {Path.cwd()})")
        return
    for number, row in numbered:
        where = f"{path}: line {number} (scan {row.scan}, subset {row.subset}): "
        try:
            with open_frames(raw_path(raw.root, row.file), row.dataset) as source:
                _check_frames(source, row, raw, sections["integrate"], shape, where, findings)
        except RawDataError as error:
            findings.add(where, error)


def _shared_frames(numbered: list[tuple[int, Subset]], path: Path) -> list[str]:
    """Two rows with the same frames: a line was copied and only half edited."""
    first: dict[tuple, int] = {}
    problems = []
    for number, row in numbered:
        key = (row.file, row.dataset)
        if key in first:
            problems.append(f"{path}: line {number}: has the same file and dataset as line {first[key]}")
        first.setdefault(key, number)
    return problems


def _check_frames(
    source: FrameSource,
    row: Subset,
    raw: Raw,
    integrate: Integrate | None,
    shape: tuple[int, int] | None,
    where: str,
    findings: Findings,
) -> None:
    n_frames, *frame_shape = source.shape
    findings.n_frames += n_frames
    nominal = row.n_projections * row.n_positions
    if nominal != n_frames:
        findings.problems.append(
            f"{where}n_projections × n_positions = {row.n_projections} × {row.n_positions} = {nominal}, "
            f"but {source.path} has {n_frames} frames"
        )
    if shape is not None and tuple(frame_shape) != shape:
        findings.problems.append(f"{where}{source.path}: frames of {_shape_problem(tuple(frame_shape), shape)}")
    unwritten = source.count_unwritten()
    if unwritten:
        allowed = integrate is not None and unwritten <= integrate.max_bad_frames * n_frames
        text = f"{where}{source.path}: {unwritten} of {n_frames} frames were never written (aborted scan?)"
        (findings.notes if allowed else findings.problems).append(text)
    recorded = {key: _read_values(source, raw, key, where, findings) for key in ("monitor", "omega", "translation")}
    if nominal == n_frames:
        findings.problems += [where + text for text in _compare_motion(recorded, row, raw)]


def _read_values(source: FrameSource, raw: Raw, key: str, where: str, findings: Findings) -> np.ndarray | None:
    """The values of a counter or motor of the configuration; None where not named, not there, or not read."""
    name = getattr(raw, key)
    if name is None:
        return None
    one_file_per_value = len(source.files) == source.shape[0] > 1
    try:
        values = source.values(name, stop=1 if one_file_per_value else None)
    except RawDataError as error:
        findings.add(f"{where}raw.{key}: ", error)
        return None
    return None if one_file_per_value else values


def _compare_motion(recorded: dict[str, np.ndarray | None], row: Subset, raw: Raw) -> list[str]:
    """Where the recorded positions say something else than the table."""
    problems = []
    translation, omega = recorded["translation"], recorded["omega"]
    motion = None if translation is None else find_motion(translation)
    if translation is not None and motion is None:
        problems.append(f"raw.translation: {raw.translation} as recorded does not run in lines of equal length")
    if motion is not None:
        problems += _compare_lines(motion, row, raw.translation)
    if omega is not None and row.n_projections > 1:
        steps = np.diff(line_angles(omega, row.n_positions))
        problems += _differs(float(np.median(steps)), row, "angle_step_deg", raw.omega)
        start = float(omega[: row.n_positions].mean())
        if abs(start - row.angle_start_deg) > abs(row.angle_step_deg):
            problems.append(f"angle_start_deg is {row.angle_start_deg}, but {raw.omega} starts at {start:.6g}")
    return problems


def _compare_lines(motion, row: Subset, name: str) -> list[str]:
    zigzag = "yes" if motion.zigzag else "no"
    problems = []
    if motion.n_positions != row.n_positions:
        problems.append(
            f"n_projections × n_positions is {row.n_projections} × {row.n_positions}, "
            f"but {name} as recorded makes {motion.n_projections} lines of {motion.n_positions}"
        )
    elif motion.n_projections > 1 and zigzag != row.zigzag:
        problems.append(f"zigzag is {row.zigzag!r}, but {name} as recorded says {zigzag!r}")
    return problems + _differs(motion.step, row, "step_mm", name)


def _differs(found: float, row: Subset, column: str, name: str) -> list[str]:
    nominal = getattr(row, column)
    if abs(found - nominal) <= POSITION_TOLERANCE * abs(nominal):
        return []
    return [f"{column} is {nominal}, but {name} as recorded moves by {found:.6g}"]

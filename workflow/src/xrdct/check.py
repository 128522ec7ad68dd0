"""Is a beamtime ready to run? Configuration, table and raw files, with every problem named at once.

Files are opened and counters read; frames are not.
"""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import yaml
from pydantic import ValidationError

from .calibration.calibrants import find_calibrant
from .calibration.detector import LEAST_VALID, detector_from
from .check_frames import check_frames, shape_problem
from .check_ranges import axis_problems, q_range_problem
from .check_series import check_series
from .config import Config, Section, load
from .errors import ConfigError, RawDataError, TableError, XrdctError
from .fit.phase_set import load_phase_set
from .io.frames import open_frames, raw_path, read_image
from .io.poni import read_poni
from .phases import read_structure
from .scans import Subset, missing_subsets, parse_scans, scan_names, subsets_of
from .units import wavelength_from_energy

ANY_KEV = 50.0
"""Energy at which a calibrant is looked up when the configuration's is wrong: only its name is of interest then."""


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
    """Of the scans."""
    n_series: int = 0

    def add(self, where: str, error: Exception) -> None:
        """Take over the lines of an error, each with the place it belongs to."""
        self.problems += [f"{where}{line}" for line in str(error).splitlines()]

    def summary(self) -> str:
        """'2 scans, 8 subsets, 9,216 frames'."""
        counts = {"scan": self.n_scans, "subset": self.n_subsets, "frame": self.n_frames}
        said = ", ".join(f"{n:,} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items())
        return said + (f", {self.n_series} series" if self.n_series else "")


def check_beamtime(config_path: str | Path, *, working_folder: str | Path = ".") -> Findings:
    """Check configuration, table and raw files, going on past problems as far as they allow.

    A section with a mistake does not hide what the others lead to: a misspelt key in `integrate` leaves table and
    raw files to be checked all the same.

    Parameters
    ----------
    config_path
        The YAML file; its `scans` is relative to it.
    working_folder
        Where Snakemake would run: `raw.root` is relative to it.
    """
    config_path, found = Path(config_path), Findings()
    try:
        load(config_path)
    except ConfigError as error:
        found.add("", error)
    settings = _plain_settings(config_path)
    sections = {name: _valid_section(settings, name) for name in Config.model_fields if name != "scans"}
    origin = f"{config_path}: "
    root = _raw_root(sections["raw"], Path(working_folder), origin, found)
    shape = _check_detector(sections["detector"], root, origin, found)
    _check_calibration(sections, root, shape, origin, found)
    if problem := q_range_problem(sections, root):
        found.problems.append(origin + problem)
    _check_fit(sections["fit"], origin, found)
    _check_report(sections["report"], origin, found)
    table = settings.get("scans", Config.model_fields["scans"].default)
    _check_table(config_path.parent / str(table), sections, root, shape, found)
    if sections["series"] is not None and sections["series"].table is not None:
        path = config_path.parent / sections["series"].table
        problems, found.n_series = check_series(path, sections, root, shape)
        found.problems += problems
    return found


def _plain_settings(path: Path) -> dict:
    """The settings as written, as far as they are YAML; what is wrong with them was said already."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _valid_section(settings: dict, name: str) -> Section | None:
    """One section by itself; None when it is missing or wrong."""
    try:
        return Config.model_fields[name].annotation.model_validate(settings.get(name, {}))
    except ValidationError:
        return None


def _raw_root(raw: Section | None, folder: Path, origin: str, found: Findings) -> Path | None:
    if raw is None:
        return None
    root = folder / raw.root
    if root.is_dir():
        return root
    found.problems.append(f"{origin}raw.root: {root}: no such folder (seen from {Path.cwd()})")
    return None


def _check_detector(detector: Section | None, root: Path | None, origin: str, found: Findings):
    """The shape of a frame (rows, columns), None when it is not known; the mask is checked against it."""
    if detector is None:
        return None
    try:
        shape = detector_from(detector).max_shape
    except ConfigError as error:
        found.add(origin, error)
        shape = None
    else:
        if shape is None:
            found.problems.append(f"{origin}detector.name: {detector.name} has no fixed shape; give `shape` instead")
    shape = shape and tuple(map(int, shape))
    if detector.mask is not None:
        mask = _check_image(root, detector.mask, None, shape, f"{origin}detector.mask: ", found)
        if mask is not None and np.mean(mask == 0) < LEAST_VALID:
            found.problems.append(
                f"{origin}detector.mask: marks {np.mean(mask != 0):.0%} of the pixels as bad; is it inverted? "
                "It must be non-zero where pixels are BAD"
            )
    return shape


def _check_calibration(sections: dict, root: Path | None, shape: tuple | None, origin: str, found: Findings) -> None:
    calibrate, beam = sections["calibrate"], sections["beam"]
    if calibrate is None:
        return
    try:
        find_calibrant(calibrate.calibrant, wavelength=wavelength_from_energy(beam.energy_kev if beam else ANY_KEV))
    except ConfigError as error:
        found.add(origin, error)
    _check_image(root, calibrate.frame, calibrate.dataset, shape, f"{origin}calibrate.frame: ", found)
    if calibrate.poni is not None and root is not None:
        try:
            read_poni(raw_path(root, calibrate.poni))
        except XrdctError as error:
            found.add(f"{origin}calibrate.poni: ", error)


def _check_image(
    root: Path | None, file: str, dataset: str | None, shape: tuple | None, where: str, found: Findings
) -> np.ndarray | None:
    """The image, None when it cannot be read; its shape is compared with the detector's."""
    if root is None:
        return None
    try:
        path = raw_path(root, file)
        image = read_image(path, dataset)
    except RawDataError as error:
        found.add(where, error)
        return None
    if shape is not None and image.shape != shape:
        found.problems.append(f"{where}{path}: {shape_problem(image.shape, shape)}")
    return image


def _check_fit(fit: Section | None, origin: str, found: Findings) -> None:
    chosen = fit.chosen() if fit is not None else None
    if chosen is None:
        return
    try:
        load_phase_set(chosen)
    except ConfigError as error:
        found.add(f"{origin}fit: ", error)


def _check_report(report: Section | None, origin: str, found: Findings) -> None:
    from matplotlib import colormaps

    if report is None:
        return
    for name in report.phases:
        try:
            read_structure(name)
        except ConfigError as error:
            found.add(f"{origin}report.phases: ", error)
    if report.colormap not in colormaps:
        found.problems.append(f"{origin}report.colormap: matplotlib knows no {report.colormap!r}")


def _check_table(path: Path, sections: dict, root: Path | None, shape: tuple | None, found: Findings) -> None:
    try:
        series = sections["series"]
        numbered, problems = parse_scans(path, may_be_empty=series is not None and series.table is not None)
    except TableError as error:
        found.add("", error)
        return
    rows, raw = [row for _, row in numbered], sections["raw"]
    expected = raw.subsets_per_scan if raw else None
    problems += [f"{path}: {problem}" for problem in missing_subsets(rows, expected=expected)]
    problems += [f"{path}: {problem}" for problem in _shared_frames(numbered)]
    if raw is not None and raw.omega is None:
        problems += [f"{path}: {problem}" for scan in scan_names(rows) for problem in _equal_angles(rows, scan)]
    if sections["assemble"] is not None:
        problems += [f"{path}: {problem}" for problem in _no_sample_left(rows, sections["assemble"].air_positions or 0)]
        problems += [f"{path}: {problem}" for problem in axis_problems(rows, sections["assemble"].cor)]
    found.problems += problems
    found.n_scans, found.n_subsets = len(scan_names(rows)), len(rows)
    if root is None:
        found.notes.append("raw files were not looked at, as raw.root is not known")
        return
    for number, row in numbered:
        where = f"{path}: line {number} (scan {row.scan}, subset {row.subset}): "
        try:
            with open_frames(raw_path(root, row.file), row.dataset) as source:
                found.n_frames += source.shape[0]
                problems, notes = check_frames(source, row, sections, shape)
        except RawDataError as error:
            found.add(where, error)
        else:
            found.problems += [where + text for text in problems]
            found.notes += [where + text for text in notes]


def _shared_frames(numbered: list[tuple[int, Subset]]) -> list[str]:
    """Two rows with the same frames: a line was copied and only half edited."""
    first: dict[tuple, int] = {}
    problems = []
    for number, row in numbered:
        key = (row.file, row.dataset)
        if key in first:
            problems.append(f"line {number}: has the same file and dataset as line {first[key]}")
        first.setdefault(key, number)
    return problems


def _equal_angles(rows: list[Subset], scan: str) -> list[str]:
    """Projections that two subsets would have at one angle: no sinogram can be made of them."""
    angles = {
        row.subset: row.angle_start_deg + np.arange(row.n_projections) * row.angle_step_deg
        for row in subsets_of(rows, scan)
    }
    return [
        f"scan {scan}: subsets {a} and {b} both have a projection at {same[0]:.6g}°; check angle_start_deg"
        for a, b in combinations(angles, 2)
        if len(same := np.intersect1d(np.round(angles[a], 6), np.round(angles[b], 6)))
    ]


def _no_sample_left(rows: list[Subset], air_positions: int) -> list[str]:
    return [
        f"scan {scan}: assemble.air_positions = {air_positions} at either edge leaves nothing of {n} positions"
        for scan in scan_names(rows)
        if 2 * air_positions >= (n := subsets_of(rows, scan)[0].n_positions)
    ]

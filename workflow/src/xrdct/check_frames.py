"""Do the frames of one subset agree with their row of the table, and with the positions recorded beside them?"""

import numpy as np

from .config import Raw, Section
from .errors import RawDataError
from .io.frame_source import FrameSource
from .motion import Motion, find_motion, line_angles
from .scans import Subset

POSITION_TOLERANCE = 0.05
"""Recorded steps may differ from the table's by this share: motors are better, a wrong unit is worse."""
ANGLE_TOLERANCE = 0.1
"""Recorded angles of lines may differ from the table's by this share of a step: less than subsets lie apart."""


def check_frames(
    source: FrameSource, row: Subset, sections: dict[str, Section | None], shape: tuple[int, int] | None
) -> tuple[list[str], list[str]]:
    """Problems and notes of one subset.

    Parameters
    ----------
    source
        Its frames; none is read.
    row
        Its row of the table.
    sections
        Sections of the configuration by name, None for those that are wrong in themselves.
    shape
        Rows and columns of the detector; None when not known.
    """
    raw, n_frames = sections["raw"], source.shape[0]
    problems, notes = _compare_shape(source, row, shape), []
    recorded = {}
    for key in ("monitor", "omega", "translation"):
        try:
            recorded[key] = _recorded(source, getattr(raw, key))
        except RawDataError as error:
            problems += [f"raw.{key}: {line}" for line in str(error).splitlines()]
    monitor = recorded.get("monitor")
    unwritten = source.count_unwritten()
    dark = 0 if monitor is None else np.count_nonzero(~(monitor > 0))
    for count, what, section, key in (
        (unwritten, f"{source.path}: frames never written (aborted scan?)", "integrate", "max_bad_frames"),
        (dark, f"raw.monitor: readings of {raw.monitor} not above 0", "assemble", "max_bad_share"),
    ):
        if count:
            allowed = sections[section] is not None and count <= getattr(sections[section], key) * n_frames
            verdict = "allowed by" if allowed else "more than"
            (notes if allowed else problems).append(f"{what}: {count} of {n_frames}, {verdict} {section}.{key}")
    if row.n_projections * row.n_positions == n_frames:
        problems += compare_motion(recorded.get("translation"), recorded.get("omega"), row, raw)
    return problems, notes


def shape_problem(found: tuple[int, int], shape: tuple[int, int]) -> str:
    """What is wrong with an image that has not the detector's shape."""
    hint = ", the same transposed: another detector orientation?" if found == shape[::-1] else ""
    return f"shape {found}, but the detector's is {shape} (rows, columns){hint}"


def compare_motion(translation: np.ndarray | None, omega: np.ndarray | None, row: Subset, raw: Raw) -> list[str]:
    """Where recorded positions say something else than the table.

    Parameters
    ----------
    translation, omega
        Of every frame in acquisition order, mm and degrees; None where not recorded.
    row, raw
        Row of the table, and the names of the counters for the messages.
    """
    problems = []
    for key, values in (("translation", translation), ("omega", omega)):
        lacking = 0 if values is None else np.count_nonzero(~np.isfinite(values))
        if lacking:
            problems.append(f"raw.{key}: {lacking} of {len(values)} readings of {getattr(raw, key)} are missing")
    if problems:
        return problems
    if translation is not None:
        motion = find_motion(translation)
        if motion is None:
            problems.append(f"raw.translation: {raw.translation} as recorded does not run in lines of equal length")
        else:
            problems += _compare_lines(motion, row, raw.translation)
    if omega is not None:
        problems += _compare_angles(omega, row, raw.omega)
    return problems


def _compare_shape(source: FrameSource, row: Subset, shape: tuple[int, int] | None) -> list[str]:
    problems = []
    n_frames, *frame_shape = source.shape
    nominal = row.n_projections * row.n_positions
    if nominal != n_frames:
        problems.append(
            f"n_projections × n_positions = {row.n_projections} × {row.n_positions} = {nominal}, "
            f"but {source.path} has {n_frames} frames"
        )
    if shape is not None and tuple(frame_shape) != shape:
        problems.append(f"{source.path}: frames of {shape_problem(tuple(frame_shape), shape)}")
    return problems


def _recorded(source: FrameSource, name: str | None) -> np.ndarray | None:
    """The values of a counter or motor; None where none is named, and for images: a header per frame takes too long.

    Of these only the first is looked at, so that a wrong name is found.
    """
    if name is None:
        return None
    one_file_per_value = len(source.files) == source.shape[0] > 1
    values = source.values(name, stop=1 if one_file_per_value else None)
    return None if one_file_per_value else values


def _compare_lines(motion: Motion, row: Subset, name: str) -> list[str]:
    problems = []
    zigzag = "yes" if motion.zigzag else "no"
    if motion.n_positions != row.n_positions:
        problems.append(
            f"n_projections × n_positions is {row.n_projections} × {row.n_positions}, "
            f"but {name} as recorded makes {motion.n_projections} lines of {motion.n_positions}"
        )
    elif motion.n_projections > 1 and row.zigzag not in (zigzag, "auto"):
        problems.append(f"zigzag is {row.zigzag!r}, but {name} as recorded says {zigzag!r}")
    if abs(motion.step - row.step_mm) > POSITION_TOLERANCE * row.step_mm:
        problems.append(f"step_mm is {row.step_mm}, but {name} as recorded moves by {motion.step:.6g}")
    return problems


def _compare_angles(omega: np.ndarray, row: Subset, name: str) -> list[str]:
    """Start and step of the recorded rotation; with a step that is wrong the start cannot be judged."""
    if row.n_projections > 1:
        step = float(np.median(np.diff(line_angles(omega, row.n_positions))))
        if abs(step - row.angle_step_deg) > POSITION_TOLERANCE * abs(row.angle_step_deg):
            return [f"angle_step_deg is {row.angle_step_deg}, but {name} as recorded moves by {step:.6g}"]
    first, tolerance = omega[: row.n_positions], ANGLE_TOLERANCE * abs(row.angle_step_deg)
    if not first.min() - tolerance <= row.angle_start_deg <= first.max() + tolerance:
        return [f"angle_start_deg is {row.angle_start_deg}, but {name} starts at {first[0]:.6g}"]
    return []

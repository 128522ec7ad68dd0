"""When and where every frame was taken: angles, columns, motor readings, intensity of the beam."""

import numpy as np

from .parameters import Beam, Scan


def line_angles(scan: Scan) -> np.ndarray:
    """Rotation of every line in degrees, shape (n_subsets, n_projections).

    All subsets have one step; unless the starts are given, they divide it evenly, so that together the subsets fill
    the span.
    """
    step = scan.span_deg / scan.n_projections
    starts = scan.starts_deg
    if starts is None:
        starts = scan.start_deg + step * np.arange(scan.n_subsets) / scan.n_subsets
    return np.asarray(starts)[:, None] + step * np.arange(scan.n_projections)


def axis_columns(scan: Scan, cor: float) -> np.ndarray:
    """Where every line sees the rotation axis, in positions, shape (n_subsets, n_projections).

    `cor` is the mean place of the axis; lines driven backwards see it half a backlash earlier, others later.
    """
    subset, line = np.mgrid[: scan.n_subsets, : scan.n_projections]
    backlash = np.where(line % 2, -0.5, 0.5) * scan.backlash_px if scan.zigzag else 0.0
    return cor + scan.axis_drift_px * (subset - (scan.n_subsets - 1) / 2) + backlash


def frame_columns(scan: Scan) -> np.ndarray:
    """Column of every frame of a subset in acquisition order, shape (n_projections, n_positions)."""
    forwards = np.arange(scan.n_positions)
    backwards = forwards[::-1]
    return np.stack([backwards if scan.zigzag and line % 2 else forwards for line in range(scan.n_projections)])


def motor_positions(scan: Scan) -> np.ndarray:
    """Readings of the translation in mm in acquisition order, shape (n_projections, n_positions)."""
    return scan.first_position_mm + scan.step_mm * frame_columns(scan)


def beam_intensity(scan: Scan, beam: Beam) -> np.ndarray:
    """Intensity of the beam relative to full, shape (n_subsets, n_projections, n_positions).

    The ring decays exponentially and is filled up every `topup_frames` frames, subsets following one another.
    """
    frame = np.arange(scan.n_subsets * scan.n_projections * scan.n_positions)
    return decayed_intensity(frame, beam).reshape(scan.n_subsets, scan.n_projections, scan.n_positions)


def decayed_intensity(frame: np.ndarray, beam: Beam) -> np.ndarray:
    """Intensity of the beam relative to full in the frames of these numbers, the shape of `frame`."""
    since_topup = (frame % beam.topup_frames) / beam.topup_frames
    return (1 - beam.monitor_decay) ** since_topup

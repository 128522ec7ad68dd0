"""When and where every frame was taken: angles, columns, motor readings, intensity of the beam."""

import numpy as np

from .parameters import Beam, Scan


def line_angles(scan: Scan) -> np.ndarray:
    """Rotation of every line in degrees, shape (n_subsets, n_projections).

    All subsets have one step; their starts divide it evenly, so that together they fill the span.
    """
    step = scan.span_deg / scan.n_projections
    subset, line = np.mgrid[: scan.n_subsets, : scan.n_projections]
    return scan.start_deg + step * (line + subset / scan.n_subsets)


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
    since_topup = (frame % beam.topup_frames) / beam.topup_frames
    return ((1 - beam.monitor_decay) ** since_topup).reshape(scan.n_subsets, scan.n_projections, scan.n_positions)

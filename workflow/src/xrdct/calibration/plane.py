"""The detector plane: where the beam hits it, what a pixel subtends, where an angle lies."""

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator


def pixel_step(geometry: AzimuthalIntegrator) -> float:
    """Angle that a pixel subtends at the beam centre, rad."""
    return geometry.pixel2 / geometry.dist


def beam_centre(geometry: AzimuthalIntegrator) -> tuple[float, float]:
    """Where the direct beam hits the detector: (row, column) of the frame in pixels from its outer corner.

    The point of normal incidence (poni) lies away from it by the distance times the tilt.
    """
    beam1 = geometry.poni1 + geometry.dist * np.tan(geometry.rot2) / np.cos(geometry.rot1)
    beam2 = geometry.poni2 - geometry.dist * np.tan(geometry.rot1)
    corner, far = (_plane_position(geometry.detector, i) for i in (0.0, 1.0))
    row, column = ((b - c) / (f - c) for b, c, f in zip((beam1, beam2), corner, far, strict=True))
    return float(row + 0.5), float(column + 0.5)


def _plane_position(detector, index: float) -> tuple[float, float]:
    """In-plane position (m) of the centre of pixel (index, index), in whatever orientation the detector has."""
    first, second, _ = detector.calc_cartesian_positions(np.array([index]), np.array([index]))
    return float(first[0]), float(second[0])


def move_to_angle(
    geometry: AzimuthalIntegrator, row: np.ndarray, column: np.ndarray, two_theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Move points along their rays from the beam centre until they have the given scattering angles.

    `row` and `column` are in pixels, 0 at the centre of the first pixel; `two_theta` in rad; all of one shape.
    """
    row0, column0 = beam_centre(geometry)
    row0, column0 = row0 - 0.5, column0 - 0.5
    for _ in range(6):
        factor = np.tan(two_theta) / np.tan(geometry.tth(row, column))
        row, column = row0 + (row - row0) * factor, column0 + (column - column0) * factor
    return row, column

"""The geometry that puts the ring points at their angles, and which of its parameters the points can tell."""

from dataclasses import dataclass

import numpy as np
from pyFAI.detectors import Detector as PyfaiDetector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.optimize import least_squares

from ..errors import CalibrationError
from .calibrants import Calibrant
from .rings import RingPoints

PARAMETERS = ("distance", "centre_row", "centre_column", "rot1", "rot2")
UNITS = ("mm", "px", "px", "deg", "deg")
LIMITS = (10.0, 3.0, 3.0, 0.3, 0.3)
"""Uncertainty (in `UNITS`) above which a parameter is not refined. A tilt that the rings cannot tell to 0.3°
does not move them by a tenth of a pixel either: zero costs nothing; a tilt that runs moves the poni by millimetres."""
DISTORTION_PX = 0.05
"""Displacement of whole modules and sectors that no counting statistics shows; part of every uncertainty."""
OUTLIER = 5.0
"""Points further from their ring than this many robust standard deviations are left out."""


@dataclass(frozen=True)
class Refinement:
    """A refined geometry.

    Attributes
    ----------
    geometry
        pyFAI geometry with distance, poni, rotations, wavelength and detector.
    residual
        Measured minus expected two_theta of every point, shape (n_points,), rad.
    kept
        Points that were used, shape (n_points,), bool.
    rms
        Of the kept residuals, rad.
    free
        Names of the refined parameters.
    uncertainty
        Of every parameter, refined or not, if it were refined: {name: value in `UNITS`}; includes `DISTORTION_PX`.
    """

    geometry: AzimuthalIntegrator
    residual: np.ndarray
    kept: np.ndarray
    rms: float
    free: tuple[str, ...]
    uncertainty: dict[str, float]


def start_geometry(
    detector: PyfaiDetector, *, centre: tuple[float, float], distance_mm: float, wavelength: float
) -> AzimuthalIntegrator:
    """An untilted geometry from beam centre (row, column from the frame's outer corner, px), mm and Å."""
    row, column = (np.array([c - 0.5]) for c in centre)
    poni1, poni2, _ = detector.calc_cartesian_positions(row, column)
    return AzimuthalIntegrator(
        dist=distance_mm * 1e-3,
        poni1=float(poni1[0]),
        poni2=float(poni2[0]),
        detector=detector,
        wavelength=wavelength * 1e-10,
    )


def refine_geometry(
    start: AzimuthalIntegrator, points: RingPoints, calibrant: Calibrant, *, tilted: bool = True
) -> Refinement:
    """Least squares of (two_theta of the points − of their rings) with the wavelength and rot3 fixed.

    Refined are the distance along the beam, the beam centre and the two tilts, as far as the points determine
    them: as long as one of them would come out worse than `LIMITS`, the worst is fixed where it is. In these
    parameters, unlike in pyFAI's poni, a fixed tilt does not move the centre.

    Parameters
    ----------
    tilted
        Whether the tilts may be refined at all.

    Raises
    ------
    CalibrationError
        When there are fewer points than could determine a geometry.
    """
    if len(points) < 12:
        raise CalibrationError(f"only {len(points)} ring points were found; no geometry can be refined from them")
    scale = _Scale(start)
    values = scale.values(start)
    expected = calibrant.two_theta[points.ring]

    def residual(values):
        return start.tth(points.row, points.column, param=scale.poni(values)) - expected

    distortion = DISTORTION_PX * start.pixel2 / start.dist
    candidates = [0, 1, 2, 3, 4] if tilted else [0, 1, 2]
    jacobian = _jacobian(residual, values)
    # Before a fit the residual says little: only what is visible through the distortion decides.
    free = _determined(jacobian, candidates, distortion)
    kept = np.ones(len(points), dtype=bool)
    for _ in range(3):
        values = _fit(residual, values, free, kept)
        rest = residual(values)
        centre, spread = np.median(rest[kept]), 1.4826 * np.median(np.abs(rest[kept] - np.median(rest[kept])))
        kept = np.abs(rest - centre) < OUTLIER * max(spread, distortion)
    rms = float(np.sqrt(np.mean(rest[kept] ** 2)))
    errors = _uncertainty(_jacobian(residual, values)[kept], candidates, rms, distortion)
    dist, poni1, poni2, rot1, rot2, rot3 = scale.poni(values)
    geometry = AzimuthalIntegrator(
        dist, poni1, poni2, rot1, rot2, rot3, detector=start.detector, wavelength=start.wavelength
    )
    return Refinement(
        geometry=geometry,
        residual=rest,
        kept=kept,
        rms=rms,
        free=tuple(PARAMETERS[i] for i in free),
        uncertainty={PARAMETERS[i]: float(e) for i, e in zip(candidates, errors, strict=True)},
    )


class _Scale:
    """Between pyFAI's six parameters (m, rad) and `PARAMETERS` in `UNITS`: distance along the beam, beam centre, tilts.

    The centre is counted along pyFAI's own axes (in pixels, origin at theirs), so the detector's orientation is
    no concern here.
    """

    def __init__(self, geometry: AzimuthalIntegrator):
        self.pixel1, self.pixel2, self.rot3 = geometry.pixel1, geometry.pixel2, geometry.rot3

    def values(self, geometry: AzimuthalIntegrator) -> np.ndarray:
        dist, rot1, rot2 = geometry.dist, geometry.rot1, geometry.rot2
        row = (geometry.poni1 + dist * np.tan(rot2) / np.cos(rot1)) / self.pixel1
        column = (geometry.poni2 - dist * np.tan(rot1)) / self.pixel2
        along = dist / (np.cos(rot1) * np.cos(rot2))
        return np.array([along * 1e3, row, column, np.degrees(rot1), np.degrees(rot2)])

    def poni(self, values: np.ndarray) -> tuple[float, ...]:
        along, row, column = values[0] * 1e-3, values[1] * self.pixel1, values[2] * self.pixel2
        rot1, rot2 = np.radians(values[3]), np.radians(values[4])
        dist = along * np.cos(rot1) * np.cos(rot2)
        poni1 = row - dist * np.tan(rot2) / np.cos(rot1)
        poni2 = column + dist * np.tan(rot1)
        return tuple(float(v) for v in (dist, poni1, poni2, rot1, rot2, self.rot3))


def _fit(residual, values, free, kept):
    def partial(free_values):
        full = values.copy()
        full[free] = free_values
        return 1e4 * residual(full)[kept]

    # Residuals in units of 1e-4 rad: that is where the robust loss begins to bend.
    result = least_squares(partial, values[free], loss="soft_l1", f_scale=1.0, x_scale="jac")
    fitted = values.copy()
    fitted[free] = result.x
    return fitted


def _jacobian(residual, values) -> np.ndarray:
    """Change of every residual (rad) per unit of every parameter, shape (n_points, 5)."""
    columns = []
    for i, width in enumerate((0.1, 0.1, 0.1, 0.05, 0.05)):
        shift = np.zeros(len(values))
        shift[i] = width
        columns.append((residual(values + shift) - residual(values - shift)) / (2 * width))
    return np.stack(columns, axis=1)


def _uncertainty(jacobian, columns, rms, distortion) -> np.ndarray:
    """Standard errors of the parameters `columns` refined together.

    The inverse normal matrix times (rms² + n·distortion²): a distortion is common to many points and does not average
    out, so it enters as if a single point carried it.
    """
    j = jacobian[:, columns]
    norm = np.linalg.norm(j, axis=0)
    inverse = np.linalg.pinv((j / norm).T @ (j / norm), rcond=1e-12)
    return np.sqrt(np.diag(inverse) * (rms**2 + len(j) * distortion**2)) / norm


def _determined(jacobian, candidates, distortion) -> list[int]:
    """The parameters that can be refined together without any of them exceeding its limit."""
    free = list(candidates)
    while len(free) > 1:
        excess = _uncertainty(jacobian, free, 0.0, distortion) / np.array(LIMITS)[free]
        if excess.max() < 1:
            break
        del free[int(excess.argmax())]
    return free


def judge_geometry(geometry: AzimuthalIntegrator, points: RingPoints, calibrant: Calibrant) -> Refinement:
    """How far ring points are from where a given geometry expects them; nothing is refined or left out.

    The uncertainty is what a refinement would reach.

    Raises
    ------
    CalibrationError
        When no points were found.
    """
    if len(points) == 0:
        raise CalibrationError(
            f"none of {calibrant.name}'s rings is within some pixels of where the geometry expects it: it belongs to "
            "another distance or position of the detector. Leave out calibrate.poni to have the geometry found"
        )
    scale = _Scale(geometry)
    expected = calibrant.two_theta[points.ring]

    def residual(values):
        return geometry.tth(points.row, points.column, param=scale.poni(values)) - expected

    values = scale.values(geometry)
    rest = residual(values)
    rms = float(np.sqrt(np.mean(rest**2)))
    distortion = DISTORTION_PX * geometry.pixel2 / geometry.dist
    errors = _uncertainty(_jacobian(residual, values), list(range(5)), rms, distortion)
    return Refinement(
        geometry=geometry,
        residual=rest,
        kept=np.ones(len(points), dtype=bool),
        rms=rms,
        free=(),
        uncertainty={name: float(e) for name, e in zip(PARAMETERS, errors, strict=True)},
    )


def energy_shift(points: RingPoints, refinement: Refinement, calibrant: Calibrant) -> tuple[float, float]:
    """Relative change of the energy that the rings would ask for if it were free, and its uncertainty.

    One linear step from the refined geometry, with the parameters that were refined there (all, if none was).
    """
    geometry, kept = refinement.geometry, refinement.kept
    scale = _Scale(geometry)
    expected = calibrant.two_theta[points.ring]

    def residual(values):
        return geometry.tth(points.row, points.column, param=scale.poni(values)) - expected

    free = [PARAMETERS.index(name) for name in refinement.free or PARAMETERS]
    jacobian = _jacobian(residual, scale.values(geometry))[:, free]
    # 2θ = 2 asin(λ q / 4π): a relative change e of the energy moves the expected angle by −2 tan θ · e.
    column = 2 * np.tan(expected / 2)
    jacobian = np.concatenate([jacobian, column[:, None]], axis=1)[kept]
    norm = np.linalg.norm(jacobian, axis=0)
    step = np.linalg.lstsq(jacobian / norm, -refinement.residual[kept], rcond=None)[0] / norm
    distortion = DISTORTION_PX * geometry.pixel2 / geometry.dist
    error = _uncertainty(jacobian, list(range(len(norm))), refinement.rms, distortion)
    return float(step[-1]), float(error[-1])

"""What a calibration found, put together from a refined geometry."""

import logging
from dataclasses import dataclass

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from .calibrants import Calibrant
from .checks import check_energy, check_missing, check_points, check_strangers
from .pattern import Cake, Pattern, integrate_cake, integrate_pattern, natural_bins
from .plane import beam_centre, pixel_step
from .profile import InstrumentProfile, fit_lines, instrument_profile
from .refine import Refinement
from .rings import RingPoints
from .table import Ring, bent_sectors, ring_table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Geometry and instrument profile from one frame of a calibrant.

    Attributes
    ----------
    geometry
        pyFAI geometry: distance and poni in m, rotations in rad, wavelength in m, detector.
    calibrant
        Rings it was compared with.
    energy_kev
        Photon energy, taken as given.
    centre
        Where the direct beam hits the frame: (row, column), pixels from the outer corner of the first pixel.
    distance_mm
        From the sample to there, along the beam.
    tilt_deg
        Between the beam and the normal of the detector.
    rms_deg
        Scatter of the ring points about their rings, degrees of two_theta.
    n_points
        Ring points used.
    free, uncertainty
        Names of the refined parameters, and the uncertainty of all (mm, px, px, degrees, degrees).
    points, residual
        The ring points, and measured minus expected two_theta of each in rad.
    rings
        The ring table.
    a, a_scatter
        Lattice parameter in Å, median and standard deviation over the clean rings; NaN unless the calibrant is cubic.
    profile
        Instrument profile.
    pattern, cake
        For the picture.
    messages, warnings
        What was decided, and what the user should look at; sentences.
    """

    geometry: AzimuthalIntegrator
    calibrant: Calibrant
    energy_kev: float
    centre: tuple[float, float]
    distance_mm: float
    tilt_deg: float
    rms_deg: float
    n_points: int
    free: tuple[str, ...]
    uncertainty: dict[str, float]
    points: RingPoints
    residual: np.ndarray
    rings: tuple[Ring, ...]
    a: float
    a_scatter: float
    profile: InstrumentProfile
    pattern: Pattern
    cake: Cake
    messages: tuple[str, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """The result in a few lines, with units."""
        error = self.uncertainty
        lines = [
            f"distance  {self.distance_mm:.3f} ± {error['distance']:.3f} mm (along the beam)",
            f"centre    row {self.centre[0]:.2f} ± {error['centre_row']:.2f}, "
            f"column {self.centre[1]:.2f} ± {error['centre_column']:.2f} px (from the frame's first corner)",
            f"tilt      {self.tilt_deg:.3f}° (rot1 {np.degrees(self.geometry.rot1):.3f}°, "
            f"rot2 {np.degrees(self.geometry.rot2):.3f}°)",
            f"rms       {self.rms_deg:.4f}° of two_theta, {self.n_points} ring points",
        ]
        if np.isfinite(self.a):
            n = sum(ring.clean for ring in self.rings)
            lines.append(
                f"a         {self.a:.5f} Å (scatter {self.a_scatter:.5f} Å over {n} clean rings; "
                f"{self.calibrant.name} {self.calibrant.a:.5f} Å)"
            )
        return "\n".join(lines)


def build_calibration(
    frame: np.ndarray,
    valid: np.ndarray,
    calibrant: Calibrant,
    points: RingPoints,
    refinement: Refinement,
    *,
    energy_kev: float,
    max_rms_deg: float,
    polarization: float,
    trim: float,
    n_bins: int | None,
    messages: list[str],
) -> Calibration:
    """Check a refined geometry against the frame and measure the rest: pattern, profile, ring table.

    Raises
    ------
    CalibrationError
        When the points scatter too much, too few rings are seen, or lines are there that the calibrant has not.
    """
    check_points(points, refinement, max_rms_deg=max_rms_deg)
    check_missing(points, calibrant)
    geometry = refinement.geometry
    step_q = pixel_step(geometry) * 2 * np.pi / calibrant.wavelength
    fwhm = np.where(np.isfinite(points.fwhm), points.fwhm, np.nanmedian(points.fwhm))
    fwhm_q = 2 * np.pi / calibrant.wavelength * np.cos(calibrant.two_theta / 2) * fwhm
    natural = natural_bins(geometry, frame.shape)
    n_bins = natural if n_bins is None else n_bins
    pattern = integrate_pattern(frame, valid, geometry, n_bins=n_bins, trim=trim, polarization=polarization)
    warnings = check_strangers(pattern, calibrant, fwhm_q=fwhm_q)
    lines = fit_lines(pattern, calibrant, fwhm_q=fwhm_q)
    profile = instrument_profile(lines, wavelength=calibrant.wavelength, q_step=pattern.step, trim=trim)
    rings = ring_table(calibrant, points, refinement, lines)
    warnings += bent_sectors(rings, pixel_q=step_q)
    said, doubts = check_energy(points, refinement, calibrant, energy_kev=energy_kev)
    messages = [*messages, said, f"instrument profile from {sum(ring.clean for ring in rings)} single lines"]
    a = np.array([ring.a for ring in rings if ring.clean])
    calibration = Calibration(
        geometry=geometry,
        calibrant=calibrant,
        energy_kev=energy_kev,
        centre=beam_centre(geometry),
        distance_mm=1e3 * geometry.dist / (np.cos(geometry.rot1) * np.cos(geometry.rot2)),
        tilt_deg=float(np.degrees(np.arccos(np.cos(geometry.rot1) * np.cos(geometry.rot2)))),
        rms_deg=float(np.degrees(refinement.rms)),
        n_points=int(refinement.kept.sum()),
        free=refinement.free,
        uncertainty=refinement.uncertainty,
        points=points,
        residual=refinement.residual,
        rings=rings,
        a=float(np.median(a)),
        a_scatter=float(np.std(a)),
        profile=profile,
        pattern=pattern,
        cake=integrate_cake(frame, valid, geometry, n_bins=natural // 2, polarization=polarization),
        messages=tuple(messages),
        warnings=tuple(warnings + doubts),
    )
    for sentence in (*calibration.messages, *calibration.summary().splitlines()):
        log.info("%s", sentence)
    for sentence in calibration.warnings:
        log.warning("%s", sentence)
    return calibration

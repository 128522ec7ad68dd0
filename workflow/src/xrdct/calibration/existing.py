"""A geometry that exists already, checked against a calibrant frame."""

import numpy as np
from pyFAI.detectors import Detector as PyfaiDetector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from ..errors import CalibrationError, GeometryError
from ..units import wavelength_from_energy
from .calibrants import find_calibrant
from .detector import valid_pixels
from .orientation import check_orientation, orientation_contrasts
from .plane import pixel_step
from .refine import judge_geometry
from .result import Calibration, build_calibration
from .rings import measure_rings, pixel_angles

SAME_ENERGY = 1e-3
"""Relative difference between the energies of geometry and beam above which they are not the same."""
WINDOW_PX = 6
FWHM_PX = 2.0


def check_geometry(
    frame: np.ndarray,
    geometry: AzimuthalIntegrator,
    *,
    calibrant: str,
    energy_kev: float,
    detector: PyfaiDetector,
    mask: np.ndarray | None = None,
    max_rms_deg: float = 0.01,
    polarization: float = 0.95,
    trim: float = 0.20,
    n_bins: int | None = None,
) -> Calibration:
    """Check that a geometry puts the rings of a calibrant frame where they belong, and measure the profile with it.

    The frame's pattern is made as stored and with the frame flipped (and transposed, if it is square): the geometry is
    refused when it fits one of those clearly better. Nothing of the geometry is changed.

    Parameters
    ----------
    geometry
        As `io.poni.read_poni` gives it.

    The other parameters are those of `calibrate`.

    Raises
    ------
    GeometryError
        When frame, mask, detector and geometry do not fit together.
    CalibrationError
        When the geometry belongs to another orientation, distance or energy than the frame's.
    """
    wavelength = wavelength_from_energy(energy_kev)
    rings = find_calibrant(calibrant, wavelength=wavelength)
    valid = valid_pixels(frame, detector, mask)
    geometry = _on_detector(geometry, detector, wavelength=wavelength)
    contrasts = orientation_contrasts(frame, valid, geometry, rings)
    messages = check_orientation(contrasts)
    step = pixel_step(geometry)
    fwhm = np.full(len(rings.q), FWHM_PX * step)
    pixels = pixel_angles(frame, valid, geometry)
    points = measure_rings(pixels, geometry, rings, half_width=np.full(len(fwhm), WINDOW_PX * step), fwhm=fwhm)
    fitted = judge_geometry(geometry, points, rings)
    return build_calibration(
        frame,
        valid,
        rings,
        points,
        fitted,
        energy_kev=energy_kev,
        max_rms_deg=max_rms_deg,
        polarization=polarization,
        trim=trim,
        n_bins=n_bins,
        messages=[*messages, "the geometry was given; nothing was refined"],
    )


def _on_detector(geometry: AzimuthalIntegrator, detector: PyfaiDetector, *, wavelength: float) -> AzimuthalIntegrator:
    """The same geometry with the detector of the configuration, in the orientation that the geometry names.

    Old .poni files hold pixel sizes alone; then the configuration says what else is known of the detector.
    """
    for axis, own, given in (
        ("rows", geometry.pixel1, detector.pixel1),
        ("columns", geometry.pixel2, detector.pixel2),
    ):
        if abs(own / given - 1) > 1e-4:
            raise GeometryError(
                f"the geometry has pixels of {own * 1e6:g} µm along the {axis}, but the detector {given * 1e6:g} µm: "
                "they are not of the same detector, or one was binned"
            )
    if geometry.wavelength is None:
        raise GeometryError("the geometry has no wavelength; write one into the .poni, or leave calibrate.poni out")
    own = geometry.wavelength * 1e10
    if abs(own / wavelength - 1) > SAME_ENERGY:
        raise CalibrationError(
            f"the geometry was made for {wavelength_from_energy(own):.3f} keV ({own:.5f} Å), but beam.energy_kev gives "
            f"{wavelength_from_energy(wavelength):.3f} keV: one of them is wrong"
        )
    oriented = detector.__class__(**{**detector.get_config(), "orientation": geometry.detector.orientation or 3})
    if oriented.shape is None:
        oriented.shape = detector.shape
    return AzimuthalIntegrator(
        geometry.dist,
        geometry.poni1,
        geometry.poni2,
        geometry.rot1,
        geometry.rot2,
        geometry.rot3,
        detector=oriented,
        wavelength=geometry.wavelength,
    )

"""Geometry from one calibrant frame, without a start value and without a click."""

import numpy as np
from pyFAI.detectors import Detector as PyfaiDetector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from ..errors import CalibrationError
from ..units import wavelength_from_energy
from .calibrants import Calibrant, find_calibrant
from .centre import find_centres
from .detector import valid_pixels
from .distance import DistanceScore, find_distance, radial_profile
from .existing import check_geometry
from .plane import pixel_step
from .refine import PARAMETERS, UNITS, Refinement, refine_geometry, start_geometry
from .result import Calibration, build_calibration
from .rings import RingPoints, measure_rings, pixel_angles

LEAST_SCORE = 6.0
"""Score of the best distance below which the frame shows no rings of the calibrant: noise reaches 6, rings 10 to 20."""
WIDE_PX = 8
"""Rings are looked for this far from where they are expected as long as the geometry is a guess."""
START_FWHM_PX = 3.0
STAGES = ((5, False), (10, True), (None, True), (None, True))
"""Innermost rings used (None: all), and whether tilts may be refined, one stage after the other."""


def calibrate(
    frame: np.ndarray,
    *,
    calibrant: str,
    energy_kev: float,
    detector: PyfaiDetector,
    mask: np.ndarray | None = None,
    poni: AzimuthalIntegrator | None = None,
    max_rms_deg: float = 0.01,
    polarization: float = 0.95,
    trim: float = 0.20,
    n_bins: int | None = None,
) -> Calibration:
    """Find distance, beam centre and tilt from a calibrant frame, and measure the instrument profile.

    The centre comes from point symmetry, the distance from the score of the calibrant's rings on a logarithmic grid,
    both are refined with the tilt by least squares of ring points. The wavelength stays fixed: at small angles it
    cannot be told from the distance.

    The orientation of a frame cannot be wrong by itself: a mirrored frame calibrates to a mirrored centre and
    integrates just as well. It can be wrong between things: this frame and the sample frames (nobody can see that from
    here), a mask (refused if the frame marks its bad pixels), or a given .poni (see `check_geometry`). A transposed
    frame of a detector that is not square is refused.

    Parameters
    ----------
    frame
        Counts, shape (rows, columns).
    calibrant
        Name in pyFAI's list.
    energy_kev
        Photon energy, taken as true.
    detector
        pyFAI detector (`detector_from`); its mask is applied.
    mask
        Non-zero where pixels are bad, same shape.
    poni
        A geometry that exists already: it is checked (`check_geometry`) and nothing is refined.
    max_rms_deg
        Largest scatter of ring points that is accepted, degrees of two_theta.
    polarization
        pyFAI's polarization_factor.
    trim
        Share of each bin's pixels that the pattern drops, as for the data.
    n_bins
        Bins of the pattern from the smallest to the largest q; None: two per pixel radius.

    Raises
    ------
    GeometryError
        When frame, mask and detector do not fit together.
    CalibrationError
        When the frame shows no rings of the calibrant, or the geometry found cannot be trusted.
    ConfigError
        When pyFAI does not know the calibrant.
    """
    settings = {"max_rms_deg": max_rms_deg, "polarization": polarization, "trim": trim, "n_bins": n_bins}
    if poni is not None:
        return check_geometry(
            frame, poni, calibrant=calibrant, energy_kev=energy_kev, detector=detector, mask=mask, **settings
        )
    rings = find_calibrant(calibrant, wavelength=wavelength_from_energy(energy_kev))
    valid = valid_pixels(frame, detector, mask)
    centre, distance = _start_values(frame, valid, rings, pixel_mm=detector.pixel1 * 1e3)
    messages = [
        f"{valid.mean():.1%} of the pixels are valid",
        f"centre of symmetry at row {centre[0]:.1f}, column {centre[1]:.1f} px",
        f"distance {distance.distance:.1f} mm by ring score {distance.score:.1f} (next best {distance.runner_up:.1f})",
    ]
    start = start_geometry(detector, centre=centre, distance_mm=distance.distance, wavelength=rings.wavelength)
    points, refinement = _refine_in_stages(frame, valid, start, rings)
    messages += _describe_decisions(refinement)
    return build_calibration(
        frame, valid, rings, points, refinement, energy_kev=energy_kev, messages=messages, **settings
    )


def _start_values(
    frame: np.ndarray, valid: np.ndarray, calibrant: Calibrant, *, pixel_mm: float
) -> tuple[tuple[float, float], DistanceScore]:
    """The centre of symmetry about which the rings score best, and the distance there.

    Candidates are compared on every second row and column of a large frame, which shifts nothing by a pixel.
    """
    stride = 2 if min(frame.shape) > 400 else 1
    sparse, known = frame[::stride, ::stride], valid[::stride, ::stride]
    # Pixel k of the sparse frame is pixel stride·k of the full one: centres at (stride·k + 0.5).
    shift = (stride - 1) / 2
    found = []
    for centre in find_centres(frame, valid):
        near = tuple((c + shift) / stride for c in centre)
        profile = radial_profile(sparse, known, centre=near)
        found.append((find_distance(profile, calibrant, pixel_mm=pixel_mm * stride), centre))
    distance, centre = max(found, key=lambda pair: pair[0].score)
    if distance.score < LEAST_SCORE:
        raise CalibrationError(
            f"no rings of {calibrant.name} were found: the best distance ({distance.distance:.0f} mm) scores "
            f"{distance.score:.1f}, below {LEAST_SCORE:g}, as noise does. Is it the calibrant's frame, are "
            "opposite arcs of its rings on the detector, and is the calibrant the right one?"
        )
    return centre, distance


def _refine_in_stages(
    frame: np.ndarray, valid: np.ndarray, geometry: AzimuthalIntegrator, calibrant: Calibrant
) -> tuple[RingPoints, Refinement]:
    """Measure rings and refine, from few rings in wide windows to all in narrow ones."""
    fwhm = np.full(len(calibrant.q), START_FWHM_PX * pixel_step(geometry))
    for max_rings, tilted in STAGES:
        step = pixel_step(geometry)
        wide = max_rings is not None
        half_width = np.full(len(fwhm), WIDE_PX * step) if wide else np.maximum(5 * step, 3 * fwhm)
        points = measure_rings(
            pixel_angles(frame, valid, geometry),
            geometry,
            calibrant,
            half_width=half_width,
            fwhm=fwhm,
            max_rings=max_rings,
        )
        refinement = refine_geometry(geometry, points, calibrant, tilted=tilted)
        geometry = refinement.geometry
        fwhm = np.where(np.isfinite(points.fwhm), points.fwhm, np.nanmedian(points.fwhm))
    return points, refinement


def _describe_decisions(refinement: Refinement) -> list[str]:
    """Which parameters were refined, how well they are known, and why others were not refined."""
    unit = dict(zip(PARAMETERS, UNITS, strict=True))
    error = refinement.uncertainty
    known = ", ".join(f"{name} ± {error[name]:.2g} {unit[name]}" for name in refinement.free)
    tilts = {"rot1": np.degrees(refinement.geometry.rot1), "rot2": np.degrees(refinement.geometry.rot2)}
    messages = [f"refined: {known}"]
    for name in (name for name in PARAMETERS if name not in refinement.free):
        kept = f"{tilts[name] + 0.0:.2f}°" if name in tilts else "its start value"
        messages.append(
            f"{name} is not refined: the rings on this frame would tell it only to ± {error[name]:.2g} {unit[name]}; "
            f"it stays at {kept}"
        )
    return messages

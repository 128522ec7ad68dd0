"""Headless calibration on drawn frames whose geometry is known."""

import dataclasses
import re

import numpy as np
import pytest
from ring_frames import A_CEO2, CEO2, LAB6, SILICON, Setup, draw

from xrdct.calibration import calibrate, detector_from
from xrdct.calibration.profile import Line, instrument_profile
from xrdct.config import Detector
from xrdct.errors import CalibrationError, ConfigError, GeometryError


def find(frame, setup, *, calibrant="CeO2", energy=None, shape=None, **options):
    detector = detector_from(Detector(shape=shape or setup.shape, pixel_size_um=setup.pixel * 1e3))
    return calibrate(frame, calibrant=calibrant, energy_kev=energy or setup.energy, detector=detector, **options)


@pytest.fixture(scope="module")
def plain():
    setup = Setup()
    return setup, draw(setup)


@pytest.fixture(scope="module")
def strip():
    """64 × 832 pixels at 95 keV and 0.7 m: rings only within 10° of the horizontal."""
    setup = Setup(shape=(64, 832), centre=(31.3, 417.2), distance=700.0, energy=95.0, rot1=0.5, rot2=0.4)
    return setup, draw(setup)


@pytest.mark.parametrize(("rot1", "rot2"), [(0, 0), (0.6, -0.4), (-3, 2)])
def test_a_known_geometry_is_found_from_the_frame_alone(rot1, rot2):
    setup = Setup(rot1=rot1, rot2=rot2)
    found = find(draw(setup), setup)
    # 390 points of 0.03 px each, through a design that multiplies errors by about 10: 0.02 px.
    assert found.centre == pytest.approx(setup.centre, abs=0.03)
    # 0.02 px of 380 px (the outermost radius) is 50 ppm.
    assert found.distance_mm == pytest.approx(setup.distance, rel=1e-4)
    assert np.degrees([found.geometry.rot1, found.geometry.rot2]) == pytest.approx([rot1, rot2], abs=0.05)
    assert found.rms_deg < 0.002
    # Bins of half a pixel at 60 px radius: a tenth of a bin is 800 ppm; the median over 8 rings does ten times better.
    assert found.a == pytest.approx(A_CEO2, rel=1e-4)
    assert not found.warnings


def test_stated_uncertainties_cover_the_truth(plain):
    setup, frame = plain
    found = find(frame, setup)
    truth = {"distance": (found.distance_mm, setup.distance)}
    truth |= dict(zip(("centre_row", "centre_column"), zip(found.centre, setup.centre, strict=True), strict=True))
    for name, (value, expected) in truth.items():
        assert abs(value - expected) < 2 * found.uncertainty[name]


def test_hot_and_dead_pixels_change_nothing_that_matters(plain):
    setup, frame = plain
    rng = np.random.default_rng(2)
    spoilt = frame.copy()
    spoilt.flat[rng.integers(0, frame.size, frame.size // 50)] = 1_000_000
    spoilt.flat[rng.integers(0, frame.size, frame.size // 50)] = -2
    clean, found = find(frame, setup), find(spoilt, setup)
    # Two per cent of pixels: every second bin of a sector has one, and trimming drops one at either end.
    assert found.centre == pytest.approx(clean.centre, abs=0.03)
    assert found.distance_mm == pytest.approx(clean.distance_mm, rel=1e-4)


def test_the_largest_value_of_an_unsigned_type_is_no_count(plain):
    setup, frame = plain
    gap = frame.copy()
    gap[100:117] = -1
    gap[:, 300] = -2
    signed, unsigned = find(gap, setup), find(gap.astype(np.uint32), setup)
    assert unsigned.n_points == signed.n_points
    assert unsigned.distance_mm == signed.distance_mm


def test_a_beam_far_from_the_middle_is_found():
    setup = Setup(centre=(110.3, 95.8))
    found = find(draw(setup), setup)
    assert found.centre == pytest.approx(setup.centre, abs=0.05)


def test_a_mirrored_frame_calibrates_to_a_mirrored_centre(plain):
    setup, frame = plain
    straight, mirrored = find(frame, setup), find(frame[::-1], setup)
    assert mirrored.centre[0] == pytest.approx(setup.shape[0] - straight.centre[0], abs=0.01)
    assert mirrored.distance_mm == pytest.approx(straight.distance_mm, rel=1e-5)


def test_on_a_strip_the_tilt_across_it_is_not_refined(strip):
    setup, frame = strip
    found = find(frame, setup)
    assert "rot2" not in found.free
    assert found.geometry.rot2 == 0
    assert any("rot2 is not refined" in message for message in found.messages)
    # The tilt along the strip moves rings by 0.3 px per degree, a point is good to 0.05 px, there are 60.
    assert np.degrees(found.geometry.rot1) == pytest.approx(setup.rot1, abs=0.15)


def test_on_a_strip_distance_and_centre_are_found(strip):
    setup, frame = strip
    found = find(frame, setup)
    assert found.distance_mm == pytest.approx(setup.distance, rel=2e-4)
    assert found.centre[1] == pytest.approx(setup.centre[1], abs=0.1)
    # Rings cross the strip nearly upright: a shift by a row moves them by a tenth of a pixel.
    assert found.centre[0] == pytest.approx(setup.centre[0], abs=1.0)
    assert found.uncertainty["centre_row"] > 5 * found.uncertainty["centre_column"]


def test_a_faint_strip_does_not_run_away():
    setup = Setup(shape=(48, 832), centre=(23.0, 417.2), distance=1000.0, energy=95.0)
    found = find(draw(setup, height=60, background=10), setup)
    assert found.free == ("distance", "centre_row", "centre_column")
    assert found.tilt_deg == 0
    assert found.distance_mm == pytest.approx(setup.distance, rel=1e-3)
    assert abs(found.centre[0] - setup.centre[0]) < 3


def test_the_profile_is_the_drawn_width_with_pixel_and_bin():
    setup = Setup(shape=(600, 600), centre=(301.3, 297.8))
    profile = find(draw(setup, fwhm_px=2.5, height=20_000), setup).profile
    # Variances add: of the line, of the pixel (1/12 px² in any direction) and of the bin (half a pixel wide).
    expected = np.sqrt(2.5**2 + 8 * np.log(2) * (1 + 0.25) / 12) * np.degrees(setup.pixel / setup.distance)
    angles = np.linspace(*profile.two_theta_range, 5)
    # A pixel at 2θ subtends cos²(2θ) of one at the beam: at most 15 % less broadening by a fifth of the variance.
    assert profile.fwhm(angles) == pytest.approx(expected, rel=0.04)
    assert np.all(profile.eta(angles) < 0.15)


def test_a_profile_needs_more_lines_for_more_terms():
    def line(two_theta):
        return Line(0, "111", 1, 0, 0.01, two_theta, 0.02 + 0.001 * two_theta, 0.3, 100, 1, 0.01, True)

    few = instrument_profile([line(4), line(6)], wavelength=0.17, q_step=0.01, trim=0.2)
    assert (few.u, few.v) == (0, 0)
    assert few.fwhm(5) == pytest.approx(0.025, rel=0.01)
    many = instrument_profile([line(t) for t in range(3, 16)], wavelength=0.17, q_step=0.01, trim=0.2)
    # A straight FWHM(2θ) is a parabola in FWHM²; tan θ differs from θ by 0.6 % at 15°.
    assert many.fwhm([4, 9, 14]) == pytest.approx([0.024, 0.029, 0.034], rel=0.01)


def test_a_displaced_module_is_named_with_ring_and_sector():
    setup = Setup(shape=(500, 500), centre=(250.2, 249.6))

    def shift(row, column):
        module = (row > 250) & (column > 250) & (np.hypot(row - 250, column - 250) < 85)
        return np.where(module, -0.35, 0.0), np.where(module, -0.35, 0.0)

    found = find(draw(setup, shift=shift), setup)
    # There chi goes from 0 to 90 degrees; 0.5 px of the first ring's 65 px outwards at 45°, 0.35 px at its ends, of
    # which the last sector (0.3 px is the threshold) may fall out.
    warning = next(w for w in found.warnings if w.startswith("ring 111"))
    assert re.search(r"sector from chi (0|15)° to (75|90)°", warning)
    sectors = found.rings[0].sector_ppm
    assert np.nanmedian(sectors[13:17]) == pytest.approx(0.5 / 65 * 1e6, rel=0.2)
    # The centre moves by a tenth of the displacement: 13 of 390 points lie on the module.
    assert np.nanmax(np.abs(sectors[:11])) < 1500


@pytest.mark.parametrize("calibrant", ["LaB6", "Si", "Ni", "alpha_Al2O3"])
def test_another_calibrant_is_refused(calibrant):
    setup = Setup(shape=(600, 600), centre=(301.3, 297.8), energy=40)
    with pytest.raises(CalibrationError):
        find(draw(setup), setup, calibrant=calibrant)


def test_missing_rings_are_refused():
    setup = Setup()
    with pytest.raises(CalibrationError, match=r"1 of the \d rings that CeO2 should show are missing \(200\)"):
        find(draw(setup, SILICON), setup)


def test_lines_of_another_substance_are_refused_or_mentioned():
    setup = Setup()
    q = np.array([2.6, 4.35])

    def mixed(height):
        return np.concatenate([CEO2[0], q]), np.concatenate([CEO2[1], [height, height]])

    with pytest.raises(CalibrationError, match=r"2 lines do not belong to CeO2, at q = (2\.60|4\.35)"):
        find(draw(setup, mixed(0.3)), setup)
    found = find(draw(setup, mixed(0.05)), setup)
    assert any("2 lines do not belong to CeO2" in warning for warning in found.warnings)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_a_wrong_energy_is_refused_where_angles_are_wide(factor):
    setup = Setup(shape=(600, 600), centre=(301.3, 297.8), energy=40)
    with pytest.raises(CalibrationError):
        find(draw(setup), setup, energy=setup.energy * factor)


def test_a_wrong_energy_on_a_strip_is_a_wrong_distance_and_the_log_says_so(strip):
    setup, frame = strip
    found = find(frame, setup, energy=setup.energy * 1.1)
    assert found.distance_mm == pytest.approx(1.1 * setup.distance, rel=0.01)
    sentence = next(m for m in found.messages if "energy" in m)
    value, error = (float(part.split()[0]) for part in sentence.split("would give ")[1].split("±"))
    # It cannot tell 95 from 104.5 keV for sure, and its own error bar admits it.
    assert error > 0.05 * setup.energy
    assert abs(value - setup.energy) < 2 * error


def test_noise_is_refused():
    setup = Setup()
    frame = np.random.default_rng(3).poisson(20, setup.shape)
    with pytest.raises(CalibrationError, match="no rings of CeO2 were found"):
        find(frame, setup)


@pytest.mark.parametrize("value", [0, 2**20 - 1])
def test_a_blank_or_saturated_frame_is_refused(value):
    setup = Setup()
    with pytest.raises(CalibrationError, match="blank or saturated"):
        find(np.full(setup.shape, value, dtype=np.int32), setup)


def test_a_frame_of_gaps_is_refused(plain):
    setup, frame = plain
    with pytest.raises(CalibrationError, match="mask is inverted"):
        find(frame, setup, mask=np.ones(setup.shape))


def test_a_limit_that_the_points_exceed_is_named(plain):
    setup, frame = plain
    with pytest.raises(CalibrationError, match="max_rms_deg = 1e-05"):
        find(frame, setup, max_rms_deg=1e-5)


def test_a_transposed_frame_is_refused(plain):
    setup, frame = plain
    with pytest.raises(GeometryError, match="transposed"):
        find(frame.T, setup)


def test_a_cropped_frame_is_refused(plain):
    setup, frame = plain
    with pytest.raises(GeometryError, match="cropped or binned"):
        find(frame[:-1], setup)


def test_a_mask_in_another_orientation_is_refused(plain):
    setup, frame = plain
    bad = np.zeros(setup.shape, bool)
    bad[30:40, 50:60] = True
    frame = np.where(bad, -1, frame)
    find(frame, setup, mask=bad)
    with pytest.raises(GeometryError, match="flipped up-down and left-right"):
        find(frame, setup, mask=bad[::-1, ::-1])
    with pytest.raises(GeometryError, match="shape"):
        find(frame, setup, mask=bad[1:])


def test_the_calibrant_and_the_detector_are_suggested_when_misspelt(plain):
    setup, frame = plain
    with pytest.raises(ConfigError, match="CeO2"):
        find(frame, setup, calibrant="CeO3")
    with pytest.raises(ConfigError, match="pilatus"):
        detector_from(Detector(name="Pilatsu 2M"))


def test_detectors_come_from_the_registry_or_from_their_pixels():
    assert detector_from(Detector(name="Pilatus CdTe 2M")).shape == (1679, 1475)
    own = detector_from(Detector(shape=(48, 832), pixel_size_um=172))
    assert (own.shape, own.pixel1, own.pixel2) == ((48, 832), 172e-6, 172e-6)


def test_every_ring_has_a_name_and_the_right_place(plain):
    setup, frame = plain
    rings = find(frame, setup).rings
    assert [ring.hkl for ring in rings[:5]] == ["111", "200", "220", "311", "222"]
    assert [ring.q_expected for ring in rings[:5]] == pytest.approx(CEO2[0][:5], rel=1e-6)
    clean = [ring for ring in rings if ring.clean]
    assert len(clean) >= 4
    # A tenth of a half-pixel bin at the radius of the ring (65 px for the first one).
    assert all(abs(ring.ppm) < 800 for ring in clean)


def test_lanthanum_hexaboride_calibrates_too():
    setup = Setup(energy=40, shape=(500, 500), centre=(251.2, 247.9))
    found = find(draw(setup, LAB6), setup, calibrant="LaB6")
    assert found.distance_mm == pytest.approx(setup.distance, rel=2e-4)
    assert dataclasses.is_dataclass(found)
    assert found.calibrant.name == "LaB6"

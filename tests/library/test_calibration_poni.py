"""A given geometry against the frame: accepted as it is, or refused with what fits instead."""

import numpy as np
import pytest
from ring_frames import Setup, draw

from xrdct.calibration import calibrate, check_geometry, detector_from
from xrdct.config import Detector
from xrdct.errors import CalibrationError, GeometryError

SETUP = Setup()
SQUARE = Setup(shape=(400, 400), centre=(193.4, 221.7))


def detector_of(setup, pixel_um=172):
    return detector_from(Detector(shape=setup.shape, pixel_size_um=pixel_um))


def check(frame, geometry, setup=SETUP, *, energy=71.0, detector=None, **options):
    return check_geometry(
        frame, geometry, calibrant="CeO2", energy_kev=energy, detector=detector or detector_of(setup), **options
    )


@pytest.fixture(scope="module")
def frame():
    return draw(SETUP)


@pytest.fixture(scope="module")
def geometry(frame):
    return calibrate(frame, calibrant="CeO2", energy_kev=71.0, detector=detector_of(SETUP)).geometry


def test_a_right_geometry_is_used_unchanged(frame, geometry):
    found = check(frame, geometry)
    assert found.geometry.get_config() == geometry.get_config()
    assert found.free == ()
    assert found.rms_deg < 0.002


@pytest.mark.parametrize(
    ("flip", "name"),
    [
        (np.s_[::-1], "flipped up-down"),
        (np.s_[:, ::-1], "flipped left-right"),
        (np.s_[::-1, ::-1], "flipped up-down and left-right"),
    ],
)
def test_a_flipped_frame_is_refused_and_the_flip_named(frame, geometry, flip, name):
    with pytest.raises(CalibrationError, match=rf"ring contrast \d+ with the frame {name}, -?\d+ as stored"):
        check(frame[flip], geometry)


def test_a_transposed_square_frame_is_refused():
    frame = draw(SQUARE)
    geometry = calibrate(frame, calibrant="CeO2", energy_kev=71.0, detector=detector_of(SQUARE)).geometry
    with pytest.raises(CalibrationError, match="belongs to the frame transposed:"):
        check(frame.T, geometry, SQUARE)


def test_the_mask_is_turned_with_the_frame(frame, geometry):
    """A hot block under the mask must not reach any of the compared orientations."""
    hot = frame.copy()
    hot[300:360, 20:120] = 500_000
    mask = hot > 400_000
    check(hot, geometry, mask=mask)
    with pytest.raises(CalibrationError, match="frame flipped up-down,"):
        check(hot[::-1], geometry, mask=mask[::-1])


def test_a_beam_in_the_middle_hides_flips_and_the_messages_say_so():
    setup = Setup(shape=(400, 400), centre=(200.0, 200.0))
    frame = draw(setup)
    geometry = calibrate(frame, calibrant="CeO2", energy_kev=71.0, detector=detector_of(setup)).geometry
    found = check(frame[::-1], geometry, setup)
    assert any("cannot tell the orientation" in message for message in found.messages)


@pytest.mark.parametrize("move", [{"dist": 0.202}, {"poni1": 0.0340}, {"dist": 0.35}])
def test_a_geometry_of_another_position_is_refused(frame, geometry, move):
    other = type(geometry)(detector=geometry.detector, wavelength=geometry.wavelength)
    other.set_param([getattr(geometry, key) for key in ("dist", "poni1", "poni2", "rot1", "rot2", "rot3")])
    for key, value in move.items():
        setattr(other, key, value)
    with pytest.raises(CalibrationError):
        check(frame, other)


def test_another_energy_is_refused(frame, geometry):
    with pytest.raises(CalibrationError, match=r"made for 71\.000 keV .* beam\.energy_kev gives 72\.000 keV"):
        check(frame, geometry, energy=72.0)


def test_other_pixels_are_refused(frame, geometry):
    with pytest.raises(GeometryError, match="pixels of 172 µm along the rows, but the detector 75 µm"):
        check(frame, geometry, detector=detector_of(SETUP, 75))


def test_a_geometry_in_another_of_pyfais_orientations_gives_the_same_rings(frame, geometry):
    """Orientation 2 counts rows from the other end: the same place needs the mirrored poni and tilt."""
    detector = type(geometry.detector)(
        pixel1=geometry.pixel1, pixel2=geometry.pixel2, max_shape=SETUP.shape, orientation=2
    )
    poni1 = SETUP.shape[0] * geometry.pixel1 - geometry.poni1
    other = type(geometry)(
        geometry.dist, poni1, geometry.poni2, geometry.rot1, -geometry.rot2, 0, detector=detector,
        wavelength=geometry.wavelength,
    )  # fmt: skip
    found = check(frame, other)
    assert found.centre == pytest.approx(SETUP.centre, abs=0.05)

"""Geometries as files: what pyFAI reads back, what is refused."""

import numpy as np
import pyFAI
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.errors import GeometryError, RawDataError
from xrdct.io.poni import read_poni, write_poni

ENTRY = """\
# Nota: C-Order, 1 refers to the Y axis, 2 to the X axis
# Calibration done at some time
PixelSize1: 0.000172
PixelSize2: 0.000172
Distance: {distance}
Poni1: 0.087
Poni2: 0.080
Rot1: -0.018
Rot2: 0.004
Rot3: 0.0
SplineFile: None
Wavelength: 4.066e-11
"""


def geometry(detector="Pilatus CdTe 2M", **values):
    detector = Detector.factory(detector) if isinstance(detector, str) else detector
    numbers = {"dist": 0.5439, "poni1": 0.1447, "poni2": 0.1275, "rot1": -0.0002, "rot2": 0.0007, "rot3": 0.0}
    return AzimuthalIntegrator(**(numbers | values), detector=detector, wavelength=1.7462563e-11)


def text_file(tmp_path, text):
    path = tmp_path / "geometry.poni"
    path.write_text(text)
    return path


def assert_same_angles(one, other):
    row, column = np.array([0.0, 100.0, 700.0]), np.array([3.0, 900.0, 20.0])
    # Written lengths are rounded to 1 nm, angles to 1e-9 rad.
    assert one.tth(row, column) == pytest.approx(other.tth(row, column), abs=1e-8)


@pytest.mark.parametrize(
    "detector",
    [
        "Pilatus CdTe 2M",
        "Eiger 4M",
        Detector(pixel1=172e-6, pixel2=172e-6, max_shape=(64, 832), orientation=3),
        Detector(pixel1=75e-6, pixel2=50e-6, max_shape=(100, 200), orientation=2),
    ],
    ids=str,
)
def test_pyfai_and_we_read_what_was_written(tmp_path, detector):
    written = geometry(detector)
    write_poni(tmp_path / "geometry.poni", written)
    for read in (read_poni(tmp_path / "geometry.poni"), pyFAI.load(str(tmp_path / "geometry.poni"))):
        assert_same_angles(read, written)
        assert read.detector.shape == written.detector.shape
        assert (read.detector.orientation or 3) == (written.detector.orientation or 3)
        assert read.wavelength == pytest.approx(written.wavelength, rel=1e-10)


@given(
    dist=st.floats(0.01, 20),
    poni1=st.floats(-1, 1),
    poni2=st.floats(-1, 1),
    rot1=st.floats(-1, 1),
    rot2=st.floats(-1, 1),
)
def test_numbers_come_back_to_a_nanometre(tmp_path_factory, dist, poni1, poni2, rot1, rot2):
    path = tmp_path_factory.mktemp("poni") / "geometry.poni"
    values = {"dist": dist, "poni1": poni1, "poni2": poni2, "rot1": rot1, "rot2": rot2}
    write_poni(path, geometry(**values))
    read = read_poni(path)
    assert {key: getattr(read, key) for key in values} == pytest.approx(values, abs=0.51e-9)


def test_the_same_geometry_is_the_same_bytes(tmp_path):
    first, second = tmp_path / "first.poni", tmp_path / "second.poni"
    write_poni(first, geometry(rot3=-1e-17))
    write_poni(second, geometry(rot3=1e-17))
    assert first.read_bytes() == second.read_bytes()


def test_the_last_entry_is_valid_and_stands_alone(tmp_path):
    first = ENTRY.format(distance=0.1).replace("Rot1: -0.018", "Rot1: 0.5")
    last = ENTRY.format(distance=0.2).replace("Rot1: -0.018\n", "")
    for text in (first + last, first + last.split("\n", 2)[2]):
        read = read_poni(text_file(tmp_path, text))
        assert read.dist == 0.2
        # pyFAI itself would take 0.5 from the first entry.
        assert read.rot1 == 0


def test_old_files_without_a_detector_keep_their_pixels(tmp_path):
    read = read_poni(text_file(tmp_path, ENTRY.format(distance=0.2)))
    assert (read.pixel1, read.pixel2) == (172e-6, 172e-6)
    assert read.detector.shape is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a .poni file"),
        ("hello: world\n", "not a .poni file"),
        (ENTRY.format(distance=0.2).split("Poni1")[0], "has no Poni1, Poni2; was the file cut off"),
        (ENTRY.format(distance="far"), "Distance is 'far', expected a number"),
        (ENTRY.format(distance=-0.2), "must be positive"),
        (ENTRY.format(distance=0.2) + "poni_version: 4\n", "newer than 3"),
        (ENTRY.format(distance=0.2) + "Detector: Kilatus2M\n", "cannot make the detector 'Kilatus2M'"),
        (ENTRY.format(distance=0.2) + "Detector_config: {pixel\n", "is not JSON"),
        (ENTRY.format(distance=0.2) + "Detector_config: [1]\n", "must be a mapping"),
        (ENTRY.format(distance=0.2) + "Parallax: True\n", "parallax correction"),
        ("Distance: 1\nPoni1: 0\nPoni2: 0\n", "neither a known detector nor pixel sizes"),
    ],
)
def test_what_is_not_a_whole_geometry_is_refused(tmp_path, text, message):
    with pytest.raises(GeometryError, match=message):
        read_poni(text_file(tmp_path, text))


def test_binary_and_missing_files_are_refused(tmp_path):
    with pytest.raises(RawDataError, match="no such file"):
        read_poni(tmp_path / "nothing.poni")
    path = tmp_path / "frame.cbf"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(GeometryError, match="not text"):
        read_poni(path)

"""The folder that a calibration leaves, through the library and through the command."""

import json

import fabio
import matplotlib.image
import numpy as np
import pytest
from ring_frames import Setup, draw

from xrdct.calibration import calibrate, detector_from
from xrdct.cli import main
from xrdct.config import Detector
from xrdct.errors import StoreError
from xrdct.io.calibration import FILES, write_calibration
from xrdct.io.poni import read_poni
from xrdct.io.profile import read_profile

SETUP = Setup()


@pytest.fixture(scope="module")
def frame():
    return draw(SETUP)


@pytest.fixture(scope="module")
def found(frame):
    detector = detector_from(Detector(shape=SETUP.shape, pixel_size_um=172))
    return calibrate(frame, calibrant="CeO2", energy_kev=71.0, detector=detector)


def test_the_folder_holds_all_files_and_they_say_the_same(tmp_path, found):
    write_calibration(tmp_path / "new", found)
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(FILES)
    assert read_poni(tmp_path / "new" / "geometry.poni").dist == pytest.approx(found.geometry.dist, abs=1e-9)
    profile = read_profile(tmp_path / "new" / "profile.json")
    # Ten figures are written.
    assert profile.fwhm([4, 8]) == pytest.approx(found.profile.fwhm([4, 8]), rel=1e-8)
    assert [line.hkl for line in profile.lines] == [line.hkl for line in found.profile.lines]
    picture = matplotlib.image.imread(tmp_path / "new" / "cake.png")
    assert picture.std() > 0.05


def test_the_ring_table_is_a_table(tmp_path, found):
    write_calibration(tmp_path, found)
    lines = (tmp_path / "rings.tsv").read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    header, *rows = [line.split("\t") for line in lines[len(comments) :]]
    assert all(len(row) == len(header) for row in rows)
    assert [row[0] for row in rows] == [ring.hkl for ring in found.rings]
    assert any("distance" in comment for comment in comments)
    first = dict(zip(header, rows[0], strict=True))
    assert float(first["q_expected"]) == pytest.approx(found.rings[0].q_expected, abs=1e-5)
    assert first["chi0"] == f"{round(found.rings[0].sector_ppm[12]) + 0.0:.0f}"


def test_the_same_frame_gives_the_same_bytes(tmp_path, frame, found):
    detector = detector_from(Detector(shape=SETUP.shape, pixel_size_um=172))
    write_calibration(tmp_path / "one", found)
    write_calibration(tmp_path / "two", calibrate(frame, calibrant="CeO2", energy_kev=71.0, detector=detector))
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_other_files_in_the_folder_stay(tmp_path, found):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "geometry.poni").write_text("old")
    write_calibration(tmp_path, found)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "geometry.poni").read_text() != "old"


def test_a_profile_that_is_none_is_refused(tmp_path, found):
    write_calibration(tmp_path, found)
    path = tmp_path / "profile.json"
    stored = json.loads(path.read_text())
    with pytest.raises(StoreError, match="no such file"):
        read_profile(tmp_path / "nothing.json")
    path.write_text("{")
    with pytest.raises(StoreError, match="not JSON"):
        read_profile(path)
    path.write_text(json.dumps(stored | {"version": 99}))
    with pytest.raises(StoreError, match="version 1; calibrate again"):
        read_profile(path)
    path.write_text(json.dumps({key: value for key, value in stored.items() if key != "u"}))
    with pytest.raises(StoreError, match="u is missing"):
        read_profile(path)


def run_command(*arguments):
    return main(["calibrate", *map(str, arguments)])


def test_the_command_writes_the_folder_and_prints_the_result(tmp_path, frame, capsys):
    fabio.edfimage.EdfImage(data=frame).write(str(tmp_path / "frame.edf"))
    np.save(tmp_path / "mask.npy", np.zeros(frame.shape, np.uint8))
    described = ["--shape", *SETUP.shape, "--pixel-size", 172, "--energy", 71, "--mask", tmp_path / "mask.npy"]
    assert run_command(tmp_path / "frame.edf", *described, "-o", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert float(printed.split("distance")[1].split()[0]) == pytest.approx(SETUP.distance, rel=1e-4)
    assert {"centre", "tilt", "rms", "a"} <= set(printed.split())
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(FILES)
    given = tmp_path / "out" / "geometry.poni"
    assert run_command(tmp_path / "frame.edf", *described, "--poni", given, "-o", tmp_path / "again") == 0
    assert (tmp_path / "again" / "geometry.poni").read_bytes() == given.read_bytes()


def test_the_command_needs_a_detector(tmp_path, frame, capsys):
    np.save(tmp_path / "frame.npy", frame)
    assert run_command(tmp_path / "frame.npy", "--energy", 71, "--shape", 400, 420, "-o", tmp_path / "out") == 2
    assert "--detector NAME, or both --shape" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""`xrdct check`: every kind of bad input gives one line that names file, row or key; nothing else does."""

import shutil
import time

import h5py
import numpy as np
import pytest
import yaml
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from raw_files import (
    N_POSITIONS,
    N_PROJECTIONS,
    SHAPE,
    grid_positions,
    some_frames,
    subset_row,
    write_beamtime,
    write_images,
    write_master,
)

from xrdct.check import check_beamtime
from xrdct.io.poni import write_poni
from xrdct.scans import write_scans


def only_problem(config):
    """The one problem that there is."""
    (problem,) = check_beamtime(config).problems
    return problem


def test_a_good_beamtime_has_no_problems(tmp_path):
    found = check_beamtime(write_beamtime(tmp_path))
    assert found.problems == []
    assert found.notes == []
    assert (found.n_scans, found.n_subsets, found.n_frames) == (1, 2, 48)


def test_table_and_root_are_found_from_where_their_docstrings_say(tmp_path, monkeypatch):
    (tmp_path / "config").mkdir()
    path = write_beamtime(tmp_path / "config", raw={"root": "data"}, detector={"mask": None})
    (tmp_path / "config" / "raw").rename(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert check_beamtime(path.relative_to(tmp_path)).problems == []


LOST_PHASE = {"name": "mine", "q_min": 1.6, "q_max": 2.2, "phases": [{"name": "LiC7"}, {"name": "LiC6"}]}


@pytest.mark.parametrize(
    ("changes", "n_problems", "part"),
    [
        ({"detector": {"shape": [6, 8]}}, 4, "shape (6, 7), but the detector's is (6, 8) (rows, columns)"),
        ({"detector": {"shape": [7, 6]}}, 4, "the same transposed"),
        ({"detector": {"mask": "nomask.edf"}}, 1, "nomask.edf: no such file"),
        ({"calibrate": {"frame": "CeO.npy"}}, 1, "CeO.npy: no such file; the folder holds CeO2.npy"),
        ({"calibrate": {"frame": "../C.npy"}}, 1, "calibrate.frame: '../C.npy' leads out of raw.root"),
        ({"calibrate": {"calibrant": "CeO22"}}, 1, "calibrate.calibrant: pyFAI knows no 'CeO22'; did you mean CeO2"),
        ({"calibrate": {"poni": "geo.poni"}}, 1, "raw/geo.poni: no such file"),
        ({"calibrate": {"poni": "/geo.poni"}}, 1, "calibrate.poni: '/geo.poni' leads out of raw.root"),
        ({"raw": {"monitor": "mono"}}, 2, "raw.monitor: "),
        ({"raw": {"translation": "tz"}}, 2, "recorded per frame: elapsed_time, mon, rot, ty"),
        ({"raw": {"translation": "mon"}}, 2, "raw.translation: mon as recorded does not run in lines"),
        ({"raw": {"subsets_per_scan": 3}}, 1, "scan cell1_4p2V: subset 3 of 3 is missing from the table"),
        ({"raw": {"root": "nowhere"}}, 1, "raw.root: nowhere: no such folder"),
        ({"integrate": {"n_bin": 3}}, 1, "integrate.n_bin: unknown key, did you mean `n_bins`?"),
        ({"integrate": {"q_min": 9}}, 1, "q_min (9.0 1/Å) must be below q_max"),
        ({"beam": {"energy_kev": 1}}, 1, "beam.energy_kev: "),
        ({"fit": {"phase_set": LOST_PHASE}}, 1, "fit: phase set 'mine': phase 'LiC7': "),
        ({"assemble": {"air_positions": 4}}, 1, "air_positions = 4 at either edge leaves nothing of 8 positions"),
        ({"assemble": {"cor": 7.5}}, 1, "assemble.cor = 7.5 lies outside the 8 positions (0 to 7)"),
        ({"assemble": {"cor_q": [3.0, 2.0]}}, 1, "assemble.cor_q (3.0–2.0 1/Å) must rise and lie inside"),
        ({"assemble": {"cor_q": [3.0, 4.0]}}, 1, "must rise and lie inside integrate.q_min–q_max (0.5–3.85 1/Å)"),
        ({"integrate": {"q_max": 80.0}}, 1, "integrate.q_max: 80.0 1/Å, but at 71.0 keV no q lies beyond 72 1/Å"),
        ({"windows": {"preset": None}}, 1, "windows: nothing would be mapped; give `preset`, or at least one window"),
        ({"report": {"phases": ["graphite", "LiC7"]}}, 1, "report.phases: "),
        ({"report": {"colormap": "virids"}}, 1, "report.colormap: matplotlib knows no 'virids'"),
    ],
)
def test_a_wrong_setting_is_named_by_its_key(tmp_path, changes, n_problems, part):
    problems = check_beamtime(write_beamtime(tmp_path, **changes)).problems
    assert len(problems) == n_problems
    assert any(part in problem for problem in problems), problems


def test_a_detector_of_the_registry_has_its_own_shape(tmp_path):
    plain = {"shape": None, "pixel_size_um": None, "mask": None}
    config = write_beamtime(tmp_path, detector=plain | {"name": "Pilatus CdTe 2M"})
    assert all("(1679, 1475)" in problem for problem in check_beamtime(config).problems)
    config.write_text(config.read_text().replace("Pilatus CdTe 2M", "Pilatus CdTe 2N"))
    problem = only_problem(config)
    assert "detector.name: pyFAI knows no 'Pilatus CdTe 2N'; did you mean" in problem


def test_files_are_looked_for_from_the_working_folder(tmp_path):
    config = write_beamtime(tmp_path, raw={"root": "raw"})
    assert check_beamtime(config, working_folder=tmp_path).problems == []
    (problem,) = check_beamtime(config, working_folder=tmp_path / "elsewhere").problems
    assert f"raw.root: {tmp_path / 'elsewhere' / 'raw'}: no such folder" in problem


def test_a_calibrant_frame_of_another_shape_is_named(tmp_path):
    config = write_beamtime(tmp_path)
    np.save(tmp_path / "raw" / "CeO2.npy", np.ones(SHAPE[::-1]))
    assert "calibrate.frame: " in only_problem(config)
    assert "the same transposed" in only_problem(config)


def test_a_mask_the_wrong_way_round_is_named(tmp_path):
    config = write_beamtime(tmp_path)
    np.save(tmp_path / "raw" / "mask.npy", np.ones(SHAPE))
    assert "detector.mask: marks 100% of the pixels as bad; is it inverted?" in only_problem(config)


def test_a_geometry_that_is_cut_off_is_named(tmp_path):
    config = write_beamtime(tmp_path, calibrate={"poni": "geo.poni"})
    (tmp_path / "raw" / "geo.poni").write_text("Distance: 0.5\nPoni1: 0.1\n")
    assert "geo.poni: the last entry has no Poni2" in only_problem(config)


def test_a_q_range_that_the_detector_does_not_see_is_named(tmp_path):
    """6 × 7 pixels of 1 mm at 30 mm reach from 0.85 to 9.9 1/Å at 71 keV."""
    config = write_beamtime(
        tmp_path,
        calibrate={"poni": "geo.poni"},
        integrate={"q_min": 0.6, "q_max": 9.0, "n_bins": 10},
        windows={"preset": None, "windows": [{"name": "all", "q_min": 4, "q_max": 5}]},
    )
    detector = Detector(pixel1=1e-3, pixel2=1e-3, max_shape=SHAPE)
    wavelength = 12.398e-10 / 71
    geometry = AzimuthalIntegrator(dist=0.03, poni1=0.0, poni2=0.0, wavelength=wavelength, detector=detector)
    write_poni(tmp_path / "raw" / "geo.poni", geometry)
    # The corner pixel's centre: 6.5 and 5.5 mm from the beam.
    two_theta = np.arctan(np.hypot(6.5, 5.5) / 30)
    highest = 4 * np.pi * np.sin(two_theta / 2) / (wavelength * 1e10)
    assert f"but the unmasked detector sees only 0.848–{highest:.3f} 1/Å" in only_problem(config)


def test_a_mask_of_another_shape_is_named(tmp_path):
    config = write_beamtime(tmp_path)
    np.save(tmp_path / "raw" / "mask.npy", np.zeros((6, 6)))
    assert f"mask.npy: shape (6, 6), but the detector's is {SHAPE}" in only_problem(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_projections": 4}, "n_projections × n_positions = 4 × 8 = 32, but "),
        ({"file": "cell1_4p2V_s3.h5"}, "cell1_4p2V_s3.h5: no such file; the folder holds cell1_4p2V_s"),
        ({"file": "../../../../etc/passwd"}, "'../../../../etc/passwd' leads out of raw.root"),
        ({"dataset": "/1.1/eiger"}, "no dataset '/1.1/eiger'; stacks of frames in it: /1.1/measurement/pil"),
        ({"zigzag": "no"}, "zigzag is 'no', but ty as recorded says 'yes'"),
        ({"angle_start_deg": 130.0}, "angle_start_deg is 130.0, but rot starts at 30"),
        ({"angle_start_deg": 40.0}, "angle_start_deg is 40.0, but rot starts at 30"),
        ({"angle_step_deg": 1.8}, "angle_step_deg is 1.8, but rot as recorded moves by 60"),
        ({"subset": 3}, "subset 2 of 3 is missing from the table"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, changes, message):
    wrong = subset_row(2).model_copy(update=changes)
    problem = only_problem(write_beamtime(tmp_path, rows=[subset_row(1), wrong]))
    assert message in problem
    assert "line 3 (scan cell1_4p2V, subset 2): " in problem or "subset" in changes


def test_a_grid_turned_round_is_named_by_what_is_recorded(tmp_path):
    rows = [subset_row(k, n_projections=N_POSITIONS, n_positions=N_PROJECTIONS) for k in (1, 2)]
    config = write_beamtime(tmp_path, rows=rows, raw={"omega": None}, assemble={"air_positions": 1})
    problems = check_beamtime(config).problems
    assert len(problems) == 2
    assert "is 8 × 3, but ty as recorded makes 3 lines of 8" in problems[0]


def test_a_step_in_another_unit_is_named(tmp_path):
    problems = check_beamtime(write_beamtime(tmp_path, rows=[subset_row(k, step_mm=30.0) for k in (1, 2)])).problems
    assert all("step_mm is 30.0, but ty as recorded moves by 0.03" in problem for problem in problems)


def test_a_copied_line_is_named(tmp_path):
    copied = subset_row(2).model_copy(update={"file": subset_row(1).file, "angle_start_deg": 30.0})
    problem = only_problem(write_beamtime(tmp_path, rows=[subset_row(1), copied], raw={"omega": None}))
    assert "line 3: has the same file and dataset as line 2" in problem


def test_a_missing_and_a_truncated_source_are_named(tmp_path):
    config = write_beamtime(tmp_path)
    gone = tmp_path / "raw" / "cell1_4p2V_s1_1" / "pilatus_0000.h5"
    cut = tmp_path / "raw" / "cell1_4p2V_s2_1" / "pilatus_0000.h5"
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[: int(0.7 * cut.stat().st_size)])
    first, second = check_beamtime(config).problems
    assert "line 2 " in first
    assert f"{gone}, which is missing" in first
    assert "line 3 " in second
    assert f"{cut}: truncated or still being written" in second


def test_a_counter_of_another_length_is_named(tmp_path):
    config = write_beamtime(tmp_path)
    with h5py.File(tmp_path / "raw" / "cell1_4p2V_s2.h5", "a") as file:
        del file["1.1/measurement/mon"]
        file["1.1/measurement/mon"] = np.ones(20)
    assert "raw.monitor: " in only_problem(config)
    assert "(20,) values for 24 frames" in only_problem(config)


@pytest.mark.parametrize(("allowed", "kind"), [(0.05, "problems"), (0.2, "notes")])
def test_a_monitor_that_reads_zero_is_a_problem_beyond_the_share_that_is_allowed(tmp_path, allowed, kind):
    config = write_beamtime(tmp_path, assemble={"max_bad_share": allowed})
    with h5py.File(tmp_path / "raw" / "cell1_4p2V_s2.h5", "a") as file:
        file["1.1/measurement/mon"][:2] = 0, np.nan
    found = check_beamtime(config)
    assert len(found.problems) + len(found.notes) == 1
    assert "raw.monitor: readings of mon not above 0: 2 of 24" in getattr(found, kind)[0]


def test_positions_that_were_not_recorded_are_counted(tmp_path):
    config = write_beamtime(tmp_path)
    with h5py.File(tmp_path / "raw" / "cell1_4p2V_s2.h5", "a") as file:
        file["1.1/measurement/ty"][3:5] = np.nan
    assert "raw.translation: 2 of 24 readings of ty are missing" in only_problem(config)


def test_subsets_at_the_same_angles_are_named_where_nothing_was_recorded(tmp_path):
    rows = [subset_row(1), subset_row(2, angle_start_deg=60.0)]
    problem = only_problem(write_beamtime(tmp_path, rows=rows, raw={"omega": None}))
    assert "scan cell1_4p2V: subsets 1 and 2 both have a projection at 60°; check angle_start_deg" in problem


def test_a_series_of_images_is_checked_by_its_first_header(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    write_images(folder, some_frames(24), "edf")
    row = subset_row(1, file="images/frame_*.edf", dataset=None)
    (tmp_path / "beamtime").mkdir()
    config = write_beamtime(tmp_path / "beamtime", rows=[row], raw={"omega": None, "translation": None})
    shutil.move(folder, tmp_path / "beamtime" / "raw" / "images")
    assert "raw.monitor: " in only_problem(config)
    assert "frame_0.edf: no header key 'mon'; there are: " in only_problem(config)


def write_aborted(path, n_written):
    """A subset whose detector file has room for all frames and holds some."""
    frames = some_frames(N_PROJECTIONS * N_POSITIONS)
    translation, omega = grid_positions(start=30.0)
    with h5py.File(path, "w") as file:
        stack = file.create_dataset(
            "1.1/measurement/pilatus", frames.shape, "i4", chunks=(1, *SHAPE), compression="lzf"
        )
        stack[:n_written] = frames[:n_written]
        file["1.1/measurement/ty"], file["1.1/measurement/rot"] = translation, omega
        file["1.1/measurement/mon"] = np.ones(len(frames))


@pytest.mark.parametrize(("allowed", "kind"), [(0.02, "problems"), (0.2, "notes")])
def test_unwritten_frames_are_a_problem_beyond_the_share_that_is_allowed(tmp_path, allowed, kind):
    config = write_beamtime(tmp_path, integrate={"max_bad_frames": allowed})
    write_aborted(tmp_path / "raw" / "cell1_4p2V_s2.h5", 22)
    found = check_beamtime(config)
    assert len(found.problems) + len(found.notes) == 1
    assert "frames never written (aborted scan?): 2 of 24, " in getattr(found, kind)[0]


def test_problems_of_configuration_table_and_files_come_together(tmp_path):
    rows = [subset_row(1, n_projections=5), subset_row(2)]
    config = write_beamtime(tmp_path, rows=rows, beam={"energy_kev": -1}, calibrate={"calibrant": "nope"})
    table = tmp_path / "scans.tsv"
    table.write_text(table.read_text() + "cell2\t1\n")
    (tmp_path / "raw" / "cell1_4p2V_s2.h5").unlink()
    problems = check_beamtime(config).problems
    for part in ("energy_kev", "'nope'", "line 4: 2 cells", "= 5 × 8 = 40", "cell1_4p2V_s2.h5: no such file"):
        assert sum(part in problem for problem in problems) == 1, (part, problems)
    assert len(problems) == 5


def test_a_configuration_that_is_no_yaml_does_not_hide_the_table(tmp_path):
    config = write_beamtime(tmp_path, rows=[subset_row(1), subset_row(3)])
    config.write_text("a: [")
    problems = check_beamtime(config).problems
    assert "not plain YAML" in problems[0]
    assert any("subset 2 of 3 is missing" in problem for problem in problems)


def test_a_long_beamtime_is_checked_in_seconds(tmp_path):
    n_rows = 200
    rows = [subset_row(1, scan=f"scan{k}", file=f"m{k}.h5", angle_start_deg=0.0) for k in range(n_rows)]
    config = write_beamtime(tmp_path, rows=rows)
    for k in range(n_rows):
        write_master(tmp_path / "raw" / f"m{k}.h5")
    start = time.perf_counter()
    assert check_beamtime(config).problems == []
    # A quarter of 200 scans with 4 subsets, which take 4 s on one core; the bound is for slow machines.
    assert time.perf_counter() - start < 30


def test_nothing_is_written(tmp_path):
    config = write_beamtime(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    check_beamtime(config)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_may_have_another_name(tmp_path):
    config = write_beamtime(tmp_path)
    write_scans(tmp_path / "other.tsv", [subset_row(1), subset_row(2)])
    (tmp_path / "scans.tsv").unlink()
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"scans": "other.tsv"}))
    assert check_beamtime(config).problems == []

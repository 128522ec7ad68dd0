"""`xrdct init`: a table from what the files say, and every guess marked as one."""

import h5py
import numpy as np
import pytest
from raw_files import grid_positions, some_frames, subset_row, write_images, write_master, write_stack, write_virtual

from xrdct.errors import RawDataError
from xrdct.init import propose_scans
from xrdct.io.frames import open_frames, raw_path
from xrdct.scans import missing_subsets, read_scans, subsets_of


def propose(folder):
    """Rows and notes of a proposal."""
    proposal = propose_scans(folder)
    return proposal.rows, proposal.notes


def test_subsets_are_proposed_as_they_were_taken(tmp_path):
    for number in (2, 1):
        write_master(tmp_path / f"cell1_4p2V_s{number}.h5", start=30.0 * (number - 1))
    rows, notes = propose(tmp_path)
    assert rows == [subset_row(k, voltage_V=4.2) for k in (1, 2)]
    assert any("raw.translation: ty" in note for note in notes)
    assert any("raw.omega: rot" in note for note in notes)
    assert any("raw.monitor: perhaps one of mon" in note for note in notes)
    assert not any("GUESSED" in note for note in notes)


def test_scans_of_one_master_are_grouped_by_their_interlaced_angles(tmp_path):
    for number, start in enumerate((0.0, 30.0, 0.0, 30.0), 1):
        write_master(tmp_path / "cell.h5", scan=f"{number}.1", start=start)
    rows, notes = propose(tmp_path)
    assert [(r.scan, r.subset, r.dataset) for r in rows] == [
        ("cell_1", 1, "/1.1/measurement/pilatus"),
        ("cell_1", 2, "/2.1/measurement/pilatus"),
        ("cell_3", 1, "/3.1/measurement/pilatus"),
        ("cell_3", 2, "/4.1/measurement/pilatus"),
    ]
    assert any("2 subsets, because their start angles interlace" in note for note in notes)


def test_numbered_files_with_the_same_angles_are_scans_of_their_own(tmp_path):
    for number in (1, 2):
        write_master(tmp_path / f"cell_000{number}.h5")
    rows, _ = propose(tmp_path)
    assert [(r.scan, r.subset) for r in rows] == [("cell_1", 1), ("cell_2", 1)]


def test_a_one_way_scan_is_told_from_a_zigzag(tmp_path):
    write_master(tmp_path / "cell.h5", zigzag=False)
    (row,) = propose(tmp_path)[0]
    assert row.zigzag == "no"


def test_a_sample_master_does_not_double_its_scans(tmp_path):
    (tmp_path / "ds").mkdir()
    write_master(tmp_path / "ds" / "ds.h5")
    with h5py.File(tmp_path / "a_sample.h5", "w") as file:
        file["ds_1.1"] = h5py.ExternalLink("ds/ds.h5", "/1.1")
    rows, _ = propose(tmp_path)
    assert [(r.scan, r.file) for r in rows] == [("ds", "ds/ds.h5")]


def test_a_scan_that_lies_outside_the_folder_is_proposed_where_it_is_linked(tmp_path):
    (tmp_path / "raw").mkdir()
    write_master(tmp_path / "ds.h5")
    with h5py.File(tmp_path / "raw" / "sample.h5", "w") as file:
        file["ds_1.1"] = h5py.ExternalLink("../ds.h5", "/1.1")
    (row,), _ = propose(tmp_path / "raw")
    assert (row.scan, row.file, row.dataset) == ("sample_ds", "sample.h5", "/ds_1.1/measurement/pilatus")
    assert row.angle_step_deg == 60.0


def test_a_link_to_a_link_does_not_double_frames(tmp_path):
    write_stack(tmp_path / "c.h5", some_frames(24), "d")
    translation, omega = grid_positions()
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["d"] = h5py.ExternalLink("c.h5", "/d")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/measurement/pilatus"] = h5py.ExternalLink("b.h5", "/d")
        file["entry/measurement/ty"], file["entry/measurement/rot"] = translation, omega
    rows, _ = propose(tmp_path)
    assert [(r.file, r.n_projections, r.n_positions) for r in rows] == [("a.h5", 3, 8)]


def test_of_two_sources_the_one_that_is_left_is_not_a_scan(tmp_path):
    write_stack(tmp_path / "p0.h5", some_frames(12))
    write_virtual(tmp_path / "m.h5", "x", [(f"p{k}.h5", "/entry_0000/measurement/data", 12) for k in (0, 1)])
    rows, notes = propose(tmp_path)
    assert [r.file for r in rows] == ["m.h5"]
    assert any("p1.h5, which is missing" in note for note in notes)


def test_a_broken_link_costs_its_own_scan_and_no_other(tmp_path):
    master = write_master(tmp_path / "cell.h5")
    with h5py.File(master, "a") as file:
        file["2.1"] = h5py.ExternalLink("gone.h5", "/2.1")
        file["1.1/measurement/camera"] = h5py.ExternalLink("camera.h5", "/data")
    rows, notes = propose(tmp_path)
    assert [(r.scan, r.dataset) for r in rows] == [("cell", "/1.1/measurement/pilatus")]
    for name in ("gone.h5", "camera.h5"):
        assert sum(note.startswith("broken link: ") and f"{name}, which is missing" in note for note in notes) == 1


def test_of_two_detectors_the_larger_is_taken_and_the_other_named(tmp_path):
    master = write_master(tmp_path / "cell.h5")
    with h5py.File(master, "a") as file:
        file["1.1/measurement/camera"] = some_frames(24, (2, 2))
    (row,), notes = propose(tmp_path)
    assert row.dataset == "/1.1/measurement/pilatus"
    assert any("there are also /1.1/measurement/camera" in note for note in notes)


def test_without_recorded_motors_the_title_is_taken(tmp_path):
    master = write_master(tmp_path / "cell.h5", start=30.0)
    with h5py.File(master, "a") as file:
        del file["1.1/measurement/ty"], file["1.1/measurement/rot"], file["1.1/instrument/positioners/rot"]
    (row,), notes = propose(tmp_path)
    assert row == subset_row(1, scan="cell", file="cell.h5", angle_start_deg=30.0, zigzag="auto")
    assert any("from the title; zigzag is found from the frames" in note for note in notes)


def test_a_plain_stack_is_a_marked_guess(tmp_path):
    write_stack(tmp_path / "night" / "stack.h5", some_frames(24))
    (row,), notes = propose(tmp_path)
    assert (row.scan, row.file, row.n_projections * row.n_positions) == ("night_stack", "night/stack.h5", 24)
    assert any(note.startswith("scan night_stack: GUESSED") for note in notes)


def test_image_series_are_grouped_by_folder_and_prefix(tmp_path):
    for number in (1, 2):
        folder = tmp_path / f"cell_s{number}"
        folder.mkdir()
        write_images(folder, some_frames(4), "cbf")
    write_images(tmp_path, some_frames(1), "cbf", prefix="CeO2_")
    rows, notes = propose(tmp_path)
    assert [(r.scan, r.subset, r.file) for r in rows] == [
        ("cell", 1, "cell_s1/frame_[0-9]*.cbf"),
        ("cell", 2, "cell_s2/frame_[0-9]*.cbf"),
    ]
    assert "left out: CeO2_0.cbf: a single frame (calibrate.frame?)" in notes


def test_brackets_in_names_of_folders_are_escaped(tmp_path):
    folder = tmp_path / "cell[1]" / "scan 2 [old]"
    folder.mkdir(parents=True)
    write_images(folder, some_frames(4), "cbf")
    (row,), _ = propose(tmp_path)
    with open_frames(raw_path(tmp_path, row.file)) as source:
        assert source.shape[0] == 4


def test_two_series_in_one_folder_keep_their_prefixes(tmp_path):
    (tmp_path / "cell").mkdir()
    for prefix in ("up_", "down_"):
        write_images(tmp_path / "cell", some_frames(3), "edf", prefix=prefix)
    rows, _ = propose(tmp_path)
    assert [(r.scan, r.file) for r in rows] == [
        ("cell_down", "cell/down_[0-9]*.edf"),
        ("cell_up", "cell/up_[0-9]*.edf"),
    ]


def test_files_that_hold_no_series_are_named_with_what_they_may_be(tmp_path):
    write_stack(tmp_path / "stack.h5", some_frames(3))
    write_stack(tmp_path / "LaB6.h5", some_frames(1))
    write_stack(tmp_path / "other.h5", some_frames(1)[0][0], "/entry/pattern")
    np.save(tmp_path / "bad_mask.npy", some_frames(1)[0])
    rows, notes = propose(tmp_path)
    assert [r.file for r in rows] == ["stack.h5"]
    assert "left out: LaB6.h5 /entry_0000/measurement/data: a single frame (calibrate.frame?)" in notes
    assert "left out: other.h5: no stack of frames" in notes
    assert "left out: bad_mask.npy: a single frame (detector.mask?)" in notes


def test_a_lost_subset_stays_missing(tmp_path):
    for number in (1, 3):
        write_master(tmp_path / f"cell_s{number}.h5", start=20.0 * (number - 1))
    rows, _ = propose(tmp_path)
    assert [r.subset for r in subsets_of(rows, "cell")] == [1, 3]
    assert missing_subsets(rows) == ["scan cell: subset 2 of 3 is missing from the table"]


def test_subsets_counted_from_zero_are_counted_from_one(tmp_path):
    for number in (0, 1):
        write_master(tmp_path / f"cell_s{number}.h5", start=30.0 * number)
    assert [r.subset for r in propose(tmp_path)[0]] == [1, 2]


def test_missing_frames_and_broken_files_are_in_the_notes(tmp_path):
    write_master(tmp_path / "cell.h5")
    (tmp_path / "cell_1" / "pilatus_0000.h5").unlink()
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF")
    rows, notes = propose(tmp_path)
    assert [r.scan for r in rows] == ["cell"]
    assert any("frames are missing: " in note and "pilatus_0000.h5, which is missing" in note for note in notes)
    assert any("left out: " in note and "cut.h5" in note for note in notes)


def test_names_that_the_table_does_not_allow_are_changed(tmp_path):
    write_stack(tmp_path / "NCA 4,2 (new).h5", some_frames(3))
    (row,), _ = propose(tmp_path)
    assert row.scan == "NCA_4_2_new"


def test_a_motor_that_is_not_in_the_title_is_found_by_how_it_moves(tmp_path):
    translation, omega = grid_positions()
    write_stack(tmp_path / "a.h5", some_frames(24), "/entry/measurement/det")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["entry/measurement/hry"], file["entry/measurement/hrz"] = translation, omega
        file["entry/measurement/diode"] = some_frames(24).mean(axis=(1, 2))
    (row,), notes = propose(tmp_path)
    assert (row.n_projections, row.n_positions, row.angle_step_deg, row.zigzag) == (3, 8, 60.0, "yes")
    assert any("raw.translation: hry" in note for note in notes)
    assert any("raw.monitor: perhaps one of diode" in note for note in notes)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(RawDataError, match="no such folder"):
        propose_scans(tmp_path / "nowhere")


def test_the_simulators_raw_files_give_the_simulators_table(tiny_raw):
    written = read_scans(tiny_raw / "scans.tsv")
    rows, notes = propose(tiny_raw / "raw")
    assert sorted(rows, key=str) == sorted(written, key=str)
    assert "left out: CeO2.cbf: a single frame (calibrate.frame?)" in notes
    assert "left out: mask.edf: a single frame (detector.mask?)" in notes
    assert not any("GUESSED" in note for note in notes)


def test_the_proposed_table_is_read_back_with_the_notes_above_it(tmp_path):
    write_stack(tmp_path / "stack.h5", some_frames(24))
    proposal = propose_scans(tmp_path)
    (tmp_path / "scans.tsv").write_text(proposal.table(), encoding="utf-8")
    assert read_scans(tmp_path / "scans.tsv") == proposal.rows
    assert proposal.table().startswith("# Proposed by `xrdct init`")
    assert proposal.summary() == "1 scan, 1 subset"


@pytest.mark.real_data
def test_a_real_bliss_folder_gives_rows_and_says_what_is_missing(real_data):
    rows, notes = propose(real_data / "bliss_id11_demoh5")
    assert [(r.file, r.dataset, r.n_positions) for r in rows] == [
        ("demoh5_dataset/demoh5_dataset.h5", "/1.1/measurement/marana", 2),
        ("demoh5_dataset/demoh5_dataset.h5", "/2.1/measurement/marana", 5),
    ]
    assert sum("marana_0000.h5, which is missing" in note for note in notes) == 2

"""Bad input ends in one clear message, and nothing that looks finished."""

import shutil

import h5py
import pytest
import yaml

from support import REPOSITORY, Beamtime
from xrdct.cli import main

TINY = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"


@pytest.fixture
def own(tiny_raw, tmp_path):
    """A beamtime of the test's own, raw files only."""
    folder = tmp_path / "beamtime"
    shutil.copytree(tiny_raw / "raw", folder / "raw")
    return Beamtime(folder, TINY)


def stores(beamtime):
    """Everything under results that a user could take for a finished store."""
    return sorted(path.name for path in (beamtime.folder / "results").rglob("*.zarr"))


def test_a_misspelt_key_is_named_before_anything_runs(own, tmp_path):
    printed = own.changed(tmp_path, integrate={"trimm": 0.1}).snakemake("-n", ok=False)
    assert "integrate.trimm: unknown key, did you mean `trim`?" in printed


def test_a_value_out_of_range_is_named_with_what_was_found(own, tmp_path):
    printed = own.changed(tmp_path, beam={"energy_kev": 9500}).snakemake("-n", ok=False)
    assert "beam.energy_kev" in printed
    assert "9500" in printed


def test_a_missing_subset_is_named(own, tmp_path):
    lacking = own.changed(tmp_path)
    table = tmp_path / "scans.tsv"
    lines = [line for line in table.read_text().splitlines() if not line.startswith("charged_4p2V\t1\t")]
    table.write_text("\n".join(lines) + "\n")
    assert "scan charged_4p2V: subset 1 of 2 is missing" in lacking.snakemake("-n", ok=False)


def test_a_missing_raw_file_is_named(own):
    (own.folder / "raw" / "charged_4p2V_s1.h5").unlink()
    assert "charged_4p2V_s1.h5" in own.snakemake("-n", ok=False)


def test_a_truncated_detector_file_stops_its_subset_and_leaves_no_store(own):
    detector = next((own.folder / "raw" / "charged_4p2V_s1").glob("*.h5"))
    content = detector.read_bytes()
    detector.write_bytes(content[: len(content) * 2 // 3])
    printed = own.snakemake(ok=False)
    assert detector.name in printed
    assert "truncated" in printed
    assert "Traceback" not in printed
    assert not list((own.folder / "results" / "charged_4p2V" / "integrate" / "1").glob("*"))


def test_a_missing_virtual_source_is_named_not_read_as_zeros(own):
    detector = next((own.folder / "raw" / "charged_4p2V_s1").glob("*.h5"))
    detector.unlink()
    printed = own.snakemake("--keep-going", ok=False)
    assert detector.name in printed


def test_a_frame_count_that_the_table_contradicts_is_named_with_both_numbers(own, tmp_path):
    wrong = own.changed(tmp_path)
    table = tmp_path / "scans.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    column = rows[0].index("n_projections")
    lines = table.read_text().splitlines()
    for k, row in enumerate(rows):
        if row[0] == "charged_4p2V" and row[1] == "1":
            row[column] = "11"
            lines[k] = "\t".join(row)
    table.write_text("\n".join(lines) + "\n")
    printed = wrong.snakemake("results/charged_4p2V/integrate/1/patterns.json", ok=False)
    assert "n_projections × n_positions = 11 × " in printed
    assert stores(own) == []


def test_a_q_range_outside_the_detector_is_refused_with_what_it_sees(own, tmp_path):
    wide = own.changed(tmp_path, integrate={"q_max": 20.0})
    printed = wide.snakemake("results/charged_4p2V/integrate/1/patterns.json", ok=False)
    assert "the unmasked detector sees only" in printed
    assert stores(own) == []


def test_frames_of_another_shape_than_the_detector_are_refused(own, tmp_path):
    detector = yaml.safe_load(TINY.read_text())["detector"]
    rows, columns = detector["shape"]
    other = own.changed(tmp_path, detector={"shape": [rows + 1, columns]})
    printed = other.snakemake(ok=False)
    assert f"the frame has {rows} × {columns} pixels (rows × columns), but" in printed
    assert f"{rows + 1} × {columns}" in printed
    assert stores(own) == []


def test_a_mask_of_another_shape_is_refused(own, tmp_path):
    import numpy as np

    np.save(own.folder / "raw" / "small.npy", np.zeros((3, 3), np.uint8))
    printed = own.changed(tmp_path, detector={"mask": "small.npy"}).snakemake(ok=False)
    assert "(3, 3)" in printed
    assert stores(own) == []


def test_names_that_would_leave_the_results_folder_are_refused(own, tmp_path):
    hostile = own.changed(tmp_path)
    table = tmp_path / "scans.tsv"
    table.write_text(table.read_text().replace("charged_4p2V\t", "../../escape\t"))
    assert "is not a plain name" in hostile.snakemake("-n", ok=False)


def test_a_configuration_with_python_tags_is_refused_and_runs_nothing(own, tmp_path):
    evil = own.changed(tmp_path)
    evil.config.write_text(f'beam: !!python/object/apply:os.mkdir ["{tmp_path / "made"}"]\n')
    printed = evil.snakemake("-n", ok=False)
    assert "not valid JSON or YAML" in printed
    assert main(["check", str(evil.config)]) == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd"])
def test_a_raw_file_outside_the_root_is_refused(own, tmp_path, name):
    printed = own.changed(tmp_path, calibrate={"frame": name}).snakemake("-n", ok=False)
    assert f"{name!r} leads out of raw.root" in printed


def test_a_monitor_that_is_not_there_is_refused_with_what_there_is(own, tmp_path):
    printed = own.changed(tmp_path, raw={"monitor": "lamp"}).snakemake(
        "results/charged_4p2V/integrate/1/patterns.json", ok=False
    )
    assert "lamp" in printed
    assert "mon" in printed
    assert stores(own) == []


def test_h5py_would_have_returned_zeros(own):
    """Why the missing virtual source matters: without our check the frames read as zeros, without a word."""
    master = own.folder / "raw" / "charged_4p2V_s1.h5"
    shutil.rmtree(own.folder / "raw" / "charged_4p2V_s1")
    with h5py.File(master) as file:
        assert not file["1.1/measurement/pilatus"][0].any()

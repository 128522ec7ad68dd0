"""What reruns, and what does not: the promise of incremental reprocessing."""

import shutil

import pytest

from support import REPOSITORY, Beamtime

AFTER_RECONSTRUCTION = {"reconstruct", "map_windows", "draw_scan", "draw_overview"}
AFTER_ASSEMBLY = AFTER_RECONSTRUCTION | {"assemble", "diagnose_parallax"}
AFTER_INTEGRATION = AFTER_ASSEMBLY | {"integrate"}
EVERYTHING = AFTER_INTEGRATION | {"calibrate"}


def test_a_second_run_has_nothing_to_do(tiny):
    assert tiny.would_run() == {}


def test_a_fresh_copy_of_the_repository_has_nothing_to_do(tiny, tmp_path):
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns(".venv", ".git", "demo", "__pycache__", ".snakemake")
    shutil.copytree(REPOSITORY, copy, ignore=ignore, copy_function=shutil.copyfile)  # new file times
    assert tiny.would_run(repository=copy) == {}


def test_an_edited_module_reruns_its_stage_and_what_follows_but_a_comment_does_not(tiny, tmp_path):
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns(".venv", ".git", "demo", "__pycache__", ".snakemake")
    shutil.copytree(REPOSITORY, copy, ignore=ignore)
    module = copy / "workflow" / "src" / "xrdct" / "sinogram.py"
    module.write_text("# A remark.\n" + module.read_text())
    assert tiny.would_run(repository=copy) == {}
    module.write_text(module.read_text() + "\nNEW = 1\n")
    assert set(tiny.would_run(repository=copy)) == AFTER_ASSEMBLY


MATRIX = [
    ({"calibrate": {"max_rms_deg": 0.009}}, EVERYTHING),
    ({"beam": {"polarization": 0.97}}, EVERYTHING),
    ({"integrate": {"trim": 0.1}}, EVERYTHING),  # the instrument profile is measured with the same filter
    ({"integrate": {"n_bins": 123}}, AFTER_INTEGRATION),
    ({"integrate": {"saturation": 1e6}}, AFTER_INTEGRATION),
    ({"raw": {"monitor": None}}, AFTER_INTEGRATION),
    ({"assemble": {"cor": 13.0}}, AFTER_ASSEMBLY),
    ({"assemble": {"air_positions": 1}}, AFTER_ASSEMBLY),
    ({"reconstruct": {"filter": "hann"}}, AFTER_RECONSTRUCTION),
    ({"reconstruct": {"method": "sirt", "iterations": 20}}, AFTER_RECONSTRUCTION),
    ({"reconstruct": {"support": "none"}}, AFTER_RECONSTRUCTION),
    ({"reconstruct": {"parallax": "linear", "method": "cgls"}}, AFTER_RECONSTRUCTION | {"diagnose_parallax"}),
    ({"windows": {"background": "none"}}, {"map_windows", "draw_scan", "draw_overview"}),
    ({"report": {"colormap": "magma"}}, {"draw_scan", "draw_overview"}),
    ({"report": {"phases": ["Cu"]}}, {"draw_scan"}),
]


@pytest.mark.parametrize(
    ("change", "expected"), MATRIX, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_a_changed_key_reruns_exactly_what_depends_on_it(tiny, tmp_path, change, expected):
    assert set(tiny.changed(tmp_path, **change).would_run()) == expected


def test_key_order_comments_and_one_against_one_point_zero_rerun_nothing(tiny, tmp_path):
    same = tiny.changed(tmp_path)  # rewritten by yaml: sorted keys, no comments
    text = same.config.read_text()
    assert "energy_kev: 95\n" in text
    same.config.write_text(text.replace("energy_kev: 95\n", "energy_kev: 95.0\n"))
    assert same.would_run() == {}


def test_another_voltage_in_the_table_redraws_only_the_overview(tiny, tmp_path):
    other = tiny.changed(tmp_path)
    table = tmp_path / "scans.tsv"
    table.write_text(table.read_text().replace("\t4.2\t", "\t4.15\t"))
    assert set(other.would_run()) == {"draw_overview"}


def test_a_new_scan_computes_that_scan_only(tiny, tmp_path):
    other = tiny.changed(tmp_path)
    table = tmp_path / "scans.tsv"
    lines = table.read_text().splitlines()
    rows = [line for line in lines if line.startswith("charged_4p2V\t")]
    table.write_text("\n".join(lines + ["again_" + row for row in rows]) + "\n")
    jobs = other.would_run()
    assert jobs.pop("integrate") == len(rows)
    assert jobs == dict.fromkeys(sorted(AFTER_ASSEMBLY), 1)


def test_an_unchanged_result_stops_the_chain_at_the_next_invocation(tiny_raw, tmp_path):
    own = Beamtime(tmp_path, REPOSITORY / "tests" / "data" / "tiny" / "config.yaml")
    shutil.copytree(tiny_raw, tmp_path, dirs_exist_ok=True, symlinks=True)
    own.snakemake()
    changed = own.changed(tmp_path, calibrate={"max_rms_deg": 0.0099})
    changed.snakemake("--until", "calibrate")
    assert changed.would_run() == {}

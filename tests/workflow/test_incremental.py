"""What reruns, and what does not: the promise of incremental reprocessing."""

import shutil

from support import REPOSITORY, Beamtime

AFTER_ASSEMBLY = {"assemble", "diagnose_parallax", "reconstruct", "map_windows", "draw_scan", "draw_overview"}
IGNORED = shutil.ignore_patterns(".venv", ".git", "demo", "__pycache__", ".snakemake")


def test_a_second_run_has_nothing_to_do(tiny):
    assert tiny.would_run() == {}


def test_a_fresh_copy_of_the_repository_has_nothing_to_do(tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY, copy, ignore=IGNORED, copy_function=shutil.copyfile)  # new file times
    assert tiny.would_run(repository=copy) == {}


MODULES = {
    "figures.py": {"calibrate", "integrate"} | AFTER_ASSEMBLY,  # calibrate draws its picture itself
    "sinogram.py": AFTER_ASSEMBLY,
    "windows.py": {"map_windows", "draw_scan", "draw_overview"},
    "kernels/native.c": {"calibrate", "integrate"} | AFTER_ASSEMBLY,
    "fit/solve.py": set(),  # no fit in this beamtime
}


def test_an_edited_module_reruns_its_stage_and_what_follows_but_a_comment_does_not(tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(REPOSITORY, copy, ignore=IGNORED)
    library = copy / "workflow" / "src" / "xrdct"
    for name in MODULES:
        if name.endswith(".py"):
            (library / name).write_text("# A remark.\n" + (library / name).read_text())
    assert tiny.would_run(repository=copy) == {}
    for name, rules in MODULES.items():
        before = (library / name).read_text()
        (library / name).write_text(before + ("\nNEW = 1\n" if name.endswith(".py") else "\n/* new */\n"))
        assert set(tiny.would_run(repository=copy)) == rules, name
        (library / name).write_text(before)


def test_another_number_of_cores_reruns_nothing(tiny):
    assert tiny.would_run("--cores", "1") == {}


def test_an_unchanged_result_stops_the_chain_at_the_next_invocation(tiny_raw, tmp_path):
    own = Beamtime(tmp_path, REPOSITORY / "tests" / "data" / "tiny" / "config.yaml")
    shutil.copytree(tiny_raw, tmp_path, dirs_exist_ok=True, symlinks=True)
    own.snakemake()
    changed = own.changed(tmp_path, calibrate={"max_rms_deg": 0.0099})
    changed.snakemake("--until", "calibrate")
    assert changed.would_run() == {}

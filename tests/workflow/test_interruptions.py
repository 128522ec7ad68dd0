"""Killed, locked out, out of space: nothing is lost, and the next run gives what an unbroken one gives."""

import os
import signal
import time

import psutil
import pytest
import yaml

from support import REPOSITORY, Beamtime
from xrdct.io.verify import manifests_below, verify_stores
from xrdct.scans import read_scans, write_scans

TINY = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"
SCAN = "charged_4p2V"
TARGET = f"results/{SCAN}/figures/maps.png"


@pytest.fixture
def own(tiny_raw, tmp_path):
    """A beamtime of the test's own, with raw files only."""
    (tmp_path / "raw").symlink_to(tiny_raw / "raw")
    return Beamtime(tmp_path, TINY)


def wait_for(path, process):
    """Wait until a file is there; the process that makes it must live."""
    for _ in range(20_000):  # 400 s: a busy machine starts a Snakemake in a minute
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.02)
    raise AssertionError(f"{path} never came")


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def manifests(folder):
    return {path.relative_to(folder): path.read_bytes() for path in manifests_below(folder / "results").values()}


STAGES = [f"{SCAN}/{name}" for name in ("integrate_1", "assemble", "reconstruct_first", "map_windows", "draw_scan")]


@pytest.mark.slow
def test_killed_in_every_stage_and_started_again_it_ends_with_the_same_manifests(own, tiny):
    for stage in ("calibrate", *STAGES):
        process = own.started(TARGET)
        wait_for(own.folder / "logs" / f"{stage}.log", process)  # the job begins its work
        kill(process)
        own.snakemake("--unlock")  # Snakemake's own message asks for it
    own.snakemake(TARGET)
    found = manifests(own.folder)
    assert len(found) == 5  # of two subsets, sinogram, volume, maps
    expected = manifests(tiny.folder)
    assert found == {path: expected[path] for path in found}
    assert not [verdict for verdict in verify_stores(own.folder / "results") if verdict.problems]
    hidden = [path.name for path in (own.folder / "results").rglob(".*") if path.name != ".snakemake_timestamp"]
    assert hidden == []  # neither partial folders nor half grown stores


def test_a_second_snakemake_in_the_same_folder_is_locked_out_and_the_first_goes_on(own):
    first = own.started("results/calibrate/geometry.poni")
    wait_for(own.folder / "logs" / "calibrate.log", first)
    os.killpg(first.pid, signal.SIGSTOP)  # so that it cannot end before the second has looked
    printed = own.snakemake("results/calibrate/geometry.poni", ok=False)
    os.killpg(first.pid, signal.SIGCONT)
    assert "Directory cannot be locked" in printed
    printed, _ = first.communicate(timeout=120)
    assert first.returncode == 0, printed
    assert own.would_run("results/calibrate/geometry.poni") == {}


def test_a_job_that_ran_out_of_memory_is_tried_again(own):
    """The system kills it with SIGKILL, as done here; how often it is tried, the profile for clusters says.

    That every attempt asks for more memory: `tests/library/test_needs.py`.
    """
    retries = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())["retries"]
    process = own.started("results/calibrate/geometry.poni", "--retries", retries)
    wait_for(own.folder / "logs" / "calibrate.log", process)
    jobs = [child for child in psutil.Process(process.pid).children(recursive=True) if "calibrate.py" in cmdline(child)]
    jobs[-1].kill()
    printed, _ = process.communicate(timeout=400)
    assert process.returncode == 0, printed
    assert "Trying to restart job" in printed
    assert own.would_run("results/calibrate/geometry.poni") == {}


def cmdline(process):
    """The command line of a process; empty when it has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_long_beamtime_is_planned_in_a_minute(own, tmp_path):
    rows = [row for row in read_scans(TINY.parent / "scans.tsv") if row.scan == SCAN]
    many = [
        rows[k % 2].model_copy(update={"scan": f"scan{n}", "subset": k + 1, "angle_start_deg": 3.75 * k})
        for n in range(200)
        for k in range(4)
    ]
    long = own.changed(tmp_path, raw={"subsets_per_scan": 4})
    write_scans(tmp_path / "scans.tsv", many)
    started = time.perf_counter()
    assert long.would_run()["integrate"] == 800
    assert time.perf_counter() - started < 60

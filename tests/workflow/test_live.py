"""`xrdct watch` with the real workflow: Ctrl-C in the middle, a faulty scan beside a good one."""

import os
import shutil
import signal
import subprocess
import sys

import h5py
import pytest
from test_interruptions import manifests, wait_for

from support import REPOSITORY, Beamtime
from xrdct.cli import main

GOOD, FAULTY = "charged_4p2V", "discharged_2p65V"


@pytest.fixture
def own(tiny, tmp_path):
    """The tiny beamtime up to the sinogram of the good scan; of the other one the monitor went missing."""
    shutil.copytree(tiny.folder, tmp_path, dirs_exist_ok=True, symlinks=True)
    for name in ("reconstruct", "windows", "figures"):
        shutil.rmtree(tmp_path / "results" / GOOD / name)
    for path in (tmp_path / "logs" / GOOD).glob("reconstruct*"):
        path.unlink()
    with h5py.File(tmp_path / "raw" / f"{FAULTY}_s1.h5", "r+") as file:
        del file["1.1/measurement/mon"]
    return Beamtime(tmp_path, tiny.config)


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_half_done_and_a_faulty_scan_does_not_stop_the_others(own, tiny, capsys):
    where = ["--config", str(own.config), "-d", str(own.folder), "--cores", "2", "--settle", "0"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "workflow" / "src"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "xrdct", "watch", str(own.folder / "raw"), *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        # A shell's background jobs, these tests among them, may have been told to ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for(own.folder / "logs" / GOOD / "reconstruct_first.log", process)
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    assert "ended" in printed
    assert not list((own.folder / ".snakemake" / "locks").glob("*"))
    assert [path.name for path in (own.folder / "results").rglob(".*partial*")] == []

    assert main(["watch", *where, "--once"]) == 1
    assert f"done: {GOOD}; failed: {FAULTY}; not whole: none" in capsys.readouterr().out
    found, expected = manifests(own.folder), manifests(tiny.folder)
    of_good = {path for path in expected if GOOD in path.parts}
    assert {path: found[path] for path in of_good} == {path: expected[path] for path in of_good}
    assert "mon" in (own.folder / "logs" / FAULTY / "integrate_1.log").read_text()
    assert own.would_run(f"results/{GOOD}/figures/maps.png") == {}  # with the user's own table

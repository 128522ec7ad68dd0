"""Through `--workflow-profile slurm` on a SLURM of one node with pretend GPUs: the demo; a job killed for memory."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

import slurm_node
from support import REPOSITORY, Beamtime
from xrdct.io.verify import manifests_below

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PROFILE = REPOSITORY / "profiles" / "slurm" / "config.yaml"
LOCAL = [
    # No accounting database, a node of few cores, and no waiting for a network.
    *("--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"),
    *("--latency-wait", "10", "--max-threads", "2"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="Snakemake's slurm plugin is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        with slurm_node.running(folder):
            yield folder
    except slurm_node.CannotStart as reason:
        pytest.skip(str(reason))


def through_slurm(beamtime, folder, *arguments, seconds):
    """What Snakemake prints while it runs a beamtime's raw files in `folder`, and the allocations that it asked for."""
    shutil.copytree(beamtime.folder / "raw", folder / "raw")
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    command += ["--workflow-profile", PROFILE.parent, "--configfile", beamtime.config, *LOCAL, *arguments]
    # A Snakemake that waits for SLURM ignores SIGTERM: hence -k.
    command = ["timeout", "-k", "10", seconds, *command]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, cwd=folder)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed[-6000:]
    return printed, allocations(re.search(r"SLURM run ID: (\S+)", printed)[1])


def allocations(run):
    """What `scontrol` tells of every allocation of a run."""
    told = subprocess.run(["scontrol", "show", "jobs"], capture_output=True, text=True, check=True, timeout=60).stdout
    jobs = [dict(re.findall(r"(\w+)=(\S*)", job)) for job in told.split("\n\n") if "JobId=" in job]
    return [job for job in jobs if job["JobName"] == run]


def test_a_job_that_slurm_kills_for_its_memory_is_tried_again_with_more(slurm, tiny_raw, tmp_path):
    """As every rule, with a request that is too small for the first attempt: 300 MiB, then 600, then 900."""
    raw = Beamtime(tiny_raw, REPOSITORY / "tests" / "data" / "tiny" / "config.yaml")
    folder, target = tmp_path / "Strahlzeit März", "results/calibrate/geometry.poni"
    too_little = ("--set-resources", "calibrate:mem_mb=300 * attempt")
    printed, asked = through_slurm(raw, folder, target, *too_little, seconds=600)
    assert (folder / target).exists()
    assert [job["MinMemoryNode"] for job in asked] == ["300M", "600M", "900M"][: len(asked)]
    assert [job["JobState"] == "COMPLETED" for job in asked] == [False] * (len(asked) - 1) + [True]
    assert "Trying to restart job" in printed
    logs = [log for log in folder.glob(".snakemake/slurm_logs/*/*.log") if "exceeded memory limit" in log.read_text()]
    assert len(logs) == len(asked) - 1 > 0
    assert all(str(log) in printed for log in logs)  # the user is told where to look


def test_the_demo_has_the_manifests_of_a_local_run(slurm, demo, tmp_path):
    printed, asked = through_slurm(demo, tmp_path, seconds=1500)
    expected = manifests(demo.folder)
    assert len(expected) > 25
    assert manifests(tmp_path) == expected
    jobs = {name: int(n) for name, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}
    profile = yaml.safe_load(PROFILE.read_text())

    def count(rules):
        return sum(jobs.get(rule, 0) for rule in rules)

    on_gpu = [job for job in asked if job["Partition"] == "gpu"]
    assert len(on_gpu) == count(profile["set-resources"]) > 0
    assert {job["TresPerJob"] for job in on_gpu} == {"gres:gpu:1"}
    assert sum("ArrayTaskId" in job for job in asked) == count(profile["slurm-array-jobs"].split(",")) > 0
    here = [rule for rule in jobs if rule.startswith("draw_") or rule in ("diagnose_parallax", "all", "total")]
    # The maps of q windows of both scans are one job.
    assert len(asked) == count(jobs.keys() - set(here)) - count(["map_windows"]) + 1


def manifests(folder):
    """Bytes of every manifest below the results, by path."""
    return {path.relative_to(folder): path.read_bytes() for path in manifests_below(folder / "results").values()}

"""The tiny beamtime through `--workflow-profile slurm`: a SLURM of one node with pretend GPUs."""

import os
import shutil
import subprocess
import sys

import pytest

import slurm_node
from support import REPOSITORY
from xrdct.io.verify import manifests_below

SCANS = ["discharged_2p65V", "charged_4p2V"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if reason := slurm_node.missing():
        pytest.skip(reason)
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="Snakemake's slurm plugin is not installed")
    folder = tmp_path_factory.mktemp("slurm")
    try:
        slurm_node.start(folder)
    except RuntimeError as error:  # daemons that do not come up on this machine say nothing about the profile
        slurm_node.stop(folder)
        pytest.skip(str(error))
    yield folder
    slurm_node.stop(folder)


LOCAL = [
    # No accounting database, a node of few cores, and no waiting for a network.
    *("--slurm-status-command", "squeue", "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1"),
    *("--latency-wait", "10", "--max-threads", "2"),
]


@pytest.mark.slurm
@pytest.mark.slow
def test_on_a_cluster_a_beamtime_has_the_manifests_of_a_local_run(slurm, tiny, tmp_path):
    shutil.copytree(tiny.folder / "raw", tmp_path / "raw")
    command = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", tmp_path]
    command += ["--workflow-profile", REPOSITORY / "profiles" / "slurm", "--configfile", tiny.config, *LOCAL]
    command += [f"results/{scan}/windows/maps.json" for scan in SCANS]
    # A Snakemake that waits for SLURM ignores SIGTERM: hence -k.
    command = ["timeout", "-k", "10", "550", *map(str, command)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    made = [path.relative_to(tmp_path) for path in manifests_below(tmp_path / "results").values()]
    assert len(made) == 5 * len(SCANS)  # of two subsets, sinogram, volume, maps
    for path in made:
        assert (tmp_path / path).read_bytes() == (tiny.folder / path).read_bytes(), path
    jobs = subprocess.run(["scontrol", "show", "jobs"], capture_output=True, text=True, check=True).stdout
    assert jobs.count("ArrayTaskId=") == 2 * len(SCANS)  # the subsets
    assert jobs.count("JobName=") - jobs.count("ArrayTaskId=") == 1 + 2 * len(SCANS) + 1  # one for all q windows
    assert jobs.count("Partition=gpu") == jobs.count("TresPerJob=gres:gpu:1") == len(SCANS)  # the reconstructions

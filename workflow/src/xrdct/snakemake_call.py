"""Snakemake with this checkout's workflow, as a user calls it, from another program."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def snakemake_command(config: Path, folder: Path, *, cores: int, profile: str = "default") -> list[str]:
    """The command line that runs the workflow in a working folder.

    Parameters
    ----------
    config
        The YAML file.
    folder
        Working folder.
    cores
        Of this machine; on a cluster, the number for its local rules.
    profile
        One of `profiles/`, or a folder.
    """
    own = REPOSITORY / "profiles" / profile
    call = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    call += ["--configfile", config, "--workflow-profile", own if own.is_dir() else profile]
    return [str(part) for part in [*call, "--local-cores" if profile == "slurm" else "--cores", cores]]


def snakemake_environment() -> dict[str, str]:
    """The environment for it: this library, and one thread per library of numbers, since jobs run side by side."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    library = os.pathsep.join(_parts(REPOSITORY / "workflow" / "src", os.environ.get("PYTHONPATH")))
    return os.environ | {name: os.environ.get(name, "1") for name in threads} | {"PYTHONPATH": library}


def _parts(*paths: str | Path | None) -> Sequence[str]:
    return [str(path) for path in paths if path]

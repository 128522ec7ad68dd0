"""Snakemake with this checkout's workflow, as a user calls it, from another program."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import ConfigError

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
    on_cluster = read_profile(profile).get("executor", "local") != "local"
    call = [sys.executable, "-m", "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    call += ["--configfile", config, "--workflow-profile", _profile(profile)]
    return [str(part) for part in [*call, "--local-cores" if on_cluster else "--cores", cores]]


def read_profile(name: str) -> dict:
    """The keys of a profile.

    Raises
    ------
    ConfigError
        When there is none of this name, or it is not YAML.
    """
    import yaml

    # Snakemake also takes config.v8+.yaml and the like; of several, the newest.
    path = max(_profile(name).glob("config*.yaml"), default=_profile(name) / "config.yaml")
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give a name in profiles/, or a folder with a config.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({error})") from None


def _profile(name: str) -> Path:
    own = REPOSITORY / "profiles" / name
    return own if own.is_dir() else Path(name)


def snakemake_environment() -> dict[str, str]:
    """The environment for it: this library, and one thread per library of numbers, since jobs run side by side."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    library = os.pathsep.join(_parts(REPOSITORY / "workflow" / "src", os.environ.get("PYTHONPATH")))
    return os.environ | {name: os.environ.get(name, "1") for name in threads} | {"PYTHONPATH": library}


def _parts(*paths: str | Path | None) -> Sequence[str]:
    return [str(path) for path in paths if path]

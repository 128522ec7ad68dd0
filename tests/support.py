"""A beamtime in a folder, and Snakemake as a user calls it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass
class Beamtime:
    """A folder with raw files, configuration and (after a run) results."""

    folder: Path
    config: Path

    def started(self, *arguments, repository: Path = REPOSITORY) -> subprocess.Popen:
        """Snakemake in the folder, on its way, with all its jobs in a process group of its own."""
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            repository / "Snakefile",
            "--directory",
            self.folder,
        ]
        command += ["--workflow-profile", repository / "profiles" / "default"]
        command += ["--configfile", self.config, "--cores", "2", *arguments]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(repository / "workflow" / "src"),
        }
        return subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def snakemake(self, *arguments, repository: Path = REPOSITORY, ok: bool = True) -> str:
        """Run Snakemake in the folder and return all it printed; `ok` says which exit is expected."""
        process = self.started(*arguments, repository=repository)
        try:
            printed, _ = process.communicate(timeout=900)
        finally:
            process.kill()
        assert (process.returncode == 0) == ok, printed[-6000:]
        return printed

    def would_run(self, *arguments, **options) -> dict[str, int]:
        """Rules and job counts of a dry-run; empty when there is nothing to be done."""
        printed = self.snakemake("-n", *arguments, **options)
        if "Nothing to be done" in printed:
            return {}
        stats = printed[printed.index("Job stats:") :].split("total")[0]
        return {
            name: int(count) for name, count in re.findall(r"^(\w+)\s+(\d+)$", stats, re.MULTILINE) if name != "all"
        }

    def changed(self, tmp_path: Path, **sections) -> "Beamtime":
        """The same folder with a configuration in which keys of sections have other values."""
        settings = yaml.safe_load(self.config.read_text())
        for section, values in sections.items():
            if isinstance(values, dict):
                settings.setdefault(section, {}).update(values)
            else:
                settings[section] = values
        shutil.copy(self.config.parent / "scans.tsv", tmp_path / "scans.tsv")
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(settings))
        return Beamtime(self.folder, config)


def simulate(preset: str, folder: Path) -> None:
    """Raw files of a preset, through the command a user types."""
    command = [sys.executable, "-m", "xrdct", "simulate", preset, "--out", folder, "--workers", 2]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr

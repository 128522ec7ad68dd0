"""What Snakemake costs beside the steps' own computing: measured on two beamtimes, computed for a scan of the papers.

All in CPU seconds, so that a busy machine changes little. A job's own computing is what Snakemake's benchmark file says
of its script without the time until the script is imported (`cost.STARTS_S`); all else is overhead: Snakemake's start,
the graph of jobs, the bookkeeping of every job, its interpreter and its imports. A scan of the papers is too large for
a bench: its own computing and its files are those of the cost model (`xrdct plan`) with the shipped rates.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..config import Config, load
from ..config.beamline import Detector
from ..cost import STARTS_S, Plan, plan
from ..io.rates import read_rates
from ..scans import Subset, read_scans
from ..snakemake_call import REPOSITORY, snakemake_command, snakemake_environment
from .marks import Mark, at_most, reported

DEVICE = "CPU"
TINY = REPOSITORY / "tests" / "data" / "tiny" / "config.yaml"
DEMO = REPOSITORY / "config" / "demo" / "config.yaml"
PAPER = {"n_projections": 100, "n_positions": 637}
"""Of each of four subsets: 254,800 frames."""
OTHER_START_S = 1.0
"""CPU seconds until the script of a rule is imported that is not in `cost.STARTS_S`."""
MOST = 0.05
"""Share of the overhead, at most, at the papers' size."""
STARTS_ON_A_CLUSTER = 2
"""Snakemakes that start for one job there: the one that SLURM starts, and the one that it starts as a step."""
MOST_FILES = 1999
"""That a scan of the papers' size may make."""


def measure() -> list[Mark]:
    """Run two beamtimes in temporary folders, and compute the rest from what they cost."""
    marks = []
    for preset, config_file in (("tiny", TINY), ("demo", DEMO)):
        with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
            start, per_job, share = overhead_of(preset, config_file, Path(name))
        marks += [
            reported(f"{preset} beamtime: Snakemake's start with the graph of jobs", start, "CPU s"),
            reported(f"{preset} beamtime: every further job: bookkeeping, interpreter, imports", per_job, "CPU s"),
            reported(f"{preset} beamtime: share of the overhead", 100 * share, "%"),
        ]
    paper = plan(*of_the_papers(load(DEMO)), read_rates())
    on_cluster = per_job + STARTS_ON_A_CLUSTER * start
    marks.append(reported("a scan of the papers, computed: own computing", own_computing(paper) / 3600, "CPU h"))
    for where, cost in (("one machine", per_job), ("a cluster", on_cluster)):
        name = f"a scan of the papers on {where}, computed: share of the overhead"
        marks.append(at_most(name, 100 * MOST, 100 * share_of(paper, start, cost), "%"))
    marks.append(at_most("a scan of the papers, computed: files", MOST_FILES, paper.files_per_scan, "files"))
    return marks


def overhead_of(preset: str, config_file: Path, folder: Path) -> tuple[float, float, float]:
    """CPU seconds of a start and of every job of a simulated beamtime, and the overhead's share of all."""
    simulate = [sys.executable, "-m", "xrdct", "simulate", preset, "--out", folder]
    subprocess.run(list(map(str, simulate)), check=True, env=snakemake_environment(), stdout=subprocess.DEVNULL)
    command = snakemake_command(config_file, folder, cores=os.cpu_count())
    cpu_seconds([*command, "--until", "calibrate"])  # compiles what is compiled once per machine
    start = cpu_seconds([*command, "--dry-run", "--forceall"])
    total = cpu_seconds([*command, "--forceall"])
    rules = json.loads((folder / "results" / "run.json").read_text(encoding="utf-8"))["rules"]
    jobs = sum(times["jobs"] for times in rules.values())
    own = sum(beyond_starts(rule, times["jobs"], times["cpu_s"]) for rule, times in rules.items())
    return start, (total - start - own) / jobs, (total - own) / total


def cpu_seconds(command: Sequence[str]) -> float:
    """CPU seconds of a command and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=snakemake_environment(), capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def of_the_papers(demo: Config) -> tuple[Config, list[Subset]]:
    """The demo's configuration at the size of the NCA paper's scans: 2M pixels, 637 positions, 1000 bins."""
    detector = Detector(name="Pilatus CdTe 2M")
    integrate = demo.integrate.model_copy(update={"n_bins": 1000})
    first = read_scans(DEMO.parent / demo.scans)[0]
    rows = [first.model_copy(update=PAPER | {"subset": k}) for k in (1, 2, 3, 4)]
    return demo.model_copy(update={"detector": detector, "integrate": integrate}), rows


def own_computing(planned: Plan) -> float:
    """CPU seconds of all jobs without their starts."""
    return sum(beyond_starts(step.name, step.jobs, step.cpu_s) for step in planned.rules)


def beyond_starts(rule: str, jobs: int, cpu_s: float) -> float:
    """CPU seconds of a rule's jobs after their scripts were imported."""
    return max(0.0, cpu_s - jobs * STARTS_S.get(rule, OTHER_START_S))


def share_of(planned: Plan, start: float, per_job: float) -> float:
    """Share of the overhead in a planned beamtime."""
    overhead = start + per_job * sum(step.jobs for step in planned.rules)
    return overhead / (overhead + own_computing(planned))

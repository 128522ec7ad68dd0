"""The demo beamtime from raw frames to maps, held against the truth: correlations, centre, speed, memory."""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from ..io.store import read_store
from ..metrics import correlation
from ..scans import Subset, read_scans, scan_names
from .marks import Mark, at_least, at_most, reported

DEVICE = "CPU"
REPOSITORY = Path(__file__).resolve().parents[4]
CONFIG = REPOSITORY / "config" / "demo" / "config.yaml"
MAJOR, PRESENT = 0.01, 0.001
"""Mean volume fractions in the field from which a phase counts as a major one, and as present at all."""


def measure() -> list[Mark]:
    """Simulate and run the demo in a temporary folder and measure it."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        folder = Path(name)
        seconds = run_demo(folder)
        rows = read_scans(CONFIG.parent / "scans.tsv")
        return [
            *accuracy(folder, rows),
            *speed(folder, rows),
            *(reported(f"{stage}, wall", value, "s") for stage, value in seconds.items()),
        ]


def run_demo(folder: Path) -> dict[str, float]:
    """Simulate the demo's raw files and run the workflow in `folder`; seconds for either."""
    bin_folder = Path(sys.executable).parent
    cores = str(os.cpu_count())
    simulate = [bin_folder / "xrdct", "simulate", "demo", "--out", folder, "--workers", cores]
    workflow = [bin_folder / "snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder]
    workflow += ["--configfile", CONFIG, "--cores", cores]
    seconds = {}
    for stage, command in {"simulate": simulate, "workflow": workflow}.items():
        started = time.monotonic()
        subprocess.run(list(map(str, command)), check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
        seconds[stage] = time.monotonic() - started
    return seconds


def accuracy(folder: Path, rows: list[Subset]) -> list[Mark]:
    """Correlation of each present phase's map with its true volume fraction, and the error of the centre."""
    marks = []
    for scan in scan_names(rows):
        truth = read_truth(folder, scan)
        for phase, (value, share) in phase_correlations(folder, scan, truth).items():
            name = f"{scan}: correlation of the {phase} map with the truth ({100 * share:.1f} % of the field)"
            marks.append(at_least(name, 0.9, value) if share > MAJOR else reported(name, value))
        found = read_store(folder / "results" / scan / "assemble" / "sinogram.zarr", "sinogram").attrs["cor"]
        marks.append(at_most(f"{scan}: error of the centre of rotation", 0.1, abs(found - truth.cor.item()), "px"))
    return marks


def phase_correlations(folder: Path, scan: str, truth: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Correlation of window area and true volume fraction, and the mean of the latter, of every phase that is present.

    A window is called after its phase, with or without the line: 'NCA-003' maps the truth's 'NCA' and 'NCA_charged'.
    """
    maps = read_store(folder / "results" / scan / "windows" / "maps.zarr", "maps")
    found = {}
    for window in maps.phase.values.tolist():
        same = [name for name in truth.phase.values if str(name).split("_")[0] == window.split("-")[0]]
        expected = truth.volume_fraction.sel(phase=same).sum("phase").values
        if expected.mean() > PRESENT:
            found[window] = correlation(maps.area.sel(phase=window).values, expected), float(expected.mean())
    return found


def read_truth(folder: Path, scan: str) -> xr.Dataset:
    """The simulator's truth of one scan."""
    return xr.open_zarr(folder / "truth" / f"{scan}.zarr", consolidated=False, chunks=None)


def speed(folder: Path, rows: list[Subset]) -> list[Mark]:
    """Frames per second of integration per core, and seconds and peak memory of each stage."""
    stages = stage_records(folder / "benchmarks")
    frames = sum(row.n_projections * row.n_positions for row in rows)
    # On a machine with up to eight cores the subsets are integrated one after the other, each on all cores.
    name = f"integration of the demo's small frames on {os.cpu_count()} cores, start of the jobs included"
    marks = [reported(name, frames / stages["integrate"]["s"], "frames/s")]
    for stage, record in sorted(stages.items()):
        marks.append(reported(f"{stage}, all jobs", record["s"], "s"))
        marks.append(reported(f"{stage}, peak memory of a job", record["max_rss"], "MB"))
    return marks


def stage_records(folder: Path) -> dict[str, dict[str, float]]:
    """Snakemake's benchmark files by stage: summed seconds, largest resident memory (MB)."""
    stages: dict[str, dict[str, float]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        with open(path, newline="", encoding="utf-8") as stream:
            record = next(csv.DictReader(stream, delimiter="\t"))
        stage = stages.setdefault(
            path.stem.split("_")[0] if path.stem[-1].isdigit() else path.stem, {"s": 0.0, "max_rss": 0.0}
        )
        stage["s"] += float(record["s"])
        memory = float(record["max_rss"]) if record["max_rss"] not in ("-", "NA") else np.nan
        stage["max_rss"] = float(np.fmax(stage["max_rss"], memory))
    return stages

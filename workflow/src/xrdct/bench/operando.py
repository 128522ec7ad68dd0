"""The operando beamtime from raw frames to weight percent against time, held against the truth."""

import csv
import os
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from ..config import load
from ..figures_series import weight_percent
from ..io.store import read_store
from ..twin.parameters import load_parameters
from .absorption import REPOSITORY, call
from .first_way import read_truth, stage_records
from .marks import Mark, at_most, reported

DEVICE = "CPU"
CONFIG = REPOSITORY / "config" / "operando" / "config.yaml"
PRESET = load_parameters("operando")
FRAME_S = {series.name: series.frame_s for series in PRESET.series}


def measure() -> list[Mark]:
    """Simulate and run the preset `operando` in a temporary folder and measure it."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        folder, cores = Path(name), os.cpu_count()
        call("xrdct", "simulate", "operando", "--out", folder, "--workers", cores)
        call(
            *("snakemake", "--snakefile", REPOSITORY / "Snakefile", "--directory", folder),
            *("--configfile", CONFIG, "--cores", cores),
        )
        stages = stage_records(folder / "benchmarks")
        return [
            *(mark for series in FRAME_S for mark in accuracy(folder, series)),
            *(reported(f"{stage}, all jobs", record["s"], "s") for stage, record in sorted(stages.items())),
        ]


def accuracy(folder: Path, series: str) -> list[Mark]:
    """Weights of the anode's phases, cells of the cathode, time and capacity of one series."""
    found = read_store(folder / "results" / "series" / series / "series.zarr", "series").load()
    truth, anode = read_truth(folder, series), list(load(CONFIG).series.groups["anode"])
    percent, error = weight_percent(found, anode)
    off = percent - planted_percent(found, truth, anode)
    marks = [
        at_most(f"{series}: weight of {phase}, rms against the planted one", 1, np.sqrt(np.mean(row**2)), "%")
        for phase, row in zip(anode, off, strict=True)
    ]
    marks.append(reported(f"{series}: weights, largest deviation", np.abs(off).max(), "%"))
    marks.append(reported(f"{series}: weights, median of their standard errors", np.nanmedian(error), "%"))
    for name in ("a", "c"):
        cell = found[f"line_{name}"].sel(phase="NCA").values - truth[name].sel(phase="NCA").values
        marks.append(reported(f"{series}: {name} of NCA, mean deviation", cell.mean(), "Å"))
        marks.append(reported(f"{series}: {name} of NCA, scatter about it", cell.std(), "Å"))
    late = np.abs(found.line_time.values - truth.epoch_of_start - truth.time.values).max()
    shown = np.abs(found.voltage.values - truth.voltage.values).max()
    return [
        *marks,
        at_most(f"{series}: time of a repeat against the truth's", FRAME_S[series], late, "s"),
        reported(f"{series}: voltage, largest deviation from that of the moment", 1e3 * shown, "mV"),
        at_most(f"{series}: charge that went in against the planted", 0.1, 100 * abs(charged(folder, series) - 1), "%"),
    ]


def planted_percent(found: xr.Dataset, truth: xr.Dataset, phases: list[str]) -> np.ndarray:
    """Weight percent of phases in their sum over each line of the truth, shape (phase, line)."""
    mass = truth.path_length.sel(phase=phases).values * found.density.sel(phase=phases).values
    mass = mass.sum(axis=1).T
    return 100 * mass / mass.sum(axis=0)


def charged(folder: Path, series: str) -> float:
    """Charge of the first cycle's charge over the planted capacity."""
    with open(folder / "results" / "series" / series / "capacity.csv", encoding="utf-8", newline="") as stream:
        first = next(csv.DictReader(stream))
    return 1e3 * float(first["charge_Ah"]) / PRESET.cycler.capacity_mah

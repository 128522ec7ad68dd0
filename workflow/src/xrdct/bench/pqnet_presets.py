"""PQ-Net for the papers' other phase sets, and its schedules and networks side by side, on budgets of minutes.

One network for each preset learns from a fraction of the paper's patterns: this shows that libraries, training and
error bars work there, not how good a full training is (`bench.pqnet` does, for NCA). The paper's schedule runs to its
own end, when held-out patterns gain nothing for 5 epochs; the fast one then gets as many patterns, and as much time.
``python -m xrdct.bench.pqnet_presets --only NAME ...`` measures the marks of some presets, or of `schedules`.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numba
import numpy as np
import torch

from ..fit.information import cramer_rao
from ..fit.solve import fit_patterns
from ..pqnet.calibration import coverage
from ..pqnet.ensemble import Ensemble, HeldOut, draw_held_out, make_ensemble
from ..pqnet.refine import refine
from ..pqnet.score import STRONG
from ..pqnet.seeds import Purpose
from ..pqnet.task import Task, make_training
from ..pqnet.training import Schedule, Training, paper_schedule
from .marks import Mark, at_most, publish, reported, summary
from .pqnet import bench_task, library_marks

DEVICE = "CPU"
PRESETS = ("nca-13", "lixc-6", "lixc-4", "nmc532-charged", "nmc532-discharged")
SCHEDULES = "schedules"
NCA = "nca-8"
"""What schedules and networks are compared on."""


@dataclass(frozen=True)
class Budget:
    """How much is trained and tested."""

    patterns: int = 10_000
    """In an epoch."""
    epochs: int = 10
    """For a preset, and for each kind of network."""
    held_out: int = 12_000
    """Patterns for the error bars."""
    tests: int = 2000
    """Patterns at each dose."""
    fitted: int = 300
    """Of them, for the full fit and the bound."""
    most: int = 20
    """Epochs after which the paper's schedule is cut off."""


def measure(names: tuple[str, ...] = (*PRESETS, SCHEDULES), budget: Budget = Budget()) -> list[Mark]:
    """All marks; about ten minutes on one core."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    parts = [schedule_marks(budget) if name == SCHEDULES else preset_marks(name, budget) for name in names]
    return [mark for part in parts for mark in part]


def preset_marks(preset: str, budget: Budget) -> list[Mark]:
    """One network, its error bars, and its errors beside those of the full fit and the bound."""
    task = sized(bench_task(preset, budget.epochs), budget)
    marks = library_marks(task)
    network, seconds = trained(make_training(task, member=0))
    name = f"{preset}, quick ({budget.epochs * budget.patterns:,} patterns)"
    marks.append(reported(f"{name}: training, CPU time", seconds, "s"))
    ensemble = make_ensemble(
        task.model, task.recipe, task.noise, task.scaling, [network], patterns=budget.held_out, alarms=0.05, seed=0
    )
    for seed, dose in enumerate((100.0, 2000.0)):
        held_out = draw_held_out(
            task.model, task.recipe, task.noise, budget.tests, purpose=Purpose.TEST, seed=seed,
            doses=(dose, dose * (1 + 1e-6)),
        )  # fmt: skip
        marks += quick_marks(f"{name}, dose {dose:g}", task, ensemble, held_out, fitted=budget.fitted)
    return marks


def quick_marks(where: str, task: Task, ensemble: Ensemble, held_out: HeldOut, *, fitted: int) -> list[Mark]:
    """Medians over the targets: there are up to fifteen."""
    scaling, truth = task.scaling, held_out.targets(task.scaling)
    prediction = ensemble.predict(held_out.patterns)
    refined = refine(task.model, held_out.patterns, scaling.targets, prediction.values)
    steps = ensemble.calibrated_steps(refined, prediction.level)
    some = slice(0, fitted)
    strong = held_out.present(scaling, STRONG)[some]
    full = fit_patterns(task.model, held_out.patterns[some], level="full").parameters[:, scaling.places]
    bound = np.array([cramer_rao(task.model, row) for row in held_out.truth[some]])[:, scaling.places]
    errors = {
        "network": prediction.values[some] - truth[some],
        "+ 2 steps": refined.parameters[some, scaling.places] - truth[some],
        "full fit": full - truth[some],
        "bound": bound,
    }
    rms = {key: np.sqrt(np.nanmean(np.where(strong, values, np.nan) ** 2, axis=0)) for key, values in errors.items()}
    mae = {key: np.nanmean(np.abs(np.where(strong, values, np.nan)), axis=0) for key, values in errors.items()}
    cells = ~scaling.is_scale
    marks = []
    for group, chosen in (("scales", ~cells), ("cells", cells)):
        if not chosen.any():
            continue
        for source in ("network", "+ 2 steps"):
            ratio = np.median((mae[source] / mae["full fit"])[chosen])
            marks.append(reported(f"{where}: {group}, MAE of the {source} over the full fit's, median", ratio))
            ratio = np.median((rms[source] / rms["bound"])[chosen])
            row = f"{where}: {group}, RMS of the {source} over the bound, median"
            held = source == "+ 2 steps" and held_out.dose[0] > 1000  # with few counts the bound is out of reach
            marks.append(at_most(row, 1.1, ratio) if held else reported(row, ratio))
    counts = held_out.present(scaling, 0.02)
    sources = {
        "network": (prediction.values, prediction.bars),
        "+ 2 steps": (steps.parameters[:, scaling.places], steps.errors[:, scaling.places]),
    }
    for source, (values, bars) in sources.items():
        off = np.abs(coverage(values - truth, bars, counts) - 0.68).max()
        marks.append(at_most(f"{where}: {source}, coverage − 0.68, the worst of {len(bars.T)} targets", 0.05, off))
    return marks


def schedule_marks(budget: Budget) -> list[Mark]:
    """NCA: the fast schedule and the paper's to its own end; dense and convolution. What is compared sees as many
    patterns, or takes as much time."""
    by_paper = Run("dense", replace(paper_schedule(), epochs=budget.most), budget)
    same = Run("dense", fast(by_paper.epochs), budget)
    dense, convolution = (Run(kind, fast(budget.epochs), budget) for kind in ("dense", "convolution"))
    return [
        *by_paper.marks("the paper's schedule, stopped by its rule or the budget"),
        *same.marks("the fast schedule on as many patterns as the paper's"),
        *Run("dense", same.in_the_time_of(by_paper), budget).marks("the fast schedule in the time of the paper's"),
        *convolution.marks("the fast schedule"),
        *dense.marks("the fast schedule on as many patterns as the convolution network"),
        *Run("dense", dense.in_the_time_of(convolution), budget).marks(
            "the fast schedule in the time of the convolution network"
        ),
    ]


def fast(epochs: int) -> Schedule:
    """The default of the settings: large batches, and a learning rate that falls to zero."""
    return bench_task(NCA, epochs).schedule


class Run:
    """One member of NCA on a schedule."""

    def __init__(self, kind: str, schedule: Schedule, budget: Budget):
        self.kind = kind
        task = sized(bench_task(NCA, schedule.epochs), budget)
        settings = task.settings.model_copy(update={"network": kind})
        self.training = make_training(replace(task, schedule=schedule, settings=settings), member=0)
        self.seconds = trained(self.training)[1]
        self.epochs = self.training.epoch

    def in_the_time_of(self, other: "Run") -> Schedule:
        """The fast schedule of as many epochs as this run would have had in the other's CPU time."""
        return fast(max(1, round(self.epochs * other.seconds / self.seconds)))

    def marks(self, name: str) -> list[Mark]:
        """What it errs on held-out patterns, in half ranges of cells and spreads of scales, and what it took."""
        row = f"{NCA}, {self.kind}, {name}"
        patterns = self.epochs * self.training.source.n_steps * self.training.source.batch
        return [
            reported(f"{row}: mean absolute error", self.training.best["error"]),
            reported(f"{row}: patterns seen", patterns),
            reported(f"{row}: CPU time", self.seconds, "s"),
        ]


def sized(task: Task, budget: Budget) -> Task:
    """The task with as many patterns in an epoch as the budget has."""
    library = task.settings.library.model_copy(update={"patterns": budget.patterns})
    return replace(task, settings=task.settings.model_copy(update={"library": library}))


def trained(training: Training) -> tuple[torch.nn.Module, float]:
    """The network, and the CPU seconds that it took."""
    started = time.process_time()
    network = training.run()
    return network, time.process_time() - started


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    everything = [*PRESETS, SCHEDULES]
    parser.add_argument("--only", nargs="+", choices=everything, default=everything)
    parser.add_argument("--json", type=Path, help="also write the marks to this file")
    options = parser.parse_args(argv)
    found = summary("pqnet-presets", measure(tuple(options.only)), device=DEVICE)
    publish(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

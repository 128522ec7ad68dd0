"""PQ-Net for the papers' other phase sets, and its schedules and networks side by side, on budgets of minutes.

One network for each preset learns from a fraction of the paper's patterns: this shows that libraries, training and
error bars work there, not how good a full training is (`bench.pqnet` does, for NCA). The paper's schedule runs to its
own end, when held-out patterns gain nothing for 5 epochs; the fast one then gets as many patterns, and as much time.
``python -m xrdct.bench.pqnet_presets --only NAME ...`` measures the marks of some presets, or of `schedules`; what is
measured is written after each of them.
"""

import argparse
import sys
import time
from collections.abc import Iterator
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
from .marks import Mark, at_most, publish_parts, reported
from .pqnet import bench_task, library_marks

DEVICE = "CPU"
PRESETS = ("nca-13", "lixc-6", "lixc-4", "nmc532-charged", "nmc532-discharged")
SCHEDULES = "schedules"
NCA = "nca-8"
"""What schedules and networks are compared on."""


@dataclass(frozen=True)
class Budget:
    """How much is trained and tested."""

    patterns: int = 20_000
    """In an epoch."""
    epochs: int = 15
    """For a preset."""
    kinds: int = 8
    """Epochs for each kind of network."""
    held_out: int = 30_000
    """Patterns for the error bars."""
    tests: int = 5000
    """Patterns at each dose."""
    fitted: int = 1000
    """Of them, for the full fit and the bound."""
    most: int = 12
    """Epochs after which the paper's schedule is cut off."""


def measure(names: tuple[str, ...] = (*PRESETS, SCHEDULES), budget: Budget = Budget()) -> Iterator[list[Mark]]:
    """The marks of one name after another; all together about twelve minutes on one core."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    for name in names:
        yield schedule_marks(budget) if name == SCHEDULES else preset_marks(name, budget)


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
    """Errors as medians over the targets, of which there are up to fifteen, and the coverage that is farthest off."""
    scaling = task.scaling
    prediction = ensemble.predict(held_out.patterns)
    refined = refine(task.model, held_out.patterns, scaling.targets, prediction.values)
    some = HeldOut(*(part if part is None else part[:fitted] for part in vars(held_out).values()))
    rms = rms_errors(task, some, prediction.values[:fitted], refined.parameters[:fitted, scaling.places])
    marks = [
        *ratio_marks(f"{where}: scales", {key: values[scaling.is_scale] for key, values in rms.items()}, held_out),
        *ratio_marks(f"{where}: cells", {key: values[~scaling.is_scale] for key, values in rms.items()}, held_out),
    ]
    steps = ensemble.calibrated_steps(refined, prediction.level)
    sources = {
        "network": (prediction.values, prediction.bars),
        "+ 2 steps": (steps.parameters[:, scaling.places], steps.errors[:, scaling.places]),
    }
    truth, counts = held_out.targets(scaling), held_out.present(scaling, 0.02)
    for source, (values, bars) in sources.items():
        off = np.abs(coverage(values - truth, bars, counts) - 0.68).max()
        marks.append(at_most(f"{where}: {source}, coverage − 0.68, the worst of {len(bars.T)} targets", 0.05, off))
    return marks


def rms_errors(task: Task, held_out: HeldOut, network: np.ndarray, refined: np.ndarray) -> dict[str, np.ndarray]:
    """Root mean square error of every target where its phase is strong, by what found it.

    The fit that begins at the truth ends in the minimum beside it. Where the full fit is far worse than that, a few
    patterns in a thousand fit as well or better with other values: those of the two cathodes of NMC532 exchanged.
    """
    model, places, truth = task.model, task.scaling.places, held_out.targets(task.scaling)
    full = fit_patterns(model, held_out.patterns, level="full")
    ideal = fit_patterns(model, held_out.patterns, level="full", start=held_out.truth, search=False)
    errors = {
        "network": network - truth,
        "+ 2 steps": refined - truth,
        "full fit": full.parameters[:, places] - truth,
        "fit begun at the truth": ideal.parameters[:, places] - truth,
        "bound": np.array([cramer_rao(model, row) for row in held_out.truth])[:, places],
    }
    strong = held_out.present(task.scaling, STRONG)
    return {key: np.sqrt(np.mean(values**2, axis=0, where=strong)) for key, values in errors.items()}


def ratio_marks(where: str, rms: dict[str, np.ndarray], held_out: HeldOut) -> list[Mark]:
    """Errors over those of the full fit and the bound. With few counts the bound is out of reach: no goal is set."""
    marks = []
    for source, other in (
        ("network", "full fit"),
        ("+ 2 steps", "full fit"),
        ("+ 2 steps", "bound"),
        ("full fit", "bound"),
        ("fit begun at the truth", "bound"),
    ):
        if rms[other].size:
            row, ratio = f"{where}, RMS of the {source} over the {other}, median", np.median(rms[source] / rms[other])
            held = source == "+ 2 steps" and held_out.dose[0] > 1000
            marks.append(at_most(row, 1.1, ratio) if held else reported(row, ratio))
    return marks


def schedule_marks(budget: Budget) -> list[Mark]:
    """NCA: the fast schedule and the paper's to its own end; dense and convolution. What is compared sees as many
    patterns, or takes as much time."""
    by_paper = Run("dense", replace(paper_schedule(), epochs=budget.most), budget)
    same = Run("dense", fast(by_paper.epochs), budget)
    dense, convolution = (Run(kind, fast(budget.kinds), budget) for kind in ("dense", "convolution"))
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
    publish_parts("pqnet-presets", measure(tuple(options.only)), device=DEVICE, path=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

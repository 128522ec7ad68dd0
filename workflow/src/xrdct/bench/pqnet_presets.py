"""PQ-Net for the papers' other phase sets, and its schedules and networks side by side, on budgets of a minute.

One network for each preset learns from a fraction of the paper's patterns: this shows that libraries, training and
error bars work there, not how good a full training is (`bench.pqnet` does, for NCA).
"""

import time
from dataclasses import replace

import numba
import numpy as np
import torch

from ..fit.solve import fit_patterns
from ..pqnet.calibration import coverage
from ..pqnet.ensemble import draw_held_out, make_ensemble
from ..pqnet.refine import refine
from ..pqnet.seeds import Purpose
from ..pqnet.task import make_training
from ..pqnet.training import Schedule, Training
from .marks import Mark, reported
from .pqnet import STRONG, bench_task, cramer_rao, library_marks

DEVICE = "CPU"
PRESETS = ("nca-13", "lixc-6", "lixc-4", "nmc532-charged", "nmc532-discharged")
EPOCHS, HELD_OUT, TESTS = 5, 6000, 1000
"""Epochs of 20,000 patterns, patterns for the error bars, and patterns at each dose."""
FITTED = 300
"""Of them, for the full fit and the bound."""
COMPARED = 3
"""Epochs of the schedules and networks that are compared."""
PAPER = Schedule(epochs=COMPARED, batch=32, learning_rate=5e-4, falling=False)
"""The paper's steps, over a set number of patterns instead of its stopping rule."""
WARM = Schedule(epochs=COMPARED, batch=512, learning_rate=2e-3)


def measure(presets: tuple[str, ...] = PRESETS) -> list[Mark]:
    """All marks; about five minutes on one core."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    marks = [mark for preset in presets for mark in preset_marks(preset)]
    return marks + schedule_marks()


def preset_marks(preset: str) -> list[Mark]:
    """One network, its error bars, and its errors beside those of the full fit and the bound."""
    task = bench_task(preset, EPOCHS)
    marks = library_marks(task)
    network, seconds = trained(make_training(task, member=0))
    name = f"{preset}, quick ({EPOCHS * 20_000:,} patterns)"
    marks.append(reported(f"{name}: training, CPU time", seconds, "s"))
    ensemble = make_ensemble(
        task.model, task.recipe, task.noise, task.scaling, [network], patterns=HELD_OUT, alarms=0.05, seed=0
    )
    for seed, dose in enumerate((100.0, 2000.0)):
        marks += quick_marks(f"{name}, dose {dose:g}", task, ensemble, dose, seed=seed)
    return marks


def quick_marks(where: str, task, ensemble, dose: float, *, seed: int) -> list[Mark]:
    """Medians over the targets: there are up to fifteen."""
    held_out = draw_held_out(
        task.model, task.recipe, task.noise, TESTS, purpose=Purpose.TEST, seed=seed, doses=(dose, dose * (1 + 1e-6))
    )
    scaling, truth = task.scaling, held_out.targets(task.scaling)
    prediction = ensemble.predict(held_out.patterns)
    refined = refine(task.model, held_out.patterns, scaling.targets, prediction.values)
    steps = ensemble.calibrated_steps(refined, prediction.level)
    some = slice(0, FITTED)
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
    counts = held_out.present(scaling, 0.02)
    covered = {
        "network": coverage(prediction.values - truth, prediction.bars, counts),
        "+ 2 steps": coverage(steps.parameters[:, scaling.places] - truth, steps.errors[:, scaling.places], counts),
    }
    cells = ~scaling.is_scale
    marks = []
    for group, chosen in (("scales", ~cells), ("cells", cells)):
        if chosen.any():
            for source in ("network", "+ 2 steps"):
                ratio = np.median((mae[source] / mae["full fit"])[chosen])
                marks.append(reported(f"{where}: {group}, MAE of the {source} over the full fit's, median", ratio))
                ratio = np.median((rms[source] / rms["bound"])[chosen])
                marks.append(reported(f"{where}: {group}, RMS of the {source} over the bound, median", ratio))
    for source, shares in covered.items():
        marks.append(reported(f"{where}: {source}, coverage − 0.68, the worst target", np.abs(shares - 0.68).max()))
    return marks


def schedule_marks() -> list[Mark]:
    """NCA: the paper's steps and the fast ones on as many patterns, then on as much CPU time; dense and convolution."""
    marks, seconds = [], {}
    for kind in ("dense", "convolution"):
        for name, schedule in (("paper's steps", PAPER), ("fast steps", WARM)):
            marks += compared(kind, name, schedule, seconds)
    # As many patterns as the fast steps of a dense network take in the time of each of the others.
    for other in (("dense", "paper's steps"), ("convolution", "fast steps")):
        epochs = max(1, round(COMPARED * seconds[other] / seconds["dense", "fast steps"]))
        marks += compared("dense", f"fast steps in the time of {' '.join(other)}", Schedule(epochs, 512, 2e-3), seconds)
    return marks


def compared(kind: str, name: str, schedule: Schedule, seconds: dict) -> list[Mark]:
    """Train a member of NCA; what it errs on held-out patterns, in half ranges of cells and spreads of scales."""
    task = bench_task("nca-8", schedule.epochs)
    task = replace(task, schedule=schedule, settings=task.settings.model_copy(update={"network": kind}))
    training = make_training(task, member=0)
    _, seconds[kind, name] = trained(training)
    row = f"nca-8, {kind}, {name}, {schedule.epochs * training.source.patterns:,} patterns"
    return [
        reported(f"{row}: mean absolute error", training.best["error"]),
        reported(f"{row}: CPU time", seconds[kind, name], "s"),
    ]


def trained(training: Training):
    """The network, and the CPU seconds that it took."""
    started = time.process_time()
    network = training.run()
    return network, time.process_time() - started

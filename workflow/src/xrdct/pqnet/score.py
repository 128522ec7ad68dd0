"""How good an ensemble is, from patterns that nothing was trained or calibrated on: the model card."""

from dataclasses import dataclass

import numpy as np

from .calibration import coverage
from .ensemble import Ensemble, HeldOut, draw_held_out
from .inference import is_in_range
from .refine import largest_residual, refine
from .seeds import Purpose
from .task import Task

DOSES = (30.0, 100.0, 500.0, 2000.0, 10_000.0)
STRONG, WEAK = 0.2, 0.02
"""Errors are quoted where a phase has more than the first share of its full scale, coverage from the second on."""


@dataclass(frozen=True)
class Score:
    """Of one target at one dose; scales in units of a full phase, cells in Å."""

    target: str
    dose: float
    mae: float
    rms: float
    coverage: float
    """Share of the true values within the error bar: 0.683 is right."""
    mae_refined: float
    rms_refined: float
    coverage_refined: float
    """The same after the two steps of the fit."""


def score(ensemble: Ensemble, task: Task, held_out: HeldOut, dose: float) -> tuple[list[Score], float]:
    """Scores of every target, and the share of patterns called out of range."""
    scaling, truth = task.scaling, held_out.targets(task.scaling)
    prediction = ensemble.predict(held_out.patterns, held_out.variance)
    refined = refine(task.model, held_out.patterns, scaling.targets, prediction.values, variance=held_out.variance)
    unit = np.where(scaling.is_scale, scaling.full * dose, 1.0)
    errors = (prediction.values - truth) / unit
    better = (refined.parameters[:, scaling.places] - truth) / unit
    strong, counts = held_out.present(scaling, STRONG), held_out.present(scaling, WEAK)
    covered = coverage(errors, prediction.bars / unit, counts)
    bars = ensemble.calibrated_steps(refined, prediction.level).errors[:, scaling.places]
    covered_better = coverage(better, bars / unit, counts)
    scores = []
    for t, (owner, name) in enumerate(scaling.targets):
        found, after = errors[strong[:, t], t], better[strong[:, t], t]
        figures = [np.abs(found).mean(), _rms(found), covered[t], np.abs(after).mean(), _rms(after), covered_better[t]]
        scores.append(Score(f"{owner} {name}", dose, *map(float, figures)))
    local = largest_residual(task.model, held_out.patterns, refined, variance=held_out.variance)
    return scores, float(1 - is_in_range(ensemble, task.model, prediction, refined, local).mean())


def measure_card(ensemble: Ensemble, task: Task, *, patterns: int) -> dict:
    """The model card as plain numbers: what it is for, and how good it is at every dose.

    Parameters
    ----------
    patterns
        Test patterns at each dose.
    """
    low, high = task.noise.doses
    doses = [dose for dose in DOSES if low <= dose <= high] or [float(np.sqrt(low * high))]
    scores, alarms = [], {}
    for number, dose in enumerate(doses):
        held_out = draw_held_out(
            task.model, task.recipe, task.noise, patterns, purpose=Purpose.TEST,
            seed=1000 * task.settings.seed + number, doses=(dose, dose * (1 + 1e-6)),
        )  # fmt: skip
        found, alarm = score(ensemble, task, held_out, dose)
        scores += [vars(item) for item in found]
        alarms[f"{dose:g}"] = alarm
    return {
        "phase_set": task.model.phases.name,
        "q": [float(task.model.q[0]), float(task.model.q[-1]), int(task.model.q.size)],
        "targets": [list(target) for target in task.scaling.targets],
        "ranges": [[*key, *map(float, limits)] for key, limits in task.model.phases.ranges().items()],
        "library": {
            "absent": task.recipe.absent,
            "background": list(task.recipe.background),
            "broadening": task.recipe.broadening,
        },
        "noise": task.noise.kind,
        "doses": [low, high],
        "members": len(ensemble.members),
        "seed": task.settings.seed,
        "scores": scores,
        "alarms": alarms,
    }


def card_text(card: dict) -> str:
    """A model card as Markdown."""
    first, last, bins = card["q"]
    library, (low, high) = card["library"], card["library"]["background"]
    lines = [
        f"# PQ-Net for {card['phase_set']}",
        "",
        f"{card['members']} networks; patterns of {bins} bins from {first:.4f} to {last:.4f} 1/Å; "
        f"{card['noise']} noise at doses of {card['doses'][0]:g} to {card['doses'][1]:g} counts (height of the "
        f"strongest line of a phase at full scale); seed {card['seed']}. A phase is missing in "
        f"{100 * library['absent']:.0f} % of the patterns, backgrounds are {low:g} to {high:g} of that height, lines "
        f"are widened by up to {100 * library['broadening']:g} % of q.",
        "",
        "Valid for these ranges, and for these phases alone:",
        "",
        "| phase | parameter | from | to |",
        "|---|---|---|---|",
        *(f"| {owner} | {name} | {low:g} | {high:g} |" for owner, name, low, high in card["ranges"]),
        "",
        "Errors on patterns that nothing was trained or calibrated on, where the phase has more than a fifth of its "
        "full scale; scales in units of that, cells in Å. Covered: share of true values within the error bar (0.683 is "
        "right), where the phase has more than a fiftieth.",
        "",
        "| dose | target | MAE | RMS | covered | + 2 steps: MAE | RMS | covered |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {s['dose']:g} | {s['target']} | {s['mae']:.2g} | {s['rms']:.2g} | {s['coverage']:.3f} | "
            f"{s['mae_refined']:.2g} | {s['rms_refined']:.2g} | {s['coverage_refined']:.3f} |"
            for s in card["scores"]
        ),
        "",
        "Ordinary patterns called out of range after the 2 steps: "
        + ", ".join(f"{100 * share:.1f} % at {dose}" for dose, share in card["alarms"].items())
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))

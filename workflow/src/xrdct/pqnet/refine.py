"""Two steps of the full-profile fit from where the networks point: all scales, cells, sizes and the background.

The networks put the cells within a line's width of the truth; from there Fisher scoring needs two steps to the maximum
of the likelihood, and its standard errors need hardly any calibration (`Ensemble.calibrated_steps`: weak phases do).
What the networks do not answer starts where every fit does; scales and background are solved for before the first step.
Where two steps leave more than noise, the start was too far off, or the pattern is strange: there the fit goes on.
"""

from dataclasses import fields

import numpy as np
from scipy.ndimage import convolve1d

from ..fit.model import PatternModel
from ..fit.newton import LEAST
from ..fit.solve import FitResult, fit_patterns
from .scaling import Scaling

STEPS, MORE = 2, 10
"""Steps of all parameters, and how many more there are where they leave too much."""
TOO_MUCH = 3.0
"""Standard deviations of χ² above what noise leaves."""
SURE = 3.0
"""Standard errors by which a scale must stand above 0 for its phase to be there."""


def start_from(model: PatternModel, targets: tuple[tuple[str, str], ...], answers: np.ndarray) -> np.ndarray:
    """Parameters to begin with, shape (n_patterns, n_parameters), from answers of shape (n_patterns, n_targets)."""
    start = np.repeat(model.start[None], len(answers), axis=0)
    for column, (owner, name) in enumerate(targets):
        if name != "scale":
            place = model.place(owner, name)
            start[:, place] = np.clip(answers[:, column], model.low[place], model.high[place])
    return start


def refine(
    model: PatternModel,
    patterns: np.ndarray,
    targets: tuple[tuple[str, str], ...],
    answers: np.ndarray,
    *,
    variance: np.ndarray | None = None,
    extra: np.ndarray | float = 0.0,
    steps: int = STEPS,
    more: int = MORE,
) -> FitResult:
    """Fit from the networks' answers; weights are those of the noise.

    Parameters
    ----------
    patterns
        Shape (n_patterns, n_bins).
    targets, answers
        Owner and parameter of each column, and the columns, shape (n_patterns, n_targets).
    variance, extra
        As for `fit_patterns`.
    steps, more
        Steps of all parameters, and further ones where χ² is still too large.
    """
    extra = np.broadcast_to(np.asarray(extra, dtype=float), len(patterns))
    start = start_from(model, targets, answers)
    options = {"level": "full", "search": False}
    # The fit's own first step is of scales and background alone.
    found = fit_patterns(model, patterns, start=start, variance=variance, extra=extra, most=1 + steps, **options)
    freedom = model.q.size - int(model.free(level="full").sum())
    left = np.flatnonzero(found.chi2 > 1 + TOO_MUCH * np.sqrt(2 / freedom))
    if not more or not left.size:
        return found
    again = fit_patterns(
        model, patterns[left], start=found.parameters[left], extra=extra[left], most=1 + more,
        variance=variance if np.ndim(variance) < 2 else variance[left], **options,
    )  # fmt: skip
    for item in fields(FitResult):
        getattr(found, item.name)[left] = getattr(again, item.name)
    return found


def held_at_limit(model: PatternModel, scaling: Scaling, refined: FitResult) -> np.ndarray:
    """Whether a phase whose cell the networks answer for is there and at a limit, shape (n_patterns,), bool.

    At a limit is a cell that ended at one, and a size that ended at the smallest: lines are wider than any allowed.
    """
    held = np.zeros(len(refined.parameters), dtype=bool)
    for owner in {owner for owner, name in scaling.targets if name != "scale"}:
        scale, size = model.place(owner, "scale"), model.place(owner, "1/size")
        there = refined.parameters[:, scale] > SURE * np.nan_to_num(refined.errors[:, scale], nan=np.inf)
        cells = [model.place(*target) for target in scaling.targets if target[0] == owner and target[1] != "scale"]
        widest = refined.at_limit[:, size] & (refined.parameters[:, size] > model.start[size])
        held |= there & (refined.at_limit[:, cells].any(axis=1) | widest)
    return held


def largest_residual(
    model: PatternModel,
    patterns: np.ndarray,
    refined: FitResult,
    *,
    variance: np.ndarray | None = None,
    extra: np.ndarray | float = 0.0,
) -> np.ndarray:
    """How far the pattern leaves the fit at one place, in standard deviations, shape (n_patterns,).

    Residuals are averaged with the weights of a line of the instrument's width: one line that no phase explains hardly
    changes χ², but stands out here. `variance` and `extra` as for `refine`.
    """
    fitted = model.patterns(refined.parameters, extra=extra)
    if variance is None:
        variance = np.maximum(fitted, LEAST * patterns.mean(axis=1, keepdims=True))
    width = float(np.median(model.profile.fwhm_q(model.q))) / (model.q[1] - model.q[0]) / np.sqrt(8 * np.log(2))
    reach = max(1, int(np.ceil(3 * width)))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    line /= np.sqrt((line**2).sum())
    pulls = (patterns - fitted) / np.sqrt(np.maximum(variance, 1e-30))
    return np.abs(convolve1d(pulls, line, axis=1, mode="constant")).max(axis=1)

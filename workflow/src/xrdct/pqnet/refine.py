"""Two steps of the full-profile fit from where the networks point: all scales, cells, sizes and the background.

The networks put the cells within a line's width of the truth; from there Fisher scoring needs two steps to the maximum
of the likelihood, and its standard errors need no calibration. What the networks do not answer starts where every fit
does; scales and background are solved for before the first step.
"""

import numpy as np

from ..fit.model import PatternModel
from ..fit.solve import FitResult, fit_patterns
from .scaling import Scaling

STEPS = 2
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
) -> FitResult:
    """Fit from the networks' answers.

    Parameters
    ----------
    patterns
        Shape (n_patterns, n_bins).
    targets, answers
        Owner and parameter of each column, and the columns, shape (n_patterns, n_targets).
    variance, extra
        As for `fit_patterns`.
    steps
        Steps of all parameters.
    """
    start = start_from(model, targets, answers)
    # The fit's own first step is of scales and background alone.
    return fit_patterns(
        model, patterns, start=start, level="full", variance=variance, extra=extra, search=False, most=1 + steps
    )


def held_at_limit(scaling: Scaling, refined: FitResult) -> np.ndarray:
    """Whether a cell that the networks answer for ended at a limit, its phase being there; (n_patterns,), bool."""
    cells = np.flatnonzero(~scaling.is_scale)
    places, owners = scaling.places[cells], scaling.places[scaling.owners[cells]]
    errors = np.nan_to_num(refined.errors[:, owners], nan=np.inf)
    there = refined.parameters[:, owners] > SURE * errors
    return (refined.at_limit[:, places] & there).any(axis=1)

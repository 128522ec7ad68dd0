"""Two steps of the full-profile fit from where the networks point: all scales, cells, sizes and the background.

The networks put the cells within a line's width of the truth; from there Fisher scoring needs two steps to the maximum
of the likelihood, and its standard errors need no calibration. What the networks do not answer starts where every fit
does; scales and background are solved for before the first step.
"""

import numpy as np

from ..fit.model import PatternModel
from ..fit.solve import FitResult, fit_patterns

STEPS = 2


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
    absolute: bool = True,
    steps: int = STEPS,
) -> FitResult:
    """Fit from the networks' answers.

    Parameters
    ----------
    patterns
        Shape (n_patterns, n_bins).
    targets, answers
        Owner and parameter of each column, and the columns, shape (n_patterns, n_targets).
    variance, absolute
        As for `fit_patterns`.
    steps
        Steps of all parameters.
    """
    start = start_from(model, targets, answers)
    # The fit's own first step is of scales and background alone.
    return fit_patterns(
        model, patterns, start=start, level="full", variance=variance, absolute=absolute, search=False, most=1 + steps
    )

"""What widens the lines of all phases alike, in patterns that were not reconstructed.

Matter at depth u along the beam throws its lines to q (1 − u/L), so a frame of a thick sample shows every line spread
over as many depths. Sizes cannot stand for it: their widths do not grow with q, and phases that overlap trade weight.
"""

import numpy as np
from scipy.optimize import minimize_scalar

from .model import PatternModel
from .solve import fit_patterns

WIDEST = 0.03
"""FWHM relative to q: that of a uniform depth of 44 mm at 1 m."""
CLOSE = 5e-5
"""How closely it is found: 1e-4 1/Å at 2 1/Å, a hundredth of a line of a good instrument."""
MOST_PATTERNS = 5
"""It is the same in all patterns; so many tell it."""


def common_widening(model: PatternModel, patterns: np.ndarray, start: np.ndarray, *, most: int = 50) -> float:
    """FWHM relative to q of the Gaussian that widens all lines in the most likely full fits of some of the patterns.

    Parameters
    ----------
    patterns
        On the model's bins, as counts are noisy, any unit, shape (n_patterns, n_bins).
    start
        Parameters of full fits of them without it, shape (n_patterns, n_parameters).
    most
        As for `fit_patterns`.
    """
    some = np.unique(np.linspace(0, len(patterns) - 1, MOST_PATTERNS).round().astype(int))
    options = {"start": start[some], "level": "full", "absolute": False, "search": False, "most": most}

    def misfit(extra):
        return float(fit_patterns(model, patterns[some], extra=extra, **options).chi2.sum())

    # In steps that no line's widening jumps over, for the misfit has a second, poor minimum where all is too wide.
    lower, least, upper = 0.0, misfit(0.0), WIDEST
    for extra in WIDEST * 2.0 ** np.arange(-6, 0):
        value = misfit(extra)
        if value > least:
            upper = extra
            break
        lower, least = extra, value
    found = minimize_scalar(misfit, bounds=(lower / 2, upper), method="bounded", options={"xatol": CLOSE})
    return float(found.x) if found.fun < least else lower

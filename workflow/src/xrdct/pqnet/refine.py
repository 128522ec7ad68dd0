"""Two steps of the full-profile fit from where the networks point: all scales, cells, sizes and the background.

The networks put the cells within a line's width of the truth; from there Fisher scoring needs two steps to the maximum
of the likelihood, and its standard errors need hardly any calibration (`Ensemble.calibrated_steps`: weak phases do).
What the networks do not answer starts where every fit does, after a search of cells that may be more than a line's
width away; scales and background are solved for before the first step. Where the second step still promises much, as
after a short training, with many phases or many counts, further ones follow until one does not.
"""

import numpy as np
from scipy.ndimage import convolve1d

from ..fit.engine import choose_engine
from ..fit.model import PatternModel
from ..fit.newton import LEAST
from ..fit.solve import FitResult, fit_patterns
from ..fit.start import search_cells
from .scaling import Scaling

ENOUGH = 10.0
"""A step that promises to lower χ² by less is the last one: it moves each of some 30 parameters by half its error, and
leaves a tenth of that. With 1 instead, no error became smaller, and every pattern took half as long again."""
MOST = 15
"""Steps of all parameters at most."""
SURE = 3.0
"""Standard errors by which a scale must stand above 0 for its phase to be there."""


def start_from(
    model: PatternModel, patterns: np.ndarray, targets: tuple[tuple[str, str], ...], answers: np.ndarray
) -> np.ndarray:
    """Parameters to begin with, shape (n_patterns, n_parameters), from answers of shape (n_patterns, n_targets)."""
    cells = [(column, model.place(*target)) for column, target in enumerate(targets) if target[1] != "scale"]
    unanswered = model.free(level="full")
    unanswered[[place for _, place in cells]] = False
    best = choose_engine("auto", len(patterns)).best_templates
    start = search_cells(model, patterns, model.start, unanswered, best=best)
    for column, place in cells:
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
    most: int = MOST,
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
    most
        Steps of all parameters at most.
    """
    return fit_patterns(
        model, patterns, start=start_from(model, patterns, targets, answers), level="full", search=False,
        variance=variance, extra=extra, enough=ENOUGH,
        most=1 + most,  # the fit's own first step is of scales and background alone
    )  # fmt: skip


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
    """How far the pattern stands above the fit at one place, in standard deviations, shape (n_patterns,).

    `variance` and `extra` as for `refine`; see `largest_excess`.
    """
    fitted = model.patterns(refined.parameters, extra=extra)
    if variance is None:
        variance = counted_variance(patterns, fitted)
    return largest_excess(model, patterns - fitted, variance)


def largest_excess(
    model: PatternModel, residual: np.ndarray, variance: np.ndarray, allowed: np.ndarray | float = 0.0
) -> np.ndarray:
    """Largest of the residuals averaged with the weights of a line of the instrument's width, shape (n_patterns,).

    One line that no phase explains hardly changes χ², but stands out here, in standard deviations. What lies below the
    fit is no such line: reconstructions take something away beside what is strong.

    Parameters
    ----------
    residual
        Pattern − fit, shape (n_patterns, n_bins).
    variance
        Of the noise, another in every bin; the same shape, or (n_bins,).
    allowed
        Variance of errors that the bins of a line have in common, likewise.
    """
    width = float(np.median(model.profile.fwhm_q(model.q))) / (model.q[1] - model.q[0]) / np.sqrt(8 * np.log(2))
    reach = max(1, int(np.ceil(3 * width)))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    line /= np.sqrt((line**2).sum())
    variance, allowed = (np.broadcast_to(part, residual.shape) for part in (np.maximum(variance, 1e-30), allowed))
    total = variance + allowed
    above = _over_lines(residual / np.sqrt(total), line)
    if not allowed.any():
        return above.max(axis=1)
    # In a mean over bins variances of noise add up, but standard deviations of what they have in common.
    expected = _over_lines(variance / total, line**2) + _over_lines(np.sqrt(allowed / total), line) ** 2
    return (above / np.sqrt(expected)).max(axis=1)


def counted_variance(patterns: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Of counts, as the fit takes it, from patterns and fits of shape (n_patterns, n_bins); same shape."""
    return np.maximum(fitted, LEAST * patterns.mean(axis=1, keepdims=True))


def _over_lines(values, line):
    return convolve1d(values, line, axis=1, mode="constant")

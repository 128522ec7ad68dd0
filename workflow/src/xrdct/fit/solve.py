"""Fitting: the mean pattern first, then every voxel from there."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from ..errors import FitError
from .engine import Task, choose_engine
from .model import PatternModel
from .newton import CONVERGED, GIVEN, KNOWN, POISSON
from .start import search_cells

AT_LIMIT = 1e-6
"""A parameter this close to a limit, relative to their distance, has hit it."""
UNINFORMED = 0.23
"""A standard error above this share of the distance between the limits, which alone give 0.29: the data say little."""


@dataclass(frozen=True)
class FitResult:
    """Parameters of patterns, in the order of `PatternModel.names`; sizes as 1/nm."""

    parameters: np.ndarray
    """Shape (n_patterns, n_parameters)."""
    errors: np.ndarray
    """Standard errors, same shape, limits counted as knowledge; NaN where not fitted, at a limit, or of a phase that is
    absent."""
    rwp: np.ndarray
    """Weighted profile R factor, shape (n_patterns,)."""
    chi2: np.ndarray
    """χ² per degree of freedom, shape (n_patterns,)."""
    converged: np.ndarray
    """Shape (n_patterns,), bool."""
    at_limit: np.ndarray
    """Which parameters ended at a limit (scales at 0 not counted), shape (n_patterns, n_parameters), bool."""

    def uninformed(self, model: PatternModel) -> np.ndarray:
        """Cells, sizes and widths that the data say next to nothing about, shape (n_patterns, n_parameters), bool."""
        width = np.where(np.isfinite(model.high - model.low), model.high - model.low, np.inf)
        return self.errors > UNINFORMED * np.maximum(width, np.finfo(float).tiny)


def fit_patterns(
    model: PatternModel,
    patterns: np.ndarray,
    *,
    start: np.ndarray | None = None,
    level: str = "full",
    variance: np.ndarray | None = None,
    absolute: bool = True,
    search: bool = True,
    extra: np.ndarray | float = 0.0,
    most: int = 50,
    enough: float = 0.0,
    engine: str = "auto",
    progress: Callable[[Iterable], Iterable] = iter,
) -> FitResult:
    """Fit every pattern on its own.

    Parameters
    ----------
    patterns
        Shape (n_patterns, n_bins) on the model's bins. Counts, or any unit if `absolute` is false.
    start
        Parameters to begin with, shape (n_parameters,) or (n_patterns, n_parameters); None: the phase set's.
    level
        'linear', 'quick' or 'full': see `PatternModel.free`.
    variance
        Shape (n_bins,) or that of `patterns`; None: Poisson, one over the model.
    absolute
        Whether weights are those of the noise; if not, standard errors are scaled by the root of χ².
    search
        Look for cells on a grid first; not needed where `start` is close.
    extra
        See `PatternModel.patterns`.
    most
        Steps after which a pattern is given up.
    enough
        A step, from the second of all parameters on, that promises to lower χ² by less than this is the last one. 0:
        steps are taken until none promises anything.
    engine
        'numba', 'torch', or 'auto': a GPU where there is one and the patterns are many (`engine.choose_engine`).
    progress
        Wraps the blocks of patterns.

    Raises
    ------
    FitError
        If a pattern is not finite or shapes do not fit together.
    """
    patterns = np.ascontiguousarray(np.atleast_2d(patterns), dtype=float)
    _refuse(model, patterns, variance)
    n = len(patterns)
    free = model.free(level=level)
    start = model.start if start is None else np.asarray(start, dtype=float)
    variances = np.ones((1, model.q.size)) if variance is None else np.atleast_2d(np.asarray(variance, dtype=float))
    extra = np.broadcast_to(np.asarray(extra, dtype=float), n).copy()
    places = np.flatnonzero(free)
    columns = np.full(free.size, -1)
    columns[places] = np.arange(places.size)
    # Unit patterns are computed once where all patterns share what is not free, and what adds to their width.
    shared = start.ndim == 1 and (extra == extra[0]).all()
    task = Task(
        model=model,
        places=places,
        columns=columns,
        knowledge=KNOWN / (model.high - model.low)[places] ** 2,
        fixed=model.units(start, extra=extra[0]) if shared else np.empty((0, 0)),
        weights_kind=POISSON if variance is None else GIVEN,
        most=most,
        enough=enough,
        absolute=absolute,
    )
    machine = choose_engine(engine, n)
    found, errors, summary = np.empty((n, start.shape[-1])), np.full((n, start.shape[-1]), np.nan), np.empty((n, 5))
    for first in progress(range(0, n, machine.block)):
        part = slice(first, min(n, first + machine.block))
        own = start if start.ndim == 1 else start[part]
        if search and own.ndim == 1:
            own = search_cells(model, patterns[part], own, free, best=machine.best_templates)
        # A copy, never a view that may not be written to: the kernel would be compiled once more for those.
        own = np.array(np.broadcast_to(own, (part.stop - first, start.shape[-1])))
        some = variances if len(variances) == 1 else np.ascontiguousarray(variances[part])
        found[part], errors[part, places], summary[part] = machine.fit(task, patterns[part], some, own, extra[part])
    return _result(model, found, errors, summary, free)


def _result(model, found, errors, summary, free):
    _, state, rest, total, freedom = summary.T
    chi2 = rest / freedom
    rwp = np.sqrt(rest / np.maximum(total, np.finfo(float).tiny))
    width = np.where(np.isfinite(model.high - model.low), model.high - model.low, 0.0)
    near = AT_LIMIT * width
    at_limit = free & (width > 0) & ((found <= model.low + near) | (found >= model.high - near))
    return FitResult(found, errors, rwp, chi2, state == CONVERGED, at_limit)


def _refuse(model, patterns, variance):
    if patterns.shape[1] != model.q.size:
        raise FitError(f"patterns have {patterns.shape[1]} bins, the model {model.q.size}")
    bad = ~np.isfinite(patterns).all(axis=1)
    if bad.any():
        raise FitError(
            f"{bad.sum()} of {len(patterns)} patterns hold NaN or infinity (first: {bad.argmax()}); mask them"
        )
    if variance is None:
        return
    if np.shape(variance) not in (patterns.shape, patterns.shape[1:]):
        raise FitError(f"a variance of shape {np.shape(variance)} does not belong to patterns of {patterns.shape}")
    if np.isnan(variance).any():
        raise FitError(f"{np.isnan(variance).sum()} variances are NaN; a bin to leave out has variance 0")

"""Where to begin: the cell of a phase that may move by more than a line's width, by trying cells on a grid.

A fit that starts with its lines beside the pattern's finds nothing to climb. One template per cell of the grid, freed
of what background and the other phases can explain, is multiplied with all patterns at once: the largest gain wins.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from .model import PatternModel

HALF_A_LINE = 0.6
"""Neighbouring cells of the grid move no line by more than this share of its width."""
MOST = 600
"""Cells of the grid at most; beyond, the grid gets coarser."""


def search_cells(
    model: PatternModel,
    patterns: np.ndarray,
    parameters: np.ndarray,
    free: np.ndarray,
    *,
    best: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Starting parameters of every pattern: `parameters` with the cells that fit it best.

    Parameters
    ----------
    patterns
        Shape (n_patterns, n_bins), the model's bins.
    parameters
        Of the mean pattern, shape (n_parameters,).
    free
        Which parameters will be fitted, shape (n_parameters,), bool.
    best
        Of an engine: `NumbaEngine.best_templates`.

    Returns
    -------
    numpy.ndarray
        Shape (n_patterns, n_parameters).
    """
    starts = np.repeat(parameters[None], len(patterns), axis=0)
    mean = np.maximum(patterns.mean(axis=0), 1e-3 * np.abs(patterns).mean())
    root = 1 / np.sqrt(np.maximum(mean, mean.max() * 1e-3))
    weighted = (patterns * root).astype(np.float32)
    units = model.units(parameters)
    for number, phase in enumerate(model.phases.phases):
        places = [model.place(phase.name, item.name) for item in phase.free]
        places = [place for place in places if free[place]]
        grid = _grid(model, number, places)
        if len(grid) < 2:
            continue
        others = np.vstack([np.delete(units, number, axis=0), model.arrays.chebyshev]) * root
        basis = np.linalg.qr(others[np.abs(others).max(axis=1) > 0].T)[0]
        trials = np.repeat(parameters[None], len(grid), axis=0)
        trials[:, model.scale_places] = np.eye(model.n_scales)[number]
        trials[:, model.background_places] = 0.0
        trials[:, places] = grid
        templates = model.patterns(trials) * root
        templates -= (templates @ basis) @ basis.T
        norms = np.linalg.norm(templates, axis=1)
        templates = templates / np.maximum(norms, 1e-12 * norms.max())[:, None]
        starts[:, places] = grid[best(weighted, templates.astype(np.float32))]
    return starts


def _grid(model, number, places):
    """Cells between the limits, close enough for no line to fall between two, shape (n_cells, len(places))."""
    phase, axes = model.phases.phases[number], []
    lines = slice(model.arrays.starts[number], model.arrays.starts[number + 1])
    width = float(np.median(np.hypot(model.arrays.gauss[lines], model.arrays.lorentz[lines])))
    q = float(phase.lines.q.max())
    for place in places:
        low, high = model.low[place], model.high[place]
        moved = q * (high - low) / low
        steps = int(np.ceil(moved / (HALF_A_LINE * width)))
        axes.append((low, high, steps))
    while np.prod([max(steps, 1) for *_, steps in axes]) > MOST:
        axes = [(low, high, steps // 2) for low, high, steps in axes]
    # A cell that moves its lines by less than their width needs no search: its middle will do.
    values = [
        np.linspace(low, high, 2 * steps + 1)[1::2] if steps > 1 else np.array([(low + high) / 2])
        for low, high, steps in axes
    ]
    return np.array(list(product(*values))) if places else np.empty((0, 0))

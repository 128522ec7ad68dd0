"""Patterns with known parameters, drawn from the ranges of a phase set by the model that the fit uses.

A *full* phase is one whose strongest line is as high as that of every other full phase (at the cell and size where fits
start); clean patterns are in units of that height. Multiplied with a dose they are expected counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..fit.model import PatternModel
from .seeds import Purpose, numpy_generator

BLOCK = 20_000
"""Patterns drawn at a time."""


@dataclass(frozen=True)
class Recipe:
    """What patterns are made of; cells, sizes and peaks have the ranges of the phase set."""

    absent: float = 0.3
    """Share of the patterns that lack a phase, for every phase on its own: absence must be learned."""
    background: tuple[float, float] = (0.04, 0.15)
    """Range of the background's constant, in heights of a full phase."""
    background_shape: float = 0.6
    """How far the background may bend: sum of the higher Chebyshev coefficients over the constant, at most; below 1, so
    that no background is negative."""
    broadening: float = 0.0
    """Lines are broadened by a Gaussian of up to this FWHM relative to q, as parallax does."""


@dataclass(frozen=True)
class Library:
    """Clean patterns and what made them."""

    patterns: np.ndarray
    """Shape (n_patterns, n_bins), heights of a full phase, float32."""
    parameters: np.ndarray
    """Shape (n_patterns, n_parameters), in the order of `PatternModel.names`, sizes as 1/nm."""
    extra: np.ndarray
    """Broadening of each pattern, FWHM relative to q, shape (n_patterns,)."""

    def __len__(self) -> int:
        return len(self.patterns)


def full_scales(model: PatternModel) -> np.ndarray:
    """Scales of full phases and areas of full peaks, shape (n_scales,)."""
    return 1 / model.units(model.start).max(axis=1)


def draw_library(model: PatternModel, recipe: Recipe, n: int, rng: np.random.Generator) -> Library:
    """Draw n patterns.

    Scales are uniform between 0 and a full phase, or 0; cells, sizes, and the positions and widths of single peaks are
    uniform within the limits of the phase set.
    """
    parameters = np.repeat(model.start[None], n, axis=0)
    _draw_cells(model, parameters, rng)
    present = rng.random((n, model.n_scales)) >= recipe.absent
    parameters[:, model.scale_places] = rng.random((n, model.n_scales)) * present * full_scales(model)
    parameters[:, model.background_places] = _draw_background(model, recipe, n, rng)
    extra = recipe.broadening * rng.random(n)
    return Library(model.patterns(parameters, extra=extra).astype(np.float32), parameters, extra)


def stream_library(model: PatternModel, recipe: Recipe, n: int, *, seed: int) -> Iterator[Library]:
    """Draw n patterns block by block; every block depends on (seed, number of the block) alone."""
    for number, first in enumerate(range(0, n, BLOCK)):
        yield draw_library(model, recipe, min(BLOCK, n - first), numpy_generator(Purpose.LIBRARY, seed, number))


def _draw_cells(model, parameters, rng):
    free = np.flatnonzero(model.free(level="full") & np.isfinite(model.high) & np.isfinite(model.low))
    sizes = [k for k in free if model.names[k][1] == "1/size"]
    others = np.setdiff1d(free, sizes)
    n = len(parameters)
    parameters[:, others] = rng.uniform(model.low[others], model.high[others], (n, others.size))
    # Sizes are uniform in nm, not in 1/nm.
    parameters[:, sizes] = 1 / rng.uniform(1 / model.high[sizes], 1 / model.low[sizes], (n, len(sizes)))


def _draw_background(model, recipe, n, rng):
    constant = rng.uniform(*recipe.background, n)
    order = np.arange(1, model.background_places.size)
    shares = recipe.background_shape * (1 / order) / np.sum(1 / order)
    bends = rng.uniform(-1, 1, (n, order.size)) * shares
    return constant[:, None] * np.hstack([np.ones((n, 1)), bends])

"""The weight of the prior: that with which projections that are held out are predicted best from the others."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..reconstruction.stopping import held_out_rows
from .kept import Checkpoint
from .newton import Problem, minimise

log = logging.getLogger(__name__)

WEIGHTS = (30.0, 3.0, 0.3, 0.03)
"""Weights of the prior that are tried, from the second on: one stands for neighbours that differ by one standard error
of the start."""
SEARCHES = 3
"""What the weight of the prior costs, the last search with it included, in searches from the start: each but the first
begins where another ended."""


def choose_weight(
    whole: Problem,
    vector: np.ndarray,
    subset: np.ndarray | None,
    *,
    most: int,
    progress: Callable[[Iterable], Iterable] = iter,
    checkpoint: Checkpoint | None = None,
) -> tuple[float, np.ndarray, dict[float, float]]:
    """The weight with which held-out projections are predicted best, the solution there, and χ² per sample of all.

    It begins with the second of `WEIGHTS` and goes on to rougher maps as long as they predict better; if not even the
    first of them does, to smoother ones. Every search is brought to its end: scales and background, which have no
    prior, follow the noise more and more on the way, and a shorter search would look better than a longer one.
    """
    held = held_out_rows(len(whole.data), subset)
    train, test = _part(whole, ~held), _part(whole, held)
    found, vectors = {}, {}

    def predicts_best(smooth: float, start: np.ndarray) -> bool:
        part = checkpoint.part(f"{smooth:g}") if checkpoint else None
        stored = part.load() if part else None
        if stored is not None and stored[0].shape == start.shape:
            vectors[smooth], found[smooth] = stored[0], stored[1]["chi2"]
        else:
            vectors[smooth] = minimise(replace(train, smooth=smooth), start, most=most, progress=progress).vector
            found[smooth] = float(test.misfit(vectors[smooth])[0] / max(np.count_nonzero(test.weights), 1))
            if part:
                part.save(vectors[smooth], {"chi2": found[smooth]})
        log.info("prior weight %g: held-out chi2 %.4f per sample", smooth, found[smooth])
        return found[smooth] <= min(found.values())

    smoothest, first, *rougher = WEIGHTS
    predicts_best(first, vector)
    for smooth, before in zip(rougher, (first, *rougher), strict=False):
        if not predicts_best(smooth, vectors[before]):
            break
    if min(found, key=found.get) == first:
        predicts_best(smoothest, vectors[first])
    return _least(found), vectors[min(found, key=found.get)], found


def _least(found: dict[float, float]) -> float:
    """Where the parabola through the best and its neighbours is least, in the logarithm of the weight.

    `WEIGHTS` are a decade apart, and the curve is so flat that two of them often predict alike: one between them.
    """
    weights = sorted(found)
    k = weights.index(min(found, key=found.get))
    if not 0 < k < len(weights) - 1:
        return weights[k]
    below, at, above = (found[weight] for weight in weights[k - 1 : k + 2])
    bend = below - 2 * at + above
    offset = 0.5 * (below - above) / bend if bend > 0 else 0.0
    return float(weights[k] * (weights[k + 1] / weights[k]) ** offset)


def _part(problem: Problem, rows: np.ndarray) -> Problem:
    chosen = np.flatnonzero(rows)
    return replace(
        problem, chain=problem.chain.rows(chosen), data=problem.data[chosen], weights=problem.weights[chosen]
    )

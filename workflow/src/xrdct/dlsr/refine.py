"""The whole of a DLSR: start, weight of the prior by hold-out, solution, its quality and its uncertainty."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..errors import FitError
from ..reconstruction.stopping import held_out_rows
from .forward import Forward
from .newton import Curvature, Problem, Solution, conjugate_gradients, minimise
from .unknowns import Unknowns, choose_unknowns

log = logging.getLogger(__name__)

WEIGHTS = (30.0, 3.0, 0.3, 0.03)
"""Weights of the prior that are tried, from the second on: one stands for neighbours that differ by one standard error
of the start."""
CERTAIN = 4.0
"""A phase has a cell of its own where its scale is above this many standard errors, and"""
STRONG = 0.15
"""above this share of its strongest (99th percentile)."""
LEAST = 0.05
"""A variance is at least this share of its channel's mean: few counts know little of their own noise."""
SEARCHES = 3
"""What the weight of the prior costs, the last search with it included, in searches from the start: each but the first
begins where another ended."""
SAMPLES = 8
"""Draws of the posterior behind an uncertainty: known to a quarter of itself in a voxel."""


class Checkpoint(Protocol):
    """Keeps the vector of the unknowns and how it was come by: `io.checkpoint.Checkpoint`."""

    path: object

    def load(self) -> tuple[np.ndarray, dict] | None:
        """What was kept, None if nothing was."""

    def save(self, vector: np.ndarray, facts: dict) -> None:
        """Keep the vector, and plain values."""

    def part(self, name: str) -> "Checkpoint":
        """Another one, of a part of the work."""


@dataclass(frozen=True)
class Start:
    """A fit of the linear volume: where to begin."""

    values: np.ndarray
    """(n_voxels, n_parameters)."""
    errors: np.ndarray
    """Standard errors, same shape, NaN where there are none."""


@dataclass(frozen=True)
class Refined:
    """Result of a DLSR."""

    unknowns: Unknowns
    values: np.ndarray
    """(n_voxels, n_parameters)."""
    errors: np.ndarray
    """Standard deviation of the posterior, same shape; NaN where a parameter was not refined."""
    solution: Solution
    reduced_chi2: float
    rwp: float
    smooth: float
    """Weight of the prior."""
    held_out: dict[float, float]
    """χ² per sample of the projections that were held out, by weight of the prior; empty if it was given."""


def prepare(chain: Forward, start: Start, phases: tuple[str, ...]) -> tuple[np.ndarray, Unknowns, dict[int, float]]:
    """Start values without outliers, unknowns, and the unit of every map that is to be smooth.

    Raises
    ------
    FitError
        If a name is no phase with free cell parameters, or the phase is nowhere strong enough.
    """
    model = chain.model
    values, present = start.values.copy(), []
    for phase in model.phases.phases:
        place = model.place(phase.name, "scale")
        scale, error = values[:, place], np.nan_to_num(start.errors[:, place])
        top = np.percentile(scale, 99)
        present.append((scale > CERTAIN * error) & (scale > STRONG * top) & (top > 0))
    unknowns = choose_unknowns(model, values, phases, np.array(present))
    units = {}
    for name in phases:
        places = [place for place in unknowns.local if model.names[place] in {(name, k) for k in "abc"}]
        if not places:
            raise FitError(f"dlsr: {name!r} has no cell to map: no free parameter in the phase set, or nowhere strong")
        for place in places:
            there = unknowns.member[:, list(unknowns.local).index(place)]
            middle = np.median(values[there, place])
            values[~there, place] = middle
            known = start.errors[there, place]
            known = known[np.isfinite(known)]
            units[int(place)] = float(np.median(known)) if known.size else float(model.high[place] - model.low[place])
    for place in unknowns.shared:
        values[:, place] = np.median(values[:, place])
    return np.clip(values, model.low, model.high), unknowns, units


def refine(
    chain: Forward,
    data: np.ndarray,
    variance: np.ndarray,
    start: Start,
    *,
    phases: tuple[str, ...],
    smooth: float | None = None,
    edges: bool = False,
    subset: np.ndarray | None = None,
    most: int = 20,
    samples: int = SAMPLES,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Refined:
    """Fit the parameters of all voxels to a sinogram.

    Parameters
    ----------
    chain
        The forward model of all projections.
    data, variance
        Shape (n_angles, n_positions, n_used); samples with NaN or no variance are left out.
    start
        Where to begin.
    phases
        Whose cells are refined in every voxel; others are shared by all.
    smooth
        Weight of the prior; None: the one with which a part of the projections is best predicted from the others.
    edges
        Whether the prior is total variation, which keeps edges, instead of smoothness.
    subset
        Number of each projection's interlaced subset, shape (n_angles,): one of them is held out; None, or only one
        subset: every fifth projection.
    most
        Steps at most of each search.
    samples, seed
        Draws of the posterior, and their seed; 0: no uncertainty.
    checkpoint
        Where the weight of the prior and the unknowns are kept after every step, and taken up again.
    progress
        Wraps the steps.

    Raises
    ------
    FitError
        If shapes do not fit together, or see `prepare`.
    """
    expected = (*chain.beam.shape[0], int(chain.used.sum()))
    if data.shape != expected or variance.shape != expected:
        raise FitError(f"expected a sinogram and its variance of {expected}, found {data.shape} and {variance.shape}")
    base, unknowns, units = prepare(chain, start, phases)
    good = np.isfinite(data) & (variance > 0) & np.isfinite(variance)
    good &= chain.beam @ chain.beam.constant_image(1, 1) > 0  # rays beside the sample tell nothing
    channel = np.mean(variance, axis=(0, 1), where=good) if good.any() else 1.0
    weights = np.where(good, 1 / np.where(good, np.maximum(variance, LEAST * channel), 1), 0).astype(np.float32)
    data = np.where(good, data, 0).astype(np.float32)
    whole = Problem(chain, unknowns, base, data, weights, unknowns.roughness(chain.mask, units), 0.0, edges)
    vector, held_out, done = unknowns.read(base), {}, 0
    stored = checkpoint.load() if checkpoint else None
    if stored is not None and stored[0].shape == vector.shape:
        vector, facts = stored
        smooth, done, held_out = facts["smooth"], facts["steps"], {float(k): v for k, v in facts["held_out"].items()}
        log.info("going on from %s after step %d, prior weight %g", checkpoint.path, done, smooth)
    elif smooth is None:
        smooth, vector, held_out = choose_weight(
            whole, vector, subset, most=most, progress=progress, checkpoint=checkpoint
        )
    problem = replace(whole, smooth=smooth)
    keep = keeper(checkpoint, {"smooth": smooth, "held_out": held_out}) if checkpoint else None
    solution = minimise(problem, vector, most=most, done=done, keep=keep, progress=progress)
    if not solution.converged:
        log.warning("not settled after %d steps; raise dlsr.max_iterations", solution.steps)
    errors = np.full(base.shape, np.nan)
    if samples:
        spread = posterior_spread(problem, solution.vector, samples, seed)
        errors = unknowns.write(spread, errors)
        errors[:, unknowns.local] = np.where(unknowns.member, errors[:, unknowns.local], np.nan)
    free = int(good.sum()) - solution.vector.size
    total = float(np.einsum("apm,apm,apm->", weights, data, data, dtype=float))
    return Refined(
        unknowns,
        problem.values(solution.vector),
        errors,
        solution,
        solution.chi2 / max(free, 1),
        float(np.sqrt(solution.chi2 / total)),
        smooth,
        held_out,
    )


def keeper(checkpoint: Checkpoint, facts: dict) -> Callable[[np.ndarray, int], None]:
    """What keeps vector and number of steps of a search, with what is known of it."""
    return lambda vector, steps: checkpoint.save(vector, facts | {"steps": steps})


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


def posterior_spread(problem: Problem, vector: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Standard deviations of the unknowns in Laplace's approximation, from draws of the posterior.

    H z = Jᵀ W^½ ε + (λV)^½ Dᵀ ε' with white ε has solutions z of covariance H⁻¹; limits that are touched are kept.
    """
    rng, curvature = np.random.default_rng(seed), Curvature(problem, vector)
    low, high = problem.unknowns.limits()
    free, total = (vector > low) & (vector < high), np.zeros(vector.size)
    for _ in range(samples):
        noise = rng.standard_normal(problem.data.shape, dtype=np.float32) * np.sqrt(problem.weights)
        right = curvature.pull(noise)
        right += curvature.roots.T @ rng.standard_normal(curvature.roots.shape[0])
        total += np.square(conjugate_gradients(curvature, right, free, most=80, precision=0.05))
    return np.sqrt(total / samples)

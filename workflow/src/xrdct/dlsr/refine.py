"""The whole of a DLSR: start, weight of the prior by hold-out, solution, its quality and its uncertainty."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import FitError
from .forward import Forward
from .hold_out import WEIGHTS, choose_weight
from .kept import Checkpoint, keeper
from .model_error import allow_model_error
from .newton import Curvature, Problem, Solution, conjugate_gradients, minimise
from .unknowns import Unknowns, choose_unknowns

log = logging.getLogger(__name__)

CERTAIN = 4.0
"""A phase has a cell of its own where its scale is above this many standard errors, and"""
STRONG = 0.15
"""above this share of its strongest (99th percentile)."""
LEAST = 0.05
"""A variance is at least this share of its channel's mean: few counts know little of their own noise."""
SAMPLES = 8
"""Draws of the posterior behind an uncertainty: known to a quarter of itself in a voxel."""


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
    """With the model's errors; about one by their definition, where they were looked for."""
    counts_chi2: float
    """The same by the noise of counts alone."""
    model_error: np.ndarray
    """Share of the intensity by which the model errs, (n_used,); 0 where it was not looked for."""
    rwp: float
    """Of the data, weighted by counts alone."""
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
    model_error: bool = False,
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
    model_error
        Whether weights know of an error of the model besides the noise of counts (`model_error`).
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
    roughness = unknowns.roughness(chain.mask, units)
    by_counts = Problem(chain, unknowns, base, data, weights, roughness, smooth or WEIGHTS[1], edges)
    vector, held_out, done = unknowns.read(base), {}, 0
    whole, errors_of_model = by_counts, np.zeros(expected[2])
    if model_error:
        whole, errors_of_model, vector = allow_model_error(
            by_counts, vector, most=most, progress=progress, checkpoint=checkpoint
        )
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
    free = max(int(good.sum()) - solution.vector.size, 1)
    counts_chi2 = by_counts.misfit(solution.vector)[0] if model_error else solution.chi2
    total = float(np.einsum("apm,apm,apm->", weights, data, data, dtype=float))
    return Refined(
        unknowns,
        problem.values(solution.vector),
        errors,
        solution,
        solution.chi2 / free,
        counts_chi2 / free,
        errors_of_model,
        float(np.sqrt(counts_chi2 / total)),
        smooth,
        held_out,
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

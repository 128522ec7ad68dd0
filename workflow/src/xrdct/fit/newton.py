"""Bounded Gauss-Newton for one pattern at a time: scales that may not be negative, cells and sizes within limits.

Poisson weights 1/model make it Fisher scoring: its fixed point is the maximum of the likelihood. Scales and background
enter linearly, so that each step solves for them exactly at the current cells and sizes, as variable projection does.
A phase whose scale falls to 0 keeps a cell that nothing moves any more: when all else has settled, it is asked once
more with its cell at the other side of the limits.

Limits are knowledge: what lies anywhere between two of them has the variance width²/12 about their middle, which is
added to χ² (`KNOWN`). Where the data decide this moves nothing. Where they do not, as in a weak phase beside a strong
one, a cell or size that is free to fit noise takes counts from the neighbours: without it, scales of neighbouring
stages of graphite were up to a third farther off than they need be, and half an error too low where the neighbour was
absent.
"""

import numba
import numpy as np

from .bounded import bounded_minimum
from .model import PER_PEAK, PER_PHASE, evaluate
from .uncertainty import standard_errors

POISSON, GIVEN = 0, 1
"""Weights: one over the model, or one over a variance that is given."""
SETTLED = 2e-3
"""A step that promises to lower χ² by less than this ends the fit: no parameter moves by a twentieth of its error."""
LEAST = 0.02
"""The model is taken to be at least this share of the pattern's mean where it weighs: no bin without background."""
KNOWN = 12.0
"""Over the square of the distance between two limits: one over the variance of what lies anywhere between them."""
CONVERGED, STOPPED = 0, 1

_jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def fit_one(
    arrays, pattern, variance, weights_kind, start, low, high, columns, free, knowledge, fixed, extra, most,
    absolute, found, errors,
):  # fmt: skip
    """Fit one pattern; `found` (n_parameters,) and `errors` (n_free,) are set.

    Parameters
    ----------
    arrays, columns, fixed, extra
        As for `model.evaluate`; parameter ``free[j]`` has column j.
    pattern, variance
        Shape (n_bins,); bins whose variance is not above 0 are left out; it weighs only if `weights_kind` is `GIVEN`.
    start, low, high
        All parameters, shape (n_parameters,).
    free, knowledge
        Places of the free parameters, and one over the variance that limits give them, 0 for scales and background,
        shape (n_free,).
    most
        Steps at most.
    absolute
        Whether weights are those of the noise; if not, χ² per degree of freedom makes them so.

    Returns
    -------
    tuple
        Steps, whether it settled (`CONVERGED`), χ² with the last weights, weighted squares of the pattern, degrees of
        freedom.
    """
    n, m = pattern.size, free.size
    scratch, model, slopes = np.empty((9, n)), np.empty(n), np.empty((m, n))
    trial_model, trial_slopes = np.empty(n), np.empty((m, n))
    weights, step = np.empty(n), np.empty(m)
    gradient, hessian, damped, work = np.empty(m), np.empty((m, m)), np.empty((m, m)), np.empty((m, m))
    found[:], before = start, np.empty(start.size)
    mean, used = 0.0, 0
    for i in range(n):
        mean += abs(pattern[i]) / n
        used += variance[i] > 0.0
    least = max(LEAST * mean, 1e-30)
    evaluate(arrays, found, extra, columns, fixed, scratch, model, slopes)
    damping, state, steps, asked = 1e-2, STOPPED, 0, False
    n_phases, n_peaks = arrays[7].shape[0], arrays[9].size  # of powers and shares, see `model.Arrays`
    for round_ in range(most):
        steps = round_ + 1
        set_weights(weights, pattern, model, variance, weights_kind, mean, least, round_ == 0)
        normal_equations(slopes, weights, pattern, model, gradient, hessian)
        merit = chi2(weights, pattern, model)
        noise = 1.0 if absolute else max(merit / max(used - m, 1), 1e-30)
        merit += noise * misfit_to_limits(found, low, high, free, knowledge)
        accepted = False
        before[:] = found
        for _ in range(8):
            promise = bounded_step(
                hessian, gradient, damping if round_ else 0.0, noise, found, low, high, free, knowledge, round_ == 0,
                damped, work, step,
            )  # fmt: skip
            if promise < SETTLED and round_ > 1:
                state = CONVERGED
                break
            for j in range(m):
                k = free[j]
                found[k] = min(max(before[k] + step[j], low[k]), high[k])
            evaluate(arrays, found, extra, columns, fixed, scratch, trial_model, trial_slopes)
            trial = chi2(weights, pattern, trial_model)
            trial += noise * misfit_to_limits(found, low, high, free, knowledge)
            if trial <= merit * (1 + 1e-12) or round_ == 0:
                accepted = True
                break
            found[:] = before
            damping = damping * 10.0
        if state == STOPPED and not accepted:  # no step helps: this is the minimum to rounding
            state = CONVERGED
        if state == CONVERGED:
            if asked or round_ + 3 > most or not mirror_absent(found, low, high, columns, n_phases, n_peaks):
                break
            asked, state = True, STOPPED
            evaluate(arrays, found, extra, columns, fixed, scratch, model, slopes)
            continue
        model, trial_model = trial_model, model
        slopes, trial_slopes = trial_slopes, slopes
        damping = max(damping * 0.1, 1e-6)
    total = 0.0
    for i in range(n):
        total += weights[i] * pattern[i] * pattern[i]
    rest = chi2(weights, pattern, model)
    freedom = standard_errors(hessian, work, found, low, high, free, knowledge, rest, used, absolute, errors)
    return steps, state, rest, total, freedom


@_jit
def set_weights(weights, pattern, model, variance, kind, mean, least, at_first):
    """One over the variance; the first step, which has no model yet to weigh by, takes the pattern for it."""
    for i in range(pattern.size):
        if variance[i] <= 0.0:
            weights[i] = 0.0
        elif kind == GIVEN:
            weights[i] = 1.0 / variance[i]
        elif at_first:
            weights[i] = 1.0 / max(pattern[i], mean, least)
        else:
            weights[i] = 1.0 / max(model[i], least)


@_jit
def mirror_absent(found, low, high, columns, n_phases, n_peaks):
    """Put the cell and size of every phase whose scale is 0 to the other side of their limits; whether there is any.

    The pattern stays as it is: where a phase is not seen with one cell it may be with another.
    """
    any_moved = False
    for p in range(n_phases + n_peaks):
        base = PER_PHASE * p if p < n_phases else PER_PHASE * n_phases + PER_PEAK * (p - n_phases)
        if found[base] > 0.0:
            continue
        for k in range(base + 1, base + (PER_PHASE if p < n_phases else PER_PEAK)):
            if columns[k] >= 0:
                found[k] = low[k] + high[k] - found[k]
                any_moved = True
    return any_moved


@_jit
def chi2(weights, pattern, model):
    total = 0.0
    for i in range(pattern.size):
        difference = pattern[i] - model[i]
        total += weights[i] * difference * difference
    return total


@_jit
def misfit_to_limits(found, low, high, free, knowledge):
    """Squared distances from the middle of the limits, over the variance of what lies anywhere between them."""
    total = 0.0
    for j in range(free.size):
        if knowledge[j] > 0.0:
            total += knowledge[j] * (found[free[j]] - 0.5 * (low[free[j]] + high[free[j]])) ** 2
    return total


@_jit
def normal_equations(slopes, weights, pattern, model, gradient, hessian):
    """Jᵀ W (y − m) and Jᵀ W J; columns that are 0 over a stretch, as lines are, cost nothing there."""
    m, n = slopes.shape
    first, last = np.empty(m, np.int64), np.empty(m, np.int64)
    weighted = np.empty(n)
    for j in range(m):
        a = 0
        while a < n and slopes[j, a] == 0.0:
            a += 1
        b = n
        while b > a and slopes[j, b - 1] == 0.0:
            b -= 1
        first[j], last[j] = a, b
    for j in range(m):
        total = 0.0
        for i in range(first[j], last[j]):
            weighted[i] = weights[i] * slopes[j, i]
            total += weighted[i] * (pattern[i] - model[i])
        gradient[j] = total
        for k in range(j + 1):
            total = 0.0
            for i in range(max(first[j], first[k]), min(last[j], last[k])):
                total += weighted[i] * slopes[k, i]
            hessian[j, k] = hessian[k, j] = total


@_jit
def bounded_step(
    hessian, gradient, damping, noise, found, low, high, free, knowledge, only_linear, damped, work, step
):  # fmt: skip
    """The step to the minimum of the quadratic model within the limits; returns what it promises to take off χ².

    The damping is relative to the width of the limits, so that it holds back only what the data say nothing about.
    """
    m = free.size
    lowest, highest, fixed, pull = np.empty(m), np.empty(m), np.empty(m, numba.boolean), np.empty(m)
    for j in range(m):
        k = free[j]
        lowest[j], highest[j] = low[k] - found[k], high[k] - found[k]
        fixed[j] = hessian[j, j] <= 0.0 or (only_linear and knowledge[j] > 0.0)
        damped[j], pull[j] = hessian[j], gradient[j]
        if knowledge[j] > 0.0:
            damped[j, j] += (noise + damping) * knowledge[j]
            pull[j] += noise * knowledge[j] * (0.5 * (low[k] + high[k]) - found[k])
    bounded_minimum(damped, pull, lowest, highest, fixed, step, work)
    promise = 0.0
    for j in range(m):
        curved = noise * knowledge[j] * step[j]
        for i in range(m):
            curved += hessian[j, i] * step[i]
        promise += step[j] * (2.0 * pull[j] - curved)
    return promise


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, parallel=True)
def fit_all(
    arrays, patterns, variances, weights_kind, starts, low, high, columns, free, knowledge, fixed, extra, most,
    absolute, found, errors, summary,
):  # fmt: skip
    """`fit_one` for every pattern; `summary` (n_patterns, 5) takes what it returns."""
    for k in numba.prange(patterns.shape[0]):
        variance = variances[k] if variances.shape[0] > 1 else variances[0]
        steps, state, rest, total, freedom = fit_one(
            arrays, patterns[k], variance, weights_kind, starts[k], low, high, columns, free, knowledge, fixed,
            extra[k], most, absolute, found[k], errors[k],
        )  # fmt: skip
        summary[k, 0], summary[k, 1], summary[k, 2], summary[k, 3], summary[k, 4] = steps, state, rest, total, freedom

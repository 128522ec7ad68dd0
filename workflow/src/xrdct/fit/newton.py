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

from .bounded import bounded_minimum, dot
from .shapes import count_owners, owner, set_shapes
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
    enough, absolute, found, errors,
):  # fmt: skip
    """Fit one pattern; `found` (n_parameters,) and `errors` (n_free,) are set.

    Parameters
    ----------
    arrays, columns, fixed, extra
        As for `shapes.set_shapes`; parameter ``free[j]`` has column j, and all scales and coefficients have one.
    pattern, variance
        Shape (n_bins,); bins whose variance is not above 0 are left out; it weighs only if `weights_kind` is `GIVEN`.
    start, low, high
        All parameters, shape (n_parameters,).
    free, knowledge
        Places of the free parameters, and one over the variance that limits give them, 0 for scales and background,
        shape (n_free,).
    most
        Steps at most.
    enough
        A step, from the second of all parameters on, that promises to lower χ² by less than this is the last one.
    absolute
        Whether weights are those of the noise; if not, χ² per degree of freedom makes them so.

    Returns
    -------
    tuple
        Steps, whether it settled (`CONVERGED`), χ² with the last weights, weighted squares of the pattern, degrees of
        freedom.
    """
    n, m = pattern.size, free.size
    scratch, shapes, bands = np.empty((9, n)), np.empty((m, n)), np.empty((m, 2), np.int64)
    model, trial_model, weights = np.empty(n), np.empty(n), np.empty(n)
    step, gradient, factors = np.empty(m), np.empty(m), np.empty(m)
    hessian, damped, work = np.empty((m, m)), np.empty((m, m)), np.empty((m, m))
    scales, linear = scales_of(arrays, columns, m)
    found[:], before = start, np.empty(start.size)
    mean, used = 0.0, 0
    for i in range(n):
        mean += abs(pattern[i]) / n
        used += variance[i] > 0.0
    least = max(LEAST * mean, 1e-30)
    set_shapes(arrays, found, extra, columns, columns, fixed, True, scratch, shapes, bands)
    set_model(shapes, bands, found, free, scales, model)
    damping, state, steps, asked = 1e-2, STOPPED, 0, False
    for round_ in range(most):
        steps = round_ + 1
        set_weights(weights, pattern, model, variance, weights_kind, mean, least, round_ == 0)
        for j in range(m):  # the first step is of scales and background alone
            factors[j] = 1.0 if scales[j] < 0 else found[scales[j]] if round_ else 0.0
        normal_equations(shapes, bands, factors, weights, pattern, model, gradient, hessian)
        merit = chi2(weights, pattern, model)
        noise = 1.0 if absolute else max(merit / max(used - m, 1), 1e-30)
        merit += noise * misfit_to_limits(found, low, high, free, knowledge)
        accepted = False
        before[:] = found
        for tries in range(8):
            promise = bounded_step(
                hessian, gradient, damping if round_ else 0.0, noise, found, low, high, free, knowledge, damped, work,
                step,
            )  # fmt: skip
            if promise < SETTLED and round_ > 1:
                state = CONVERGED
                break
            for j in range(m):
                k = free[j]
                found[k] = min(max(before[k] + step[j], low[k]), high[k])
            done = promise < enough and round_ > 1 and tries == 0
            last = done or steps == most
            if round_:
                shown = linear if last else columns  # nothing is derived any more after the last step
                set_shapes(arrays, found, extra, columns, shown, fixed, False, scratch, shapes, bands)
            set_model(shapes, bands, found, free, scales, trial_model)
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
            if asked or round_ + 3 > most or not mirror_absent(arrays, found, low, high, columns):
                break
            asked, state = True, STOPPED
            set_shapes(arrays, found, extra, columns, columns, fixed, False, scratch, shapes, bands)
            set_model(shapes, bands, found, free, scales, model)
            continue
        model, trial_model = trial_model, model
        if last:
            state = CONVERGED if done else STOPPED
            break
        damping = max(damping * 0.1, 1e-6)
    total = 0.0
    for i in range(n):
        total += weights[i] * pattern[i] * pattern[i]
    rest = chi2(weights, pattern, model)
    freedom = standard_errors(hessian, work, found, low, high, free, knowledge, rest, used, absolute, errors)
    return steps, state, rest, total, freedom


@_jit
def scales_of(arrays, columns, m):
    """For each free parameter the place of the scale that its shape is multiplied with, −1 if it is one itself.

    Also the columns of scales and background alone.
    """
    scales, linear = np.full(m, -1), columns.copy()
    for p in range(count_owners(arrays)):
        base, size = owner(arrays, p)
        for k in range(base + 1, base + size):
            linear[k] = -1
            if columns[k] >= 0:
                scales[columns[k]] = base
    return scales, linear


@_jit
def set_model(shapes, bands, found, free, scales, model):
    """The pattern: shapes of units and background, times scales and coefficients."""
    model[:] = 0.0
    for j in range(free.size):
        value = found[free[j]]
        if scales[j] < 0 and value != 0.0:
            part, shape = model[bands[j, 0] : bands[j, 1]], shapes[j, bands[j, 0] : bands[j, 1]]
            for i in range(part.size):
                part[i] += value * shape[i]


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
def mirror_absent(arrays, found, low, high, columns):
    """Put the cell and size of every phase whose scale is 0 to the other side of their limits; whether there is any.

    The pattern stays as it is: where a phase is not seen with one cell it may be with another.
    """
    any_moved = False
    for p in range(count_owners(arrays)):
        base, size = owner(arrays, p)
        if found[base] > 0.0:
            continue
        for k in range(base + 1, base + size):
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
def normal_equations(shapes, bands, factors, weights, pattern, model, gradient, hessian):
    """Jᵀ W (y − m) and Jᵀ W J; the rows of Jᵀ are shapes times factors, and reach from bin to bin of their bands."""
    m, n = shapes.shape
    weighted, rest = np.empty(n), np.empty(n)
    for i in range(n):
        rest[i] = pattern[i] - model[i]
    hessian[:], gradient[:] = 0.0, 0.0
    for j in range(m):
        low, high = bands[j]
        if factors[j] == 0.0 or high <= low:
            continue
        part, shape, weight = weighted[low:high], shapes[j, low:high], weights[low:high]
        for i in range(part.size):
            part[i] = factors[j] * weight[i] * shape[i]
        gradient[j] = dot(part, rest[low:high])
        for k in range(j + 1):
            first, last = max(low, bands[k, 0]), min(high, bands[k, 1])
            if factors[k] != 0.0 and first < last:
                total = factors[k] * dot(weighted[first:last], shapes[k, first:last])
                hessian[j, k] = hessian[k, j] = total


@_jit
def bounded_step(hessian, gradient, damping, noise, found, low, high, free, knowledge, damped, work, step):
    """The step to the minimum of the quadratic model within the limits; returns what it promises to take off χ².

    The damping is relative to the width of the limits, so that it holds back only what the data say nothing about.
    """
    m = free.size
    lowest, highest, fixed, pull = np.empty(m), np.empty(m), np.empty(m, numba.boolean), np.empty(m)
    for j in range(m):
        k = free[j]
        lowest[j], highest[j] = low[k] - found[k], high[k] - found[k]
        fixed[j] = hessian[j, j] <= 0.0
        damped[j], pull[j] = hessian[j], gradient[j]
        if knowledge[j] > 0.0:
            damped[j, j] += (noise + damping) * knowledge[j]
            pull[j] += noise * knowledge[j] * (0.5 * (low[k] + high[k]) - found[k])
    bounded_minimum(damped, pull, lowest, highest, fixed, step, work)
    promise = 0.0
    for j in range(m):
        curved = noise * knowledge[j] * step[j] + dot(hessian[j], step)
        promise += step[j] * (2.0 * pull[j] - curved)
    return promise


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, parallel=True)
def fit_all(
    arrays, patterns, variances, weights_kind, starts, low, high, columns, free, knowledge, fixed, extra, most,
    enough, absolute, found, errors, summary,
):  # fmt: skip
    """`fit_one` for every pattern; `summary` (n_patterns, 5) takes what it returns."""
    for k in numba.prange(patterns.shape[0]):
        variance = variances[k] if variances.shape[0] > 1 else variances[0]
        steps, state, rest, total, freedom = fit_one(
            arrays, patterns[k], variance, weights_kind, starts[k], low, high, columns, free, knowledge, fixed,
            extra[k], most, enough, absolute, found[k], errors[k],
        )  # fmt: skip
        summary[k, 0], summary[k, 1], summary[k, 2], summary[k, 3], summary[k, 4] = steps, state, rest, total, freedom

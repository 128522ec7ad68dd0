"""Numba kernels: the smallest value of a quadratic function within limits, by sets of parameters held at them."""

import numba
import numpy as np

ROUNDING = 1e-10
"""Added to the diagonal, relative to it: columns that are the same to rounding share what they explain."""
INWARDS = 1e-4
"""Standard errors that a parameter at a limit must want to move inwards to be let go: far below what ends a fit."""

_jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})
_jit_sums = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
"""Sums may be taken in another order, several terms at a time."""


@_jit
def bounded_minimum(matrix, gradient, low, high, fixed, step, work):
    """Set `step` to the minimum of ½ sᵀ M s − gᵀ s with low ≤ s ≤ high.

    First all that leave their limits by about as much as the worst are held there at a time, which mostly ends at the
    minimum at once. Where a parameter so held would rather move inwards, an active-set method goes on from there: held
    parameters are let go one by one, and a step ends at the first limit in its way (Nocedal & Wright, Numerical
    Optimization, algorithm 16.3). No step raises the function then, so that no set of held parameters comes twice.

    Parameters
    ----------
    matrix, gradient
        M, symmetric, shape (n, n), and g, shape (n,). Parameters of which M says nothing must be `fixed`.
    low, high
        Limits of the step, low ≤ 0 ≤ high, shape (n,).
    fixed
        Whether a parameter stays where it is, shape (n,), bool.
    step
        Set, shape (n,).
    work
        Shape (n, n), scratch.
    """
    n = gradient.size
    held, wanted = fixed.copy(), np.zeros(n)
    for j in range(n):
        step[j] = 0.0
        held[j] |= (low[j] >= 0.0 and gradient[j] <= 0.0) or (high[j] <= 0.0 and gradient[j] >= 0.0)
    inside = False
    for _ in range(5 * n):
        wanted[:] = step
        if not solve_free(matrix, gradient, held, wanted, work):
            return
        if not inside:
            if hold_leaving(matrix, low, high, held, wanted, step):
                continue
            inside = True
            step[:] = wanted
        elif go_to_first_limit(low, high, held, wanted, step):
            continue
        if not let_go(matrix, gradient, low, high, fixed, held, step):
            return


@_jit
def hold_leaving(matrix, low, high, held, wanted, step):
    """Hold what leaves its limits at least half as far as the worst, in standard errors; whether anything does."""
    worst = 0.0
    for j in range(held.size):
        if not held[j]:
            worst = max(worst, max(low[j] - wanted[j], wanted[j] - high[j]) * np.sqrt(matrix[j, j]))
    if worst <= 0.0:
        return False
    for j in range(held.size):
        if not held[j] and max(low[j] - wanted[j], wanted[j] - high[j]) * np.sqrt(matrix[j, j]) >= 0.5 * worst:
            step[j] = low[j] if wanted[j] < low[j] else high[j]
            held[j] = True
    return True


@_jit
def go_to_first_limit(low, high, held, wanted, step):
    """Move `step` towards `wanted` as far as the limits allow; whether one is in the way, which is then held."""
    share, place = 1.0, -1
    for j in range(held.size):
        if held[j] or low[j] <= wanted[j] <= high[j]:
            continue
        limit = low[j] if wanted[j] < low[j] else high[j]
        reach = max((limit - step[j]) / (wanted[j] - step[j]), 0.0)
        if reach < share:
            share, place = reach, j
    for j in range(held.size):
        if not held[j]:
            step[j] = min(max(step[j] + share * (wanted[j] - step[j]), low[j]), high[j])
    if place < 0:
        return False
    step[place] = low[place] if wanted[place] < step[place] else high[place]
    held[place] = True
    return True


@_jit
def let_go(matrix, gradient, low, high, fixed, held, step):
    """Let go of the held parameter that most wants to move inwards, in standard errors; whether there is one."""
    most, place = INWARDS, -1
    for j in range(held.size):
        if not held[j] or fixed[j]:
            continue
        pull = gradient[j]
        for i in range(held.size):
            pull -= matrix[j, i] * step[i]
        inwards = (pull if step[j] <= low[j] else -pull) / np.sqrt(matrix[j, j])
        if inwards > most and low[j] < high[j]:
            most, place = inwards, j
    if place < 0:
        return False
    held[place] = False
    return True


@_jit
def solve_free(matrix, gradient, held, step, work):
    """Set the steps that are not held to the minimum, given those that are; False if M is not positive definite."""
    m, count = held.size, 0
    places = np.empty(m, np.int64)
    for j in range(m):
        if not held[j]:
            places[count] = j
            count += 1
    scale, right = np.empty(count), np.empty(count)
    for a in range(count):
        scale[a] = 1.0 / np.sqrt(matrix[places[a], places[a]])
    for a in range(count):
        j = places[a]
        right[a] = gradient[j]
        for k in range(m):
            if held[k] and step[k] != 0.0:
                right[a] -= matrix[j, k] * step[k]
        right[a] *= scale[a]
        for b in range(a + 1):
            work[a, b] = matrix[j, places[b]] * scale[a] * scale[b]
        work[a, a] += ROUNDING
    if not cholesky(work, count):
        return False
    for a in range(count):
        total = right[a]
        for b in range(a):
            total -= work[a, b] * right[b]
        right[a] = total / work[a, a]
    for a in range(count - 1, -1, -1):
        total = right[a]
        for b in range(a + 1, count):
            total -= work[b, a] * right[b]
        right[a] = total / work[a, a]
    for a in range(count):
        step[places[a]] = right[a] * scale[a]
    return True


@_jit_sums
def dot(first, second):
    """Sum of products of two rows."""
    total = 0.0
    for i in range(first.size):
        total += first[i] * second[i]
    return total


@_jit_sums
def cholesky(matrix, n):
    """Lower factor of the first n rows, in place; False where the matrix is not positive definite."""
    for a in range(n):
        for b in range(a + 1):
            total = matrix[a, b]
            for c in range(b):
                total -= matrix[a, c] * matrix[b, c]
            if a == b:
                if total <= 0.0:
                    return False
                matrix[a, a] = np.sqrt(total)
            else:
                matrix[a, b] = total / matrix[b, b]
    return True

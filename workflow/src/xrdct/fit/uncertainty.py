"""Numba kernels: standard errors of one fit, and its degrees of freedom, from the normal matrix and the limits."""

import numba
import numpy as np

from .bounded import cholesky

_jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def standard_errors(hessian, work, found, low, high, free, knowledge, rest, used, absolute, errors):
    """Set the errors of parameters that the data say something about and that are at no limit, NaN else.

    Square roots of the diagonal of the inverse of the information, to which limits belong. A parameter that ended at a
    limit is not known because of that: the errors of the others are those of a fit in which it is free.

    Returns
    -------
    float
        Degrees of freedom: bins less parameters, of which one that the limits know better than the data counts as
        little as the data decide it.
    """
    m, count, fitted = free.size, 0, 0.0
    places, inside = np.empty(m, np.int64), np.zeros(m, numba.boolean)
    for j in range(m):
        errors[j] = np.nan
        k = free[j]
        inside[j] = found[k] > low[k] and found[k] < high[k]
        if hessian[j, j] > 0.0:
            places[count] = j
            count += 1
            fitted += inside[j]
    variance = np.empty(count)
    for _ in range(1 if absolute else 2):  # the noise needs the degrees of freedom, and these the noise
        noise = 1.0 if absolute else max(rest / max(used - fitted, 1.0), 1e-30)
        if not invert(hessian, noise, knowledge, places[:count], work, variance):
            break
        fitted = 0.0
        for a in range(count):
            j = places[a]
            if inside[j]:
                errors[j] = np.sqrt(variance[a])
                fitted += 1.0 - knowledge[j] * variance[a]
    return max(used - fitted, 1.0)


@_jit
def invert(hessian, noise, knowledge, places, work, diagonal):
    """Set the diagonal of the inverse of H / noise + knowledge, of these rows; False if it is not positive definite."""
    count = places.size
    root, row = np.empty(count), np.empty(count)
    for a in range(count):
        j = places[a]
        root[a] = np.sqrt(hessian[j, j] / noise + knowledge[j])
        for b in range(a + 1):
            work[a, b] = hessian[j, places[b]] / noise / (root[a] * root[b])
        work[a, a] = 1.0 + 1e-10
    if not cholesky(work, count):
        return False
    diagonal[:] = 0.0
    for a in range(count):  # rows of the inverse of the factor, in place: their squares add up to the diagonal
        row[:a] = 0.0
        for b in range(a):
            for c in range(b + 1):
                row[c] -= work[a, b] * work[b, c]
        work[a, a] = 1.0 / work[a, a]
        diagonal[a] += work[a, a] ** 2
        for c in range(a):
            work[a, c] = row[c] * work[a, a]
            diagonal[c] += work[a, c] ** 2
    for a in range(count):
        diagonal[a] /= root[a] ** 2
    return True

"""Numba kernels: the patterns of one unit of every phase and peak, how cells and sizes move them, and their sum.

A pattern is a sum of *shapes*, each times a number: units of phases and peaks times scales and areas, and the parts of
the background. The derivative by a cell or size is a shape too, times the scale of its phase. Shapes depend on cells
and sizes alone, so that what changes scales only computes no line.
"""

import numba
import numpy as np

from .lines import set_line, set_phase

SCALE, A, B, C, INVERSE_SIZE = range(5)
"""Places of a phase's parameters behind one another: scale, edges in Å, 1/size in 1/nm."""
AREA, Q, FWHM = range(3)
"""Places of a peak's parameters: area, position and width in 1/Å."""
PER_PHASE, PER_PEAK = 5, 3

_jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def owner(arrays, p):
    """Place of the scale of a phase, or of a single peak behind the phases, and how many parameters it has."""
    n_phases = arrays[7].shape[0]  # of powers, see `model.Arrays`
    if p < n_phases:
        return PER_PHASE * p, PER_PHASE
    return PER_PHASE * n_phases + PER_PEAK * (p - n_phases), PER_PEAK


@_jit
def count_owners(arrays):
    """Phases and single peaks."""
    return arrays[7].shape[0] + arrays[9].size  # of powers and shares


@_jit
def set_unit(arrays, p, parameters, extra, columns, scratch, unit):
    """Set `unit` (n_bins,) to one unit of a phase or peak, and rows 4 and following of `scratch` to how others move it.

    Row 3 + k is the derivative by the k-th parameter behind the scale, of those that have a column.

    Returns
    -------
    int, int
        The first bin that lines reach, and the one behind the last; beyond them all is 0.
    """
    first, step, starts, squares, strengths, gauss, lorentz, powers, reference, shares, _ = arrays
    base, size = owner(arrays, p)
    own, with_column = parameters[base : base + size], columns[base + 1 : base + size]
    if size == PER_PHASE:
        lines = slice(starts[p], starts[p + 1])
        return set_phase(
            first, step, squares[lines], strengths[lines], gauss[lines], lorentz[lines], powers[p], own[A : C + 1],
            reference[p], own[INVERSE_SIZE], extra, with_column, scratch[:4], unit, scratch[4:8],
        )  # fmt: skip
    unit[:] = 0.0
    low, high = set_line(
        first, step, unit.size, own[Q], own[FWHM], shares[p - powers.shape[0]], with_column.max() >= 0, scratch[:4]
    )
    for i in range(high - low):
        unit[low + i] = scratch[0, i]
        scratch[4, low + i], scratch[5, low + i] = scratch[1, i], scratch[2, i]
    return low, high


@_jit
def set_shapes(arrays, parameters, extra, columns, shown, fixed, all_owners, scratch, shapes, bands):
    """Set rows of `shapes`: units, derivatives of units, and the parts of the background.

    Parameters
    ----------
    arrays
        Of a `PatternModel`, as a tuple.
    parameters, columns
        Shape (n_parameters,); a cell or size whose column is −1 does not move.
    shown
        Row of each parameter, −1: it is not set; the columns, or without cells and sizes where no derivative is needed.
    fixed
        Units of phases and peaks none of whose cells and sizes has a column, shape (n_owners, n_bins); it may be empty.
    all_owners
        Whether rows are set that nothing moves; once is enough.
    scratch
        Shape (9, n_bins).
    shapes
        Shape (n_columns, n_bins).
    bands
        First bin of each row that is set, and the one behind the last, beyond which it counts as 0: (n_columns, 2).
    """
    n, unit = shapes.shape[1], scratch[8]
    for p in range(count_owners(arrays)):
        base, size = owner(arrays, p)
        moving = columns[base + 1 : base + size].max() >= 0
        if not (moving or all_owners):
            continue
        if moving or fixed.shape[1] == 0:
            low, high = set_unit(arrays, p, parameters, extra, shown, scratch, unit)
        else:
            low, high = 0, n
            unit[:] = fixed[p]
        for k in range(size):
            row = shown[base + k]
            if row >= 0:
                shapes[row, low:high] = unit[low:high] if k == 0 else scratch[3 + k, low:high]
                bands[row, 0], bands[row, 1] = low, high
    if all_owners:
        chebyshev = arrays[10]
        for k in range(chebyshev.shape[0]):
            row = shown[shown.size - chebyshev.shape[0] + k]
            if row >= 0:
                shapes[row] = chebyshev[k]
                bands[row, 0], bands[row, 1] = 0, n


@_jit
def evaluate(arrays, parameters, extra, columns, scratch, pattern, slopes):
    """The pattern at `parameters`, and its derivatives by those that have a column (`columns` ≥ 0).

    `scratch` has nine rows of n_bins; `pattern` (n_bins,) and `slopes` (n_columns, n_bins) are set.
    """
    pattern[:] = 0.0
    slopes[:] = 0.0
    unit, chebyshev = scratch[8], arrays[10]
    for p in range(count_owners(arrays)):
        base, size = owner(arrays, p)
        scale = parameters[base]
        if scale == 0.0 and columns[base] < 0:
            continue
        low, high = set_unit(arrays, p, parameters, extra, columns, scratch, unit)
        for i in range(low, high):
            pattern[i] += scale * unit[i]
        for k in range(size):
            row = columns[base + k]
            if row >= 0:
                for i in range(low, high):
                    slopes[row, i] = unit[i] if k == 0 else scale * scratch[3 + k, i]
    first = columns.size - chebyshev.shape[0]
    for k in range(chebyshev.shape[0]):
        for i in range(pattern.size):
            pattern[i] += parameters[first + k] * chebyshev[k, i]
        if columns[first + k] >= 0:
            slopes[columns[first + k]] = chebyshev[k]


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, parallel=True)
def all_patterns(arrays, parameters, extra, patterns):
    """Patterns (n_patterns, n_bins) of rows of parameters, with a broadening each."""
    columns = np.full(parameters.shape[1], -1)
    for k in numba.prange(parameters.shape[0]):
        scratch = np.empty((9, patterns.shape[1]))
        evaluate(arrays, parameters[k], extra[k], columns, scratch, patterns[k], np.empty((0, 0)))

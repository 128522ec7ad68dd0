"""Numba kernels: the pattern of a phase set and its derivatives, one pattern at a time.

A line is a pseudo-Voigt of area A at q. Crystallites of size L add the Lorentzian width 2π·0.9/L (Scherrer, constant in
q) to the Lorentzian part of the instrument's line, read as a Voigt; Thompson, Cox & Hastings (J. Appl. Cryst. 20, 79,
1987) turn the sum back into a pseudo-Voigt. Its Gaussian part is cut where it has fallen to 1e-5 of its height, its
Lorentzian part at `REACH` widths, beyond which the background follows it.
"""

import math

import numba

REACH = 12.0
"""Half widths at half maximum times two at which a line's tail ends: 12 FWHM leave out 1 % of a Lorentzian's 2.7 %."""
GAUSS_REACH = 2.1
"""FWHM from the centre where a Gaussian is 5e-6 of its height."""
SCHERRER = 2 * math.pi * 0.9 / 10
"""Γ in 1/Å = SCHERRER / (size in nm)."""
LN2 = math.log(2.0)
GAUSS_AREA = 2 * math.sqrt(LN2 / math.pi)
"""Height of a Gaussian of area 1 and FWHM 1."""
LORENTZ_AREA = 2 / math.pi
"""The same of a Lorentzian."""

_jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract"})


@_jit
def voigt(gauss, lorentz):
    """FWHM and Lorentzian share of the pseudo-Voigt of two widths, and the derivatives of both by the second."""
    g, lo = gauss, lorentz
    power = g**5 + 2.69269 * g**4 * lo + 2.42843 * g**3 * lo**2 + 4.47163 * g**2 * lo**3 + 0.07842 * g * lo**4 + lo**5
    grows = 2.69269 * g**4 + 4.85686 * g**3 * lo + 13.41489 * g**2 * lo**2 + 0.31368 * g * lo**3 + 5 * lo**4
    fwhm = power**0.2
    wider = fwhm * grows / (5 * power)
    r = lo / fwhm
    share = 1.36603 * r - 0.47719 * r * r + 0.11116 * r * r * r
    return fwhm, share, wider, (1.36603 - 0.95438 * r + 0.33348 * r * r) * (1 - r * wider) / fwhm


@_jit
def set_line(first, step, n, centre, fwhm, share, with_slopes, work):
    """Set the first columns of `work` to a line of area 1 in the bins that it reaches.

    Of its four rows the first takes the line; if `with_slopes`, the others its derivatives by centre, FWHM and
    Lorentzian share. The n bins of a pattern are `step` apart, the first at `first`.

    Returns
    -------
    int, int
        The first bin, and the one behind the last; not in this order where the line reaches none.
    """
    low = max(0, math.ceil((centre - REACH * fwhm - first) / step))
    high = min(n, math.floor((centre + REACH * fwhm - first) / step) + 1)
    count, per = max(high - low, 0), 1.0 / fwhm
    x0, dx = (first + low * step - centre) * per, step * per
    # Bins of the Gaussian part; the Lorentzian's loop has no branch, so that several bins are computed at a time.
    begin = max(0, math.ceil((-GAUSS_REACH - x0) / dx))
    end = min(count, math.floor((GAUSS_REACH - x0) / dx) + 1)
    value, by_centre, by_fwhm, by_share = work[0], work[1], work[2], work[3]
    tail, core = share * LORENTZ_AREA * per, (1.0 - share) * GAUSS_AREA * per
    if not with_slopes:
        for i in range(count):
            x = x0 + i * dx
            value[i] = tail / (1.0 + 4.0 * x * x)
        for i in range(begin, end):
            x = x0 + i * dx
            value[i] += core * math.exp(-4.0 * LN2 * x * x)
        return low, high
    for i in range(count):
        x = x0 + i * dx
        down = 1.0 / (1.0 + 4.0 * x * x)
        value[i] = tail * down
        by_centre[i] = tail * down * per * 8.0 * x * down
        by_fwhm[i] = tail * down * per * (1.0 - 2.0 * down)
        by_share[i] = LORENTZ_AREA * per * down
    for i in range(begin, end):
        x = x0 + i * dx
        gauss = math.exp(-4.0 * LN2 * x * x)
        value[i] += core * gauss
        by_centre[i] += core * gauss * per * 8.0 * LN2 * x
        by_fwhm[i] += core * gauss * per * (8.0 * LN2 * x * x - 1.0)
        by_share[i] -= GAUSS_AREA * per * gauss
    return low, high


@_jit
def set_phase(
    first, step, squares, strengths, gauss, lorentz, powers, cell, reference, inverse_size, extra, columns, work, unit,
    slopes,
):  # fmt: skip
    """The pattern of one volume of a phase, and its derivatives by the cell edges a, b, c and by 1/size.

    Parameters
    ----------
    first, step
        q of the first bin, and between bins, 1/Å.
    squares
        (2π)² times what multiplies 1/a², 1/b², 1/c² in q², shape (n_lines, 3).
    strengths
        m |F|² / V² of every line at the reference cell: area = strength / (volume² q²), volume relative to it.
    gauss, lorentz
        Widths of the instrument's line, 1/Å, shape (n_lines,).
    powers
        Of the relative edges in the relative volume, shape (3,).
    cell, reference
        Edges in Å, shape (3,).
    inverse_size
        1/nm.
    extra
        FWHM of a further Gaussian, relative to q: what parallax adds.
    columns
        Of the derivatives those are computed for which this is not below 0, shape (4,).
    work
        Shape (4, n_bins), scratch.
    unit, slopes
        Set: shape (n_bins,) and (4, n_bins).

    Returns
    -------
    int, int
        Bins that lines reach: the first, and the one behind the last; beyond them all is 0.
    """
    n = unit.size
    unit[:] = 0.0
    slopes[:] = 0.0
    volume = 1.0
    for k in range(3):
        volume *= (cell[k] / reference[k]) ** powers[k]
    with_slopes = columns.max() >= 0
    broad = SCHERRER * inverse_size
    lowest, highest = n, 0
    for line in range(strengths.size):
        q2 = 0.0
        for k in range(3):
            q2 += squares[line, k] / (cell[k] * cell[k])
        q = math.sqrt(q2)
        wide = math.sqrt(gauss[line] ** 2 + (extra * q) ** 2)
        fwhm, share, wider, sharper = voigt(wide, lorentz[line] + broad)
        low, high = set_line(first, step, n, q, fwhm, share, with_slopes, work)
        if low >= high:
            continue
        lowest, highest = min(lowest, low), max(highest, high)
        area = strengths[line] / (volume * volume * q2)
        for i in range(high - low):
            unit[low + i] += area * work[0, i]
        for k in range(3):
            if columns[k] >= 0:
                moved = -squares[line, k] / (cell[k] ** 3 * q)  # dq by the edge
                changed = -2.0 * powers[k] / cell[k] - 2.0 * moved / q  # d ln(area) by the edge
                add_to(slopes[k, low:high], area * moved, work[1], area * changed, work[0])
        if columns[3] >= 0:
            add_to(slopes[3, low:high], area * SCHERRER * wider, work[2], area * SCHERRER * sharper, work[3])
    return lowest, highest


@_jit
def add_to(total, a, first, b, second):
    for i in range(total.size):
        total[i] += a * first[i] + b * second[i]

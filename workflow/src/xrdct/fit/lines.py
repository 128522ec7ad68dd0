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
    """FWHM and Lorentzian share of the pseudo-Voigt of two widths."""
    g, lo = gauss, lorentz
    power = g**5 + 2.69269 * g**4 * lo + 2.42843 * g**3 * lo**2 + 4.47163 * g**2 * lo**3 + 0.07842 * g * lo**4 + lo**5
    fwhm = power**0.2
    r = lo / fwhm
    return fwhm, 1.36603 * r - 0.47719 * r * r + 0.11116 * r * r * r


@_jit
def add_line(pattern, slope_q, slope_width, slope_share, first, step, centre, fwhm, share, area):
    """Add a line of `area` to `pattern`, and its derivatives by centre, FWHM and Lorentzian share to the others.

    Bins are `step` apart, the first at `first`. Returns the bins that were changed.
    """
    n = pattern.size
    low = max(0, math.ceil((centre - REACH * fwhm - first) / step))
    high = min(n, math.floor((centre + REACH * fwhm - first) / step) + 1)
    per = 1.0 / fwhm
    for i in range(low, high):
        x = (first + i * step - centre) * per
        x2 = x * x
        down = 1.0 / (1.0 + 4.0 * x2)
        lorentz = LORENTZ_AREA * down
        value, slope = share * lorentz, share * lorentz * 8.0 * x * down
        gauss = 0.0
        if x2 < GAUSS_REACH * GAUSS_REACH:
            gauss = GAUSS_AREA * math.exp(-4.0 * LN2 * x2)
            value += (1.0 - share) * gauss
            slope += (1.0 - share) * gauss * 8.0 * LN2 * x
        scale = area * per
        pattern[i] += scale * value
        slope_q[i] += scale * per * slope
        slope_width[i] += scale * per * (slope * x - value)
        slope_share[i] += scale * (lorentz - gauss)
    return low, high


@_jit
def add_phase(
    first, step, squares, strengths, gauss, lorentz, powers, cell, reference, inverse_size, extra, work, unit, slopes
):
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
    work
        Shape (4, n_bins), scratch.
    unit, slopes
        Set: shape (n_bins,) and (4, n_bins).
    """
    n = unit.size
    unit[:] = 0.0
    slopes[:] = 0.0
    volume = 1.0
    for k in range(3):
        volume *= (cell[k] / reference[k]) ** powers[k]
    broad = SCHERRER * inverse_size
    for line in range(strengths.size):
        q2 = 0.0
        for k in range(3):
            q2 += squares[line, k] / (cell[k] * cell[k])
        q = math.sqrt(q2)
        wide = math.sqrt(gauss[line] ** 2 + (extra * q) ** 2)
        fwhm, share = voigt(wide, lorentz[line] + broad)
        if q + REACH * fwhm < first or q - REACH * fwhm > first + (n - 1) * step:
            continue
        area = strengths[line] / (volume * volume * q2)
        tiny = 1e-4 * fwhm
        fwhm2, share2 = voigt(wide, lorentz[line] + broad + tiny)
        by_fwhm, by_share = (fwhm2 - fwhm) / tiny * SCHERRER, (share2 - share) / tiny * SCHERRER
        low = max(0, math.ceil((q - REACH * fwhm - first) / step))
        high = min(n, math.floor((q + REACH * fwhm - first) / step) + 1)
        for i in range(low, high):
            work[0, i] = work[1, i] = work[2, i] = work[3, i] = 0.0
        add_line(work[0], work[1], work[2], work[3], first, step, q, fwhm, share, area)
        for i in range(low, high):
            unit[i] += work[0, i]
            slopes[3, i] += work[2, i] * by_fwhm + work[3, i] * by_share
        for k in range(3):
            moved = -squares[line, k] / (cell[k] ** 3 * q)  # dq by the edge
            changed = -2.0 * powers[k] / cell[k] - 2.0 * moved / q  # d ln(area) by the edge
            if moved != 0.0 or powers[k] != 0.0:
                for i in range(low, high):
                    slopes[k, i] += work[1, i] * moved + work[0, i] * changed

"""How well projections agree with one another, and what shifts and factors make them agree best.

The projections of one object are not free: at a spatial frequency ν, the spectrum of an object within R of the axis
is a sum of angular harmonics up to 2πRν (the double wedge of the sinogram's Fourier transform: Vo et al., Optics
Express 22, 19078, 2014), and half a turn on it is its own complex conjugate. What does not fit such a sum, in a least
squares fit to the angles that were measured, cannot come from one object turning about one axis. Shifts and factors of
lines, or of groups of them, are found by minimising it (Gauss-Newton; all of it is linear but the phases of the
shifts). Any angles will do, over a half turn or a full one; no pair of opposite projections is needed.

Attenuation does not disturb it where opposite projections mirror each other, that is at small scattering angles: the
product of an object's projection and its transmission is a little wider than the wedge, equally at all lines.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import block_diag

from .errors import GeometryError

MARGIN = 4
"""Harmonics beyond 2πRν that are still taken to be the object's: an edge does not end sharply."""
FREE_SHARE = 0.15
"""Share of the lines that must be left over when all harmonics are fitted; frequencies that need more are not used."""
HIGHEST = 0.3
"""Highest spatial frequency used, cycles per position; above there is little but noise."""
PADDING = 2
"""Lines are continued by zeros to this many times their length, so that a shift does not bring one end to the other."""
LEAST_BEND = 1e-4
"""Bend of the misfit by the object, as a share of the largest with noise, below which it is not known."""
ROUNDS = 12
"""Gauss-Newton steps at most; three or four reach 1e-4 px."""


@dataclass(frozen=True)
class Spectra:
    """Lines in Fourier space, with the harmonics that an object may have at each frequency."""

    values: np.ndarray
    """Spectrum of every line about column 0, shape (n_lines, n_frequencies), complex."""
    frequencies: np.ndarray
    """Cycles per position, increasing, shape (n_frequencies,)."""
    even: np.ndarray
    """Orthonormal basis of the even angular harmonics, ascending, shape (n_lines, ·): the real parts' space."""
    odd: np.ndarray
    """The same of the odd harmonics: the imaginary parts' space."""
    harmonics: np.ndarray
    """Highest harmonic at each frequency, shape (n_frequencies,)."""

    def unfitting(self, values: np.ndarray) -> np.ndarray:
        """What no object explains of centred spectra (n_lines, n_frequencies): real and imaginary parts behind
        one another, shape (2, n_lines, n_frequencies)."""
        rest = np.empty((2, *values.shape))
        for part, basis, own in ((0, self.even, values.real), (1, self.odd, values.imag)):
            within = np.arange(basis.shape[1])[:, None] < self._columns(part)
            rest[part] = own - basis @ (within * (basis.T @ own))
        return rest

    def free(self) -> np.ndarray:
        """Degrees of freedom that are left at each frequency, real and imaginary parts together."""
        return 2 * len(self.values) - self._columns(0) - self._columns(1)

    def some(self, chosen) -> "Spectra":
        """Only some of the frequencies."""
        return replace(
            self,
            values=self.values[:, chosen],
            frequencies=self.frequencies[chosen],
            harmonics=self.harmonics[chosen],
        )

    def _columns(self, part: int) -> np.ndarray:
        """How many columns of the even (0) or odd (1) basis belong to each frequency."""
        return 2 * (self.harmonics // 2) + 1 if part == 0 else 2 * ((self.harmonics + 1) // 2)


def spectra(projections: np.ndarray, angles: np.ndarray, *, radius: float, highest: float = HIGHEST) -> Spectra:
    """Fourier transform of lines that fall to zero at both ends.

    Parameters
    ----------
    projections
        Shape (n_lines, n_positions), finite, air subtracted.
    angles
        Degrees, shape (n_lines,), any order.
    radius
        No part of the sample is farther from the axis, pixels.
    highest
        Frequency in cycles per position above which nothing is used.

    Raises
    ------
    GeometryError
        If there are so few lines that no frequency is overdetermined.
    """
    n_lines, n_positions = projections.shape
    frequencies = np.fft.rfftfreq(PADDING * n_positions)[1:]
    harmonics = np.ceil(2 * np.pi * radius * frequencies).astype(int) + MARGIN
    used = (harmonics + 2 <= (1 - FREE_SHARE) * n_lines) & (frequencies <= highest)
    if not used.any():
        raise GeometryError(
            f"{n_lines} projections of a sample of {radius:.0f} pixels' radius are too few to be compared with "
            "one another; give assemble.cor, and set assemble.align to false"
        )
    values = np.fft.rfft(projections, PADDING * n_positions, axis=1)[:, 1:][:, used]
    top, omega = int(harmonics[used].max()), np.radians(angles)
    even, odd = (np.linalg.qr(_waves(omega, np.arange(start, top + 1, 2)))[0] for start in (0, 1))
    return Spectra(values, frequencies[used], even, odd, harmonics[used])


def _waves(omega, orders):
    """sin kω and cos kω side by side, ascending in k, without sin 0."""
    both = np.stack([np.sin(np.outer(omega, orders)), np.cos(np.outer(omega, orders))], axis=2)
    return both.reshape(len(omega), -1)[:, 1 if orders[0] == 0 else 0 :]


@dataclass(frozen=True)
class Agreement:
    """Shifts and factors with which lines agree best."""

    shifts: np.ndarray
    """Coefficients of the columns of shifts, pixels, shape (n_shifts,)."""
    log_factors: np.ndarray
    """Coefficients of the columns of logarithmic factors, shape (n_factors,)."""
    covariance: np.ndarray
    """Of both, behind one another, from what is left over."""
    misfit: np.ndarray
    """What is left over of each line, relative to the noise of its frequencies, shape (n_lines,)."""
    share: float
    """What is left over, as a share of what changes from line to line: noise alone that is as strong gives 1."""


def agree(lines: Spectra, offsets: np.ndarray, shifts: np.ndarray, log_factors: np.ndarray) -> Agreement:
    """Find the shifts and factors of groups of lines that make all of them projections of one object.

    Parameters
    ----------
    lines
        From `spectra`.
    offsets
        Where each line sees the axis, to a few pixels, pixels from the first column, shape (n_lines,).
    shifts
        Columns of displacements, shape (n_lines, n_shifts): line i sees the axis at
        ``offsets[i] + shifts[i] @ coefficients``.
    log_factors
        Columns of logarithmic factors, shape (n_lines, n_factors): line i is too strong by
        ``exp(log_factors[i] @ coefficients)``. No combination of them may be the same for all lines.
    """
    n_shifts = shifts.shape[1]
    found = np.zeros(n_shifts + log_factors.shape[1])
    weights = np.ones(lines.frequencies.size)
    # Long waves first: the phase of a short one is ambiguous by its period.
    for highest in (0.05, 0.12, np.inf, np.inf):
        used = weights * (lines.frequencies <= max(highest, lines.frequencies[0]))
        for _ in range(ROUNDS):
            centred = _centred(lines, offsets + shifts @ found[:n_shifts], log_factors @ found[n_shifts:])
            rest, jacobian = _linearised(lines, centred, shifts, log_factors, used)
            step = np.linalg.lstsq(jacobian, -rest, rcond=None)[0]
            found = found + step
            if np.abs(step).max(initial=0.0) < 1e-4:
                break
        # What attenuation leaves at long waves is no noise: each frequency counts by what is left of it.
        variance = (lines.unfitting(centred) ** 2).sum(axis=(0, 1)) / lines.free()
        weights = 1 / np.sqrt(np.maximum(variance, 1e-12 * variance.max() + np.finfo(float).tiny))
    # With the last weights the rest of every frequency has unit variance: the covariance needs no other scale.
    rest, jacobian = _linearised(lines, centred, shifts, log_factors, weights)
    misfit = (rest.reshape(2, *centred.shape) ** 2).sum(axis=(0, 2))
    changes = (np.abs(centred - centred.mean(axis=0)) ** 2).sum()
    expected = lines.free().mean() / (2 * len(centred))
    share = (lines.unfitting(centred) ** 2).sum() / max(changes * expected, np.finfo(float).tiny)
    covariance = PADDING * _covariance(lines, jacobian, shifts, log_factors)  # padded spectra say everything twice
    return Agreement(found[:n_shifts], found[n_shifts:], covariance, misfit, float(share))


def _covariance(lines, jacobian, shifts, log_factors):
    """Covariance of the coefficients: bend⁻¹ · scatter of the gradient · bend⁻¹.

    The derivatives hold the noise of the lines too. To shift noise changes how it looks and not how much of it fits no
    object: the misfit bends as the object alone says, and the gradient scatters by what noise does to noise.
    """
    product = jacobian.T @ jacobian
    of_noise, by_noise = _noise_terms(lines, shifts, log_factors)
    values, vectors = np.linalg.eigh(product - of_noise)
    # Where noise hides the bend, the errors are large and not undefined.
    values = np.maximum(values, LEAST_BEND * np.diag(product).max(initial=1.0))
    inverse = vectors / values @ vectors.T
    return inverse @ ((vectors * values) @ vectors.T + by_noise) @ inverse


def _noise_terms(lines, shifts, log_factors):
    """What noise of unit variance adds to the product of the derivatives, and to the covariance of the gradient.

    With P and Q the projections onto what fits no object in the real and in the imaginary parts: the derivative by a
    shift takes the noise of the one part to the other, that by a factor leaves it where it is.
    """
    n = len(lines.values)
    lost, turned, scaled = np.zeros((2, n)), np.zeros((n, n)), np.zeros((n, n))
    columns, before = np.transpose([lines._columns(0), lines._columns(1)]), np.zeros(2, int)
    outside = [np.eye(n), np.eye(n)]
    for frequency, upto in zip(lines.frequencies, columns, strict=True):
        for part, basis in enumerate((lines.even, lines.odd)):
            more = basis[:, before[part] : upto[part]]
            outside[part] -= more @ more.T
        before = upto
        P, Q = outside
        rate, diagonal = (2 * np.pi * frequency) ** 2, np.diag(P) + np.diag(Q)
        lost += np.array([[rate], [1.0]]) * diagonal
        turned += rate * (np.diag(diagonal) - 2 * P * Q)
        scaled += np.diag(diagonal) + P * P + Q * Q
    of_noise = block_diag(shifts.T * lost[0] @ shifts, log_factors.T * lost[1] @ log_factors)
    return of_noise, block_diag(shifts.T @ turned @ shifts, log_factors.T @ scaled @ log_factors)


def disagreement(lines: Spectra, offsets: np.ndarray) -> float:
    """Energy that no object explains when line i sees the axis at ``offsets[i]`` (pixels from the first column)."""
    return float((lines.unfitting(_centred(lines, offsets, np.zeros(len(lines.values)))) ** 2).sum())


def _centred(lines, offsets, log_factors):
    phase = np.exp(2j * np.pi * np.outer(offsets, lines.frequencies))
    return lines.values * phase * np.exp(-log_factors)[:, None]


def _linearised(lines, centred, shifts, log_factors, weights):
    """The weighted rest, shape (2 n_lines n_frequencies,), and its derivatives by every coefficient."""
    turned = 2j * np.pi * lines.frequencies * centred
    columns = [column[:, None] * turned for column in shifts.T] + [
        -column[:, None] * centred for column in log_factors.T
    ]
    rest = (lines.unfitting(centred) * weights).ravel()
    jacobian = np.empty((rest.size, len(columns)))
    for k, column in enumerate(columns):
        jacobian[:, k] = (lines.unfitting(column) * weights).ravel()
    return rest, jacobian

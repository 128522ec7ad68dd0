"""Patterns of a phase set and their derivatives, many at a time, as PyTorch tensors on any device.

The formulas of `lines` and `shapes` in another order. Which bins a line may reach is known beforehand, whatever the
cells within their limits, so that of every line these bins alone are computed. Lines of a phase that share bins are
added one after another, and no sum has two writers: a GPU gives the same bits every time.
"""

from itertools import pairwise

import numpy as np
import torch

from .lines import GAUSS_AREA, GAUSS_REACH, LN2, LORENTZ_AREA, REACH, SCHERRER, voigt
from .model import Arrays
from .shapes import AREA, FWHM, INVERSE_SIZE, PER_PEAK, PER_PHASE, A, Q

voigt = voigt.py_func  # its arithmetic is that of tensors too


class TensorModel:
    """What `shapes.evaluate` computes, for many patterns.

    Parameters
    ----------
    arrays
        Of a `PatternModel`.
    columns
        Column of each parameter in the derivatives, −1: none, shape (n_parameters,).
    fixed
        As for `shapes.evaluate`.
    low, high
        What no parameter leaves, shape (n_parameters,).
    widest
        Largest broadening relative to q of any pattern.
    device
        Of PyTorch.
    """

    def __init__(self, arrays: Arrays, columns, fixed, low, high, *, widest: float, device: str):
        self.device, self._arrays = device, arrays
        n_phases, n_peaks = len(arrays.powers), len(arrays.shares)
        self.n_bins, self.n_columns = arrays.chebyshev.shape[1], int(columns.max()) + 1
        bases = PER_PHASE * np.arange(n_phases)
        shape = columns[: PER_PHASE * n_phases].reshape(n_phases, PER_PHASE)[:, A:]
        still = np.zeros(n_phases, bool) if fixed.shape[1] == 0 else (shape < 0).all(axis=1)
        self._moving, self._still = self._places(bases[~still]), self._places(bases[still])
        self._still_units = self._numbers(fixed[:n_phases][still] if still.any() else np.empty((0, self.n_bins)))
        self._scale_columns = [self._places(columns[bases[~still]]), self._places(columns[bases[still]])]
        self._set_lines(np.flatnonzero(~still), low, high, widest)
        # By kind of parameter (a, b, c, 1/size): which of the moving phases have a column, and where.
        self._kinds = []
        for kind in range(PER_PHASE - 1):
            own = shape[~still][:, kind]
            self._kinds.append((self._places(np.flatnonzero(own >= 0)), self._places(own[own >= 0])))
        first_peak = PER_PHASE * n_phases
        self._peaks = slice(first_peak, first_peak + PER_PEAK * n_peaks)
        self._peak_columns = columns[self._peaks].reshape(n_peaks, PER_PEAK)
        self._shares = self._numbers(arrays.shares)
        self._background = slice(self._peaks.stop, self._peaks.stop + len(arrays.chebyshev))
        self._chebyshev = self._numbers(arrays.chebyshev)
        self._background_columns = self._places(columns[self._background])
        self._q = self._numbers(arrays.first + arrays.step * np.arange(self.n_bins))

    @property
    def numbers_per_pattern(self) -> int:
        """Numbers that one pattern needs while it is computed, roughly: what decides how many are at a time."""
        temporary = 3 * self.n_columns + 5 * len(self._moving) + 4 * PER_PEAK * len(self._shares)
        return temporary * self.n_bins + 20 * self._line_of.numel()

    def evaluate(self, parameters: torch.Tensor, extra: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Patterns (n, n_bins) and derivatives (n, n_columns, n_bins) of parameters (n, n_parameters); extra (n,)."""
        slopes = parameters.new_zeros((len(parameters), self.n_columns, self.n_bins))
        pattern = parameters[:, self._background] @ self._chebyshev
        _set_columns(slopes, self._background_columns, self._chebyshev)
        pattern += parameters[:, self._still] @ self._still_units
        _set_columns(slopes, self._scale_columns[1], self._still_units)
        if len(self._moving):
            self._add_phases(parameters, extra, pattern, slopes)
        if len(self._shares):
            self._add_peaks(parameters, pattern, slopes)
        return pattern, slopes

    def _add_phases(self, parameters, extra, pattern, slopes):
        scales = parameters[:, self._moving]
        units, moves = self._phases(parameters, extra)
        pattern += torch.einsum("bp,bpn->bn", scales, units)
        _set_columns(slopes, self._scale_columns[0], units)
        for (phases, columns), move in zip(self._kinds, moves, strict=True):
            if len(columns):
                slopes[:, columns] = scales[:, phases, None] * move[:, phases]

    def _phases(self, parameters, extra):
        """Unit patterns (n, n_moving, n_bins), and derivatives by a, b, c, 1/size, None where no phase has a column."""
        n = len(parameters)
        cells = torch.stack([parameters[:, self._moving + A + k] for k in range(3)], dim=2)
        volume = ((cells / self._reference) ** self._powers).prod(dim=2)[:, self._phase_of]
        cells, broad = cells[:, self._phase_of], parameters[:, self._moving + INVERSE_SIZE][:, self._phase_of]
        broad = SCHERRER * broad + self._lorentz
        q2 = (self._squares / cells**2).sum(dim=2)
        q = torch.sqrt(q2)
        wide = torch.sqrt(self._gauss**2 + (extra[:, None] * q) ** 2)
        fwhm, share, by_fwhm, by_share = voigt(wide, broad)
        by_fwhm, by_share = SCHERRER * by_fwhm, SCHERRER * by_share
        moved = -self._squares / (cells**3 * q[..., None])  # dq by the edge
        changed = -2 * self._line_powers / cells - 2 * moved / q[..., None]  # d ln(area) by the edge
        on_bins = self._strengths / (volume**2 * q2), q, fwhm, share
        unit, by_q, *by_shape = _line(self._bins, *(values[:, self._line_of] for values in on_bins))
        moves = []
        for kind, (phases, _) in enumerate(self._kinds):
            if not len(phases):
                moves.append(None)
                continue
            if kind + A == INVERSE_SIZE:
                factors, terms = (by_fwhm, by_share), by_shape
            else:
                factors, terms = (moved[..., kind], changed[..., kind]), (by_q, unit)
            terms = [term * factor[:, self._line_of] for term, factor in zip(terms, factors, strict=True)]
            moves.append(self._sum(terms[0] + terms[1], n))
        return self._sum(unit, n), moves

    def _sum(self, values, n):
        """Add what lines have in their bins, (n, elements), to (n, n_moving, n_bins)."""
        total = values.new_zeros((n, len(self._moving) * self.n_bins))
        for part in self._apart:
            total.index_add_(1, self._target[part], values[:, part])
        return total.reshape(n, len(self._moving), self.n_bins)

    def _add_peaks(self, parameters, pattern, slopes):
        peaks = parameters[:, self._peaks].reshape(len(parameters), -1, PER_PEAK)
        area, centre, fwhm = (peaks[..., k, None] for k in (AREA, Q, FWHM))
        shapes = _line(self._q, torch.ones_like(area), centre, fwhm, self._shares[:, None])
        pattern += (area * shapes[0]).sum(dim=1)
        for k, columns in enumerate(self._peak_columns):
            for parameter in (AREA, Q, FWHM):
                if columns[parameter] >= 0:
                    scale = 1.0 if parameter == AREA else area[:, k]
                    slopes[:, columns[parameter]] = scale * shapes[parameter][:, k]

    def _set_lines(self, moving, low, high, widest):
        """Constants of the lines of the moving phases, and the bins that each may reach."""
        arrays = self._arrays
        lines = np.concatenate([np.arange(arrays.starts[p], arrays.starts[p + 1]) for p in moving] or [[]]).astype(int)
        phase = np.repeat(np.arange(len(moving)), np.diff(arrays.starts)[moving])
        base = PER_PHASE * moving[phase]
        edges = [np.stack([limit[base + A + k] for k in range(3)], axis=1) for limit in (high, low)]
        near, far = (np.sqrt((arrays.squares[lines] / edge**2).sum(axis=1)) for edge in edges)
        wide, *_ = voigt(
            np.sqrt(arrays.gauss[lines] ** 2 + (widest * far) ** 2),
            arrays.lorentz[lines] + SCHERRER * high[base + INVERSE_SIZE],
        )
        begin = np.ceil((near - REACH * wide - arrays.first) / arrays.step).astype(int).clip(0, self.n_bins)
        end = np.floor((far + REACH * wide - arrays.first) / arrays.step).astype(int).clip(-1, self.n_bins - 1) + 1
        # Lines of a phase one after another: what is added together in one go touches no bin twice.
        order = _apart(phase, begin, end)
        bins = [[np.arange(begin[k], max(begin[k], end[k])) for k in part] for part in order]
        listed = [k for part in order for k in part]
        counts = [len(b) for part in bins for b in part]
        ends = np.cumsum([0, *(sum(map(len, part)) for part in bins)])
        bins = np.concatenate([b for part in bins for b in part] or [[]]).astype(int)
        line_of = np.repeat(listed, counts).astype(int)
        self._apart = [slice(*limits) for limits in pairwise(ends)]
        self._line_of, self._target = self._places(line_of), self._places(phase[line_of] * self.n_bins + bins)
        self._bins = self._numbers(arrays.first + arrays.step * bins)
        self._phase_of = self._places(phase)
        self._squares, self._strengths = self._numbers(arrays.squares[lines]), self._numbers(arrays.strengths[lines])
        self._gauss, self._lorentz = self._numbers(arrays.gauss[lines]), self._numbers(arrays.lorentz[lines])
        self._reference, self._powers = self._numbers(arrays.reference[moving]), self._numbers(arrays.powers[moving])
        self._line_powers = self._powers[self._phase_of]

    def _numbers(self, values):
        return torch.as_tensor(np.ascontiguousarray(values, dtype=float), device=self.device)

    def _places(self, values):
        return torch.as_tensor(np.ascontiguousarray(values, dtype=np.int64), device=self.device)


def _line(q, area, centre, fwhm, share):
    """A pseudo-Voigt of `area` and its derivatives by centre, FWHM and Lorentzian share, as `lines.set_line`."""
    per = 1 / fwhm
    x = (q - centre) * per
    x2 = x * x
    down = 1 / (1 + 4 * x2)
    inside = x2 <= REACH**2
    lorentz = torch.where(inside, LORENTZ_AREA * down, 0.0)
    gauss = torch.where(x2 < GAUSS_REACH**2, GAUSS_AREA * torch.exp(-4 * LN2 * x2), 0.0)
    value = share * lorentz + (1 - share) * gauss
    slope = 8 * x * (share * lorentz * down + (1 - share) * gauss * LN2)
    scale = area * per
    return scale * value, scale * per * slope, scale * per * (slope * x - value), scale * (lorentz - gauss)


def _apart(phase, begin, end) -> list[list[int]]:
    """Lines in groups, in each of which no two of one phase share a bin."""
    groups, reached = [], []
    for k in np.lexsort((begin, phase)):
        fitting = [g for g, last in enumerate(reached) if last.get(phase[k], 0) <= begin[k]]
        if not fitting:
            fitting = [len(groups)]
            groups.append([])
            reached.append({})
        groups[fitting[0]].append(int(k))
        reached[fitting[0]][phase[k]] = end[k]
    return groups


def _set_columns(slopes, columns, values):
    """Derivatives by parameters of which some have no column."""
    free = columns >= 0
    slopes[:, columns[free]] = values[..., free, :]

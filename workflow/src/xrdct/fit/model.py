"""The model of a pattern: phases, single peaks and a background, as one vector of parameters.

.. math:: I(q) = \\sum_p S_p \\sum_{hkl} A_{hkl,p}\\, PV(q - q_{hkl,p}) + \\sum_k P_k\\, PV(q - q_k) + \\sum_n b_n T_n

with A = m|F|²/(V² q²) (`phases.line_list`), so that a scale S is proportional to the volume of its phase.
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from ..calibration.profile import InstrumentProfile
from ..errors import ConfigError, GeometryError
from ..units import two_theta_from_q
from .phase_set import Phase, PhaseSet
from .shapes import PER_PEAK, PER_PHASE, all_patterns, evaluate

DIAGONAL = {
    "cubic": (((1, 1, 1, 0), (0, 0, 0, 0), (0, 0, 0, 0)), (3.0, 0.0, 0.0)),
    "tetragonal": (((1, 1, 0, 0), (0, 0, 0, 0), (0, 0, 1, 0)), (2.0, 0.0, 1.0)),
    "hexagonal": (((4 / 3, 4 / 3, 0, 4 / 3), (0, 0, 0, 0), (0, 0, 1, 0)), (2.0, 0.0, 1.0)),
    "orthorhombic": (((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)), (1.0, 1.0, 1.0)),
}
"""For each system the shares of h², k², l² and hk in what multiplies 1/a², 1/b² and 1/c² in 1/d², and the powers of the
edges in the volume."""


@dataclass(frozen=True)
class Arrays:
    """A phase set as the kernels want it; lines of all phases behind one another."""

    first: float
    step: float
    starts: np.ndarray
    """First line of each phase, and the end, shape (n_phases + 1,)."""
    squares: np.ndarray
    strengths: np.ndarray
    gauss: np.ndarray
    lorentz: np.ndarray
    powers: np.ndarray
    """Shape (n_phases, 3)."""
    reference: np.ndarray
    """Edges of the reference cells, shape (n_phases, 3)."""
    shares: np.ndarray
    """Lorentzian share of each single peak, shape (n_peaks,)."""
    chebyshev: np.ndarray
    """Shape (n_coefficients, n_bins)."""

    def __iter__(self):
        return iter(tuple(getattr(self, name) for name in self.__dataclass_fields__))


class PatternModel:
    """Patterns of a phase set on a grid of q, and their derivatives.

    Parameters
    ----------
    phases
        From `load_phase_set`.
    q
        Bin centres in 1/Å, evenly spaced, shape (n_bins,), within or beyond the set's range: bins outside it are not
        part of the model.
    profile
        Width and shape of a line that the sample does not broaden; bins wider than those it was measured with add
        their own width (see there).

    Raises
    ------
    ConfigError
        If a cell that is not orthogonal or hexagonal has free parameters, or the range holds too few bins.
    """

    def __init__(self, phases: PhaseSet, q: np.ndarray, profile: InstrumentProfile):
        q = np.asarray(q, dtype=float)
        if q.ndim != 1 or q.size < 3 or not np.allclose(np.diff(q), q[1] - q[0], rtol=1e-3):
            raise GeometryError("the bins of a pattern must be evenly spaced in q")
        self.phases, self.profile = phases, profile
        # What a wavelength multiplies q and the area of a line with.
        second = phases.second_wavelength
        self._wavelengths = [(1.0, 1.0)] + ([(second.ratio, second.share)] if second else [])
        self.inside = (q >= phases.q_min) & (q <= phases.q_max)
        self.q = q[self.inside]
        self.names = self._names()
        if self.q.size < len(self.names):
            raise ConfigError(
                f"phase set {phases.name!r}: {self.q.size} bins in {phases.q_min:g}–{phases.q_max:g} 1/Å are too few "
                f"for {len(self.names)} parameters; integrate with more bins, or fit fewer phases"
            )
        self.arrays = self._arrays()
        self.start, self.low, self.high = self._limits()

    @property
    def n_scales(self) -> int:
        """Number of phases and single peaks."""
        return len(self.phases.names)

    def place(self, owner: str, parameter: str) -> int:
        """Index of a parameter, for example ``place('NCA', 'c')``."""
        return self.names.index((owner, parameter))

    @property
    def scale_places(self) -> np.ndarray:
        """Indices of the scales of the phases and the areas of the peaks, shape (n_scales,)."""
        n = len(self.phases.phases)
        return np.r_[PER_PHASE * np.arange(n), PER_PHASE * n + PER_PEAK * np.arange(len(self.phases.peaks))]

    @property
    def background_places(self) -> np.ndarray:
        """Indices of the background's coefficients."""
        return np.arange(len(self.names) - self.phases.background_degree - 1, len(self.names))

    def free(self, *, level: str) -> np.ndarray:
        """Which parameters are fitted in every voxel, bool: 'linear', 'quick' or 'full' (see `config.Fit`)."""
        chosen = np.zeros(len(self.names), dtype=bool)
        chosen[self.scale_places] = chosen[self.background_places] = True
        if level == "linear":
            return chosen
        for phase in self.phases.phases:
            wanted = phase.per_voxel if level == "quick" else [item.name for item in phase.free]
            for name in wanted:
                chosen[self.place(phase.name, name)] = True
            chosen[self.place(phase.name, "1/size")] = level == "full"
        for peak in self.phases.peaks:
            chosen[[self.place(peak.name, "q"), self.place(peak.name, "fwhm")]] = level == "full"
        return chosen

    def part(self, bins: slice) -> "PatternModel":
        """The same on some of the bins, with the same background."""
        some = copy(self)
        places = np.flatnonzero(self.inside)[bins]
        some.q, some.inside = self.q[bins], np.zeros_like(self.inside)
        some.inside[places] = True
        some.arrays = replace(self.arrays, first=float(some.q[0]), chebyshev=self.arrays.chebyshev[:, bins].copy())
        return some

    def patterns(self, parameters: np.ndarray, *, extra: np.ndarray | float = 0.0) -> np.ndarray:
        """Patterns for rows of parameters.

        Parameters
        ----------
        parameters
            Shape (n_patterns, n_parameters), in the order of `names`; sizes as 1/nm.
        extra
            FWHM of a further Gaussian relative to q (dq/q), one or one per pattern: what parallax adds.

        Returns
        -------
        numpy.ndarray
            Shape (n_patterns, n_bins).
        """
        parameters = np.atleast_2d(np.asarray(parameters, dtype=float))
        patterns = np.empty((len(parameters), self.q.size))
        all_patterns(tuple(self.arrays), parameters, self._extra(extra, len(parameters)), patterns)
        return patterns

    def derivatives(self, parameters: np.ndarray, *, extra: float = 0.0) -> np.ndarray:
        """Derivatives of one pattern by all parameters, shape (n_parameters, n_bins)."""
        parameters = np.asarray(parameters, dtype=float)
        columns = np.arange(len(self.names))
        pattern, slopes = np.empty(self.q.size), np.empty((len(columns), self.q.size))
        scratch = np.empty((9, self.q.size))
        evaluate(tuple(self.arrays), parameters, float(extra), columns, scratch, pattern, slopes)
        return slopes

    def units(self, parameters: np.ndarray, *, extra: float = 0.0) -> np.ndarray:
        """The pattern of one unit of every phase and peak at the other parameters, shape (n_scales, n_bins)."""
        one = np.repeat(np.asarray(parameters, dtype=float)[None], self.n_scales, axis=0)
        one[:, self.background_places] = 0.0
        one[:, self.scale_places] = np.eye(self.n_scales)
        return self.patterns(one, extra=extra)

    def _extra(self, extra, n):
        return np.broadcast_to(np.asarray(extra, dtype=float), n).copy()

    def _names(self):
        names = []
        for phase in self.phases.phases:
            names += [(phase.name, name) for name in ("scale", "a", "b", "c", "1/size")]
        for peak in self.phases.peaks:
            names += [(peak.name, name) for name in ("scale", "q", "fwhm")]
        return names + [("background", str(n)) for n in range(self.phases.background_degree + 1)]

    def _arrays(self):
        phases, peaks = self.phases.phases, self.phases.peaks
        described = [_squares(phase) for phase in phases]
        lines = [phase.lines for phase in phases]
        ratios, areas = np.transpose(self._wavelengths)
        q = np.concatenate([np.outer(ratios, found.q).ravel() for found in lines])
        gauss, lorentz = self._instrument(q)
        x = np.linspace(-1, 1, self.q.size)
        return Arrays(
            first=float(self.q[0]),
            step=float((self.q[-1] - self.q[0]) / (self.q.size - 1)),
            starts=np.cumsum([0, *(ratios.size * len(found) for found in lines)]),
            squares=np.concatenate([np.concatenate([r**2 * s for r in ratios]) for s, _, _ in described])
            * (2 * np.pi) ** 2,
            # Divided by the q of the line as it stands in the pattern (`lines.add_phase`): the ratio cancels.
            strengths=np.concatenate([np.outer(areas * ratios**2, f.intensity * f.q**2).ravel() for f in lines]),
            gauss=gauss,
            lorentz=lorentz,
            powers=np.array([powers for _, powers, _ in described]),
            reference=np.array([reference for _, _, reference in described]),
            shares=np.array([peak.eta for peak in peaks], dtype=float),
            chebyshev=np.polynomial.chebyshev.chebvander(x, self.phases.background_degree).T.copy(),
        )

    def _instrument(self, q):
        """Gaussian and Lorentzian widths of the instrument's lines (1/Å), with the width of the bins."""
        share = self.profile.eta(np.degrees(two_theta_from_q(q, wavelength=self.profile.wavelength)))
        fwhm = self.profile.fwhm_q(q)
        gauss = fwhm * np.sqrt(np.maximum(1 - 0.74417 * share - 0.24781 * share**2 - 0.00810 * share**3, 0))
        lorentz = fwhm * (0.72928 * share + 0.19289 * share**2 + 0.07783 * share**3)
        step = self.q[1] - self.q[0]
        bins = 8 * np.log(2) / 12 * (step**2 - self.profile.q_step**2)
        return np.sqrt(np.maximum(gauss**2 + bins, (0.1 * fwhm) ** 2)), lorentz

    def _limits(self):
        start, low, high = [], [], []
        for phase in self.phases.phases:
            limits = {item.name: (item.start, item.low, item.high) for item in phase.free}
            edges = [phase.cell.get(name, phase.cell["a"]) for name in ("a", "b", "c")]
            if phase.system not in DIAGONAL:
                edges = [1.0, 1.0, 1.0]
            rows = [(0.0, 0.0, np.inf)]
            rows += [limits.get(n, (e, e, e)) for n, e in zip(("a", "b", "c"), edges, strict=True)]
            size = phase.size
            rows.append((1 / size.start, 1 / size.high, 1 / size.low))
            for column, values in zip((start, low, high), zip(*rows, strict=True), strict=True):
                column += values
        for peak in self.phases.peaks:
            rows = [(0.0, 0.0, np.inf), *((p.start, p.low, p.high) for p in (peak.q, peak.fwhm))]
            for column, values in zip((start, low, high), zip(*rows, strict=True), strict=True):
                column += values
        n = self.phases.background_degree + 1
        return np.array(start + [0.0] * n), np.array(low + [-np.inf] * n), np.array(high + [np.inf] * n)


def _squares(phase: Phase):
    """What multiplies 1/a², 1/b², 1/c² in 1/d² for every line, powers of the edges in the volume, reference edges."""
    if phase.system in DIAGONAL:
        shares, powers = DIAGONAL[phase.system]
        h, k, ell = phase.lines.hkl.T.astype(float)
        return (
            np.stack([h * h, k * k, ell * ell, h * k], axis=1) @ np.transpose(shares),
            powers,
            [phase.cell.get(n, phase.cell["a"]) for n in ("a", "b", "c")],
        )
    if phase.free:
        raise ConfigError(
            f"phase {phase.name!r}: a {phase.system} cell cannot be fitted; give it in `cell`, without `free`"
        )
    only = (phase.lines.q / (2 * np.pi)) ** 2
    return np.stack([only, 0 * only, 0 * only], axis=1), (0.0, 0.0, 0.0), [1.0, 1.0, 1.0]

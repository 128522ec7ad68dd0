"""Phase sets: validated settings and CIFs become the numbers that a model of the pattern needs."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from ..composition import cell_contents, density
from ..config import PhaseSetSettings, PhaseSettings
from ..errors import ConfigError
from ..phases import LineList, line_list, read_structure
from .cells import cell_system, full_cell, independent_parameters, metric, stretch

TAIL = 0.06
"""1/Å. Lines this far outside the range still reach into it: five widths of 0.012 1/Å (95 keV, 1 m)."""
WEAKEST = 1e-6
"""Lines below this share of the phase's strongest are left out: extinct ones and those that nobody can see."""


@dataclass(frozen=True)
class Free:
    """A parameter that may change."""

    name: str
    """a, b, c in Å; alpha, beta, gamma in degrees."""
    start: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Phase:
    """A crystalline phase."""

    name: str
    system: str
    """Key of `xrdct.fit.cells.CELLS`."""
    cell: dict[str, float]
    """Independent parameters at the start (Å, degrees): the reference cell."""
    free: tuple[Free, ...]
    """Those of them that may change, in the order of `cell`."""
    per_voxel: tuple[str, ...]
    """Level quick: names of those that change in every voxel, rather than in the mean pattern only."""
    size: Free
    """Crystallite size, nm."""
    lines: LineList
    """At the reference cell: every line that reaches into the range of the set for some cell within the limits."""
    contents: dict[str, float]
    """Atoms of each element per cell."""
    volume: float
    """Of the reference cell, Å³."""
    density: float
    """Of the reference cell, g/cm³."""


@dataclass(frozen=True)
class SinglePeak:
    """A pseudo-Voigt peak of its own."""

    name: str
    q: Free
    """Position, 1/Å."""
    fwhm: Free
    """Width, 1/Å, the instrument's included."""
    eta: float
    """Share of the Lorentzian."""


@dataclass(frozen=True)
class SecondWavelength:
    """A second line of the source, such as Cu Kα2 beside Kα1.

    q is computed with the first wavelength: a lattice spacing shows the second line at ratio times its q, exactly.
    """

    ratio: float
    """Second wavelength over the first."""
    share: float
    """Intensity over that of the first."""


@dataclass(frozen=True, eq=False)
class PhaseSet:
    """The phases that are fitted together."""

    name: str
    q_min: float
    q_max: float
    """Fitted range, 1/Å."""
    phases: tuple[Phase, ...]
    peaks: tuple[SinglePeak, ...]
    background_degree: int
    """Of the Chebyshev polynomial."""
    second_wavelength: SecondWavelength | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all scales: the phases, then the peaks."""
        return tuple(item.name for item in (*self.phases, *self.peaks))

    @property
    def densities(self) -> np.ndarray:
        """Of the phases, g/cm³, shape (n_phases,)."""
        return np.array([phase.density for phase in self.phases])

    def ranges(self) -> dict[tuple[str, str], tuple[float, float]]:
        """Limits of all that may change beside the scales, by name of phase or peak and of the parameter.

        A library of patterns is drawn from these: cells in Å or degrees, ``size`` in nm, ``q`` and ``fwhm`` in 1/Å.
        """
        free = [(phase.name, item) for phase in self.phases for item in (*phase.free, phase.size)]
        free += [(peak.name, item) for peak in self.peaks for item in (peak.q, peak.fwhm)]
        return {(owner, item.name): (item.low, item.high) for owner, item in free}


def load_phase_set(settings: PhaseSetSettings) -> PhaseSet:
    """Read the structures of a phase set and compute their lines.

    Raises
    ------
    ConfigError
        With one line per problem: a structure that cannot be used (`xrdct.phases.read_structure`), a parameter that
        symmetry does not leave free, limits that do not hold the cell at the start, a phase without a line in the
        range, two phases that one structure and overlapping limits make the same.
    """
    phases, problems = [], []
    second = settings.second_wavelength
    for wanted in settings.phases:
        try:
            phases.append(_load_phase(wanted, settings.q_min, settings.q_max, second.ratio if second else 1.0))
        except ConfigError as error:
            problems += [f"phase {wanted.name!r}: {line}" for line in str(error).splitlines()]
    problems += _doubles(settings.phases, {phase.name: phase for phase in phases})
    if problems:
        raise ConfigError("\n".join(f"phase set {settings.name!r}: {problem}" for problem in problems))
    peaks = tuple(
        SinglePeak(peak.name, Free("q", peak.q, *peak.q_limits), Free("fwhm", peak.fwhm, *peak.fwhm_limits), peak.eta)
        for peak in settings.peaks
    )
    return PhaseSet(
        settings.name, settings.q_min, settings.q_max, tuple(phases), peaks, settings.background_degree,
        second and SecondWavelength(second.ratio, second.share),
    )  # fmt: skip


def _load_phase(wanted: PhaseSettings, q_min: float, q_max: float, ratio: float) -> Phase:
    structure = read_structure(wanted.structure or wanted.name)
    system = cell_system(structure.spacegroup)
    names = independent_parameters(system)
    for key in (*wanted.cell, *wanted.free):
        if key not in names:
            raise ConfigError(f"{key} is no free parameter of a {system} cell; there are {', '.join(names)}")
    filed = dict(zip(("a", "b", "c", "alpha", "beta", "gamma"), structure.cell.parameters, strict=True))
    cell = {name: wanted.cell.get(name, filed[name]) for name in names}
    free = tuple(Free(name, cell[name], *wanted.free[name]) for name in names if name in wanted.free)
    for item in free:
        if not item.low <= item.start <= item.high:
            raise ConfigError(
                f"the limits of {item.name} ({item.low:g}–{item.high:g}) do not hold the cell at the start "
                f"({item.start:g}); change `free`, or give {item.name} in `cell`"
            )
    low, high = _reach(system, cell, free)
    low, high = low * min(ratio, 1.0), high * max(ratio, 1.0)  # the same line at a second wavelength
    all_cells = line_list(structure, max(q_min - TAIL, 0) / high, (q_max + TAIL) / low, cell=full_cell(system, cell))
    lines = _visible(all_cells)
    if not ((lines.q * high >= q_min) & (lines.q * low <= q_max)).any():
        raise ConfigError(f"has no line in {q_min:g}–{q_max:g} 1/Å; leave it out or widen the range")
    contents, volume = cell_contents(structure), _volume(system, cell)
    size = Free("size", wanted.size_nm, *wanted.size_limits_nm)
    return Phase(
        wanted.name, system, cell, free, wanted.per_voxel, size, lines, contents, volume, density(contents, volume)
    )


def _reach(system: str, cell: dict[str, float], free: tuple[Free, ...]) -> tuple[float, float]:
    """Smallest and largest factor on q of any line within the limits: those of the corners of the box.

    Exact for right angles; where angles are free as well, what lies between corners is far less than `TAIL`.
    """
    start, factors = full_cell(system, cell), []
    for corner in product(*((item.low, item.high) for item in free)):
        moved = cell | {item.name: value for item, value in zip(free, corner, strict=True)}
        factors += stretch(start, full_cell(system, moved))
    return min(factors), max(factors)


def _visible(lines: LineList) -> LineList:
    if not len(lines):
        return lines
    seen = lines.intensity > WEAKEST * lines.intensity.max()
    return LineList(*(getattr(lines, name)[seen] for name in LineList.__dataclass_fields__))


def _volume(system: str, cell: dict[str, float]) -> float:
    return float(np.sqrt(np.linalg.det(metric(full_cell(system, cell)))))


def _doubles(wanted: tuple[PhaseSettings, ...], phases: dict[str, Phase]) -> list[str]:
    """Pairs of one structure whose cells may become equal: their scales would be arbitrary."""
    return [
        f"phases {one.name!r} and {two.name!r} have one structure and overlapping cells; make the limits disjoint"
        for one, two in combinations(wanted, 2)
        if one.name in phases and two.name in phases
        if (one.structure or one.name) == (two.structure or two.name)
        if _overlap(phases[one.name], phases[two.name])
    ]


def _overlap(one: Phase, two: Phase) -> bool:
    """Every parameter can have a value of both; touching limits do not count."""

    def limits(phase: Phase, name: str) -> tuple[float, float]:
        return next(((f.low, f.high) for f in phase.free if f.name == name), (phase.cell[name], phase.cell[name]))

    for name in one.cell:
        (a, b), (c, d) = limits(one, name), limits(two, name)
        if min(b, d) < max(a, c) or (min(b, d) == max(a, c) and a < b and c < d):
            return False
    return True

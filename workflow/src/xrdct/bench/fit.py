"""The full-profile fit of simulated counts: how close to the Cramér-Rao bound, how sure to converge, and how fast.

Patterns are drawn from the NCA preset of 8 phases: scales from 0 to 1 (a third of them 0, the cathode's from 0.2), all
that a level fits uniformly within its limits, a background of a tenth of the strongest line.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numba
import numpy as np
from scipy.special import xlogy

from ..calibration.profile import InstrumentProfile
from ..config.fit import read_preset
from ..fit.engine import GPU_BLOCK
from ..fit.information import cramer_rao
from ..fit.model import PatternModel
from ..fit.phase_set import load_phase_set
from ..fit.solve import FitResult, fit_patterns
from ..gpu_memory import cuda_available
from .marks import Mark, at_least, at_most, between, not_measured, reported

DEVICE = "CPU, 2 threads"
THREADS, ROUNDS = 2, 3
"""Rounds of a timing: the fastest counts, since others use the machine too."""
PATTERNS, TIMED = 4000, {"full": 4000, "quick": 20_000}
"""Patterns of a measurement of errors, and of one of speed: `quick` takes its search for cells in blocks as large."""
DOSES = (100.0, 2000.0)
"""Counts at the strongest line of a phase at scale 1."""
PIXEL = 0.00828
"""1/Å: 172 µm at 1 m and 95 keV."""
PROFILE = InstrumentProfile(
    u=0.105, v=0.0, w=0.0002, eta0=0.1, eta1=0.0, two_theta_range=(1.0, 5.0), wavelength=0.1305, q_step=PIXEL / 2,
    trim=0.2, lines=(),
)  # fmt: skip
STRONG, CLEAR = 0.2, 0.4
"""Errors of a scale are compared where it is above the first, those of the cathode's cell from the second on: below 40
counts of 100 the likelihood itself has its maximum in the noise now and then, which no bound knows of."""
VOXELS = 405_769
"""Of the paper's map."""
COMPARED = 500
"""Patterns that both engines fit."""


@dataclass(frozen=True)
class Simulated:
    """Patterns of counts whose parameters are known."""

    model: PatternModel
    truth: np.ndarray
    """Shape (n_patterns, n_parameters)."""
    counts: np.ndarray
    """Shape (n_patterns, n_bins)."""
    full: np.ndarray
    """Scale of 1 in the units of `truth`, shape (n_scales,)."""


def measure() -> list[Mark]:
    """All marks; about two minutes."""
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    model = preset_model(PIXEL)
    marks = []
    for level in ("full", "quick"):
        for dose in DOSES:
            marks += accuracy(simulate(model, PATTERNS, dose, level=level), level, dose)
    return [*marks, same_answers(model), *speed(), gpu_speed()]


def preset_model(step: float) -> PatternModel:
    """The NCA preset on a grid of q of this step."""
    phases = load_phase_set(read_preset("nca-8"))
    return PatternModel(phases, np.arange(phases.q_min, phases.q_max, step), PROFILE)


def simulate(model: PatternModel, n: int, dose: float, *, level: str, seed: int = 0) -> Simulated:
    """Draw `n` patterns in which that varies which a level fits."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(model.start[None], n, axis=0)
    varied = model.free(level=level) & np.isfinite(model.high)
    truth[:, varied] = rng.uniform(model.low[varied], model.high[varied], (n, varied.sum()))
    scales = rng.uniform(0, 1, (n, model.n_scales)) * (rng.random((n, model.n_scales)) > 1 / 3)
    scales[:, 0] = rng.uniform(STRONG, 1, n)
    full = dose / model.units(model.start).max(axis=1)
    truth[:, model.scale_places] = scales * full
    truth[:, model.background_places] = dose * np.array([0.1, 0.02, 0.01])
    return Simulated(model, truth, rng.poisson(model.patterns(truth)).astype(float), full)


def accuracy(data: Simulated, level: str, dose: float) -> list[Mark]:
    """Errors over the bound, coverage, and how many patterns end where a fit does that begins at the truth."""
    found = fit_patterns(data.model, data.counts, level=level)
    ideal = fit_patterns(data.model, data.counts, level=level, start=data.truth, search=False)
    bound = np.array([cramer_rao(data.model, row, level=level) for row in data.truth])
    where = f"{level}, {dose:g} counts"
    marks = [
        convergence(data, found, ideal, f"{where}: no worse than the fit that begins at the truth", dose),
        reported(f"{where}: settled within 50 steps", 100 * found.converged.mean(), "%"),
        reported(f"{where}: median χ²", float(np.median(found.chi2))),
    ]
    for name, value in told(ratios(data, found, bound), ideal=1.0):
        row = f"{where}: RMS error over the Cramér-Rao bound, {name}"
        marks.append(reported(row, value) if "at scales" in name else at_most(row, 1.3, value))
    for name, value in told(coverage(data, found), ideal=0.683):
        marks.append(between(f"{where}: share of truths within the standard error, {name}", 0.65, 0.72, value))
    return marks


def told(values: Iterator[tuple[str, float]], *, ideal: float) -> list[tuple[str, float]]:
    """The cathode's figures, and of the scales of all others the worst."""
    first, *others = values
    scales = [item for item in others if item[0].startswith("scale")]
    name, worst = max(scales, key=lambda item: abs(item[1] - ideal))
    return [first, (f"{name} (the worst)", worst), *(item for item in others if item not in scales)]


def convergence(data: Simulated, found: FitResult, ideal: FitResult, name: str, dose: float) -> Mark:
    """Share of fits that leave no more than χ² 1 beyond what is left when the fit begins at the truth."""
    worse = deviance(data, found.parameters) - deviance(data, ideal.parameters)
    share = 100 * np.mean(worse < 1)
    return at_least(name, 99.5, share, "%") if dose == max(DOSES) else reported(name, share, "%")


def deviance(data: Simulated, parameters: np.ndarray) -> np.ndarray:
    """Twice the log likelihood that is missing to a model of the counts themselves, shape (n_patterns,)."""
    expected = np.maximum(data.model.patterns(parameters), 1e-9)
    return 2 * (expected - data.counts + xlogy(data.counts, data.counts / expected)).sum(axis=1)


def targets(data: Simulated) -> Iterator[tuple[str, int, np.ndarray]]:
    """Name and place of what is compared, and the patterns with enough of it: all scales, and the cathode's cell."""
    model = data.model
    for name, place, full in zip(model.phases.names, model.scale_places, data.full, strict=True):
        yield f"scale of {name}", place, data.truth[:, place] > STRONG * full
    cathode = model.phases.phases[0]
    clear = data.truth[:, model.place(cathode.name, "scale")] > CLEAR * data.full[0]
    for name in cathode.per_voxel:
        place = model.place(cathode.name, name)
        yield f"{name} of {cathode.name}", place, clear
        yield f"{name} of {cathode.name} at scales of {STRONG:g}–{CLEAR:g}", place, ~clear


def ratios(data: Simulated, found: FitResult, bound: np.ndarray) -> Iterator[tuple[str, float]]:
    """Root mean square error over that of the bound."""
    errors = found.parameters - data.truth
    for name, place, chosen in targets(data):
        yield name, float(np.sqrt(np.mean(errors[chosen, place] ** 2) / np.mean(bound[chosen, place] ** 2)))


def coverage(data: Simulated, found: FitResult) -> Iterator[tuple[str, float]]:
    """Share of truths that lie within one standard error, where there is one."""
    pulls = (found.parameters - data.truth) / found.errors
    for name, place, chosen in targets(data):
        known = chosen & np.isfinite(pulls[:, place])
        yield name, float(np.mean(np.abs(pulls[known, place]) < 1))


def speed() -> list[Mark]:
    """Patterns per second, the search for cells included."""
    marks = []
    for level, n_bins, goal in (("full", 203, 2000), ("quick", 400, 10_000)):
        phases = read_preset("nca-8")
        model = preset_model((phases.q_max - phases.q_min) / n_bins)
        data = simulate(model, TIMED[level], max(DOSES), level=level, seed=1)
        wall, cpu = fastest(lambda model=model, data=data, level=level: fit_patterns(model, data.counts, level=level))
        n, where = len(data.counts), f"{level}, 8 phases, {model.q.size} points"
        marks += [
            at_least(f"{where}: patterns per second of two cores' time", goal, n / (cpu / THREADS), "1/s"),
            reported(f"{where}: patterns per second by the clock, 2 threads", n / wall, "1/s"),
        ]
        minutes = VOXELS * cpu / THREADS / n / 60
        name = f"{where}: {VOXELS:,} voxels, extrapolated from {n:,}"
        marks.append(at_most(name, 1, minutes, "min") if level == "quick" else reported(name, minutes, "min"))
    return marks


def same_answers(model: PatternModel) -> Mark:
    """How far the tensors' answers (on a GPU where there is one) are from numba's, where both know an error."""
    counts = simulate(model, COMPARED, max(DOSES), level="full", seed=2).counts
    one, other = (fit_patterns(model, counts, engine=engine) for engine in ("numba", "torch"))
    difference = np.nanmax(np.abs(one.parameters - other.parameters) / one.errors)
    device = "a GPU" if cuda_available() else "the CPU"
    name = f"full, 2000 counts, {COMPARED} patterns: tensors on {device} and numba, largest difference"
    return at_most(name, 1e-3, difference, "standard errors")


def gpu_speed() -> Mark:
    """Patterns per second of a full fit on a GPU, the search for cells and both ways to its memory included."""
    name, goal = "full, 8 phases, 203 points: patterns per second on a GPU", 50_000
    if not cuda_available():
        return not_measured(name, f"≥ {goal}", "no GPU here")
    model = preset_model(PIXEL)
    counts = simulate(model, GPU_BLOCK, max(DOSES), level="full", seed=1).counts
    wall, _ = fastest(lambda: fit_patterns(model, counts, level="full", engine="torch"))
    return at_least(name, goal, len(counts) / wall, "1/s")


def fastest(run: Callable[[], object]) -> np.ndarray:
    """Least wall and processor time of a call, s."""
    run()  # compiled, or read from the cache
    times = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return np.min(times, axis=0)

"""Several networks and all that makes their answer one to be trusted: error bars, and a warning where none is due."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ..fit.model import PatternModel
from ..fit.solve import FitResult
from ..gpu_memory import FittingParts
from .calibration import Calibration, calibrate
from .library import Recipe, draw_library
from .network import LOG_WIDTHS
from .noise import POISSON, add_noise, counted_level, draw_doses, level_of
from .novelty import Components, Threshold, find_components, find_threshold
from .refine import held_at_limit, largest_residual, refine
from .scaling import Scaling
from .seeds import Purpose, numpy_generator, torch_generator
from .training import Noise

BATCH = 16_384
"""Patterns that go through a network together."""
MARGIN = 1.6
"""Calibration and thresholds go beyond the training's doses by this factor, so that they still hold at its ends."""
REFINED = 60_000
"""Held-out patterns, at most, that the two steps are calibrated on, and the threshold of their deviance."""


@dataclass(frozen=True)
class Prediction:
    """What an ensemble says of patterns; columns are `Scaling.targets`, scales in the patterns' unit and cells in Å."""

    values: np.ndarray
    """Mean of the members, shape (n_patterns, n_targets)."""
    bars: np.ndarray
    """Calibrated standard deviations, same shape."""
    spread: np.ndarray
    """Standard deviation between the members, same shape: how far training decides."""
    width: np.ndarray
    """Standard deviation that the members expect of the noise, same shape, not calibrated."""
    level: np.ndarray
    """Effective counts per bin, shape (n_patterns,)."""
    strange: np.ndarray
    """Whether the pattern is unlike the library's, shape (n_patterns,), bool."""


@dataclass(frozen=True)
class Ensemble:
    """Networks of one library; see `make_ensemble`."""

    members: tuple[nn.Module, ...]
    scaling: Scaling
    components: Components
    calibration: Calibration
    """Of the networks' error bars."""
    steps: Calibration
    """Of the standard errors of the two steps of `refine`."""
    residual: Threshold
    """Of `Components.scores`."""
    deviance: Threshold
    """Of χ² per degree of freedom after the two steps of `refine`."""
    local: Threshold
    """Of `largest_residual` after them."""

    def predict(self, patterns: np.ndarray, variance: np.ndarray | None = None) -> Prediction:
        """Answers for patterns (n_patterns, n_bins); variance as for `fit_patterns`, None for counts."""
        patterns = np.asarray(patterns, dtype=np.float32)
        level = level_of_patterns(patterns, variance)
        mean = np.maximum(patterns.mean(axis=1, dtype=float), 1e-30)
        values, spread, width = self.raw_answers(patterns, level, mean)
        raw = np.sqrt(spread**2 + width**2)
        signals = self.signals(values, raw)
        found = np.where(self.scaling.is_scale, np.maximum(values, 0), values)
        return Prediction(
            found,
            self.calibration.calibrated(raw, level, signals),
            spread,
            width,
            level,
            self.is_strange(patterns, patterns if variance is None else variance, level),
        )

    def is_strange(self, patterns: np.ndarray, variance: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Whether principal components leave too much of patterns, shape (n_patterns,), bool; see `Components`."""
        return self.residual.exceeded(self.components.scores(patterns, variance), level)

    def calibrated_steps(self, refined: FitResult, level: np.ndarray) -> FitResult:
        """The two steps with calibrated errors of what the networks answer for; `level` (n_patterns,)."""
        places, errors = self.scaling.places, refined.errors.copy()
        signals = self.signals(refined.parameters[:, places], errors[:, places])
        errors[:, places] = self.steps.calibrated(errors[:, places], level, signals)
        return replace(refined, errors=errors)

    def signals(self, values: np.ndarray, raw: np.ndarray) -> np.ndarray:
        """Scale of each target's owner over its raw error bar, 0 without one, shape (n_patterns, n_targets)."""
        owners = self.scaling.owners
        return np.nan_to_num(values[:, owners] / raw[:, owners], nan=0.0, posinf=0.0)

    def raw_answers(
        self, patterns: np.ndarray, level: np.ndarray, mean: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values, spread and width, nothing clipped or calibrated, shape (n_patterns, n_targets) each.

        `patterns` (n_patterns, n_bins) float32, their `level` and `mean` (n_patterns,).
        """
        outputs = _run(self.members, self.scaling, patterns, level)
        values = self.scaling.physical(outputs[..., 0], mean)
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])
        widths = self.scaling.widths(np.exp(np.clip(outputs[..., 1], *LOG_WIDTHS)), mean)
        # A Laplace distribution whose mean absolute value is b has the variance 2 b².
        return values.mean(axis=0), spread, np.sqrt((2 * widths**2).mean(axis=0))


def _run(members, scaling, patterns, level) -> np.ndarray:
    """Outputs of networks, shape (n_members, n_patterns, n_targets, 2), float64."""
    found = np.empty((len(members), len(patterns), len(scaling.targets), 2))

    def answer(part):
        device = next(members[0].parameters()).device
        # Half precision keeps 11 bits, a two-thousandth of a cell's range; bfloat16 would keep 8.
        with torch.inference_mode(), torch.autocast("cuda", dtype=torch.float16, enabled=device.type == "cuda"):
            x = torch.from_numpy(patterns[part]).to(device, non_blocking=True)
            some = torch.from_numpy(level[part].astype(np.float32)).to(device)
            inputs = scaling.inputs(x, some)
            for k, member in enumerate(members):
                found[k, part] = member(inputs).float().cpu().numpy()

    def to_cpu():
        for member in members:
            member.cpu()

    FittingParts("PQ-Net, patterns", BATCH, to_cpu).run(answer, len(patterns))
    return found


def level_of_patterns(patterns: np.ndarray, variance: np.ndarray | None) -> np.ndarray:
    """Level of patterns (n_patterns, n_bins), shape (n_patterns,); see `noise`; variance as for `Ensemble.predict`."""
    patterns = torch.from_numpy(np.asarray(patterns, dtype=np.float32))
    if variance is None:
        return counted_level(patterns).numpy().astype(float)
    return level_of(patterns, torch.as_tensor(np.asarray(variance, dtype=np.float32))).numpy().astype(float)


@dataclass(frozen=True)
class HeldOut:
    """Patterns that no network was trained on, and what is true of them."""

    patterns: np.ndarray
    """Counts, shape (n_patterns, n_bins)."""
    variance: np.ndarray | None
    """Same shape; None for Poisson noise."""
    truth: np.ndarray
    """All parameters in the unit of the counts, shape (n_patterns, n_parameters)."""
    dose: np.ndarray
    """Shape (n_patterns,)."""

    def targets(self, scaling: Scaling) -> np.ndarray:
        """Shape (n_patterns, n_targets)."""
        return self.truth[:, scaling.places]

    def present(self, scaling: Scaling, least: float) -> np.ndarray:
        """Whether each target's phase has this share of a full phase, shape (n_patterns, n_targets), bool."""
        scales = self.targets(scaling)[:, scaling.owners] / scaling.full
        return scales > least * self.dose[:, None]


def draw_held_out(
    model: PatternModel, recipe: Recipe, noise: Noise, n: int, *, purpose: Purpose, seed: int, doses=None
) -> HeldOut:
    """Noisy patterns for calibration or for a test; `doses` (two limits) if not those of the noise."""
    library = draw_library(model, recipe, n, numpy_generator(purpose, seed))
    generator = torch_generator(purpose, seed)
    clean, dose = torch.from_numpy(library.patterns), draw_doses(n, doses or noise.doses, generator)
    patterns, _, variance = add_noise(clean, dose, kind=noise.kind, generator=generator)
    dose = dose.numpy().astype(float)
    truth = library.parameters.copy()
    truth[:, model.scale_places] *= dose[:, None]
    truth[:, model.background_places] *= dose[:, None]
    return HeldOut(patterns.numpy(), None if noise.kind == POISSON else variance.numpy(), truth, dose)


def make_ensemble(
    model: PatternModel,
    recipe: Recipe,
    noise: Noise,
    scaling: Scaling,
    members: Iterable[nn.Module],
    *,
    patterns: int,
    alarms: float,
    seed: int,
    least: float = 0.02,
) -> Ensemble:
    """Join trained networks: principal components, calibration and thresholds from patterns that they never saw.

    Parameters
    ----------
    patterns
        Held-out patterns.
    alarms
        Share of ordinary patterns that may be called out of range after the two steps, by all checks together.
    least
        Error bars are calibrated on patterns whose phase has at least this share of a full phase.
    """
    doses = (noise.doses[0] / MARGIN, noise.doses[1] * MARGIN)
    held_out = draw_held_out(model, recipe, noise, patterns, purpose=Purpose.CALIBRATION, seed=seed, doses=doses)
    clean = draw_library(model, recipe, patterns, numpy_generator(Purpose.CALIBRATION, seed, 1)).patterns
    components = find_components(clean)
    members = tuple(member.eval() for member in members)
    empty = Ensemble(members, scaling, components, None, None, None, None, None)
    counts, variance = held_out.patterns, held_out.variance
    level, mean = level_of_patterns(counts, variance), np.maximum(counts.mean(axis=1, dtype=float), 1e-30)
    values, spread, width = empty.raw_answers(counts, level, mean)
    truth, present, raw = held_out.targets(scaling), held_out.present(scaling, least), np.sqrt(spread**2 + width**2)
    found = np.where(scaling.is_scale, np.maximum(values, 0), values)
    calibration = calibrate(found - truth, raw, level, empty.signals(values, raw), empty.signals(truth, raw), present)
    scores = components.scores(counts, counts if variance is None else variance)
    some = slice(0, REFINED)
    own = None if variance is None else variance[some]
    refined = refine(model, counts[some], scaling.targets, values[some], variance=own)
    after, errors = refined.parameters[:, scaling.places], refined.errors[:, scaling.places]
    steps = calibrate(
        after - truth[some], errors, level[some], empty.signals(after, errors), empty.signals(truth[some], errors),
        present[some],
    )  # fmt: skip
    local = largest_residual(model, counts[some], refined, variance=own)
    # Some cells are at a limit by chance; what is left of the alarms is shared by the thresholds.
    share = max(alarms - float(held_at_limit(model, scaling, refined).mean()), alarms / 4) / 3
    return Ensemble(
        members,
        scaling,
        components,
        calibration,
        steps,
        find_threshold(scores, level, alarms=share),
        find_threshold(refined.chi2, level[some], alarms=share),
        find_threshold(local, level[some], alarms=share),
    )

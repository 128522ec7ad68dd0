"""A whole volume through an ensemble, and through the two steps of the fit, a few rows of voxels at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from ..fit.maps import VoxelFit, bright_voxels
from ..fit.model import PatternModel
from ..fit.solve import FitResult, fit_patterns
from .agreement import FAR, biased, pulls
from .allowance import Allowance, Judged, find_allowance, judge, noise_factors, over_the_image
from .ensemble import Ensemble, Prediction
from .population import narrowed, with_limits_of
from .refine import counted_variance, held_at_limit, refine
from .scaling import Scaling

ROWS = 64
"""Rows of voxels held in memory: the chunk of a volume's store."""
SAMPLED = 4000
"""Voxels, roughly at most, that the noise is found from, and what all voxels have in common."""


@dataclass(frozen=True)
class VolumePrediction:
    """What an ensemble says of the voxels inside a mask."""

    prediction: Prediction
    """Rows in the order of ``numpy.nonzero(refined.mask)``; scales in the volume's unit."""
    refined: VoxelFit
    """The two steps; its standard errors follow from `noise_factor`."""
    in_range: np.ndarray
    """Whether a voxel is like the library, shape (n_y, n_x), bool; False outside the mask."""
    agrees: np.ndarray
    """Whether what the networks say of the phases that are there lies near the two steps (`agreement`), same shape."""
    biased: list[str]
    """Cells that the networks answer beside the two steps in most voxels, in words."""
    noise_factor: float
    """What the given variance was multiplied with to be that of the voxels."""
    missed: np.ndarray
    """Errors of the model relative to the fit that the voxels share, shape (n_bins,); see `allowance`."""
    widest: float
    """Largest FWHM, relative to q, that lines were widened by."""

    @property
    def answers_in_range(self) -> np.ndarray:
        """Whether a voxel is like the library and the networks' own answers agree with the steps, same shape."""
        return self.in_range & self.agrees

    def map_of(self, values: np.ndarray, targets: list[tuple[str, str]], parameter: str) -> np.ndarray:
        """One parameter of every phase and peak, shape (n_scales, n_y, n_x), NaN where it is not answered.

        `values` has one column per target. Cells are given where the phase's scale is twice its error bar.
        """
        maps = []
        for name in self.refined.model.phases.names:
            column = np.full(len(values), np.nan)
            if (name, parameter) in targets:
                column = values[:, targets.index((name, parameter))]
            if parameter != "scale" and (name, "scale") in targets:
                scale = targets.index((name, "scale"))
                there = self.prediction.values[:, scale] > 2 * self.prediction.bars[:, scale]
                column = np.where(there, column, np.nan)
            maps.append(self.refined.image(column))
        return np.array(maps)


def predict_volume(
    ensemble: Ensemble,
    model: PatternModel,
    volume,
    *,
    variance: np.ndarray | None,
    mask_threshold: float,
    widen: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> VolumePrediction:
    """Ask the networks about every voxel that is bright enough, and take two steps of the fit from there.

    What the networks do not answer, the steps know from the scan as a whole: see `population`. So do the thresholds by
    which a voxel is in range or not: see `allowance`.

    Parameters
    ----------
    volume
        Shape (n_y, n_x, n_q) on the grid that the model was made for; any array that gives some rows at a time.
    variance
        Relative noise of each channel, shape (n_q,); None: as Poisson counts of an unknown unit. Its size is found from
        the volume itself.
    mask_threshold, widen
        As for `fit_volume`; what the networks say of the scales is the map of what scatters.
    progress
        Wraps the blocks of rows, which are read twice.

    Raises
    ------
    FitError
        If no voxel is bright enough.
    """
    mask = _mask(model, volume, mask_threshold)
    blocks = [slice(first, first + ROWS) for first in range(0, mask.shape[0], ROWS)]
    blocks = [rows for rows in blocks if mask[rows].any()]
    variance = None if variance is None else np.asarray(variance, dtype=float)[model.inside]
    chosen, sample = _sample(model, volume, mask)
    noise = _Noise(variance, _noise_factor(ensemble, model, sample, variance), ensemble.scaling)
    total, predictions = np.zeros(model.q.size), []
    for rows in progress(blocks):
        patterns = _patterns(model, volume, mask, rows)
        total += patterns.sum(axis=0, dtype=float)
        predictions.append(noise.predict(ensemble, patterns))
    prediction = _joined(Prediction, predictions)
    width = np.zeros(mask.sum())
    if widen is not None:
        width = widen(_amount(model, ensemble.scaling, prediction, mask))[mask]
    some = noise.refine(model, sample, prediction.values[chosen], extra=width[chosen])
    here = narrowed(model, _with_noise_of_residuals(some, noise.factor)[0], ensemble.scaling.targets)
    factors, allowance = noise.learned(model, sample, some, width[chosen], chosen, mask)
    refined, judged, done = [], [], 0
    for rows in progress(blocks):
        patterns = _patterns(model, volume, mask, rows)
        own = slice(done, done + len(patterns))
        found = noise.refine(here, patterns, prediction.values[own], extra=width[own])
        refined.append(with_limits_of(model, found))
        fitted = model.patterns(refined[-1].parameters, extra=width[own])
        usual, chi2 = noise.of(patterns, fitted), refined[-1].chi2
        judged.append(judge(ensemble, model, patterns, fitted, chi2, usual, factors[own], allowance))
        done = own.stop
    voxels, factor = _with_noise_of_residuals(_joined(FitResult, refined), noise.factor)
    mean_pattern = total / mask.sum()
    mean = fit_patterns(
        model, mean_pattern, variance=variance, level="full", absolute=False, most=200,
        extra=float(np.sqrt(np.mean(width**2))),
    )  # fmt: skip
    found = VoxelFit(model, mask, mean, mean_pattern, ensemble.calibrated_steps(voxels, prediction.level))
    apart = pulls(ensemble.scaling, prediction.values, prediction.bars, voxels.parameters)
    agrees, in_range = np.zeros(mask.shape, dtype=bool), np.zeros(mask.shape, dtype=bool)
    agrees[mask] = (np.abs(apart) < FAR).all(axis=1)
    judged = _joined(Judged, judged)
    in_range[mask] = is_in_range(
        ensemble, model, replace(prediction, level=judged.level, strange=judged.strange),
        replace(voxels, chi2=judged.chi2), judged.local,
    )  # fmt: skip
    told = biased(ensemble.scaling, apart)
    return VolumePrediction(prediction, found, in_range, agrees, told, factor, allowance.own, float(width.max()))


def is_in_range(
    ensemble: Ensemble, model: PatternModel, prediction: Prediction, refined: FitResult, local: np.ndarray
) -> np.ndarray:
    """Whether patterns are like those of the library, shape (n_patterns,), bool.

    False where principal components leave too much of the pattern, or the two steps do, on the whole or at one place
    (`local`, from `largest_residual`), or a phase whose cell the networks answer for was held at a limit.
    """
    misfit = ensemble.deviance.exceeded(refined.chi2, prediction.level)
    line = ensemble.local.exceeded(local, prediction.level)
    return ~(prediction.strange | misfit | line | held_at_limit(model, ensemble.scaling, refined))


@dataclass(frozen=True)
class _Noise:
    """The noise of voxels: a variance per channel up to a factor, or Poisson counts of an unknown unit."""

    variance: np.ndarray | None
    factor: float
    """On the variance; without one, what one count is in the volume's unit."""
    scaling: Scaling

    def predict(self, ensemble: Ensemble, patterns: np.ndarray) -> Prediction:
        """As `Ensemble.predict`, in the volume's unit."""
        if self.variance is not None:
            return ensemble.predict(patterns, self.variance * self.factor)
        found = ensemble.predict(patterns / self.factor)
        unit = np.where(self.scaling.is_scale, self.factor, 1.0)
        return replace(found, **{name: getattr(found, name) * unit for name in ("values", "bars", "spread", "width")})

    def refine(self, model: PatternModel, patterns: np.ndarray, answers: np.ndarray, **more) -> FitResult:
        """As `refine`, in the volume's unit."""
        if self.variance is not None:
            return refine(model, patterns, self.scaling.targets, answers, variance=self.variance * self.factor, **more)
        found = refine(model, patterns / self.factor, self.scaling.targets, answers, **more)
        linear = np.r_[model.scale_places, model.background_places]
        for values in (found.parameters, found.errors):
            values[:, linear] *= self.factor
        return found

    def of(self, patterns: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Variance of every bin, in the volume's unit, shape (n_patterns, n_bins)."""
        given = counted_variance(patterns, fitted) if self.variance is None else self.variance
        return np.broadcast_to(given * self.factor, fitted.shape)

    def learned(self, model, sample, found: FitResult, extra, chosen, mask) -> tuple[np.ndarray, Allowance]:
        """Factors of all voxels, and what the fit misses in the scan, from a sample of it: see `allowance`."""
        fitted = model.patterns(found.parameters, extra=extra)
        residual, variance = sample - fitted, self.of(sample, fitted)
        factors = over_the_image(noise_factors(residual, variance, found.chi2), chosen, mask)
        return factors, find_allowance(residual, variance * factors[chosen, None], fitted)


def _with_noise_of_residuals(voxels, factor):
    """Errors and χ² with the noise that the median voxel shows, and the factor that is then right."""
    more = float(np.median(voxels.chi2))
    return replace(voxels, errors=voxels.errors * np.sqrt(more), chi2=voxels.chi2 / more), factor * more


def _amount(model, scaling, prediction, mask):
    """How much of the phases whose cells are answered for (of all, if there are none) stands where, (y, x)."""
    cells = ~scaling.is_scale
    owners = np.unique(scaling.owners[cells] if cells.any() else scaling.owners)
    image = np.zeros(mask.shape)
    image[mask] = prediction.values[:, owners].sum(axis=1)
    return image


def _mask(model, volume, threshold):
    total, finite = np.empty(volume.shape[:2]), np.empty(volume.shape[:2], dtype=bool)
    for first in range(0, volume.shape[0], ROWS):
        rows = slice(first, first + ROWS)
        values = np.asarray(volume[rows])
        total[rows], finite[rows] = np.nansum(values, axis=2), np.isfinite(values[..., model.inside]).all(axis=2)
    return bright_voxels(total, finite, threshold=threshold)


def _patterns(model, volume, mask, rows):
    return np.asarray(volume[rows])[mask[rows]][:, model.inside]


def _sample(model, volume, mask):
    """Voxels spread evenly over the mask: which of those in it, shape (n_voxels,) bool, and their patterns."""
    every = max(1, int(mask.sum()) // SAMPLED)
    chosen = np.zeros(mask.shape, dtype=bool)
    chosen[tuple(index[::every] for index in np.nonzero(mask))] = True
    blocks = [slice(first, first + ROWS) for first in range(0, mask.shape[0], ROWS)]
    patterns = np.concatenate([_patterns(model, volume, chosen, rows) for rows in blocks if chosen[rows].any()])
    return chosen[mask], patterns


def _noise_factor(ensemble, model, patterns, variance):
    """From some voxels: first by principal components, then by what the two steps leave.

    The median over voxels: a few strange ones do not count. What all of them have that no library has counts as noise,
    and error bars grow with it.
    """
    given = np.maximum(patterns, 0) if variance is None else variance
    # Where noise is stronger than the pattern the root hides some of it: this is a first guess.
    factor = float(np.median(ensemble.components.scores(patterns, given)))
    noise = _Noise(variance, factor, ensemble.scaling)
    fitted = noise.refine(model, patterns, noise.predict(ensemble, patterns).values)
    return factor * float(np.median(fitted.chi2))


def _joined(kind, parts):
    return kind(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(kind)})

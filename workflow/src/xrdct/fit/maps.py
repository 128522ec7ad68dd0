"""From a volume to maps: which voxels are fitted, the mean pattern first, then all of them, and what they say."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np

from ..composition import weight_fractions
from ..errors import FitError
from .model import PatternModel
from .sizes import sizes_of_regions
from .solve import FitResult, fit_patterns

BRIGHT = 99.0
"""Percentile of the voxels' sums that stands for a full voxel: a few bright grains must not set the mask."""
WIDTHS = 24
"""Steps from no broadening to the largest: in the widest line half a step changes the width by some per cent."""


@dataclass(frozen=True)
class VoxelFit:
    """Fit of the voxels inside a mask."""

    model: PatternModel
    mask: np.ndarray
    """Voxels that were fitted, shape (n_y, n_x), bool."""
    mean: FitResult
    """Of the mean pattern of these voxels."""
    mean_pattern: np.ndarray
    """Shape (n_bins,)."""
    voxels: FitResult
    """Rows in the order of ``numpy.nonzero(mask)``."""

    def image(self, values: np.ndarray) -> np.ndarray:
        """Values of the fitted voxels as a map, NaN elsewhere, float32."""
        image = np.full(self.mask.shape, np.nan, dtype=np.float32)
        image[self.mask] = values
        return image

    def phase_maps(self, parameter: str, *, errors: bool = False) -> np.ndarray:
        """'scale', 'a', 'b', 'c' (Å) or 'size' (nm) of every phase and peak, shape (n_scales, n_y, n_x); NaN where it
        was not fitted, or the phase is absent."""
        source = self.voxels.errors if errors else self.voxels.parameters
        return np.array([self.image(self._values(name, parameter, source, errors)) for name in self._phase_names()])

    def weight_fractions(self) -> np.ndarray:
        """Share of the mass of all crystalline phases, shape (n_scales, n_y, n_x); 0 for single peaks."""
        n = len(self.model.phases.phases)
        scales = self.voxels.parameters[:, self.model.scale_places[:n]]
        shares = weight_fractions(scales.T, self.model.phases.densities)
        empty = np.zeros((len(self._phase_names()) - n, shares.shape[1]))
        return np.array([self.image(row) for row in np.vstack([shares, empty])])

    def limits_hit(self) -> np.ndarray:
        """Whether a cell or size of a phase that is present ended at a limit, shape (n_scales, n_y, n_x)."""
        maps = []
        for name, place in zip(self._phase_names(), self.model.scale_places, strict=True):
            own = [k for k, (owner, _) in enumerate(self.model.names) if owner == name and k != place]
            hit = self.voxels.at_limit[:, own].any(axis=1) & (self.voxels.parameters[:, place] > 0)
            image = np.zeros(self.mask.shape, dtype=bool)
            image[self.mask] = hit
            maps.append(image)
        return np.array(maps)

    def _phase_names(self):
        return self.model.phases.names

    def _values(self, name, parameter, source, errors):
        key = "1/size" if parameter == "size" else parameter
        if (name, key) not in self.model.names:
            return np.full(len(source), np.nan)
        place, scale = self.model.place(name, key), self.model.place(name, "scale")
        values = source[:, place].copy()
        if parameter == "scale":
            return values
        if parameter == "size":
            size = 1 / self.voxels.parameters[:, place]
            values = values * size**2 if errors else size
        fitted = np.isfinite(self.voxels.errors[:, place]) | self.voxels.at_limit[:, place]
        return np.where(fitted & (self.voxels.parameters[:, scale] > 0), values, np.nan)


def fit_volume(
    model: PatternModel,
    volume: np.ndarray,
    *,
    level: str,
    variance: np.ndarray | None,
    mask_threshold: float,
    widen: Callable[[np.ndarray], np.ndarray] | None = None,
    most: int = 50,
    progress: Callable[[Iterable], Iterable] = iter,
) -> VoxelFit:
    """Fit every voxel of a volume that is bright enough, starting from its mean pattern.

    Parameters
    ----------
    volume
        Shape (n_y, n_x, n_q) on the grid that the model was made for (all of it, not the model's range).
    level
        'quick' or 'full': see `PatternModel.free`.
    variance
        Relative noise of each channel, shape (n_q,); None: as Poisson counts.
    mask_threshold
        Voxels are left out whose sum is below this share of that of the brightest.
    widen
        From a map of what scatters, (n_y, n_x), to the FWHM of a further broadening of every voxel relative to q, such
        as `parallax.parallax_width`; None: there is none.
    most, progress
        As for `fit_patterns`.

    Raises
    ------
    FitError
        If no voxel is bright enough.
    """
    mask = bright_voxels(
        np.nansum(volume, axis=2), np.isfinite(volume[..., model.inside]).all(axis=2), threshold=mask_threshold
    )
    patterns = volume[mask][:, model.inside]
    weights = {"variance": None if variance is None else variance[model.inside], "absolute": False}
    mean_pattern = patterns.mean(axis=0, dtype=float)
    mean = fit_patterns(model, mean_pattern, level="full", most=200, **weights)
    width = np.zeros(len(patterns))
    if widen is not None:
        scales = _fit_by_width(model, patterns, width, iter, _start(model, mean), level="linear", **weights)
        width = widen(amount_map(model, scales, mask))[mask]
        typical = np.sqrt(np.mean(width**2))
        mean = fit_patterns(model, mean_pattern, level="full", extra=typical, most=200, **weights)
    start = _start(model, mean)
    if level == "quick":
        start = sizes_of_regions(model, patterns, mask, start, extra=width, **weights)
    voxels = _fit_by_width(model, patterns, width, progress, start, level=level, most=most, **weights)
    return VoxelFit(model, mask, mean, mean_pattern, voxels)


def amount_map(model: PatternModel, found: FitResult, mask: np.ndarray) -> np.ndarray:
    """How much of the phases whose cells are fitted in every voxel (of all, if there are none) stands where, (y, x)."""
    phases = [phase for phase in model.phases.phases if phase.per_voxel] or model.phases.phases
    places = [model.place(phase.name, "scale") for phase in phases]
    image = np.zeros(mask.shape)
    image[mask] = found.parameters[:, places].sum(axis=1)
    return image


def _start(model, mean):
    """Parameters of the mean pattern; a phase that it hardly holds says nothing about its cell and size there."""
    start = mean.parameters[0].copy()
    for phase in model.phases.phases:
        if not start[model.place(phase.name, "scale")] > 3 * _zero(mean.errors[0, model.place(phase.name, "scale")]):
            own = [model.place(phase.name, name) for name in ("a", "b", "c", "1/size")]
            start[own] = model.start[own]
    return start


def _fit_by_width(model, patterns, width, progress, start, **options):
    """Fit voxels of about the same broadening together: they share the unit patterns of what is not free."""
    step = width.max() / WIDTHS
    level = np.rint(width / step).astype(int) if step > 0 else np.zeros(len(width), int)
    order, parts = [], []
    for k in progress(np.unique(level)):
        order.append(np.flatnonzero(level == k))
        parts.append(fit_patterns(model, patterns[order[-1]], start=start, extra=k * step, **options))
    order = np.argsort(np.concatenate(order))
    return FitResult(
        **{item.name: np.concatenate([getattr(part, item.name) for part in parts])[order] for item in fields(FitResult)}
    )


def bright_voxels(total: np.ndarray, finite: np.ndarray, *, threshold: float) -> np.ndarray:
    """Which voxels are worth a fit, bool.

    Parameters
    ----------
    total
        Sum of every voxel's pattern.
    finite
        Whether all of it is a number, same shape, bool.
    threshold
        Share of the brightest voxels' sum (the `BRIGHT` percentile) that must be passed.

    Raises
    ------
    FitError
        If no voxel is bright enough.
    """
    full = np.percentile(total[total > 0], BRIGHT) if (total > 0).any() else 0.0
    mask = (total > threshold * full) & finite & (full > 0)
    if not mask.any():
        raise FitError("no voxel holds any signal in the range of the phase set; is the volume empty?")
    return mask


def _zero(value):
    return value if np.isfinite(value) else np.inf

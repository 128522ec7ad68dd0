"""Scales of phases whose cells are known: what is fitted again and again while attenuation is looked for."""

from collections.abc import Callable
from copy import copy

import numpy as np

from ..fit.maps import amount_map
from ..fit.model import PatternModel
from ..fit.solve import fit_patterns


class Scales:
    """Linear fits of the scales of a phase set, with cells and sizes from a first fit.

    Scales may be negative: a fit that cuts noise off at 0 makes phases out of it that weaken the beam. Every bin weighs
    as the whole scan is noisy there.

    Parameters
    ----------
    model
        Patterns of the phase set; its own limits are not touched.
    volume
        Local patterns [y, x, bin of the model], without or with self-absorption.
    mask
        Voxels that hold something, (y, x), bool; scales elsewhere are 0.
    cells
        Maps (y, x) by (phase, 'a' | 'b' | 'c'), Å; where NaN, the mean pattern's.
    variance
        Relative noise of each bin, shape (bin,).
    widen
        From a map of what scatters, (y, x), to the FWHM of a further broadening of every voxel relative to q, such as
        `fit.parallax.parallax_width`; None: there is none.
    """

    def __init__(
        self,
        model: PatternModel,
        volume: np.ndarray,
        *,
        mask: np.ndarray,
        cells: dict,
        variance: np.ndarray,
        widen: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.model, self.mask, self.variance = model, mask, np.asarray(variance, dtype=float)
        self.widen, self.extra = widen, np.zeros(np.count_nonzero(mask))
        self._signed = _signed(model)
        self.start = self._start(volume, cells)
        if widen is not None:
            self._widen(self._fit(volume[mask]))
            self.start = self._start(volume, cells)

    def _start(self, volume, cells):
        """Parameters of every voxel: sizes of the mean pattern, its own cells."""
        model, mask = self.model, self.mask
        mean = fit_patterns(
            model,
            volume[mask].mean(axis=0, dtype=float),
            variance=self.variance,
            absolute=False,
            extra=np.sqrt(np.mean(self.extra**2)),
            most=200,
        ).parameters[0]
        mean[model.background_places] = 0.0
        start = np.repeat(mean[None], np.count_nonzero(mask), axis=0)
        for (phase, edge), values in cells.items():
            place = model.place(phase, edge)
            known = np.clip(values[mask], model.low[place], model.high[place])
            start[:, place] = np.where(np.isfinite(known), known, mean[place])
        return start

    @property
    def n_phases(self) -> int:
        """Number of phases, without single peaks."""
        return len(self.model.phases.phases)

    def of_volume(self, volume: np.ndarray) -> np.ndarray:
        """Scale maps of the phases, (phase, y, x), from local patterns [y, x, bin of the model]."""
        found = self._fit(volume[self.mask])
        if self.widen is not None:
            self._widen(found)
            found = self._fit(volume[self.mask])
        maps = np.zeros((self.n_phases, *self.mask.shape))
        maps[:, self.mask] = found.parameters[:, self.model.scale_places[: self.n_phases]].T
        return maps

    def _widen(self, found):
        self.extra = self.widen(amount_map(self.model, found, self.mask))[self.mask]

    def _fit(self, patterns):
        return fit_patterns(
            self._signed,
            patterns,
            start=self.start,
            level="linear",
            variance=self.variance,
            absolute=False,
            search=False,
            extra=self.extra,
        )


def _signed(model: PatternModel) -> PatternModel:
    """The same model with scales that may be negative."""
    signed = copy(model)
    signed.low = model.low.copy()
    signed.low[model.scale_places] = -np.inf
    return signed

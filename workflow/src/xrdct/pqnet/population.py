"""What the voxels of a scan have in common: cells and sizes that no voxel tells well by itself.

The stages of graphite overlap: with cells and sizes free in every voxel a weak one takes counts from its neighbours,
and its map is noisier than that of a fit which holds them at the mean pattern's. To hold them is wrong where they
differ from place to place. How much they differ is in the voxels: their values scatter by more than their errors. With
their mean and scatter as limits, which are knowledge to the fit (`fit.newton`), what is the same everywhere is as good
as held, and what is not stays free.
"""

from copy import copy
from dataclasses import replace

import numpy as np

from ..fit.model import PatternModel
from ..fit.newton import KNOWN
from ..fit.solve import AT_LIMIT, FitResult
from .refine import SURE

WIDE = 2.5
"""Standard deviations of a population to which new limits reach: one voxel in eighty lies beyond."""
FEWEST = 30
"""Voxels that must tell a parameter."""
TELLING = 0.2
"""What a voxel must know of a parameter beside the limits, in units of what these know, to be asked."""
ROUNDS = 100
"""Of the scatter's fixed point; it is settled long before."""


def narrowed(model: PatternModel, found: FitResult, answered: tuple[tuple[str, str], ...]) -> PatternModel:
    """The model with limits that the voxels of one scan leave of its own, where they say more than these.

    Parameters
    ----------
    found
        Voxels spread over the scan, fitted with the limits of `model`; errors in the size of the noise.
    answered
        Owners and parameters that are not shared: those that networks answer for.
    """
    here = copy(model)
    here.start, here.low, here.high = (values.copy() for values in (model.start, model.low, model.high))
    free = model.free(level="full") & np.isfinite(model.high - model.low)
    for place in np.flatnonzero(free):
        owner, name = model.names[place]
        if (owner, name) in answered:
            continue
        scale = model.place(owner, "scale")
        with np.errstate(invalid="ignore"):
            present = found.parameters[:, scale] > SURE * found.errors[:, scale]
        values, errors = found.parameters[present, place], found.errors[present, place]
        low, high = model.low[place], model.high[place]
        centre, spread = population(values, errors, low, high)
        here.low[place], here.high[place] = max(low, centre - WIDE * spread), min(high, centre + WIDE * spread)
        here.start[place] = np.clip(here.start[place], here.low[place], here.high[place])
    return here


def population(values: np.ndarray, errors: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """Mean and standard deviation of what is true in voxels, from what was fitted there, shape (n_voxels,) both.

    Limits drew every value to their middle: what the patterns alone say is x = (v/e² − k m)/(1/e² − k), of variance
    1/(1/e² − k), with k one over the limits' own variance and m their middle. The scatter of the x beyond their
    variances is the population's. NaN errors are of values at a limit. Where too few voxels tell, or most are at a
    limit, it is the limits' own.
    """
    known, middle = KNOWN / (high - low) ** 2, (low + high) / 2
    told = np.isfinite(errors)
    if 2 * told.sum() < told.size:
        return middle, known**-0.5
    information = errors[told] ** -2.0 - known
    telling = information > TELLING * known
    if telling.sum() < FEWEST:
        return middle, known**-0.5
    information = information[telling]
    alone = (values[told][telling] * (information + known) - known * middle) / information
    spread = 1 / known
    for _ in range(ROUNDS):
        weight = 1 / (spread + 1 / information)
        centre = np.sum(weight * alone) / weight.sum()
        beyond = weight**2 * ((alone - centre) ** 2 - 1 / information)
        spread = min(max(float(beyond.sum() / (weight**2).sum()), 0.0), 1 / known)
    # The mean is known as well as all voxels together tell it.
    return float(np.clip(centre, low, high)), float(np.sqrt(min(spread + 1 / weight.sum(), 1 / known)))


def with_limits_of(model: PatternModel, found: FitResult) -> FitResult:
    """The fit of a narrowed model, with what is at the limits of the wide one as such."""
    near = AT_LIMIT * np.where(np.isfinite(model.high - model.low), model.high - model.low, 0.0)
    outermost = (found.parameters <= model.low + near) | (found.parameters >= model.high - near)
    return replace(found, at_limit=found.at_limit & outermost)

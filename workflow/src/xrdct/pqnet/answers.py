"""What the networks answer in the form of a fit, for figures and trees that were made for fits."""

import numpy as np
import xarray as xr

from ..composition import weight_fractions

ANSWERED = ("scale", "a", "b", "c")


def answers_as_fit(answers: xr.Dataset, refined: xr.Dataset) -> xr.Dataset:
    """The networks' values and calibrated error bars in the place of those of the two steps.

    Parameters
    ----------
    answers
        Store of kind 'pqnet'.
    refined
        Store of kind 'fit': the two steps from these answers, whose mean pattern stays.

    Returns
    -------
    xarray.Dataset
        Of the form of a fit, source 'pqnet'. NaN is what no network answers: sizes, Rwp, χ², all of a phase that is not
        among the targets, and weight fractions if there is such a phase (single peaks have none).
    """
    found = refined.copy()
    for name in ANSWERED:
        found[name] = answers[name].astype(np.float32)
        found[f"{name}_err"] = answers[f"{name}_std"].astype(np.float32).assign_attrs(answers[name].attrs)
    for name in ("size", "size_err", "rwp", "chi2"):
        found[name] = xr.full_like(refined[name], np.nan)
    found["at_limit"] = xr.zeros_like(refined.at_limit)
    crystalline = np.isfinite(refined.density.values)
    shares = np.zeros(refined.scale.shape)
    shares[crystalline] = weight_fractions(answers.scale.values[crystalline], refined.density.values[crystalline])
    inside = refined.mask.values
    found["weight_fraction"] = refined.weight_fraction.copy(data=np.where(inside, shares, np.nan).astype(np.float32))
    found["in_range"] = answers.in_range
    warnings = [*answers.attrs.get("warnings", []), *refined.attrs.get("warnings", [])]
    return found.assign_attrs(source="pqnet", warnings=warnings)

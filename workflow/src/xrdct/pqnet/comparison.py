"""PQ-Net, its two steps and the full-profile fit beside each other, voxel by voxel: where they disagree, and whether
the error bars said so."""

import numpy as np
import xarray as xr

PARAMETERS = ("scale", "a", "b", "c")
STRONG = 0.2
"""Compared where the fit's scale is above this share of its 99th percentile: elsewhere there is no cell to speak of."""
APART = 2.0
"""Standard deviations of a difference from which two answers disagree: one in twenty by chance, if bars are right."""


def compare(maps: xr.Dataset, refined: xr.Dataset, fit: xr.Dataset) -> list[dict]:
    """One row per phase, parameter and source, where the networks answer.

    Parameters
    ----------
    maps
        Store of kind 'pqnet'.
    refined, fit
        Stores of kind 'fit'; the second is what the others are compared with.

    Returns
    -------
    list of dict
        ``bias`` (median difference), ``rms`` (of differences, robust: 1.4826 times the median deviation), ``apart``
        (share of voxels that disagree), ``apart_in_range`` and ``apart_outside`` (the same in range and out of it),
        ``warned`` (share of those that disagree that are out of range), ``error`` (median error bar); units of the
        maps; None where there are no such voxels.
    """
    rows = []
    for phase, parameter in answered(maps):
        for source, store, suffix in (("pqnet", maps, "_std"), ("pqnet+fit", refined, "_err")):
            difference, sigma = differences(store, fit, phase, parameter, suffix)
            chosen = np.isfinite(difference)
            if not chosen.any():
                continue
            values, errors, in_range = difference[chosen], sigma[chosen], store.in_range.values[chosen]
            far = np.abs(values) > APART * errors
            rows.append(
                {
                    "phase": phase,
                    "parameter": parameter,
                    "source": source,
                    "voxels": int(chosen.sum()),
                    "bias": float(np.median(values)),
                    "rms": float(1.4826 * np.median(np.abs(values - np.median(values)))),
                    "error": float(np.median(errors)),
                    "apart": float(far.mean()),
                    "apart_in_range": _share(far[in_range]),
                    "apart_outside": _share(far[~in_range]),
                    "warned": _share(~in_range[far]),
                }
            )
    return rows


def answered(maps: xr.Dataset) -> list[tuple[str, str]]:
    """Phases and parameters that the networks answer for."""
    return [
        (str(phase), parameter)
        for phase in maps.phase.values
        for parameter in PARAMETERS
        if np.isfinite(maps[parameter].sel(phase=phase)).any()
    ]


def differences(store: xr.Dataset, fit: xr.Dataset, phase: str, parameter: str, suffix: str):
    """Difference to the fit and its standard deviation where the fit has much of the phase, NaN elsewhere; (y, x) both.

    Both answers come from the same noise: the larger of their two error bars is the difference's, not their sum.
    """
    scale = fit.scale.sel(phase=phase).values
    strong = scale > STRONG * np.nanpercentile(scale, 99)
    found, other = (item[parameter].sel(phase=phase).values for item in (store, fit))
    errors = [store[parameter + suffix].sel(phase=phase).values, fit[parameter + "_err"].sel(phase=phase).values]
    sigma = np.fmax(*errors)
    known = strong & np.isfinite(found) & np.isfinite(other) & (sigma > 0)
    return np.where(known, found - other, np.nan), np.where(known, sigma, np.nan)


def to_table(rows: list[dict]) -> str:
    """Rows of `compare` as text, columns separated by commas."""
    columns = list(rows[0]) if rows else ["phase", "parameter", "source", "voxels"]
    lines = [",".join(_cell(row[name]) for name in columns) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"


def disagreement(maps: xr.Dataset, fit: xr.Dataset) -> np.ndarray:
    """Where the networks and the fit disagree about anything that is compared, shape (y, x).

    0: nowhere more than `APART` error bars apart; 1: apart, and called out of range; 2: apart without a warning; NaN
    where nothing is compared.
    """
    compared = apart = np.zeros(maps.in_range.shape, dtype=bool)
    for phase, parameter in answered(maps):
        difference, sigma = differences(maps, fit, phase, parameter, "_std")
        compared = compared | np.isfinite(difference)
        apart = apart | (np.abs(difference) > APART * sigma)
    found = apart * np.where(maps.in_range.values, 2.0, 1.0)
    return np.where(compared, found, np.nan)


def _cell(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"


def _share(values):
    return float(values.mean()) if values.size else None

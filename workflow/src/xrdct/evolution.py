"""From the maps of all scans on a common grid to a table: scan × region × phase.

A share is a phase's scale (proportional to its volume) over the sum of the scales of its group: an electrode's phases
sum to 1. A voxel counts where the group is strong, and for a lattice parameter where the phase is.
"""

import numpy as np
import xarray as xr

from .regions import TOP, Summary, summarise

ERRORS = 3.0
"""A phase is there from this many standard errors of its scale on."""
CELLS = ("a", "c")
UNITS = {"share": "1", "a": "angstrom", "c": "angstrom"}


def top_of(values: np.ndarray) -> float:
    """The highest value of maps, without the strongest outliers; 0 where there is none."""
    finite = values[np.isfinite(values)]
    return max(0.0, float(np.percentile(finite, TOP))) if finite.size else 0.0


def shares(scale: np.ndarray, groups: list[list[int]], *, least: float, tops: np.ndarray) -> np.ndarray:
    """Share of each phase in its group, NaN where the group is weak.

    Parameters
    ----------
    scale
        Shape (phase, y, x); NaN where nothing was fitted. Negative values count as 0.
    groups
        Numbers of the phases of each group; a phase in no group has its share of all.
    least
        A voxel counts where the sum of its group is above this share of `tops`.
    tops
        Highest value of the sum of each group, and of all phases last: the same for all scans.
    """
    amount = np.clip(scale, 0, None)
    found = np.full(scale.shape, np.nan)
    grouped = {number for group in groups for number in group}
    rest = [number for number in range(len(scale)) if number not in grouped]
    for members, of, top in zip([*groups, rest], [*groups, slice(None)], tops, strict=True):
        total = amount[of].sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            found[members] = np.where(total > least * top, amount[members] / total, np.nan)
    return found


def group_tops(scales: list[np.ndarray], groups: list[list[int]]) -> np.ndarray:
    """Highest sum of each group, and of all phases, over all scans."""
    sums = [
        [np.clip(scale[of], 0, None).sum(axis=0) for of in [*groups, slice(None)]] for scale in map(np.asarray, scales)
    ]
    return np.array([max(top_of(one[k]) for one in sums) for k in range(len(groups) + 1)])


def cells_where_strong(values: np.ndarray, scale: np.ndarray, error: np.ndarray, *, least: float, top: float):
    """A lattice parameter (y, x) where the phase is strong enough for an answer, NaN elsewhere."""
    with np.errstate(invalid="ignore"):
        return np.where((scale > ERRORS * error) & (scale > least * top), values, np.nan)


def evolve(quantities: dict[str, np.ndarray], regions: np.ndarray) -> dict[str, np.ndarray]:
    """Mean, sd, standard error and count of each quantity.

    Parameters
    ----------
    quantities
        Maps by name, shape (scan, phase, y, x); NaN where there is no value.
    regions
        Masks, shape (region, y, x).

    Returns
    -------
    dict
        For every quantity Q: ``Q_mean``, ``Q_sd``, ``Q_se``, ``Q_n``, each of shape (scan, region, phase).
    """
    table = {}
    for name, maps in quantities.items():
        found = [[[summarise(image, region) for image in scan] for region in regions] for scan in maps]
        shape = (len(maps), len(regions), maps.shape[1])
        for k, kind in enumerate(Summary._fields):
            table[f"{name}_{kind}"] = np.array(found, dtype=float).reshape(*shape, len(Summary._fields))[..., k]
    return table


def to_table(evolution: xr.Dataset) -> str:
    """The evolution as text: one line per scan, region and phase that has a voxel, columns separated by commas."""
    names = [str(name) for name in evolution.data_vars]
    head = ["scan", "voltage_V", "region", "phase", *names]
    lines = [",".join(head)]
    for scan in evolution.scan.values.tolist():
        for region in evolution.region.values.tolist():
            for phase in evolution.phase.values.tolist():
                one = evolution.sel(scan=scan, region=region, phase=phase)
                if not any(float(one[name]) > 0 for name in names if name.endswith("_n")):
                    continue
                values = [float(one.voltage_V), region, phase, *(float(one[name]) for name in names)]
                lines.append(",".join([scan, *(_cell(value) for value in values)]))
    return "\n".join(lines) + "\n"


def _cell(value):
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"

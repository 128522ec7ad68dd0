"""Do two computations of one store agree? Exactly, or within a tolerance that its kind has.

Within one machine, one version of everything, and one number of cores, every stage gives the same bits. Elsewhere
sums are made in another order (kernels, FFTs, BLAS) and networks take another way downhill: then a store agrees when
in every variable all but a small share of the values differ by less than a step. The step is a share of the variable's
own root mean square; of what has an error bar (`a` has `a_err` or `a_std`) it is a share of that bar, since digits
far below it mean nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

ERRORS = ("_err", "_std")
"""Endings of the variables that are error bars."""


@dataclass(frozen=True)
class Tolerance:
    """When two computations of a store count as the same."""

    relative: float
    """Step of a variable without error bars, in units of its root mean square."""
    in_errors: float = 0.0
    """Step of a variable with error bars, in units of these."""
    beyond: float = 0.001
    """Share of a variable's values, at most, that may differ by more than a step; flags and NaN count too."""

    def __str__(self) -> str:
        bars = f", {self.in_errors:g} error bars" if self.in_errors else ""
        return f"{self.relative:g} of the rms{bars}, {self.beyond:.1%} of the values beyond"


TOLERANCES = {
    # float32 sums in another order: 1e-7 of a value, and a few hundred terms
    "patterns": Tolerance(1e-5),
    "sinogram": Tolerance(1e-4),
    "volume": Tolerance(1e-4),
    "maps": Tolerance(1e-3),
    "attenuation": Tolerance(1e-3, beyond=0.01),
    # a voxel where two phases overlap can end in another minimum
    "fit": Tolerance(0.01, in_errors=0.05, beyond=0.01),
    "beamtime": Tolerance(0.01, in_errors=0.05, beyond=0.01),
    "series": Tolerance(0.01, in_errors=0.05, beyond=0.01),
    "library": Tolerance(1e-5),
    "pqnet": Tolerance(0.1, in_errors=1.0, beyond=0.05),
}
"""By kind of store."""

LEARNED = {
    "volume": Tolerance(0.1, beyond=0.05),
    "maps": Tolerance(0.1, beyond=0.05),
    "fit": Tolerance(0.1, in_errors=1.0, beyond=0.05),
    "beamtime": Tolerance(0.1, in_errors=1.0, beyond=0.05),
    "series": Tolerance(0.1, in_errors=1.0, beyond=0.05),
    "pqnet": Tolerance(0.1, in_errors=1.0, beyond=0.05),
}
"""By kind, of stores behind a network that was trained again: training magnifies the last bit of a sum."""


def disagreements(
    first: Mapping[str, xr.Variable], second: Mapping[str, xr.Variable], tolerance: Tolerance
) -> Iterator[str]:
    """What differs by more than the tolerance, one line per variable; nothing: they agree.

    Parameters
    ----------
    first, second
        Variables and coordinates by name.
    tolerance
        Of the kind of store.
    """
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            yield f"{name} is only in the {'second' if name not in first else 'first'}"
            continue
        one, other = first[name], second[name]
        if (one.dims, one.shape) != (other.dims, other.shape):
            yield f"{name} is {_form(one)} in the first, {_form(other)} in the second"
            continue
        bar = next((first[name + ending] for ending in ERRORS if name + ending in first), None)
        share = share_beyond(one.values, other.values, tolerance, None if bar is None else bar.values)
        if share > tolerance.beyond:
            yield f"{name}: {share:.2%} of the values differ by more than {tolerance}"


def share_beyond(first: np.ndarray, second: np.ndarray, tolerance: Tolerance, bars: np.ndarray | None = None) -> float:
    """Share of the values that differ by more than a step; 0 to 1.

    Text, flags and whole numbers must be equal; a NaN in one of the two differs. Where an error bar is NaN, the step
    is that of a variable without.
    """
    if not first.size:
        return 0.0
    if first.dtype.kind != "f":
        return float(np.mean(first != second))
    step = tolerance.relative * np.sqrt(np.nanmean(np.square(first, dtype=float))) if np.isfinite(first).any() else 0.0
    if bars is not None:
        step = np.where(np.isfinite(bars), tolerance.in_errors * bars, step)
    near = np.abs(np.subtract(first, second, dtype=float)) <= step
    same = (first == second) | (np.isnan(first) & np.isnan(second))  # infinities too
    return float(np.mean(~(near | same)))


def _form(variable: xr.Variable) -> str:
    return " × ".join(f"{dim} {n}" for dim, n in zip(variable.dims, variable.shape, strict=True)) or "one number"

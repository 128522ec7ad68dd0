"""What a user should know of a fit before opening its maps: from the normal matrix of the mean pattern, and limits."""

from itertools import combinations

import numpy as np

from .information import covariance
from .maps import VoxelFit
from .newton import LEAST
from .solve import UNINFORMED

ALIKE = 0.8
"""Scales whose estimates are correlated by this much or more, with whatever sign: their errors are those of each alone
times 1/√(1 − r²) = 1.7 or more."""
OFTEN = 0.2
"""Share of the voxels with a phase in which a limit may be hit without a word."""
ABSENT = 3.0
"""Standard errors of the scale below which a phase counts as absent from the mean pattern."""


def advise(found: VoxelFit, *, level: str, variance: np.ndarray | None) -> list[str]:
    """Warnings in words, the most general first; none if there is nothing to say.

    Parameters
    ----------
    found
        A fit, its mean pattern among it.
    level
        What was free in the voxels, see `PatternModel.free`: it decides how far phases can be told apart.
    variance
        Of the channels, as the fit was given it, shape (n_q,) on the model's bins; None: Poisson.
    """
    mean = found.mean.parameters[0]
    if variance is None:
        variance = np.maximum(found.model.patterns(mean)[0], LEAST * np.abs(found.mean_pattern).mean())
    # Weights are relative: what is left of the mean pattern says how large the noise, and the misfit, really is.
    noise = {"variance": variance * found.mean.chi2[0]}
    return [
        *(
            f"{one} and {other} can hardly be told apart at this resolution: their scales are correlated by "
            f"{r:.2f} in the mean pattern"
            for one, other, r in alike(found, *covariance(found.model, mean, level=level, **noise))
        ),
        *(
            f"{owner}: the pattern says next to nothing about {', '.join(names)}; what the maps hold is mostly the "
            "middle of the limits"
            for owner, names in uninformed(found, *covariance(found.model, mean, **noise)).items()
        ),
        *(
            f"{name}: a cell or size is at its limit in {100 * share:.0f} % of the voxels; widen it?"
            for name, share in often_at_limit(found).items()
        ),
    ]


def alike(found: VoxelFit, places: np.ndarray, least: np.ndarray) -> list[tuple[str, str, float]]:
    """Pairs of phases or peaks whose scales are correlated by `ALIKE` or more in the mean pattern."""
    root = np.sqrt(np.diag(least))
    correlation = least / np.outer(root, root)
    columns = np.searchsorted(places, found.model.scale_places)
    named = list(zip(found.model.phases.names, columns, strict=True))
    pairs = [(one, other, float(correlation[j, k])) for (one, j), (other, k) in combinations(named, 2)]
    return [pair for pair in pairs if abs(pair[2]) >= ALIKE]


def uninformed(found: VoxelFit, places: np.ndarray, least: np.ndarray) -> dict[str, list[str]]:
    """Cells and sizes of what is there that the mean pattern leaves anywhere between their limits, by phase or peak."""
    model, silent = found.model, {}
    parameters, errors = found.mean.parameters[0], np.sqrt(np.diag(least))
    scale_error = dict(zip(places, errors, strict=True))
    for place, error in zip(places, errors, strict=True):
        owner, name = model.names[place]
        if name == "scale" or owner == "background":
            continue
        scale = model.place(owner, "scale")
        if parameters[scale] < ABSENT * scale_error[scale]:
            continue
        if error > UNINFORMED * (model.high[place] - model.low[place]):
            silent.setdefault(owner, []).append("size" if name == "1/size" else name)
    return silent


def often_at_limit(found: VoxelFit) -> dict[str, float]:
    """Phases and peaks that end at a limit in more than `OFTEN` of the voxels that hold them, and in how many."""
    hits = found.limits_hit()[:, found.mask].sum(axis=1)
    there = (found.voxels.parameters[:, found.model.scale_places] > 0).sum(axis=0)
    shares = hits / np.maximum(there, 1)
    return {n: float(share) for n, share in zip(found.model.phases.names, shares, strict=True) if share > OFTEN}

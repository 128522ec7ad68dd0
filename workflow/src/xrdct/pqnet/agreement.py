"""What the networks say without the two steps, held against the two steps.

`allowance` asks whether the fit describes a voxel. It may do so although the networks, who know a phase by the
structure of the library, answer with a cell beside it, and their error bars, made with that structure, do not know.
"""

import numpy as np

from .comparison import STRONG
from .scaling import Scaling

FAR = 3.0
"""Error bars between the two answers from which the networks' own is out of range: one in 370 by chance, if bars are
right."""
BIASED = 1.0
"""Error bars between the two in the median voxel from which a cell is told to be off: chance leaves that median near 0,
and bars that are right say nothing of less than one."""
FEWEST = 30
"""Voxels that have a median."""


def pulls(scaling: Scaling, values: np.ndarray, bars: np.ndarray, parameters: np.ndarray) -> np.ndarray:
    """Difference of the networks' answers from the two steps, in error bars of the networks.

    Parameters
    ----------
    scaling
        Of the ensemble.
    values, bars
        Of the networks, shape (n_voxels, n_targets).
    parameters
        After the two steps, shape (n_voxels, n_parameters), in the same units.

    Returns
    -------
    numpy.ndarray
        Shape (n_voxels, n_targets); 0 where a phase is not there: the networks' scale is not above two error bars, and
        that of the steps is not strong.
    """
    found = parameters[:, scaling.places]
    missed = scaling.is_scale & (found > STRONG * np.percentile(found, 99, axis=0))
    there = ((values > 2 * bars)[:, scaling.owners] | missed) & (bars > 0)
    return np.where(there, (values - found) / np.where(there, bars, 1), 0.0)


def biased(scaling: Scaling, found: np.ndarray) -> list[str]:
    """Cells that the networks answer beside the two steps in most voxels, one sentence each, of `pulls`."""
    sentences = []
    for k in np.flatnonzero(~scaling.is_scale):
        there = found[found[:, k] != 0, k]
        if there.size >= FEWEST and abs(np.median(there)) > BIASED:
            name, edge = scaling.targets[k]
            sentences.append(
                f"{name}: what the networks alone say of {edge} is {np.median(there):+.1f} of their error bars off the "
                "two steps in the median voxel; take the maps after the steps. Has the phase another structure here?"
            )
    return sentences

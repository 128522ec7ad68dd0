"""Disjoint groups of detector pixels: independent counts of the same pattern, for Noise2Inverse and for errors."""

import numpy as np


def azimuthal_groups(indptr: np.ndarray, azimuth: np.ndarray, n_groups: int, *, seed: int = 0) -> np.ndarray:
    """Deal the pixels of every bin to groups, balanced in azimuth.

    Along the azimuth, every `n_groups` neighbours go to different groups, in an order drawn anew each time: dealing
    them in turn would follow the pixel lattice and give one group the inner pixels of a ring, another the outer ones.

    Parameters
    ----------
    indptr
        Shape (n_bins + 1): bin b holds the table rows ``indptr[b]:indptr[b + 1]``.
    azimuth
        Azimuth of every listed pixel, any unit.
    n_groups
        Number of groups, 1 or more.
    seed
        Of the random order.

    Returns
    -------
    numpy.ndarray
        Group of every listed pixel, 0 … n_groups - 1, int32. In a bin the groups' sizes differ by one at most.
    """
    bins = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    begin = np.repeat(indptr[:-1], np.diff(indptr))
    along = np.lexsort((azimuth, bins))
    block = (np.arange(len(bins)) - begin) // n_groups
    # The same sort once more with a random last key shuffles the members of a block.
    draw = np.random.default_rng(seed).random(len(bins))
    shuffled = along[np.lexsort((draw, block, bins))]
    groups = np.empty(len(bins), np.int32)
    groups[shuffled] = (np.arange(len(bins)) - begin) % n_groups
    return groups

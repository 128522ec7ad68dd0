"""Spotty rings: where few crystallites meet the beam, each sector of a ring shines as many as it happens to hold."""

import numpy as np

from .photons import draw_counts
from .seeds import generator
from .shine import SECTORS
from .structures import Crystal, powder_lines


def rings(crystal: Crystal, q: np.ndarray) -> np.ndarray:
    """Which line each point of the grid `q` is nearest to, int32, shape (n_q,): 0 for the first."""
    lines = powder_lines(crystal, q[-1]).q
    return np.searchsorted((lines[1:] + lines[:-1]) / 2, q).astype(np.int32)


def sector_brightness(
    paths: np.ndarray,
    grains: float,
    *,
    n_rings: int,
    seed: int,
    scan: str,
    subset: int,
    first_frame: int,
    material: str,
) -> np.ndarray:
    """Brightness of every sector of every ring relative to a fine powder: n / mean of a Poisson number n of grains.

    Every frame draws from its own stream, as photon noise does.

    Parameters
    ----------
    paths
        mm of the material in the beam, shape (n_frames,).
    grains
        Crystallites per mm of path that shine into one sector (a degree) of a ring.
    n_rings
        How many rings the material has.
    seed, scan, subset, first_frame, material
        What the streams are keyed by; frames count on from `first_frame`.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_frames, n_rings, SECTORS), mean 1; 0 where the beam misses the material.
    """
    factors = np.zeros((len(paths), n_rings, SECTORS), dtype=np.float32)
    for k, mean in enumerate(grains * np.asarray(paths)):
        if mean > 0:
            rng = generator(seed, f"{scan}/grains/{material}", subset, first_frame + k)
            factors[k] = draw_counts(np.full((n_rings, SECTORS), mean), rng) / mean
    return factors

"""How far a voxel may leave the fit: by the noise at its place, and by what the model misses in the whole scan.

Thresholds are made with patterns whose noise is known, and whose model is the fit's. Of voxels neither is true. Their
noise differs from place to place; a structure's intensities are off by some per cent, lines have not quite the width
that the profile says, and the strong lines of a casing or a foil leak into voxels that hold nothing of it. Held against
one noise for all, voxels would be called strange for what all voxels of their phase share, although their cells are
found as well as any. So every voxel v and channel q has its own variance

.. math:: V_{vq} = s_v \\sigma_q^2 + \\varepsilon_q^2 m_{vq}^2 + \\lambda_q^2 M_q^2

with the noise σ² of the channel, a factor s of the place, errors ε of the fitted m, and leaks λ of M, the root mean
square of m over the scan. What the fit leaves in a sample of the voxels tells s, ε and λ. They end at what a model may
be wrong by: a line that no phase has stays strange where little was expected, even if all voxels have it.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from ..fit.model import PatternModel
from .ensemble import Ensemble, level_of_patterns
from .refine import largest_excess

MEDIAN = 0.4549
"""Of the square of a normal number of variance 1."""
SHARED, SHARED_SQUARE = 0.8, 1.6424
"""What this share of the voxels have in common is no reason to call one strange; that quantile of the same square."""
MOST_OWN, MOST_LEAKED = 0.25, 0.1
"""Limits of ε and λ. The 003 line of a delithiated cathode is a fifth stronger than the structure with all of its
lithium says; streaks of a casing or a foil reach some per cent of what stands there."""
FEWEST = 30
"""Voxels that must tell an error; with fewer it counts as 0."""
REACH = 2.0
"""Distances between neighbours of the sample over which its noise is averaged: some 50 of them count."""


@dataclass(frozen=True)
class Allowance:
    """What the fit may miss beside the noise."""

    own: np.ndarray
    """ε, shape (n_bins,)."""
    leaked: np.ndarray
    """λ M, in the unit of the patterns, shape (n_bins,)."""

    def variance(self, fitted: np.ndarray) -> np.ndarray:
        """The part of V that is not noise, for fitted patterns (n_patterns, n_bins); same shape."""
        return (self.own * np.maximum(fitted, 0)) ** 2 + self.leaked**2


def find_allowance(residual: np.ndarray, noise: np.ndarray, fitted: np.ndarray) -> Allowance:
    """From a sample of the scan: residuals, variance by noise, and fitted patterns, all of shape (n_patterns, n_bins).

    Leaks are told by the half of the voxels that hold least in a channel, ε by those where an error of `MOST_OWN` would
    stand out.
    """
    squares, sizes = residual**2, np.maximum(fitted, 0) ** 2
    typical, middle = sizes.mean(axis=0), np.median(fitted, axis=0)
    leaked, own = np.zeros(typical.size), np.zeros(typical.size)
    for k in range(typical.size):
        little = fitted[:, k] <= middle[k]
        leaked[k] = _error(squares[little, k], noise[little, k], typical[k], MOST_LEAKED) * np.sqrt(typical[k])
        rest = noise[:, k] + leaked[k] ** 2
        tells = MOST_OWN**2 * sizes[:, k] > rest
        own[k] = _error(squares[tells, k], rest[tells], sizes[tells, k], MOST_OWN)
    return Allowance(own, leaked)


def _error(squares, noise, sizes, most):
    """The relative error with which a share `SHARED` of the squares is as small as it should be."""
    if squares.size < FEWEST or not np.all(sizes > 0):
        return 0.0
    return float(np.sqrt(np.clip(np.quantile((squares / SHARED_SQUARE - noise) / sizes, SHARED), 0, most**2)))


@dataclass(frozen=True)
class Judged:
    """What thresholds are held against, of patterns whose noise and model are those of a scan; shape (n_patterns,)."""

    level: np.ndarray
    """Effective counts per bin with V in the place of the noise."""
    strange: np.ndarray
    """Whether principal components leave too much, bool."""
    chi2: np.ndarray
    """Per degree of freedom."""
    local: np.ndarray
    """From `largest_excess`."""


def judge(
    ensemble: Ensemble,
    model: PatternModel,
    patterns: np.ndarray,
    fitted: np.ndarray,
    chi2: np.ndarray,
    variance: np.ndarray,
    factors: np.ndarray,
    allowance: Allowance,
) -> Judged:
    """Measure patterns by their own V.

    Parameters
    ----------
    patterns, fitted
        Shape (n_patterns, n_bins).
    chi2
        Of the fit, per degree of freedom, shape (n_patterns,).
    variance
        That of the fit, 0 where a bin was left out; shape (n_patterns, n_bins).
    factors
        s, shape (n_patterns,).
    """
    residual, noise, allowed = patterns - fitted, variance * factors[:, None], allowance.variance(fitted)
    total = noise + allowed
    ratio = _squares(residual, total, variance > 0) / np.maximum(_squares(residual, variance, variance > 0), 1e-30)
    level = level_of_patterns(patterns, total)
    strange = ensemble.is_strange(patterns, total, level)
    return Judged(level, strange, chi2 * ratio, largest_excess(model, residual, noise, allowed))


def _squares(residual, variance, good):
    return np.sum(residual**2 / np.where(good, variance, np.inf), axis=1)


def noise_factors(residual: np.ndarray, variance: np.ndarray, chi2: np.ndarray) -> np.ndarray:
    """What a variance is to be multiplied with to be that of each pattern's noise, shape (n_patterns,).

    By the median over the channels: misfit is in a few of them, noise in all. `residual` and `variance` are of shape
    (n_patterns, n_bins); `chi2`, per degree of freedom with this variance, says how many the fit left free.
    """
    squares = residual**2 / np.where(variance > 0, variance, np.nan)  # NaN where the fit left a bin out
    free = np.nanmean(squares, axis=1) / np.maximum(chi2, 1e-30)  # degrees of freedom per channel
    return np.nanmedian(squares, axis=1) / MEDIAN / np.clip(free, 0.1, 1)


def over_the_image(factors: np.ndarray, chosen: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Smooth map of positive factors that are known of some voxels: their local geometric mean.

    Noise of a reconstruction changes slowly over the image; one voxel's misfit is not taken for its noise.

    Parameters
    ----------
    factors
        Shape (n_chosen,).
    chosen
        Which voxels of the mask have one, shape (n_voxels,), bool.
    mask
        Shape (n_y, n_x), bool.

    Returns
    -------
    numpy.ndarray
        Of all voxels in the mask, shape (n_voxels,).
    """
    logarithms, known = np.zeros(mask.shape), np.zeros(mask.shape)
    where = tuple(index[chosen] for index in np.nonzero(mask))
    logarithms[where], known[where] = np.log(np.maximum(factors, 1e-30)), 1.0
    reach = REACH * np.sqrt(mask.sum() / chosen.sum())
    total, weight = (gaussian_filter(image, reach, mode="constant")[mask] for image in (logarithms, known))
    everywhere = float(np.mean(logarithms[where]))
    # A voxel that stands alone, far from the sample, has the noise of the scan.
    alone = weight < 1e-6
    return np.exp(np.where(alone, everywhere, total / np.where(alone, 1, weight)))

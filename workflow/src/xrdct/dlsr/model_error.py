"""How far the model itself may err: a share of the intensity, one for every channel, told by what a fit leaves.

Counts summed over hundreds of pixels are good to some tenths of a per cent, and voxels are not: a foil thinner than a
voxel is spread over it, and rays that run along the foil see that. So do spotty rings, lines of a shape that the model
does not have, and what a correction left over. Weights by counts alone would bend the maps to where the model is worst:
the strong lines of casing and foils. Rietveld programs enlarge all errors by one factor afterwards; here channels that
the model does not describe count less from the start.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from .kept import Checkpoint, keeper
from .newton import Problem, minimise

log = logging.getLogger(__name__)

ENOUGH = 0.03
"""A step that promises to lower χ² by less than this share of it ends the search for what the model misses."""
SETTLED = 1e-3
"""Relative change of ε² at which the search for it ends."""
ROUNDS = 50
"""Of that search at most; ten do."""
SMALL = 0.05
"""An intensity is at least this share of its channel's mean: beside the sample there is nothing to err by."""


def allow_model_error(
    problem: Problem,
    vector: np.ndarray,
    *,
    most: int,
    progress: Callable[[Iterable], Iterable] = iter,
    checkpoint: Checkpoint | None = None,
) -> tuple[Problem, np.ndarray, np.ndarray]:
    """The same problem with weights that know of the model's errors, the errors, and the unknowns to go on from.

    The errors are what a search by counts alone leaves: it bends the maps as far as they will go, so that what cells
    still explain is not taken for an error. Told from a start, or again from a search that they have weakened, they
    would justify themselves: lines that lie wrong would be taken for lines that cannot be described.

    Parameters
    ----------
    problem
        With weights by counts.
    vector
        Unknowns at the start.
    most
        Steps at most.
    progress
        Wraps the steps.
    checkpoint
        Where steps and result are kept, and taken up again.

    Returns
    -------
    tuple
        Problem; relative errors of the channels, (n_channels,); vector.
    """
    good = problem.weights > 0
    variance = 1 / np.where(good, problem.weights, 1)
    expected = expected_size(problem.chain.predict(problem.values(vector)))

    def weighed(errors: np.ndarray) -> Problem:
        total = variance + np.square(errors.astype(np.float32) * expected)
        return replace(problem, weights=np.where(good, 1 / total, 0).astype(np.float32))

    part = checkpoint.part("model-error") if checkpoint else None
    stored, done = part.load() if part else None, 0
    if stored is not None and stored[0].shape == vector.shape:
        vector, facts = stored
        if "errors" in facts:
            errors = np.array(facts["errors"])
            return weighed(errors), errors, vector
        done = facts["steps"]
    keep = keeper(part, {}) if part else None
    vector = minimise(problem, vector, most=most, settled=ENOUGH, done=done, keep=keep, progress=progress).vector
    freedom = 1 - vector.size / np.count_nonzero(good)
    errors = relative_errors(problem.misfit(vector)[2], variance, expected, good, freedom=freedom)
    log.info(
        "model error: median %.2f %%, at most %.1f %% of the intensity", 100 * np.median(errors), 100 * errors.max()
    )
    if part:
        part.save(vector, {"errors": errors.tolist()})
    return weighed(errors), errors, vector


def relative_errors(
    residual: np.ndarray, variance: np.ndarray, expected: np.ndarray, good: np.ndarray, *, freedom: float = 1.0
) -> np.ndarray:
    """The ε of every channel with which its residuals are as large as they should be.

    .. math:: \\sum_i \\frac{r_i^2}{\\sigma_i^2 + \\varepsilon^2 m_i^2} = n

    which is how R. C. Paule & J. Mandel (J. Res. Natl. Bur. Stand. 87, 377, 1982, doi:10.6028/jres.087.022) find what
    laboratories differ by beyond the errors that they state; 0 where the noise of counts says enough.

    Parameters
    ----------
    residual, variance
        Data − model, and the variance by counts, shape (n_angles, n_positions, n_channels).
    expected
        Intensities m, same shape, not below 0.
    good
        Samples that count, same shape, bool.
    freedom
        Share of the samples that parameters have not used up: n is this share of their number.

    Returns
    -------
    numpy.ndarray
        Shape (n_channels,), relative to the intensity.
    """
    found = np.zeros(residual.shape[2])
    for k in range(found.size):
        own = good[..., k]
        parts = (part[..., k][own].astype(float) for part in (residual, variance, expected))
        found[k] = _one_channel(*parts, freedom * np.count_nonzero(own))
    return np.sqrt(found)


def _one_channel(residual, variance, expected, n):
    """ε² of one channel: Newton's method on the reciprocal of the sum, which is concave and met from below."""
    squares, sizes, share = residual**2, expected**2, 0.0
    for _ in range(ROUNDS):
        total = variance + share * sizes
        chi2 = np.sum(squares / total)
        if chi2 <= n or not sizes.any():
            break
        step = (chi2 / n - 1) * chi2 / np.sum(squares * sizes / total**2)
        share += step
        if step < SETTLED * share:
            break
    return share


def expected_size(predicted: np.ndarray) -> np.ndarray:
    """Intensities by which an error is told: those predicted, but not next to nothing where the sample is thin."""
    least = SMALL * np.abs(predicted).mean(axis=(0, 1))
    return np.maximum(predicted, least).astype(np.float32)

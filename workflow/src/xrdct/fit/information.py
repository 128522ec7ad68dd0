"""What a pattern can say about the parameters of a model, whatever fits it: the normal matrix and what follows from it.

.. math:: F = J^T W J, \\quad \\sigma_j = \\sqrt{(F^{-1})_{jj}}, \\quad r_{jk} = (F^{-1})_{jk} / (\\sigma_j \\sigma_k)

with the derivatives J of the pattern and weights W of one over the variance. For counts, W = 1/model, F is Fisher's
information and σ the Cramér-Rao bound.
"""

import numpy as np

from .model import PatternModel
from .newton import LEAST


def normal_matrix(
    model: PatternModel,
    parameters: np.ndarray,
    *,
    level: str = "full",
    variance: np.ndarray | None = None,
    extra: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the parameters that a level fits, shape (n_free,), and F over them, shape (n_free, n_free).

    Parameters
    ----------
    parameters
        Of one pattern, shape (n_parameters,).
    level, variance, extra
        As for `fit_patterns`; a bin whose variance is not above 0 says nothing.
    """
    places = np.flatnonzero(model.free(level=level))
    slopes = model.derivatives(parameters, extra=extra)[places]
    if variance is None:
        expected = model.patterns(parameters, extra=extra)[0]
        variance = np.maximum(expected, max(LEAST * np.abs(expected).mean(), 1e-30))
    weights = np.where(variance > 0, 1 / np.where(variance > 0, variance, 1.0), 0.0)
    return places, (slopes * weights) @ slopes.T


def covariance(
    model: PatternModel,
    parameters: np.ndarray,
    *,
    level: str = "full",
    variance: np.ndarray | None = None,
    extra: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the parameters that a level fits, and the least covariance that an estimate of them can have.

    Limits count as what is known beforehand: a parameter between two of them has the variance width²/12 at most.
    """
    places, information = normal_matrix(model, parameters, level=level, variance=variance, extra=extra)
    width = (model.high - model.low)[places]
    known = np.where(np.isfinite(width) & (width > 0), 12 / np.maximum(width, 1e-300) ** 2, 0.0)
    root = np.sqrt(np.maximum(np.diag(information) + known, 1e-300))
    # Of parameters between -1 and 1, so that scales of 1e6 and cells of 1 Å can be inverted together.
    scaled = (information + np.diag(known)) / np.outer(root, root) + 1e-12 * np.eye(places.size)
    return places, np.linalg.inv(scaled) / np.outer(root, root)


def cramer_rao(model: PatternModel, parameters: np.ndarray, **options) -> np.ndarray:
    """Least standard errors, shape (n_parameters,); NaN where not fitted. `options` as for `covariance`."""
    places, least = covariance(model, parameters, **options)
    bound = np.full(len(model.names), np.nan)
    bound[places] = np.sqrt(np.diag(least))
    return bound

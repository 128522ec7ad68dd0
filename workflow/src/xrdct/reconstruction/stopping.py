"""When to stop iterating, without the truth: at the noise, and before projections that are held out suffer.

Discrepancy: an image that is nearer to the data than their noise is follows the noise (Morozov, Soviet Math. Dokl. 7,
414, 1966). It asks for a variance that is right, and for pixels that can show the sample; the other rule for neither.

Hold-out: one interlaced subset is predicted from the others. The first iterations bring the sample, later ones the
noise of the data they see; that of the others is independent of it: their squared residual falls, and rises again.
Noise of fine detail hardly shows in a projection, though, so that the curve is flat where the image is at its best: the
fewest iterations are taken that are no more than one standard error above the least (the rule of Breiman et al.,
Classification and Regression Trees, 1984, section 3.4.3; Hastie et al., The Elements of Statistical Learning, 2009,
section 7.10).

The fewer iterations of both are taken: the search ends at the noise.
"""

import logging
from dataclasses import dataclass

import numpy as np

from .cgls import cgls_images
from .lntan import lntan_axis
from .parallax import check_distance, resampled, strongest_bins
from .sirt import sirt_images
from .tilted import TiltedBeam

log = logging.getLogger(__name__)

IMAGES = {"sirt": sirt_images, "cgls": cgls_images}
MOST = 500
"""Iterations after which the search ends in any case."""
BEYOND = 1.5
"""The search ends this many times as far as the least residual so far: it has risen since then."""
GROWTH = 1.1
"""Ratio of the numbers of iterations that are compared."""
COMPARED = 48
"""Bins of Y with which the number is looked for; all others take the same."""


@dataclass(frozen=True)
class Stopping:
    """A number of iterations, and why."""

    iterations: int
    held_out: dict[int, float]
    """Squared residual of the held-out projections over their squared norm, by number of iterations."""
    one_error: float
    """What counts as no worse: one standard error of the least of these, in the same unit."""
    over_noise: dict[int, float]
    """Squared residual of the projections that are seen over their variance, by number; empty without variance."""


def held_out_rows(n_angles: int, subset: np.ndarray | None) -> np.ndarray:
    """Projections that are held out, bool: the last of several subsets, or every fifth projection."""
    if subset is not None and len(np.unique(subset)) > 1:
        return np.asarray(subset) == np.max(subset)
    return np.arange(n_angles) % 5 == 2


def choose_iterations(
    sinogram,
    angles: np.ndarray,
    *,
    q: np.ndarray,
    wavelength: float,
    distance_mm: float,
    step_mm: float,
    cor: float | np.ndarray,
    method: str = "sirt",
    support: str = "circle",
    nonnegative: bool = False,
    subset: np.ndarray | None = None,
    variance=None,
) -> Stopping:
    """The number of iterations for `parallax.reconstruct_with_parallax`, from the bins of Y that have most contrast.

    Takes the time of some 2 `COMPARED` bins of Y: a fifth of 500, a twentieth of 2000.

    Parameters
    ----------
    sinogram, angles, q, wavelength, distance_mm, step_mm, cor, method, support, nonnegative
        As for `reconstruct_with_parallax`.
    subset
        Number of each projection's interlaced subset, shape (n_angles,): the last is held out. None, or only one:
        every fifth projection is.
    variance
        Of the sinogram, same shape, for the discrepancy rule; None: hold-out alone.

    Raises
    ------
    GeometryError
        As `reconstruct_with_parallax`.
    """
    check_distance(distance_mm)
    axis = lntan_axis(q, wavelength=wavelength)
    there = axis.from_q().astype(np.float32)
    weights = there[strongest_bins(sinogram, there, COMPARED)]
    data, _ = resampled(sinogram, weights)
    noise = None if variance is None else resampled(variance, weights**2)[0]
    n = sinogram.shape[1]
    A = TiltedBeam(
        angles,
        n,
        cor,
        pixel_over_distance=step_mm / distance_mm,
        step=axis.step,
        support=n / 2 if support == "circle" else None,
    )
    options = {"nonnegative": True} if nonnegative else {}
    held = held_out_rows(len(angles), subset)
    return predict_held_out(A, data, method=method, held=held, variance=noise, **options)


def predict_held_out(A, b, *, method: str, held: np.ndarray, variance: np.ndarray | None = None, **options) -> Stopping:
    """The number of iterations with which the projections `held` are predicted from the others.

    Parameters
    ----------
    A, b
        Operator and sinogram, as for `sirt.sirt`.
    method
        A key of `IMAGES`.
    held
        Projections that are not seen, shape (n_angles,), bool.
    variance
        Of b; None: the discrepancy does not count.
    options
        Of the method.
    """
    seen, unseen = A.rows(np.flatnonzero(~held)), A.rows(np.flatnonzero(held))
    known, hidden, wanted, residuals, over_noise = b[~held], b[held], 1.0, {}, {}
    noise = None if variance is None else float(np.sum(variance[~held], dtype=float))
    for done, image in enumerate(IMAGES[method](seen, known, **options), start=1):
        if done < wanted:
            continue
        wanted = max(done + 1, GROWTH * done)
        residuals[done] = _squares(unseen @ image - hidden)
        if noise:
            over_noise[done] = float(_squares(seen @ image - known).sum()) / noise
        best = min(residuals, key=lambda number: residuals[number].sum())
        if done >= MOST or done > BEYOND * best + 1 or over_noise.get(done, np.inf) <= 1:
            break
    return _fewest(residuals, over_noise, float(_squares(hidden).sum()))


def _squares(sinogram) -> np.ndarray:
    """Sum of the squares of each projection."""
    return np.einsum("apm,apm->a", sinogram, sinogram, dtype=float)


def _fewest(residuals: dict[int, np.ndarray], over_noise: dict[int, float], norm: float) -> Stopping:
    """The fewest iterations within one standard error of the best, or at the noise if that comes first."""
    total = {number: float(one.sum()) / norm for number, one in residuals.items()}
    best = min(total, key=total.get)
    each = residuals[best]
    error = float(each.std(ddof=1) * each.size**0.5) / norm if each.size > 1 else 0.0
    chosen = min(number for number, value in total.items() if value <= total[best] + error)
    at_noise = min((number for number, value in over_noise.items() if value <= 1), default=None)
    log.info(
        "held-out residual %.5f of the data at %d iterations, least %.5f at %d, standard error %.5f; residual at the "
        "noise: %s",
        total[chosen],
        chosen,
        total[best],
        best,
        error,
        f"after {at_noise}" if at_noise else "never, or not known",
    )
    if best == max(total) and at_noise is None:
        log.warning("held-out projections are still better predicted with more iterations than %d", best)
    chosen = min(chosen, at_noise or chosen)
    log.info("%d iterations", chosen)
    return Stopping(chosen, total, error, over_noise)

"""How much less or more of every ray and channel arrives than the straight transmission says, with parallax.

With parallax a channel of a ray tells at which depth its line was scattered; what of it strays on the way out depends
on that depth (`leaving`). The volume of a first, straight correction says what scatters where: projected with and
without these shares, it gives the ratio by which the sinogram is divided once more. It changes by per cents, so that
the volume need not be better than that.
"""

import numpy as np

from ..reconstruction.arrays import Progress, without_progress
from ..reconstruction.lntan import lntan_axis
from ..reconstruction.parallax import BLOCK, blocks, resampled, touched
from ..reconstruction.tilted import DepthWeights, TiltedBeam
from .leaving import Leaving

LEAST = 1e-3
"""A ray that holds less than this share of its channel's strongest is left as it is."""


def ratio_by_depth(
    volume: np.ndarray,
    leaving: Leaving,
    angles: np.ndarray,
    *,
    n_positions: int,
    q: np.ndarray,
    wavelength: float,
    distance_mm: float,
    step_mm: float,
    cor: float | np.ndarray,
    block: int = BLOCK,
    progress: Progress = without_progress,
) -> np.ndarray:
    """What is left of every ray and channel over what the straight transmission would leave, float32.

    Parameters
    ----------
    volume
        Patterns without parallax and without absorption to zero order, none negative, (y, x, q).
    leaving
        Of the attenuation map and the same angles.
    angles
        Degrees.
    n_positions, q, wavelength, distance_mm, step_mm, cor, block
        As for `reconstruction.parallax.reconstruct_with_parallax`.
    progress
        Wraps the blocks.

    Returns
    -------
    numpy.ndarray
        Shape (angle, position, q); 1 where little scatters.

    Raises
    ------
    GeometryError
        As `reconstruct_with_parallax`.
    """
    axis, n = lntan_axis(q, wavelength=wavelength), volume.shape[0]
    A = TiltedBeam(
        angles, n_positions, cor, n, pixel_over_distance=step_mm / distance_mm, step=axis.step, support=n / 2
    )
    there, back = axis.from_q().astype(np.float32), axis.to_q().astype(np.float32)
    bent = np.zeros((len(A.angles), n_positions, len(q)), dtype=np.float32)
    straight, least, most = np.zeros_like(bent), 1.0, 1.0
    edges = np.arctan(np.exp(axis.edges))
    high = leaving(edges[0])
    for kept in progress(blocks(axis.n_bins, block)):
        image = _image(volume, there, kept, A.padding)
        low, high = high, leaving(edges[kept.stop])
        weights = DepthWeights(low, high, _ramp(edges[kept.start : kept.stop + 1]), leaving.cell)
        least, most = min(least, high.min()), max(most, high.max())
        channels = touched(back[:, kept].T)
        to_q = back[channels, kept].T
        bent[..., channels] += A.weighted(image, weights) @ to_q
        straight[..., channels] += (A @ image) @ to_q
    enough = straight > LEAST * straight.max(axis=(0, 1))
    ratio = np.divide(bent, straight, out=np.ones_like(bent), where=enough)
    return ratio.clip(least, most)


def _image(volume, there, kept: slice, padding: int) -> np.ndarray:
    """Bins `kept` of Y and `padding` more at either end; beyond the axis its last bins once more."""
    first, last = max(0, kept.start - padding), min(len(there), kept.stop + padding)
    known, _ = resampled(volume, there[first:last])
    beyond = first - (kept.start - padding), kept.stop + padding - last
    return np.pad(known, ((0, 0), (0, 0), beyond), mode="edge")


def _ramp(two_theta: np.ndarray) -> np.ndarray:
    """From 0 to 1 between the edges of bins, linear in tan² 2θ: what rings stray by is of second order."""
    square = np.tan(two_theta) ** 2
    return ((square[1:] + square[:-1]) / 2 - square[0]) / (square[-1] - square[0])

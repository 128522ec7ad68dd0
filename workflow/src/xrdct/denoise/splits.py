"""Parts of a scan whose noise is independent, each reconstructed on its own.

Three ways to share the counts out:

- `by_group`: disjoint groups of detector pixels (`integrate.groups`). Every part has every angle, so that what a
  reconstruction gets wrong for want of angles is common to all parts and only the noise differs.
- `by_thinning`: noise is added to the sinogram so that K parts become independent, for data without groups.
- `by_angle`: interlaced projections, as in the papers. The errors of undersampled parts nearly cancel in their mean:
  they differ in sign between input and target, and the best predictor is too smooth. No count of photons cures that.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import GeometryError
from ..reconstruction.arrays import Progress, without_progress
from ..reconstruction.backend import reconstruct

log = logging.getLogger(__name__)

BLOCK = 64
"""Channels reconstructed at a time."""
FEW_ANGLES = 0.5
"""Angles of a part per position below which `by_angle` blurs more than it should (estimated on one phantom)."""
OFFSETS = 25
"""Random turns per channel in the paper's schedule: with four parts to hold out, a hundred pairs."""
LARGEST_DIFFERENCE = 0.02
"""Relative difference in total intensity above which parts are not of one scan."""


@dataclass(frozen=True)
class Split:
    """K parts of a sinogram."""

    angles: list[np.ndarray]
    """Degrees, of each part."""
    cor: list[np.ndarray]
    """Column of the rotation axis for each of these angles, pixels from the centre of the first column."""
    read: Callable[[slice], list[np.ndarray]]
    """From a range of channels to the sinograms [angle, position, channel] of all parts; the same at every call."""
    n_positions: int
    n_channels: int


def by_group(groups, angles: np.ndarray, *, cor) -> Split:
    """One part per group of detector pixels.

    Parameters
    ----------
    groups
        Shape (n_angles, n_positions, n_groups, n_channels), assembled like the sinogram itself. Only
        ``groups[..., start:stop]`` is asked for.
    angles
        Degrees, shape (n_angles,).
    cor
        One centre, or one for each angle, shape (n_angles,).
    """
    n_angles, n_positions, n_groups, n_channels = groups.shape
    _refuse_fewer_than_two(n_groups, "groups of pixels; set integrate.groups to 4")

    def read(channels):
        part = np.asarray(groups[..., channels], dtype=np.float32)
        return [part[:, :, k] for k in range(n_groups)]

    every = np.broadcast_to(np.asarray(cor, dtype=float), n_angles)
    return Split([np.asarray(angles)] * n_groups, [every] * n_groups, read, n_positions, n_channels)


def by_thinning(sinogram, variance, angles: np.ndarray, *, cor, n_parts: int = 4, seed: int = 0) -> Split:
    """Parts made by adding noise that cancels in their mean.

    .. math:: s_k = s + z_k - \\bar z, \\quad z_k \\sim N(0, K v)

    have the mean s and, where s itself has Gaussian noise of variance v, covariances K v δ_kl: uncorrelated, and
    independent as far as the noise is Gaussian and v is right. (Below some ten counts it is neither.)

    Parameters
    ----------
    sinogram, variance
        Shape (n_angles, n_positions, n_channels), any unit, and its square.
    angles, cor
        As for `by_group`.
    n_parts, seed
        K, and what the noise is drawn from.
    """
    n_angles, n_positions, n_channels = sinogram.shape
    _refuse_fewer_than_two(n_parts, "parts")

    def read(channels):
        values = np.asarray(sinogram[..., channels], dtype=np.float32)
        sigma = np.sqrt(n_parts * np.asarray(variance[..., channels], dtype=np.float32))
        # A seed per channel: the parts do not depend on how the channels were grouped into blocks.
        drawn = (np.random.default_rng((seed, c)) for c in range(*channels.indices(n_channels)))
        shape = (n_parts, n_angles, n_positions)
        noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in drawn], axis=-1)
        return list(values + sigma * (noise - noise.mean(axis=0)))

    every = np.broadcast_to(np.asarray(cor, dtype=float), n_angles)
    return Split([np.asarray(angles)] * n_parts, [every] * n_parts, read, n_positions, n_channels)


def by_angle(sinogram, angles: np.ndarray, part: np.ndarray, *, cor) -> Split:
    """One part per set of projections, each weighted by its own angular spacing.

    Parameters
    ----------
    sinogram
        Shape (n_angles, n_positions, n_channels).
    angles, cor
        As for `by_group`.
    part
        The part that each angle belongs to (any integers), shape (n_angles,): `interlaced_parts`, or the subsets.
    """
    angles, part = np.asarray(angles, dtype=float), np.asarray(part)
    chosen = [np.flatnonzero(part == k) for k in np.unique(part)]
    _refuse_fewer_than_two(len(chosen), "sets of projections")
    n_angles, n_positions, n_channels = sinogram.shape
    fewest = min(own.size for own in chosen)
    if fewest < FEW_ANGLES * n_positions:
        log.warning(
            "a part has %d angles for %d positions: split by angle, the network learns to blur (aliasing of the parts "
            "has opposite sign in input and target); split by pixel instead",
            fewest,
            n_positions,
        )
    cor = np.broadcast_to(np.asarray(cor, dtype=float), n_angles)

    def read(channels):
        values = np.asarray(sinogram[..., channels], dtype=np.float32)
        return [values[own] for own in chosen]

    return Split([angles[own] for own in chosen], [cor[own] for own in chosen], read, n_positions, n_channels)


def interlaced_parts(angles: np.ndarray, n_parts: int) -> np.ndarray:
    """Deal projections out in the order of their angles: 0, 1, …, n_parts − 1, 0, …; shape (n_angles,)."""
    part = np.empty(len(angles), dtype=int)
    part[np.argsort(angles, kind="stable")] = np.arange(len(angles)) % n_parts
    return part


def reconstruct_parts(split: Split, *, out=None, progress: Progress = without_progress, **settings):
    """Reconstruct every part of every channel.

    Parameters
    ----------
    split
        What to reconstruct.
    out
        Array to fill, shape (n_channels, K, n_positions, n_positions), float32, for example a memory map; None: a new
        one.
    progress
        Wraps the blocks of channels.
    settings
        Of `reconstruction.backend.reconstruct`. The method must be linear in the data, or the mean of the parts is not
        the reconstruction of the whole.

    Returns
    -------
    numpy.ndarray
        `out`.
    """
    n = split.n_positions
    if out is None:
        out = np.empty((split.n_channels, len(split.angles), n, n), dtype=np.float32)
    for start in progress(range(0, split.n_channels, BLOCK)):
        channels = slice(start, min(start + BLOCK, split.n_channels))
        for k, sinogram in enumerate(split.read(channels)):
            image = reconstruct(np.ascontiguousarray(sinogram), split.angles[k], cor=split.cor[k], **settings)
            out[channels, k] = np.moveaxis(image, -1, 0)
    return out


def reconstruct_turned(split: Split, channel: int, *, seed: int, **settings) -> np.ndarray:
    """One channel's parts, reconstructed with the whole scan turned by random angles.

    It is how the papers make many images of few data: other pixels, other interpolation, the same noise.

    Returns
    -------
    numpy.ndarray
        Shape (OFFSETS, K, n_positions, n_positions).
    """
    sinograms = split.read(slice(channel, channel + 1))
    offsets = np.random.default_rng((seed, channel)).uniform(0, 360, OFFSETS)
    every = [
        [
            reconstruct(np.ascontiguousarray(sinogram), angles + offset, cor=cor, **settings)[..., 0]
            for sinogram, angles, cor in zip(sinograms, split.angles, split.cor, strict=True)
        ]
        for offset in offsets
    ]
    return np.array(every)


def refuse_unlike_parts(parts) -> None:
    """Raise `GeometryError` when the parts differ in total intensity: a network would learn the difference.

    Subsets drift; the assembly takes that out (`assemble.align`) before the parts are made.
    """
    total = np.zeros(parts.shape[1])
    for channel in range(parts.shape[0]):
        total += np.nan_to_num(parts[channel]).sum(axis=(1, 2), dtype=float)
    off = np.abs(total / total.mean() - 1)
    if off.max() > LARGEST_DIFFERENCE:
        k = int(off.argmax())
        raise GeometryError(
            f"part {k + 1} of {len(off)} differs from the mean of all by {100 * off[k]:.1f} % in total intensity, more "
            f"than {100 * LARGEST_DIFFERENCE:g} %; correct the drift between subsets first (assemble.align)"
        )


def leave_one_out(parts: np.ndarray, held_out: int) -> np.ndarray:
    """Mean of all parts but one. `parts`: one channel, shape (K, n_y, n_x); shape (n_y, n_x) returned.

    The held-out part is left out of the sum, not subtracted from it: none of its bits can reach the result.
    """
    return np.delete(parts, held_out, axis=0).mean(axis=0)


def _refuse_fewer_than_two(n: int, what: str) -> None:
    if n < 2:
        raise GeometryError(f"Noise2Inverse needs at least two parts with independent noise, found {n} {what}")

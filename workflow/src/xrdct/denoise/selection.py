"""Which method a channel gets: the one that predicts the held-out parts best.

What comes out belongs under the `guard`: averaging loses a grain of a few voxels without a word from held-out data.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .baseline import blend, choose, features_of
from .inference import outputs, spread
from .low_rank import blend_channel
from .scaling import Scales
from .splits import leave_one_out
from .unet import UNet

METHODS = ("none", "weights", "network+weights", "joint", "joint+network")
"""The mean of the parts as it is, truth-free weights of Gaussians, without the network and with it, and the blend with
all channels' low-rank projection, without the network and with it. The network by itself is not among them: blends that
hold it predict the parts at least as well, and bend peaks less."""


@dataclass(frozen=True)
class Denoised:
    """One channel."""

    channel: int
    image: np.ndarray
    """Shape (n, n), float32, the volume's unit."""
    spread: np.ndarray
    """Standard error from the spread of the leave-one-out results, same shape and unit."""
    method: str
    """Of `METHODS`."""
    errors: dict[str, float]
    """`baseline.held_out_error` of every method tried, units of volume squared; empty where there is no noise."""


def denoise_best(
    parts,
    scales: Scales,
    inside: np.ndarray,
    *,
    network: UNet | None = None,
    projected=None,
    turns: int = 4,
    channels: Iterable[int] | None = None,
    without: Collection[str] = (),
) -> Iterator[Denoised]:
    """Denoise channel by channel, each with the method that does best on its held-out parts.

    Parameters
    ----------
    parts
        Shape (n_channels, K, n, n).
    scales, inside
        Of every channel; the voxels that count.
    network
        Trained; None: only methods without one.
    projected
        `low_rank.project_leave_one_out` of the parts; None: without the joint method.
    turns
        Quarter turns that the network averages over.
    channels
        Which ones; None: all.
    without
        Methods that are not to be chosen ('none' always can be).
    """
    given = {"network": network, "turns": turns, "without": without}
    for channel in range(len(parts)) if channels is None else channels:
        own = None if projected is None else np.asarray(projected[channel])
        yield denoise_channel(np.asarray(parts[channel]), scales, inside, channel, projected=own, **given)


def denoise_channel(
    values: np.ndarray,
    scales: Scales,
    inside: np.ndarray,
    channel: int,
    *,
    network=None,
    projected=None,
    turns=4,
    without=(),
) -> Denoised:
    """One channel of `denoise_best`: its parts and their projections of shape (K, n, n)."""
    if channel not in scales.usable:
        return Denoised(channel, values.mean(axis=0), 0 * values[0], "none", {})
    candidates = candidates_of(values, scales, inside, channel, network=network, projected=projected, turns=turns)
    allowed = {
        name: candidates[name] for name in METHODS if name in candidates and (name == "none" or name not in without)
    }
    method, errors = choose(allowed, values, inside)
    found = candidates[method]
    return Denoised(channel, found.mean(axis=0), spread(found), method, errors)


def candidates_of(values, scales, inside, channel, *, network=None, projected=None, turns=4) -> dict[str, np.ndarray]:
    """Leave-one-out results of every method and of the network by itself, each of shape (K, n, n)."""
    features = features_of(values)
    candidates = {
        "none": np.stack([leave_one_out(values, k) for k in range(len(values))]),
        "weights": blend(features, values, inside)[0],
    }
    if network is not None:
        beside = projected if network.architecture["inputs"] > 1 else None
        found = outputs(network, values, scales, channel, projected=beside, turns=turns)
        candidates["network"] = found
        candidates["network+weights"] = blend(np.concatenate([features, found[:, None]], axis=1), values, inside)[0]
    if projected is not None:
        candidates["joint"] = blend_channel(values, projected, inside)
        if network is not None:
            candidates["joint+network"] = blend_channel(values, projected, inside, candidates["network"])
    return candidates

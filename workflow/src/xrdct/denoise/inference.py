"""From a trained network to a denoised channel and how sure it is."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from ..gpu_memory import FittingParts
from .scaling import Scales
from .training import network_input
from .unet import UNet


def denoise(
    network: UNet, parts, scales: Scales, *, projected=None, turns: int = 4, channels: Iterable[int] | None = None
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Denoise a volume, one channel at a time.

    Channels without noise (nothing was measured there) come back as the mean of their parts with spread 0; those
    with NaN come back as NaN.

    Parameters
    ----------
    network
        Trained on these parts, or on those of another scan.
    parts
        Shape (n_channels, K, n, n).
    scales
        Mean and noise of every channel.
    projected
        `low_rank.project_leave_one_out` of the parts, for a network that was trained with it.
    turns
        Quarter turns to average over: 4, or 1 for none.
    channels
        Which ones; None: all.

    Yields
    ------
    int, numpy.ndarray, numpy.ndarray
        The channel, its denoised image and the spread, both of shape (n, n), float32, the volume's unit.
    """
    usable = set(scales.usable.tolist())
    for channel in range(len(parts)) if channels is None else channels:
        values = np.asarray(parts[channel])
        if channel not in usable:
            yield channel, values.mean(axis=0), 0 * values[0]
            continue
        own = None if projected is None else np.asarray(projected[channel])
        found = outputs(network, values, scales, channel, projected=own, turns=turns)
        yield channel, found.mean(axis=0), spread(found)


def outputs(network: UNet, values: np.ndarray, scales: Scales, channel: int, *, projected=None, turns=4) -> np.ndarray:
    """What the network makes of each leave-one-out mean of one channel's parts, shape (K, n, n), the volume's unit.

    `values`, and `projected` for a network of two inputs, are of that channel, shape (K, n, n).
    """
    beside = [None] * len(values) if projected is None else projected
    noisy = np.stack([network_input(values, scales, channel, k, beside[k]) for k in range(len(values))])

    def clean(part):
        device = next(network.parameters()).device
        images = torch.from_numpy(noisy[part]).to(device)  # (K, inputs, n, n)
        # Convolutions in TF32, PyTorch's default on a GPU, would differ from the CPU by more than 1e-3.
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            turned = (torch.rot90(network(torch.rot90(images, t, (2, 3))), -t, (2, 3)) for t in range(turns))
            return (sum(turned) / turns)[:, 0].cpu().numpy()

    parts = FittingParts("denoise, images", len(noisy), network.cpu).run(clean, len(noisy))
    return scales.restored(np.concatenate(parts), channel)


def spread(found: np.ndarray) -> np.ndarray:
    """Standard error of the mean of K leave-one-out results, shape (K, n, n), by the jackknife; shape (n, n).

    .. math:: \\sigma^2 = \\frac{K - 1}{K} \\sum_k (x_k - \\bar x)^2

    Exact on average for a linear method (Efron & Stein, Ann. Stat. 9, 586, 1981, doi:10.1214/aos/1176345462); it has
    K − 1 degrees of freedom per voxel, and knows nothing of what is wrong in all K alike (blur, a phase erased).
    """
    k = len(found)
    return np.sqrt((k - 1) * found.var(axis=0))

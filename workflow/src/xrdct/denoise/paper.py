"""The NCA paper's way: one network, tuned to one channel after the other.

Long on the first channel, shorter on each next one: a day per scan, where `training` on all channels at once takes
minutes.
"""

from collections.abc import Callable

import numpy as np

from .scaling import Scales
from .training import CHECKED, Schedule, Training
from .unet import UNet

IMAGES, EPOCHS, EPOCHS_MORE, PATIENCE = 100, 100, 10, 5
"""Of the NCA paper: pairs of images in an epoch, epochs on the first channel, on each next one, and epochs without gain
before it stops."""


def paper_schedule(*, first: bool, seed: int = 0) -> Schedule:
    """The NCA paper's for one channel: MAE, Adam at 1e-3, batch 1; an epoch is a hundred pairs."""
    epochs = EPOCHS if first else EPOCHS_MORE
    return Schedule(
        steps=epochs * IMAGES,
        loss="mae",
        learning_rate=1e-3,
        decay=0.0,
        check_every=IMAGES,
        patience=PATIENCE,
        seed=seed,
    )


def hold_one_part_out(n_images: int, n_parts: int, *, seed: int) -> tuple[list, list]:
    """Pairs (image, part) to train on, and those to watch, where all images have the same noise: one part for all."""
    kept_back = int(np.random.default_rng(seed).integers(n_parts))
    every = [(image, k) for image in range(n_images) for k in range(n_parts)]
    return [p for p in every if p[1] != kept_back], [p for p in every if p[1] == kept_back][:CHECKED]


def train_channel_by_channel(
    network: UNet,
    parts,
    scales: Scales,
    inside: np.ndarray,
    *,
    turned: Callable[[int], np.ndarray] | None = None,
    start: int = 0,
    seed: int = 0,
):
    """The paper's way: long on the first channel, then the same network a little longer on each next one.

    Parameters
    ----------
    network, parts, scales, inside
        As for `Training`.
    turned
        From a channel to its parts at several angular offsets, shape (n_offsets, K, n, n)
        (`splits.reconstruct_turned`); None: trained on the parts as they are.
    start
        Position in `scales.usable` to go on from, with the network as it was left there.

    Yields
    ------
    int, Training
        A channel, and the training that tuned the network to it: to be used before the next one is asked for.
    """
    for position, channel in enumerate(scales.usable[start:], start):
        schedule = paper_schedule(first=position == 0, seed=seed + position)
        images = np.asarray(parts[channel])[None] if turned is None else turned(int(channel))
        own = Scales(*(np.full(len(images), values[channel]) for values in (scales.mean, scales.noise)))
        pairs = hold_one_part_out(*images.shape[:2], seed=schedule.seed)
        training = Training(network, images, own, inside, schedule, pairs=pairs)
        training.run()
        yield int(channel), training

"""Trainings of the denoiser that outlive a kill: what is done is kept in files, and the next start goes on from it."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from ..denoise.paper import train_channel_by_channel
from ..denoise.scaling import Scales
from ..denoise.selection import Denoised, denoise_channel
from ..denoise.splits import Split, reconstruct_turned
from ..denoise.training import Training
from ..denoise.unet import UNet
from .network import read_training, write_training

log = logging.getLogger(__name__)


def trained(training: Training, network_file: str | Path, *, key: str, progress) -> dict:
    """State of a whole training; one that was made before is taken, and one that was killed goes on.

    Parameters
    ----------
    network_file
        Where the network ends up; a checkpoint grows beside it.
    key
        What the network is trained on, and how: files of another training are not used.
    progress
        Makes a bar of the steps (`logbook.progress`).
    """
    state = read_training(network_file, key=key)
    if state is not None:
        log.info("the network in %s was trained on this very sinogram", network_file)
        return state
    partial = Path(network_file).with_name(f".{Path(network_file).name}.growing")
    state = read_training(partial, key=key)
    if state is not None:
        training.restore(state)
        log.info("training goes on at step %d", training.step)

    def checkpoint(state):
        write_training(state, partial, key=key)

    training.run(checkpoint=checkpoint, progress=lambda steps: with_loss(progress(steps), training))
    partial.rename(network_file)
    log.info("trained: %s", {name: value for name, value in training.best.items() if name != "weights"})
    return training.state()


def with_loss(bar, training: Training) -> Iterator:
    """The steps of a progress bar that also says what the last loss on held-out pairs was."""
    for step in bar:
        yield step
        if training.history:
            bar.set_postfix(held_out=f"{training.history[-1]['held_out']:.4f}", refresh=False)


def tuned_channel_by_channel(
    network: UNet,
    split: Split,
    parts,
    scales: Scales,
    inside: np.ndarray,
    *,
    seed: int,
    network_file: str | Path,
    key: str,
) -> Iterator[tuple[Denoised, dict]]:
    """`paper.train_channel_by_channel`, each channel denoised while the network is tuned to it.

    Channels that an earlier start has finished are read. The network of the last channel is written in the end.

    Parameters
    ----------
    split
        What the parts were reconstructed from: they are again, at random angular offsets.
    parts, scales, inside
        As for `Training`.
    network_file, key
        As for `trained`; finished channels are kept in a folder beside it.

    Yields
    ------
    Denoised, dict
        A usable channel, and the state of its training: architecture, best weights, history.
    """
    folder, done, state = finished_beside(network_file), 0, None
    folder.mkdir(parents=True, exist_ok=True)
    for found, state in read_finished(folder, scales.usable, key=key):
        done += 1
        network.load_state_dict(state["best"]["weights"])
        yield found, state

    def turned(channel):
        return reconstruct_turned(split, channel, seed=seed)

    for channel, training in train_channel_by_channel(
        network, parts, scales, inside, turned=turned, start=done, seed=seed
    ):
        found = denoise_channel(np.asarray(parts[channel]), scales, inside, channel, network=network)
        state = {name: training.state()[name] for name in ("architecture", "best", "history")}
        write_finished(found, state, folder, key=key)
        yield found, state
    if state is not None:
        write_training(state, network_file, key=key)


def finished_beside(network_file: str | Path) -> Path:
    """Folder of the channels that are done while the network is tuned to the others."""
    return Path(network_file).with_name(".channels")


def write_finished(found: Denoised, state: dict, folder: Path, *, key: str) -> None:
    """Keep a channel that is done, and the network as it was left."""
    images = {"image": torch.from_numpy(found.image), "spread": torch.from_numpy(found.spread)}
    own = images | {"method": found.method, "errors": dict(found.errors)}
    write_training(state | {"denoised": own}, folder / f"{found.channel}.pt", key=key)


def read_finished(folder: Path, channels: Iterable[int], *, key: str) -> Iterator[tuple[Denoised, dict]]:
    """What `write_finished` kept, in the order of the channels, up to the first that is not there."""
    for channel in channels:
        state = read_training(folder / f"{channel}.pt", key=key)
        if state is None:
            return
        own = state.pop("denoised")
        image, spread = own["image"].numpy(), own["spread"].numpy()
        yield Denoised(int(channel), image, spread, own["method"], own["errors"]), state

"""Training on the noisy scan itself: one part is predicted from the mean of the others.

Every random choice of a step is drawn from (seed, step) alone. A training that was killed therefore goes on from its
last checkpoint to the same result, bit by bit on one CPU with the same number of threads.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..reconstruction.arrays import Progress, without_progress
from .scaling import Scales
from .splits import leave_one_out
from .unet import UNet

LOSSES = {"mse": F.mse_loss, "mae": F.l1_loss}
CHECKED = 16
"""Held-out pairs, at most, that the loss is watched on."""


@dataclass(frozen=True)
class Schedule:
    """How long, and by what, a network is trained."""

    steps: int
    """Steps of the optimiser."""
    loss: str = "mse"
    """'mse' (what the theory of Noise2Inverse is about) or 'mae' (the paper's)."""
    learning_rate: float = 3e-3
    """Of Adam; in 1500 steps a dB better than 1e-3, the paper's."""
    decay: float = 0.4
    """Last share of the steps over which the learning rate falls to zero; 0: it stays."""
    batch: int = 1
    """Pairs per step."""
    check_every: int = 100
    """Steps between two looks at the held-out pairs."""
    patience: int | None = None
    """Looks without a gain after which the training ends; None: all steps are done."""
    held_out: float = 0.1
    """Share of the channels that keep one of their pairs out of the training, one at least."""
    seed: int = 0


@dataclass(frozen=True)
class Speed:
    """What makes training faster where the device is made for it."""

    mixed: bool
    """Whether convolutions run in bfloat16; loss, weights and optimiser stay in float32."""
    backend: str | None
    """Of `torch.compile`; None: the network runs as it is."""


def speed_on(device: torch.device) -> Speed:
    """Both on a GPU, none on a CPU, where bfloat16 is slow and compiling takes longer than it saves.

    What cannot be compiled (no compiler on the machine) runs as it is.
    """
    return Speed(mixed=True, backend="inductor") if device.type == "cuda" else Speed(mixed=False, backend=None)


class Training:
    """A network on its way; `run` it to the end, or stop and `restore` the `state` later.

    Parameters
    ----------
    network
        Trained in place.
    parts
        Shape (n_channels, K, n, n), any array that gives one channel at a time.
    scales
        Mean and noise of every channel.
    inside
        Voxels that count in the loss, shape (n, n), bool.
    schedule
        Length, loss, seed.
    channels
        The channels to train on; None: all that are usable.
    projected
        `low_rank.project_leave_one_out` of the parts, for a network of two inputs; None for one of one.
    pairs
        (channel, part) to train on, and those to watch; None: what `hold_out` says.
    speed
        None: `speed_on` the network's device.
    """

    def __init__(
        self,
        network: UNet,
        parts,
        scales: Scales,
        inside: np.ndarray,
        schedule: Schedule,
        channels=None,
        *,
        projected=None,
        pairs: tuple[list, list] | None = None,
        speed: Speed | None = None,
    ):
        self.projected = projected
        self.network, self.parts, self.scales, self.schedule = network, parts, scales, schedule
        self.device = next(network.parameters()).device
        self.speed = speed or speed_on(self.device)
        # The same weights under another name: `network` keeps the names that checkpoints have.
        self._fast = torch.compile(network, backend=self.speed.backend) if self.speed.backend else network
        self.channels = scales.usable if channels is None else np.asarray(channels)
        self.trained_on, self.checked_on = pairs or hold_out(self.channels, parts.shape[1], schedule)
        self.optimiser = torch.optim.Adam(network.parameters(), schedule.learning_rate)
        self.step, self.history = 0, []
        self.best = {"loss": np.inf, "step": 0, "weights": _copy(network.state_dict())}
        self._disc = torch.from_numpy(inside.astype(np.float32)).to(self.device)[None, None]

    def run(
        self,
        *,
        checkpoint: Callable[[dict], None] | None = None,
        checkpoint_every: int = 1000,
        progress: Progress = without_progress,
    ) -> UNet:
        """Train to the end of the schedule; the network then has the weights that did best on the held-out pairs.

        `checkpoint` is given the state every so many steps, and at the end.
        """
        for _ in progress(range(self.step, self.schedule.steps)):
            if self.finished:
                break
            loss = self._take_step()
            self.step += 1
            if self.step % self.schedule.check_every == 0 or self.step == self.schedule.steps:
                self._check(loss)
            if checkpoint and self.step % checkpoint_every == 0:
                checkpoint(self.state())
        if checkpoint:
            checkpoint(self.state())
        self.network.load_state_dict(self.best["weights"])
        return self.network

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or `patience` has run out."""
        patience = self.schedule.patience
        waited = (self.step - self.best["step"]) / self.schedule.check_every
        return self.step >= self.schedule.steps or (patience is not None and waited >= patience)

    def state(self) -> dict:
        """All that `restore` needs, and what inference needs: plain numbers, lists, dictionaries and tensors."""
        return {
            "architecture": dict(self.network.architecture),
            "weights": _copy(self.network.state_dict()),
            "optimiser": deepcopy(self.optimiser.state_dict()),  # PyTorch hands out its own tensors
            "step": self.step,
            "history": list(self.history),
            "best": dict(self.best),
        }

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.history, self.best = state["step"], list(state["history"]), dict(state["best"])

    def held_out_loss(self) -> float:
        """Mean loss over the pairs that the network never saw together."""
        measure, losses = LOSSES[self.schedule.loss], []
        with torch.no_grad():
            for channel, part in self.checked_on:
                noisy, target = self._pair(channel, part)
                losses.append(float(measure(self.network(noisy) * self._disc, target * self._disc)))
        return float(np.mean(losses))

    def _take_step(self) -> float:
        rng = np.random.default_rng((self.schedule.seed, self.step))
        drawn = rng.choice(len(self.trained_on), self.schedule.batch)
        pairs = [self._pair(*self.trained_on[i]) for i in drawn]
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        noisy, target, disc = (
            _turned(image, turns, mirrored)
            for image in (torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs]), self._disc)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.learning_rate * _slowed(self.step / self.schedule.steps, self.schedule.decay)
        self.optimiser.zero_grad()
        found = self._forward(noisy)
        loss = LOSSES[self.schedule.loss](found.float() * disc, target * disc)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def _forward(self, noisy: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.speed.mixed):
            if self._fast is self.network:
                return self.network(noisy)
            with torch._dynamo.config.patch(suppress_errors=True):
                return self._fast(noisy)

    def _check(self, training_loss: float) -> None:
        loss = self.held_out_loss()
        self.history.append({"step": self.step, "training": training_loss, "held_out": loss})
        if loss < self.best["loss"]:
            self.best = {"loss": loss, "step": self.step, "weights": _copy(self.network.state_dict())}

    def _pair(self, channel: int, part: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, target = pair(self.parts, self.scales, channel, part, self.projected)
        return tuple(torch.from_numpy(values)[None].to(self.device) for values in (images, target[None]))


def pair(parts, scales: Scales, channel: int, part: int, projected=None) -> tuple[np.ndarray, np.ndarray]:
    """What a network is given to predict one part from, and that part, in units of the channel's noise.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        The images of `network_input`, shape (inputs, n, n), and the target, shape (n, n).
    """
    values = np.asarray(parts[channel])
    own = None if projected is None else np.asarray(projected[channel])[part]
    return network_input(values, scales, channel, part, own), scales.scaled(values[part], channel)


def network_input(values: np.ndarray, scales: Scales, channel: int, part: int, projected=None) -> np.ndarray:
    """The mean of a channel's other parts and, where it is given, its projection that does not know the part either.

    Parameters
    ----------
    values
        The channel's parts, shape (K, n, n).
    projected
        That mean's projection on the patterns of all channels (`low_rank`), shape (n, n); None: without.

    Returns
    -------
    numpy.ndarray
        In units of the channel's noise, shape (1 or 2, n, n), float32.
    """
    images = [leave_one_out(values, part)] if projected is None else [leave_one_out(values, part), projected]
    return np.stack([scales.scaled(image, channel) for image in images])


def hold_out(channels: np.ndarray, n_parts: int, schedule: Schedule) -> tuple[list, list]:
    """Pairs (channel, part) to train on, and those to watch.

    A channel keeps at most one pair back, so that the network is trained on every channel.
    """
    rng = np.random.default_rng((schedule.seed, schedule.steps))
    count = max(1, round(schedule.held_out * len(channels)))
    kept_back = {(int(c), int(rng.integers(n_parts))) for c in rng.permutation(channels)[:count]}
    every = [(int(c), k) for c in channels for k in range(n_parts)]
    return [p for p in every if p not in kept_back], sorted(kept_back)[:: -(-count // CHECKED)]


def _turned(images: torch.Tensor, turns: int, mirrored: bool) -> torch.Tensor:
    turned = torch.rot90(images, turns, (2, 3))
    return turned.flip(3) if mirrored else turned


def _slowed(share_done: float, decay: float) -> float:
    return min(1.0, (1 - share_done) / decay) if decay > 0 else 1.0


def _copy(weights: dict) -> dict:
    return {name: values.detach().clone() for name, values in weights.items()}

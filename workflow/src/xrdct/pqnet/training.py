"""Training: clean patterns from the library, noise drawn anew for every batch, in epochs.

Every random choice of an epoch is drawn from (seed, member, epoch) alone. A training that was killed therefore goes on
from its last checkpoint to the same result, bit by bit on one device with the same number of threads.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import nn

from ..fit.model import PatternModel
from .library import Library, Recipe, draw_library
from .network import loss_of, mean_absolute_error
from .noise import POISSON, add_noise, draw_doses
from .scaling import Scaling
from .seeds import Purpose, numpy_generator, torch_generator, torch_seed

WARM_UP = 0.05
"""Share of the steps over which the learning rate rises, where it falls later."""
SHOWN_ON = 2000
"""Held-out patterns that a training is watched on."""


@dataclass(frozen=True)
class Schedule:
    """How long, and how fast, a network learns. The default is the fast way; see `paper_schedule`."""

    epochs: int = 100
    batch: int = 256
    learning_rate: float = 2e-3
    """Of Adam."""
    falling: bool = True
    """Whether the learning rate falls to zero, along a cosine over all steps."""
    patience: int | None = None
    """Epochs without a gain on held-out patterns after which the training ends; None: never."""


def paper_schedule() -> Schedule:
    """The paper's: mean absolute error, Adam at 5e-4, batches of 32, until held-out patterns gain nothing for 5 epochs.

    It needed fewer than 35 epochs; 100 stand for no limit.
    """
    return Schedule(epochs=100, batch=32, learning_rate=5e-4, falling=False, patience=5)


@dataclass(frozen=True)
class Batch:
    """Noisy patterns and the answers that are wanted; tensors on one device."""

    patterns: torch.Tensor
    """Shape (n_patterns, n_bins), any unit."""
    level: torch.Tensor
    """Effective counts per bin (`noise`), shape (n_patterns,)."""
    values: torch.Tensor
    counts: torch.Tensor
    """Answers, and which of them count, shape (n_patterns, n_targets): see `Scaling.answers`."""


class Source(Protocol):
    """Where patterns come from."""

    n_steps: int
    """Batches in an epoch."""
    seed: int

    def batches(self, member: int, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch: the same for the same numbers."""


@dataclass(frozen=True)
class Noise:
    """Which noise patterns get."""

    kind: str = POISSON
    """See `noise`."""
    doses: tuple[float, float] = (30.0, 10_000.0)
    """Counts at the height of a full phase, drawn uniformly in their logarithm."""


class Streamed:
    """New patterns in every epoch.

    Parameters
    ----------
    patterns
        Patterns per epoch.
    """

    def __init__(
        self, model: PatternModel, recipe: Recipe, noise: Noise, scaling: Scaling, *, patterns: int, batch: int,
        seed: int, device: str = "cpu",
    ):  # fmt: skip
        self.model, self.recipe, self.noise, self.scaling = model, recipe, noise, scaling
        self.patterns, self.batch, self.seed, self.device = patterns, batch, seed, device
        self.n_steps = patterns // batch

    def batches(self, member: int, epoch: int) -> Iterator[Batch]:
        key = (Purpose.STREAM, self.seed, member, epoch)
        library = draw_library(self.model, self.recipe, self.n_steps * self.batch, numpy_generator(*key))
        generator = torch_generator(*key, device=self.device)
        for first in range(0, len(library), self.batch):
            part = slice(first, first + self.batch)
            yield noisy_batch(library, part, self.noise, self.scaling, generator)


class Stored:
    """The same patterns with the same noise in every epoch, in another order: the paper's way.

    Parameters
    ----------
    patterns, level, dose, parameters
        Of a stored library: noisy counts (n_patterns, n_bins), noise level and dose (n_patterns,), and all parameters
        of the clean patterns (n_patterns, n_parameters).
    """

    def __init__(
        self, patterns, level, dose, parameters, scaling: Scaling, *, batch: int, seed: int, device: str = "cpu"
    ):  # fmt: skip
        self.patterns, self.level, self.dose, targets = (
            torch.as_tensor(np.asarray(values, dtype=np.float32), device=device)
            for values in (patterns, level, dose, parameters[:, scaling.places])
        )
        self.values, self.counts = scaling.answers(targets, self.patterns.mean(1) / self.dose)
        self.batch, self.seed, self.device = batch, seed, device
        self.n_steps = len(self.patterns) // batch

    def batches(self, member: int, epoch: int) -> Iterator[Batch]:
        generator = torch_generator(Purpose.ORDER, self.seed, member, epoch, device=self.device)
        order = torch.randperm(len(self.patterns), generator=generator, device=self.device)
        for step in range(self.n_steps):
            chosen = order[step * self.batch : (step + 1) * self.batch]
            yield Batch(self.patterns[chosen], self.level[chosen], self.values[chosen], self.counts[chosen])


def noisy_batch(
    library: Library, part: slice, noise: Noise, scaling: Scaling, generator: torch.Generator,
    doses: tuple[float, float] | None = None,
) -> Batch:  # fmt: skip
    """Some patterns of a library with noise of doses between limits (the noise's own if None)."""
    clean = torch.from_numpy(library.patterns[part]).to(generator.device)
    targets = torch.from_numpy(library.parameters[part][:, scaling.places].astype(np.float32)).to(generator.device)
    dose = draw_doses(len(clean), doses or noise.doses, generator)
    patterns, level, _ = add_noise(clean, dose, kind=noise.kind, generator=generator)
    return Batch(patterns, level, *scaling.answers(targets, (patterns.mean(1) / dose).clamp_min(1e-6)))


class Training:
    """A network on its way; `run` it to the end, or stop and `restore` the `state` later.

    Parameters
    ----------
    network
        Trained in place.
    source
        `Streamed` or `Stored`.
    held_out
        What the training is watched on.
    member
        Number of the network in its ensemble: each has its own patterns, or its own order of them.
    """

    def __init__(
        self, network: nn.Module, source: Source, held_out: Batch, scaling: Scaling, schedule: Schedule, *, member: int
    ):  # fmt: skip
        self.network, self.source, self.held_out = network, source, held_out
        self.scaling, self.schedule, self.member = scaling, schedule, member
        # fused: one pass over memory instead of ten, which on a CPU is half of a small step
        self.optimiser = torch.optim.Adam(network.parameters(), schedule.learning_rate, fused=True)
        self.epoch, self.history = 0, []
        self.best = {"error": np.inf, "epoch": 0, "weights": _copy(network.state_dict())}

    def run(
        self,
        *,
        checkpoint: Callable[[dict], None] | None = None,
        progress: Callable[[Iterable], Iterable] = iter,
    ) -> nn.Module:
        """Train to the end of the schedule; the network then has the weights that did best on the held-out patterns.

        `checkpoint` is given the state after every epoch.
        """
        for _ in progress(range(self.epoch, self.schedule.epochs)):
            if self.finished:
                break
            self._learn()
            self.epoch += 1
            self._check()
            if checkpoint:
                checkpoint(self.state())
        self.network.load_state_dict(self.best["weights"])
        return self.network.eval()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or `patience` has run out."""
        patience = self.schedule.patience
        waited = self.epoch - self.best["epoch"]
        return self.epoch >= self.schedule.epochs or (patience is not None and waited >= patience)

    def state(self) -> dict:
        """All that `restore` needs: plain numbers, lists, dictionaries and tensors."""
        return {
            "architecture": dict(self.network.architecture),
            "weights": _copy(self.network.state_dict()),
            "optimiser": deepcopy(self.optimiser.state_dict()),  # PyTorch hands out its own tensors
            "epoch": self.epoch,
            "history": list(self.history),
            "best": dict(self.best),
        }

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""
        self.network.load_state_dict(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.history, self.best = state["epoch"], list(state["history"]), dict(state["best"])

    def _learn(self) -> None:
        self.network.train()
        done, total = self.epoch * self.source.n_steps, self.schedule.epochs * self.source.n_steps
        device = next(self.network.parameters()).device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):  # dropout knows no generator of its own
            torch.manual_seed(torch_seed(Purpose.WEIGHTS, self.source.seed, self.member, self.epoch + 1))
            for step, batch in enumerate(self.source.batches(self.member, self.epoch)):
                for group in self.optimiser.param_groups:
                    group["lr"] = learning_rate(self.schedule, (done + step) / total)
                outputs = self.network(self.scaling.inputs(batch.patterns, batch.level))
                loss = loss_of(outputs, batch.values, batch.counts)
                self.optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimiser.step()

    def _check(self) -> None:
        self.network.eval()
        batch = self.held_out
        with torch.no_grad():
            outputs = self.network(self.scaling.inputs(batch.patterns, batch.level))
        error = float(mean_absolute_error(outputs, batch.values, batch.counts))
        self.history.append(error)
        if error < self.best["error"]:
            self.best = {"error": error, "epoch": self.epoch, "weights": _copy(self.network.state_dict())}


def learning_rate(schedule: Schedule, done: float) -> float:
    """After a share of all steps."""
    if not schedule.falling:
        return schedule.learning_rate
    rising = min(1.0, (done + 1e-6) / WARM_UP)
    return float(schedule.learning_rate * rising * (0.5 * (1 + np.cos(np.pi * done)) + 0.002))


def _copy(weights: dict) -> dict:
    return {name: values.detach().clone() for name, values in weights.items()}

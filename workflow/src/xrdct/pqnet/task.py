"""What a model is for: the one place where settings become a model of the pattern, a recipe and a scaling."""

from dataclasses import dataclass

import numpy as np

from ..calibration.profile import InstrumentProfile
from ..config import PhaseSetSettings, PqNet
from ..fit.model import PatternModel
from ..fit.phase_set import load_phase_set
from .library import Recipe, draw_library
from .network import new_network
from .scaling import Scaling, find_scaling
from .seeds import Purpose, numpy_generator, torch_generator, torch_seed
from .training import (
    SHOWN_ON,
    Noise,
    Schedule,
    Source,
    Stored,
    Streamed,
    Training,
    noisy_batch,
    paper_schedule,
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """Depends on the phase set, the grid of q, the instrument's profile and the settings of PQ-Net; on no scan."""

    model: PatternModel
    recipe: Recipe
    noise: Noise
    scaling: Scaling
    schedule: Schedule
    settings: PqNet


def grid_of(*, q_min: float, q_max: float, n_bins: int) -> np.ndarray:
    """Bin centres of patterns in 1/Å, as integration makes them, shape (n_bins,)."""
    return q_min + (np.arange(n_bins) + 0.5) * (q_max - q_min) / n_bins


def make_task(phase_set: PhaseSetSettings, q: np.ndarray, profile: InstrumentProfile, settings: PqNet) -> Task:
    """The task that the settings describe.

    Raises
    ------
    ConfigError
        If `targets` names what is not in the phase set, or the phase set cannot be used.
    """
    model = PatternModel(load_phase_set(phase_set), q, profile)
    library = settings.library
    recipe = Recipe(library.absent, library.background, library.background_shape, library.broadening)
    some = draw_library(model, recipe, SHOWN_ON, numpy_generator(Purpose.WATCHED, settings.seed))
    scaling = find_scaling(model, some, owners=settings.targets)
    schedule = (
        paper_schedule()
        if settings.schedule == "paper"
        else Schedule(epochs=settings.epochs, batch=settings.batch, learning_rate=settings.learning_rate)
    )
    return Task(model, recipe, Noise(library.noise, library.doses), scaling, schedule, settings)


def make_training(task: Task, *, member: int, device: str = "cpu", stored: dict | None = None) -> Training:
    """A training of one member, not begun; `stored` has the arrays of a library: see `Stored`."""
    settings, scaling = task.settings, task.scaling
    source: Source
    if stored is None:
        source = Streamed(
            task.model, task.recipe, task.noise, scaling, patterns=settings.library.patterns,
            batch=task.schedule.batch, seed=settings.seed, device=device,
        )  # fmt: skip
    else:
        source = Stored(**stored, scaling=scaling, batch=task.schedule.batch, seed=settings.seed, device=device)
    watched = draw_library(task.model, task.recipe, SHOWN_ON, numpy_generator(Purpose.WATCHED, settings.seed, 1))
    generator = torch_generator(Purpose.WATCHED, settings.seed, device=device)
    held_out = noisy_batch(watched, slice(None), task.noise, scaling, generator)
    network = new_network(
        seed=torch_seed(Purpose.WEIGHTS, settings.seed, member),
        kind=settings.network,
        n_bins=task.model.q.size,
        n_targets=len(scaling.targets),
        device=device,
    )
    return Training(network, source, held_out, scaling, task.schedule, member=member)

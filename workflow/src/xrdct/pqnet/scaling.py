"""What a network is shown, and what it answers, as numbers of the order of 1.

Input: the signed square root of pattern / mean − 1, in which Poisson noise is nearly equal in every bin and the dose
has gone, and the logarithm of the noise level, without which error bars are right at one dose only. Output: scales
relative to the mean of the pattern, cells relative to their limits.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..errors import ConfigError
from ..fit.model import PatternModel
from .library import Library, full_scales

PRESENT = 0.02
"""Below this share of a full phase its cell is not learned: there is nothing to see."""
MOST = 1e3
"""No bin is so many times the mean of its pattern, unless there is nothing but noise."""


@dataclass(frozen=True)
class Scaling:
    """Between physical numbers and those of a network; n_targets quantities are answered."""

    targets: tuple[tuple[str, str], ...]
    """Owner and parameter, as in `PatternModel.names`: every owner's scale, then its cells."""
    places: np.ndarray
    """Of the targets among the model's parameters, shape (n_targets,)."""
    owners: np.ndarray
    """Number of the target that is the scale of the same owner, shape (n_targets,)."""
    full: np.ndarray
    """Scale of a full phase, for each target that of its owner, shape (n_targets,)."""
    centre: np.ndarray
    width: np.ndarray
    """What stands for 0 and 1: of scales / full / mean, and of cells in Å; shape (n_targets,)."""

    @property
    def is_scale(self) -> np.ndarray:
        """Which targets are scales, shape (n_targets,), bool."""
        return self.owners == np.arange(len(self.targets))

    def inputs(self, patterns: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
        """Shape (n_patterns, n_bins + 1), from patterns of any unit and their noise levels."""
        relative = (patterns / patterns.mean(1, keepdim=True).clamp_min(1e-30)).clamp(-MOST, MOST)
        roots = torch.sign(relative) * relative.abs().sqrt() - 1
        return torch.cat([roots, torch.log(level / 100)[:, None] / 2], 1)

    def answers(self, parameters: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network should say, and which of it counts (cells of phases that are there).

        Parameters
        ----------
        parameters
            Shape (n_patterns, n_targets): those at `places`, of clean patterns in heights of a full phase.
        mean
            Of the noisy patterns, in the same unit, shape (n_patterns,).

        Returns
        -------
        torch.Tensor, torch.Tensor
            Both of shape (n_patterns, n_targets); the second is 0 or 1.
        """
        scales = torch.as_tensor(self.is_scale, device=parameters.device)
        centre, width, full = (self._tensor(name, parameters) for name in ("centre", "width", "full"))
        relative = parameters / full / mean[:, None]
        values = (torch.where(scales, relative, parameters) - centre) / width
        counts = scales | (relative[:, self.owners] * mean[:, None] > PRESENT)
        return values, counts.to(values.dtype)

    def physical(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Answers as scales and Å, shape (..., n_patterns, n_targets)."""
        found = values * self.width + self.centre
        return np.where(self.is_scale, found * self.full * mean[:, None], found)

    def widths(self, values: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Widths of answers in the same units."""
        found = values * self.width
        return np.where(self.is_scale, found * self.full * mean[:, None], found)

    def _tensor(self, name, like):
        return torch.as_tensor(getattr(self, name), dtype=like.dtype, device=like.device)


def find_scaling(model: PatternModel, library: Library, *, owners: tuple[str, ...] = ()) -> Scaling:
    """The scaling of a phase set.

    Parameters
    ----------
    library
        Some patterns: the mean and spread of their relative scales stand for 0 and 1.
    owners
        Phases and peaks that the network answers for; empty: all. For a phase its scale and the cells that its
        `per_voxel` names.

    Raises
    ------
    ConfigError
        If an owner is not in the phase set.
    """
    unknown = sorted(set(owners) - set(model.phases.names))
    if unknown:
        raise ConfigError(
            f"pqnet.targets: {', '.join(unknown)} not in phase set {model.phases.name!r} "
            f"({', '.join(model.phases.names)})"
        )
    chosen = [name for name in model.phases.names if not owners or name in owners]
    cells = {phase.name: phase.per_voxel for phase in model.phases.phases}
    targets = [(name, "scale") for name in chosen]
    targets += [(name, cell) for name in chosen for cell in cells.get(name, ())]
    places = np.array([model.place(*target) for target in targets])
    owners_of = np.array([targets.index((owner, "scale")) for owner, _ in targets])
    full = dict(zip(model.phases.names, full_scales(model), strict=True))
    full = np.array([full[owner] for owner, _ in targets])
    low, high = model.low[places], model.high[places]
    relative = library.parameters[:, places] / full / library.patterns.mean(axis=1, dtype=float)[:, None]
    scales = np.isinf(high)
    with np.errstate(invalid="ignore"):
        centre = np.where(scales, relative.mean(axis=0), (low + high) / 2)
        width = np.where(scales, relative.std(axis=0), (high - low) / 2)
    return Scaling(tuple(targets), places, owners_of, full, centre, width)

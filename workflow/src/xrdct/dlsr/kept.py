"""What is kept of a search, so that it can go on where it was interrupted."""

from collections.abc import Callable
from typing import Protocol

import numpy as np


class Checkpoint(Protocol):
    """Keeps the vector of the unknowns and how it was come by: `io.checkpoint.Checkpoint`."""

    path: object

    def load(self) -> tuple[np.ndarray, dict] | None:
        """What was kept, None if nothing was."""

    def save(self, vector: np.ndarray, facts: dict) -> None:
        """Keep the vector, and plain values."""

    def part(self, name: str) -> "Checkpoint":
        """Another one, of a part of the work."""


def keeper(checkpoint: Checkpoint, facts: dict) -> Callable[[np.ndarray, int], None]:
    """What keeps vector and number of steps of a search, with what is known of it."""
    return lambda vector, steps: checkpoint.save(vector, facts | {"steps": steps})

"""Random numbers by purpose: what is drawn for one is never drawn for another, whatever the seed."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """First number of every key."""

    LIBRARY = 1
    STREAM = 2
    ORDER = 3
    WEIGHTS = 4
    WATCHED = 5
    CALIBRATION = 6
    TEST = 7


def key_of(purpose: Purpose, *numbers: int) -> tuple[int, ...]:
    """A key for NumPy; the last number tells apart keys that differ by trailing zeros, which NumPy does not."""
    return (int(purpose), *numbers, len(numbers) + 1)


def numpy_generator(purpose: Purpose, *numbers: int) -> np.random.Generator:
    """For these numbers always the same."""
    return np.random.default_rng(key_of(purpose, *numbers))


def torch_seed(purpose: Purpose, *numbers: int) -> int:
    """A seed for PyTorch, 63 bits."""
    return int(np.random.SeedSequence(key_of(purpose, *numbers)).generate_state(1, np.uint64)[0] >> 1)


def torch_generator(purpose: Purpose, *numbers: int, device: str = "cpu") -> torch.Generator:
    """For these numbers always the same on the same kind of device."""
    return torch.Generator(device=device).manual_seed(torch_seed(purpose, *numbers))

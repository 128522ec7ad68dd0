"""Random numbers that depend on what they are for, not on the order in which they are drawn."""

import zlib

import numpy as np


def generator(seed: int, purpose: str, subset: int = 0, frame: int = 0) -> np.random.Generator:
    """A stream of its own for every (seed, purpose, subset, frame): Philox, keyed by them.

    `purpose` is the name of a scan, or of what is drawn once. Subsets count up to 255, frames up to 16 million.
    """
    stream = zlib.crc32(purpose.encode()) << 32 | subset << 24 | frame
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], dtype=np.uint64)))

"""Simultaneous algebraic reconstruction technique, a few projections at a time."""

import numpy as np

from .arrays import Progress, reciprocal, starting_image, sums, without_progress

GOLDEN = (np.sqrt(5) - 1) / 2


def sart(
    A,
    b,
    *,
    iterations: int = 10,
    nonnegative: bool = False,
    start=None,
    block: int = 8,
    relaxation: float = 0.5,
    progress: Progress = without_progress,
):
    """Correct the image with one block of projections after the other.

    The step of `sirt` for the rows of a block, times `relaxation` (Andersen & Kak, Ultrason. Imaging 6, 81, 1984,
    doi:10.1016/0161-7346(84)90008-7, where a block is one projection). It comes close within a few iterations and
    then circles around the solution, the wider the noisier the data.

    Parameters
    ----------
    A, b, nonnegative, start, progress
        As for `sirt`.
    iterations
        Passes over all projections; 5 to 20 are usual.
    block
        Projections of a block, spread over the half turn.
    relaxation
        Between 0 and 2; smaller is smoother and slower.
    """
    blocks = [(A.rows(chosen), b[chosen]) for chosen in spread_blocks(A.angles, block)]
    weights = [sums(part) for part, _ in blocks]
    x = starting_image(A, b, start, sum(columns for _, columns in weights))
    weights = [(reciprocal(rows), relaxation * reciprocal(columns)) for rows, columns in weights]
    for _ in progress(range(iterations)):
        for (part, data), (rows, columns) in zip(blocks, weights, strict=True):
            x += columns * (part.T @ (rows * (data - part @ x)))
            if nonnegative:
                x = x.clip(min=0)
    return x


def spread_blocks(angles: np.ndarray, block: int) -> list[np.ndarray]:
    """Indices of the projections of each block: even over the half turn, and each block far from those just before."""
    order = np.argsort(angles % 180.0, kind="stable")
    n_blocks = -(-len(order) // block)
    return [order[k::n_blocks] for k in np.argsort(np.arange(n_blocks) * GOLDEN % 1)]

"""Products with matrices that resample: a bin depends on a few others near it, and the rest of the matrix is zero."""

import numpy as np

from ..reconstruction.parallax import touched

COLUMNS = 48
"""Of the matrix at a time: fewer multiply fewer zeros, more make better use of the processor."""


class Banded:
    """A matrix of shape (n_in, n_out) whose entries lie along a band, as dense blocks of its columns.

    Entries below `reconstruction.parallax.NEGLIGIBLE` of the largest of a block are left out, in both directions: the
    transpose stays exact.
    """

    def __init__(self, matrix: np.ndarray):
        self.shape = matrix.shape
        columns = [slice(first, min(first + COLUMNS, self.shape[1])) for first in range(0, self.shape[1], COLUMNS)]
        rows = [touched(matrix[:, some].T) for some in columns]
        self._blocks = [(r, c, np.ascontiguousarray(matrix[r, c])) for r, c in zip(rows, columns, strict=True)]

    def of(self, values: np.ndarray) -> np.ndarray:
        """``values @ matrix``, for values of shape (..., n_in)."""
        lines = values.reshape(-1, self.shape[0])
        found = np.empty((len(lines), self.shape[1]), dtype=values.dtype)
        for rows, columns, block in self._blocks:
            found[:, columns] = lines[:, rows] @ block
        return found.reshape(*values.shape[:-1], -1)

    def transposed(self, values: np.ndarray) -> np.ndarray:
        """``values @ matrix.T``, for values of shape (..., n_out)."""
        lines = values.reshape(-1, self.shape[1])
        found = np.zeros((len(lines), self.shape[0]), dtype=values.dtype)
        for rows, columns, block in self._blocks:
            found[:, rows] += lines[:, columns] @ block.T
        return found.reshape(*values.shape[:-1], -1)

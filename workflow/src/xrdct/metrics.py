"""How well a map agrees with another one."""

import numpy as np


def correlation(found: np.ndarray, expected: np.ndarray) -> float:
    """Pearson's correlation of two maps of one shape, over the pixels where both are finite."""
    both = np.isfinite(found) & np.isfinite(expected)
    return float(np.corrcoef(found[both], expected[both])[0, 1])

"""Patterns unlike any of the library: what its principal components leave of them, against what noise would leave.

Residuals are taken in the scale of the network's input (root of the pattern over its mean), in which Poisson noise is
nearly the same in every bin. Thresholds are quantiles of held-out patterns, per noise level: one threshold over all
doses would give false alarms at one and none at another.
"""

from dataclasses import dataclass

import numpy as np

LEVELS = 8
"""Classes of noise level, equally many held-out patterns in each."""
SILENT = 0.1
"""Components are kept until what is left of clean patterns is this share of the noise at `JUDGED_AT`; more of them
would explain strange patterns as well."""
JUDGED_AT = 300.0
"""Effective counts per bin."""
FAINT = 0.02
"""Bins are taken to hold at least this share of the mean where noise is transformed: near 0 the root is not smooth."""


@dataclass(frozen=True)
class Components:
    """Mean and principal components of clean patterns in the scale of the root."""

    mean: np.ndarray
    """Shape (n_bins,)."""
    components: np.ndarray
    """Orthonormal, shape (n_components, n_bins)."""

    def scores(self, patterns: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """Squared residual over what the variance lets expect: about 1 for a pattern of the library, shape
        (n_patterns,).

        `patterns` (n_patterns, n_bins), `variance` of the same shape or (n_bins,).
        """
        mean = np.maximum(patterns.mean(axis=1, keepdims=True), 1e-30)
        relative = patterns / mean
        residual = np.sign(relative) * np.sqrt(np.abs(relative)) - self.mean
        residual -= (residual @ self.components.T) @ self.components
        expected = variance / (4 * np.maximum(relative, FAINT) * mean**2)
        # A residual's expected square: the variance of every bin, less what the components take of it.
        left = 1 - (self.components**2).sum(axis=0)
        return (residual**2).sum(axis=1) / (expected * left).sum(axis=1)


@dataclass(frozen=True)
class Threshold:
    """Largest score of ordinary patterns, by noise level."""

    log_levels: np.ndarray
    values: np.ndarray
    """Shape (LEVELS,) both."""

    def exceeded(self, scores: np.ndarray, level: np.ndarray) -> np.ndarray:
        """Which patterns are strange, shape (n_patterns,), bool."""
        return scores > np.interp(np.log(level), self.log_levels, self.values)


def find_components(patterns: np.ndarray) -> Components:
    """Principal components of clean patterns (n_patterns, n_bins)."""
    roots = np.sqrt(patterns / patterns.mean(axis=1, keepdims=True, dtype=float))
    mean = roots.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((roots - mean).T))
    left = np.cumsum(np.maximum(values, 0))  # ascending: what the first k + 1 vectors hold
    noise = np.arange(1, len(values) + 1) / (4 * JUDGED_AT)
    dropped = int(np.count_nonzero(left < SILENT * noise))
    return Components(mean, vectors[:, dropped:].T[::-1].copy())


def find_threshold(scores: np.ndarray, level: np.ndarray, *, alarms: float) -> Threshold:
    """The score that a share `alarms` of these patterns exceeds, at every noise level."""
    order = np.argsort(level, kind="stable")
    parts = np.array_split(order, LEVELS)
    return Threshold(
        np.array([np.median(np.log(level[part])) for part in parts]),
        np.array([np.quantile(scores[part], 1 - alarms) for part in parts]),
    )

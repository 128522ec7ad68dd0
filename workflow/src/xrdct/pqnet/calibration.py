"""Error bars that hold at every noise level, for weak phases and for strong ones.

A raw error bar (spread of the ensemble and width of its members, or a standard error of the two steps) is multiplied
by the factor that made 68.3 % of held-out patterns of the same noise level and signal fall inside. One factor for a
mixture of doses would be right for the mixture and wrong at every dose; one for all signals would be wrong for weak
phases, whose scales end at 0 and whose cells end at their limits. The signal is the scale over its own raw error bar: a
class of weak phases is then a narrow one at every dose.

Of the patterns that look weak some are not, and what looks of middling strength may be weak: factors that hold for what
looks alike cover too few of the phases that are weak (cells: 0.63–0.64), or too many (scales: 0.73). So they are
corrected once by what classes of the true signal still ask for.
"""

from dataclasses import dataclass

import numpy as np

COVERED = 0.6827
"""Share of a normal distribution within one standard deviation."""
LEVELS, SIGNALS = 6, 10
"""Classes of noise level, and at most of the phase's signal within each: equally many held-out patterns in each."""
STRENGTHS = 3
"""Classes of the true signal within a noise level. Two neighbours must be told apart by the answer: with more of them
the factors swing from class to class."""
ENOUGH = 150
"""Patterns that a class needs: its factor is then known to about 5 %."""


@dataclass(frozen=True)
class Calibration:
    """Factors on raw error bars."""

    log_levels: np.ndarray
    """Middles of the classes of noise level, natural logarithm, ascending, shape (LEVELS,)."""
    signals: np.ndarray
    """Middles of the classes of signal, shape (n_targets, LEVELS, n_signals)."""
    factors: np.ndarray
    """Same shape."""

    def factor(self, target: int, level: np.ndarray, signal: np.ndarray) -> np.ndarray:
        """Factors for patterns, shape (n_patterns,): linear between the middles, constant beyond the last ones."""
        position = np.interp(np.log(level), self.log_levels, np.arange(len(self.log_levels)))
        below = np.minimum(position.astype(int), len(self.log_levels) - 2)
        share = position - below
        found = [
            np.interp(signal, self.signals[target, k], self.factors[target, k]) for k in range(len(self.log_levels))
        ]
        rows = np.arange(len(signal))
        found = np.stack(found)
        return (1 - share) * found[below, rows] + share * found[below + 1, rows]

    def calibrated(self, raw: np.ndarray, level: np.ndarray, signals: np.ndarray) -> np.ndarray:
        """Error bars from raw ones; all but `level` (n_patterns,) of shape (n_patterns, n_targets)."""
        factors = [self.factor(t, level, signals[:, t]) for t in range(raw.shape[1])]
        return raw * np.stack(factors, axis=1)


def calibrate(
    errors: np.ndarray, raw: np.ndarray, level: np.ndarray, signals: np.ndarray, true: np.ndarray, counts: np.ndarray
) -> Calibration:
    """Find the factors from patterns that no network was trained on.

    Parameters
    ----------
    errors
        Answer − truth, shape (n_patterns, n_targets).
    raw
        Raw error bars, same shape; NaN where there is none.
    level
        Noise level of each pattern, shape (n_patterns,).
    signals
        Scale of each target's phase over its raw error bar, same shape as `errors`.
    true
        The same of the true scale.
    counts
        Which patterns count for a target (its phase is there), same shape, bool.
    """
    n_targets = errors.shape[1]
    counts = counts & np.isfinite(raw)
    n_signals = int(np.clip(counts.sum(axis=0).min() // (LEVELS * ENOUGH), 2, SIGNALS))
    edges = np.quantile(np.log(level), np.linspace(0, 1, LEVELS + 1))
    edges[0], edges[-1] = -np.inf, np.inf
    of_level = np.digitize(np.log(level), edges[1:-1])
    middles = np.array([np.median(np.log(level)[of_level == k]) for k in range(LEVELS)])
    shape = (n_targets, LEVELS, n_signals)
    at, factors = np.empty(shape), np.empty(shape)
    for t in range(n_targets):
        for k in range(LEVELS):
            chosen = np.flatnonzero((of_level == k) & counts[:, t])
            seen, ratio = signals[chosen, t], np.abs(errors[chosen, t]) / raw[chosen, t]
            at[t, k], factors[t, k] = _by_class(seen, ratio, n_signals)
            left = _by_class(true[chosen, t], ratio / np.interp(seen, at[t, k], factors[t, k]), STRENGTHS)
            factors[t, k] *= np.interp(at[t, k], *left)
    return Calibration(middles, at, factors)


def _by_class(signals, ratio, n):
    """Median signal, and the ratio of error and bar that 68 % stay below, of n classes of equally many patterns."""
    parts = np.array_split(np.argsort(signals, kind="stable"), n)
    return np.array([[np.median(signals[part]), np.quantile(ratio[part], COVERED)] for part in parts]).T


def coverage(errors: np.ndarray, bars: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Share of errors within their bars for each target, shape (n_targets,); NaN where nothing counts."""
    inside = np.where(counts & np.isfinite(bars), np.abs(errors) < bars, np.nan)
    return np.array(
        [np.mean(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in inside.T]
    )

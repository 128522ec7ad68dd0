"""Photon noise: Poisson numbers for millions of pixels, each with an expectation of its own.

A Poisson number of expectation λ is the sum of one of expectation λ₀ ≤ λ on a fine grid, looked up in the tabulated
distribution, and one of the small rest λ − λ₀, which is nearly always 0. The sum is exact, and several times faster
than a sampler that has to set up every λ anew. Large λ are drawn by Hörmann's transformed rejection.
"""

import numba
import numpy as np
from scipy import stats

GRID = 16
"""Tabulated expectations per unit."""
TABULATED = 48
"""Expectations from here on are drawn by transformed rejection."""
GUIDE = 64
"""Entries of the guide table: where in the distribution the search for a uniform number starts."""
_TURN = np.uint64(24)
_BACK = np.uint64(40)
_RIGHT = np.uint64(11)
_LEFT = np.uint64(3)
_ONE = np.uint64(1)


def _distributions() -> tuple[np.ndarray, np.ndarray]:
    """Cumulated probabilities [expectation, count], and where to start looking in them, [expectation, guide]."""
    expectation = np.arange(GRID * TABULATED + 1) / GRID
    most = int(stats.poisson.isf(1e-16, TABULATED)) + 2
    cumulated = stats.poisson.cdf(np.arange(most), expectation[:, None])
    cumulated[:, -1] = 1  # the last step of the search always ends
    uniform = np.arange(GUIDE) / GUIDE
    start = np.stack([np.searchsorted(row, uniform, side="right") for row in cumulated])
    return cumulated, start.astype(np.uint8)


_CUMULATED, _START = _distributions()


def draw_counts(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson numbers of the given expectations.

    Parameters
    ----------
    expected
        Expectations, not negative, any shape; float32 or float64.
    rng
        Seeds the kernel's own generator: the same stream gives the same numbers.

    Returns
    -------
    numpy.ndarray
        int32, the shape of `expected`.
    """
    counts = np.empty(expected.shape, dtype=np.int32)
    seed = rng.integers(0, 2**64, 3, dtype=np.uint64)
    _draw(np.ascontiguousarray(expected).ravel(), seed, _CUMULATED, _START, counts.ravel())
    return counts


@numba.njit(inline="always")
def _next(state):
    """Next state of Doty-Humphrey's SFC64 generator (PractRand, public domain), and a number in [0, 1)."""
    a, b, c, counter = state
    result = a + b + counter
    state = (b ^ (b >> _RIGHT), c + (c << _LEFT), ((c << _TURN) | (c >> _BACK)) + result, counter + _ONE)
    return state, np.float64(result >> _RIGHT) / 9007199254740992.0


@numba.njit(cache=True, nogil=True)
def _draw(expected, seed, cumulated, start, counts):
    state = (seed[0], seed[1], seed[2], _ONE)
    for _ in range(12):  # mixes the seed
        state, uniform = _next(state)
    for i in range(expected.size):
        mean = np.float64(expected[i])
        if mean >= TABULATED:
            counts[i], state = _reject(mean, state)
            continue
        row = np.int64(mean * GRID)
        state, uniform = _next(state)
        k = np.int64(start[row, np.int64(uniform * GUIDE)])
        while uniform >= cumulated[row, k]:
            k += 1
        rest = mean - row / GRID
        state, uniform = _next(state)
        if uniform >= 1 - rest:  # exp(−rest) > 1 − rest: only now is the exponential needed
            more, probability = 0, np.exp(-rest)
            total = probability
            while uniform >= total and probability > 1e-18:
                more += 1
                probability *= rest / more
                total += probability
            k += more
        counts[i] = k


@numba.njit(cache=True, nogil=True)
def _reject(mean, state):
    """Poisson number of a large expectation: algorithm PTRS of W. Hörmann, Insur. Math. Econ. 12 (1993) 39."""
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2)
    log_mean = np.log(mean)
    while True:
        state, uniform = _next(state)
        u = uniform - 0.5
        state, v = _next(state)
        us = 0.5 - abs(u)
        k = np.floor((2 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= squeeze:
            return np.int32(k), state
        if k < 0 or (us < 0.013 and v > us):
            continue
        accept = -mean + k * log_mean - _log_factorial(k)
        if np.log(v * inverse_alpha / (a / (us * us) + b)) <= accept:
            return np.int32(k), state


@numba.njit(cache=True, nogil=True, inline="always")
def _log_factorial(k):
    """ln k!: Stirling's series, good to 1e-8 from k = 3 on; 48 − 6 σ is 6."""
    x = k + 1.0
    return (x - 0.5) * np.log(x) - x + 0.9189385332046727 + 1 / (12 * x) - 1 / (360 * x**3) + 1 / (1260 * x**5)

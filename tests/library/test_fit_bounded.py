"""The quadratic step within limits against SciPy's bounded least squares."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from xrdct.fit.bounded import bounded_minimum


def minimum(matrix, gradient, low, high, fixed=None):
    step, n = np.full(gradient.size, np.nan), gradient.size
    fixed = np.zeros(n, bool) if fixed is None else fixed
    bounded_minimum(matrix, gradient, low, high, fixed, step, np.empty((n, n)))
    return step


def problem(rng, n, *, correlation):
    """Neighbouring columns are nearly the same, as two lines closer than their width are; half the limits bind."""
    columns = rng.normal(size=(3 * n, n))
    columns[:, 1::2] = correlation * columns[:, :-1:2] + np.sqrt(1 - correlation**2) * columns[:, 1::2]
    target = columns @ rng.normal(size=n) + rng.normal(size=3 * n)
    low = np.where(rng.random(n) < 0.2, -np.inf, -rng.random(n) * (rng.random(n) < 0.7))
    return columns, target, low, np.where(rng.random(n) < 0.2, np.inf, rng.random(n))


@pytest.mark.parametrize("correlation", [0.0, 0.95, 0.999])
def test_the_minimum_is_that_of_bounded_least_squares(correlation):
    rng = np.random.default_rng(0)
    for n in (2, 6, 20, 44):
        for _ in range(25):
            columns, target, low, high = problem(rng, n, correlation=correlation)
            expected = lsq_linear(columns, target, (low, high + 1e-300), method="bvls", tol=1e-14)
            found = minimum(columns.T @ columns, columns.T @ target, low, high)
            assert ((found >= low) & (found <= high)).all()
            worse = np.sum((columns @ found - target) ** 2) - 2 * expected.cost
            # The noise here is 1. A parameter is let go that wants to move by 1e-4 of the error it has alone; with
            # the others it gains up to 1e-8 / (1 − correlation²) in χ².
            assert worse < 2e-8 * n / (1 - correlation**2)


def test_what_is_fixed_stays_and_the_others_do_not_mind():
    rng = np.random.default_rng(1)
    columns, target, low, high = problem(rng, 8, correlation=0.9)
    fixed = np.arange(8) % 3 == 0
    found = minimum(columns.T @ columns, columns.T @ target, low, high, fixed)
    assert (found[fixed] == 0).all()
    bounds = (low[~fixed], high[~fixed] + 1e-300)
    expected = lsq_linear(columns[:, ~fixed], target, bounds, method="bvls", tol=1e-14).x
    np.testing.assert_allclose(found[~fixed], expected, atol=1e-3)


def test_a_matrix_that_says_the_same_twice_shares_it():
    matrix = np.ones((2, 2))
    found = minimum(matrix, np.array([1.0, 1.0]), np.full(2, -1.0), np.full(2, 1.0))
    assert found.sum() == pytest.approx(1.0, abs=1e-6)

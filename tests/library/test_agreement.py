"""When two computations of a store count as the same."""

import numpy as np
import pytest
import xarray as xr

from xrdct.agreement import LEARNED, TOLERANCES, Tolerance, disagreements, share_beyond
from xrdct.io.store import FORMS

STEP = Tolerance(0.01, in_errors=0.5, beyond=0.02)


def store(**values):
    return {name: xr.Variable(("y",), np.asarray(value)) for name, value in values.items()}


def test_every_kind_of_store_has_a_tolerance():
    assert set(FORMS) | {"beamtime"} == set(TOLERANCES)
    assert set(LEARNED) <= set(TOLERANCES)


def test_a_step_is_a_share_of_the_root_mean_square():
    first = np.array([3.0, 4.0, 0.0, 0.0])  # rms 2.5: a step of 0.025, also where the value itself is 0
    for moved, share in ((0.024, 0.0), (0.026, 0.25)):
        assert share_beyond(first, first + np.array([0, 0, moved, 0]), STEP) == share


def test_where_there_is_an_error_bar_the_step_is_a_share_of_it():
    a, bars = np.full(4, 2.86), np.array([0.001, 0.001, 0.002, np.nan])
    # Half a bar is 0.0005, 0.0005, 0.001; without one the step is 1 % of 2.86.
    again = a + np.array([0.0004, 0.0006, 0.0006, 0.0006])
    assert share_beyond(a, again, STEP, bars) == 0.25
    (line,) = disagreements(store(a=a, a_err=bars), store(a=again, a_err=bars), STEP)
    assert line.startswith("a: 25.00% of the values differ by more than")


@pytest.mark.parametrize(
    ("first", "second"),
    [([1.0, np.nan], [1.0, 1.0]), ([True, False], [True, True]), (["Cu", "Al"], ["Cu", "Fe"]), ([1, 2], [1, 3])],
)
def test_a_nan_a_flag_a_name_and_a_number_that_change_count(first, second):
    assert share_beyond(np.array(first), np.array(second), STEP) == 0.5
    assert share_beyond(np.array(first), np.array(first), STEP) == 0


def test_few_values_beyond_a_step_are_forgiven_many_are_not():
    first = np.ones(100)
    second = first + 0.1 * (np.arange(100) < 2)
    assert not list(disagreements(store(v=first), store(v=second), STEP))
    second = first + 0.1 * (np.arange(100) < 3)
    assert len(list(disagreements(store(v=first), store(v=second), STEP))) == 1


def test_missing_variables_and_other_shapes_are_named():
    lines = list(disagreements(store(a=[1.0], b=[1.0]), store(a=[1.0, 2.0], c=[1.0]), STEP))
    assert lines == ["a is y 1 in the first, y 2 in the second", "b is only in the first", "c is only in the second"]


def test_what_is_nowhere_a_number_agrees_with_itself_only():
    assert share_beyond(np.array([np.nan]), np.array([np.nan]), STEP) == 0
    assert share_beyond(np.array([np.nan]), np.array([0.0]), STEP) == 1

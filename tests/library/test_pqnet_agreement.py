"""What the networks answer alone, against the two steps from there."""

import numpy as np
import pytest

from xrdct.pqnet.agreement import FEWEST, biased, pulls
from xrdct.pqnet.scaling import Scaling

TARGETS = (("NCA", "scale"), ("NCA", "c"), ("Cu", "scale"))
PLACES = np.array([0, 3, 5])
"""Of the targets among six parameters."""


@pytest.fixture
def scaling():
    ones = np.ones(3)
    return Scaling(TARGETS, PLACES, owners=np.array([0, 0, 2]), full=ones, centre=0 * ones, width=ones)


def answers(n):
    """Values, bars and parameters of n voxels in which networks and steps say the same."""
    values = np.tile([10.0, 14.3, 0.5], (n, 1))
    parameters = np.full((n, 6), np.nan)
    parameters[:, PLACES] = values
    return values, np.tile([1.0, 0.01, 1.0], (n, 1)), parameters


def test_a_difference_counts_in_error_bars_of_the_networks(scaling):
    values, bars, parameters = answers(3)
    parameters[1, 3] -= 0.05
    parameters[2, 0] += 2.0
    np.testing.assert_allclose(pulls(scaling, values, bars, parameters), [[0, 0, 0], [0, 5, 0], [-2, 0, 0]], atol=1e-9)


def test_a_phase_that_is_not_there_cannot_be_off(scaling):
    values, bars, parameters = answers(200)
    parameters[100:, 5] = 100.0
    values[100:, 2] = 100.0
    parameters[0, 5] = 10.0  # a tenth of what there is elsewhere leaks from a neighbour
    values[1, 0] = 1.5
    parameters[1, 0] = 1.5
    parameters[1, 3] += 1.0  # nor has a cathode of one and a half error bars a cell
    assert (pulls(scaling, values, bars, parameters) == 0).all()


def test_a_phase_that_the_networks_miss_is_seen(scaling):
    values, bars, parameters = answers(200)
    parameters[100:, 5] = 100.0
    values[100:, 2] = 100.0
    parameters[0, 5] = 90.0
    assert pulls(scaling, values, bars, parameters)[0].tolist() == [0, 0, -89.5]


def test_a_cell_that_is_off_in_the_median_voxel_is_told_and_one_that_scatters_is_not(scaling):
    n = 4 * FEWEST
    values, bars, parameters = answers(n)
    assert biased(scaling, pulls(scaling, values, bars, parameters)) == []
    scattered = parameters.copy()
    scattered[:, 3] += 0.01 * np.linspace(-2, 2, n)
    assert biased(scaling, pulls(scaling, values, bars, scattered)) == []
    parameters[:, 3] += 0.015
    (sentence,) = biased(scaling, pulls(scaling, values, bars, parameters))
    assert sentence.startswith("NCA: what the networks alone say of c is -1.5 of their error bars off")
    assert biased(scaling, pulls(scaling, values, bars, parameters)[: FEWEST - 1]) == []

"""Transmission from the counters of the incoming and the transmitted beam."""

import numpy as np
import pytest

from xrdct.direct_beam import direct_transmission
from xrdct.errors import RawDataError

TRUE = np.array([[1.0, 1.0, 0.7, 0.4, 0.7, 1.0, 1.0], [1.0, 1.0, 0.6, 0.5, 0.6, 1.0, 1.0]])


def test_counters_of_any_scale_and_drift_give_the_transmission():
    scale = np.array([[3e4], [1e-3]])
    np.testing.assert_allclose(direct_transmission(TRUE * scale, positions=2), TRUE, rtol=1e-6)  # float32


def test_a_missing_reading_lies_between_its_neighbours_on_the_line():
    ratio = TRUE.copy()
    ratio[0, 3] = np.nan
    assert direct_transmission(ratio, positions=2)[0, 3] == pytest.approx(0.7)


def test_noise_beside_the_sample_makes_no_transmission_above_one():
    noisy = TRUE * np.random.default_rng(0).normal(1, 0.01, TRUE.shape)
    assert direct_transmission(noisy, positions=2).max() <= 1


@pytest.mark.parametrize(
    ("place", "value", "positions", "message"),
    [
        ((1, 3), 0.0, 2, r"projection 1, position 3.*raw.transmitted"),
        ((0, 0), 1.0, 0, r"assemble.air_positions is 0"),
        ((0, [0, 1, 5, 6]), np.nan, 2, r"projection 0 has no reading .* beside the sample"),
    ],
)
def test_what_is_no_direct_beam_is_refused(place, value, positions, message):
    ratio = TRUE.copy()
    ratio[place] = value
    with pytest.raises(RawDataError, match=message):
        direct_transmission(ratio, positions=positions)

"""From the mean q of a bin's pixels to its centre: polynomials, and a ring on a strip of a detector."""

import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.bin_centres import at_centres, centring_weights, mean_of_bins
from xrdct.errors import GeometryError
from xrdct.integration import Integrator

Q = np.linspace(1.0, 2.0, 11)
STRIP = (40, 600)
AXIS = {"q_min": 0.8, "q_max": 2.2, "n_bins": 167}
SIGMA = 0.013
"""1/Å: rings of 3.6 bins full width, as those of an 18650 cell."""


def drawn_within_bins(seed=0):
    return Q + np.random.default_rng(seed).uniform(-0.04, 0.04, Q.size)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_a_parabola_is_read_at_the_centres_of_the_bins(degree):
    where = drawn_within_bins()
    moved = at_centres(where**degree, centring_weights(where, Q))
    # Inside; at the ends a straight line is what two bins allow.
    np.testing.assert_allclose(moved[1:-1], Q[1:-1] ** degree, rtol=1e-12)
    if degree < 2:
        np.testing.assert_allclose(moved, Q**degree, rtol=1e-12)


def test_bins_that_are_centred_stay_to_the_bit():
    values = np.random.default_rng(1).normal(size=(3, Q.size)).astype(np.float32)
    np.testing.assert_array_equal(at_centres(values, centring_weights(Q, Q)), values)


def test_beside_a_bin_without_pixels_a_straight_line_does():
    where = drawn_within_bins()
    where[4] = np.nan
    moved = at_centres(np.where(np.isfinite(where), 2 * where - 1, np.nan), centring_weights(where, Q))
    there = np.isfinite(where)
    np.testing.assert_allclose(moved[there], 2 * Q[there] - 1, rtol=1e-12)
    assert np.isnan(moved[4])


def test_a_bin_between_bins_without_pixels_stays():
    where = np.full(Q.size, np.nan)
    where[5] = Q[5] + 0.03
    np.testing.assert_array_equal(centring_weights(where, Q), np.repeat([[0.0], [1.0], [0.0]], Q.size, axis=1))


def test_a_bin_that_one_frame_lost_takes_no_neighbour_with_it():
    where, values = drawn_within_bins(), np.ones((2, Q.size))
    values[1, 6] = np.nan
    moved = at_centres(values, centring_weights(where, Q))
    assert np.isnan(moved[1, 6])
    np.testing.assert_allclose(np.delete(moved, 6, axis=1), 1, rtol=1e-12)


def test_means_are_weighted_and_missing_where_nothing_is():
    found = mean_of_bins(np.array([1.0, 2.0, 5.0]), np.array([1.0, 3.0, 1.0]), np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(found, [1.75, np.nan, 5.0])


def strip():
    detector = Detector(pixel1=172e-6, pixel2=172e-6, max_shape=STRIP)
    return AzimuthalIntegrator(dist=1.0, poni1=3.4e-3, poni2=51.7e-3, wavelength=0.1305e-10, detector=detector)


def ring(line=1.3):
    """Counts of a ring at `line` without noise on a falling background, shape (1, rows, columns), float32."""
    q = strip().center_array(STRIP, unit="q_A^-1", scale=True)
    weight = strip().solidAngleArray(STRIP) * strip().polarization(STRIP, 0.95)
    intensity = 1000 * np.exp(-0.5 * ((q - line) / SIGMA) ** 2) + 100 * np.exp(-q)
    return (intensity * weight).astype(np.float32)[None]


def integrator(mask=None, **more):
    mask = np.zeros(STRIP, bool) if mask is None else mask
    return Integrator(strip(), mask, polarization=0.95, estimator="mean", **(AXIS | more))


def offset(patterns, line):
    """Distance in bins between the ring and the first moment of its line."""
    near = np.abs(patterns.q - line) < 5 * SIGMA
    intensity = patterns.intensity[0, near] - 100 * np.exp(-patterns.q[near])
    return (np.sum(intensity * patterns.q[near]) / intensity.sum() - line) / (patterns.q[1] - patterns.q[0])


def test_rings_on_a_strip_stand_where_they_are():
    lines = np.linspace(1.0, 1.9, 10)
    centred, plain = integrator(), integrator(centred=False)
    # On this strip the rings seem to shift by up to a tenth of a bin. What the parabola cannot follow of a line of 3.6
    # bins is a twentieth of that.
    assert max(abs(offset(plain(ring(line)), line)) for line in lines) > 0.08
    assert max(abs(offset(centred(ring(line)), line)) for line in lines) < 0.005


def test_every_group_of_pixels_is_moved_by_its_own_mean():
    found = integrator(groups=2)(ring())
    plain = integrator(groups=2, centred=False)(ring())
    near = np.abs(found.q - 1.3) < 3 * SIGMA
    apart, before = (np.abs(np.diff(one.groups[0][:, near], axis=0)).max() for one in (found, plain))
    # The two groups see the same ring: what is between them without noise is where their pixels lie, and, a quarter of
    # it, how widely these are spread.
    assert apart < before / 3


def test_gaps_that_the_frames_mark_count_like_those_of_a_mask():
    gaps = np.zeros(STRIP, bool)
    gaps[:, 120:420:9] = True
    frames = np.where(gaps, np.nan, ring()).astype(np.float32)
    marked, masked = integrator(gaps=gaps)(frames), integrator(mask=gaps)(frames)
    np.testing.assert_array_equal(marked.intensity, masked.intensity)
    assert np.nanmax(np.abs(marked.intensity - integrator()(frames).intensity)) > 1  # which would be some counts off


def test_gaps_of_another_shape_are_refused():
    with pytest.raises(GeometryError, match=r"\(600, 40\).*\(40, 600\).*transposed"):
        integrator(gaps=np.zeros((600, 40), bool))

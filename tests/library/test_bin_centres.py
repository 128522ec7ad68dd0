"""From the mean q of a bin's pixels to its centre: polynomials, and a ring on a strip of a detector."""

import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.bin_centres import at_centres, centring_weights, mean_of_bins
from xrdct.errors import GeometryError
from xrdct.integration import Integrator

N = 11
"""Bins, of width 1; the centre of bin k is k."""
STRIP = (40, 600)
AXIS = {"q_min": 0.8, "q_max": 2.2, "n_bins": 167}
SIGMA = 0.013
"""1/Å: rings of 3.6 bins full width, as those of an 18650 cell."""


def pixels_of_bins(seed=0):
    """Five pixels anywhere in each bin, shape (n_bins, 5): their distances from its centre."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (N, 5))


def weights_of(distance):
    return centring_weights(distance.mean(axis=1), (distance**2).mean(axis=1))


def shown(degree, distance):
    """What bins show of x to some power: its mean over their pixels."""
    return ((np.arange(N)[:, None] + distance) ** degree).mean(axis=1)


def of_whole_bins(degree):
    """Its mean over the whole bins, by its integral."""
    edges = np.arange(N + 1) - 0.5
    return np.diff(edges ** (degree + 1.0)) / (degree + 1)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_of_a_parabola_bins_show_their_mean_wherever_their_pixels_lie(degree):
    distance = pixels_of_bins()
    moved = at_centres(shown(degree, distance), weights_of(distance))
    # Inside; at the ends a straight line is what two bins allow.
    np.testing.assert_allclose(moved[1:-1], of_whole_bins(degree)[1:-1], rtol=1e-10)
    if degree < 2:
        np.testing.assert_allclose(moved, of_whole_bins(degree), rtol=1e-10, atol=1e-10)


def test_bins_that_are_filled_evenly_stay():
    values = np.random.default_rng(1).normal(size=(3, N)).astype(np.float32)
    moved = at_centres(values, centring_weights(np.zeros(N), np.full(N, 1 / 12)))
    np.testing.assert_allclose(moved, values, rtol=1e-12)


def test_beside_a_bin_without_pixels_a_straight_line_does():
    distance = pixels_of_bins()
    distance[4] = np.nan
    moved = at_centres(2 * shown(1, distance) - 1, weights_of(distance))
    there = np.arange(N) != 4
    np.testing.assert_allclose(moved[there], 2 * np.arange(N)[there] - 1, rtol=1e-10)
    assert np.isnan(moved[4])


def test_a_bin_between_bins_without_pixels_stays():
    alone = np.full(N, np.nan)
    alone[5] = 0.3
    np.testing.assert_array_equal(centring_weights(alone, alone**2), np.repeat([[0.0], [1.0], [0.0]], N, axis=1))


def test_bins_whose_pixels_touch_stay_rather_than_become_noise():
    mean = np.zeros(N)
    mean[4], mean[5] = 0.49, -0.49
    weights = centring_weights(mean, mean**2 + 1e-4)
    np.testing.assert_array_equal(weights[:, 4:6], np.repeat([[0.0], [1.0], [0.0]], 2, axis=1))
    assert ((weights**2).sum(axis=0) < 2).all()


def test_a_bin_that_one_frame_lost_takes_no_neighbour_with_it():
    values = np.ones((2, N))
    values[1, 6] = np.nan
    moved = at_centres(values, weights_of(pixels_of_bins()))
    assert np.isnan(moved[1, 6])
    np.testing.assert_allclose(np.delete(moved, 6, axis=1), 1, rtol=1e-10)


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


def moments(patterns, line):
    """Area of the ring's line in 1/Å, and its first moment beside the ring in bins."""
    near, step = np.abs(patterns.q - line) < 5 * SIGMA, patterns.q[1] - patterns.q[0]
    intensity = patterns.intensity[0, near] - 100 * np.exp(-patterns.q[near])
    return intensity.sum() * step, (np.sum(intensity * patterns.q[near]) / intensity.sum() - line) / step


def test_rings_on_a_strip_stand_where_they_are_as_strong_as_they_are():
    lines = np.linspace(1.0, 1.9, 10)
    plain, centred = (
        np.array([moments(work(ring(line)), line) for line in lines])
        for work in (integrator(centred=False), integrator())
    )
    area = 1000 * SIGMA * np.sqrt(2 * np.pi)
    # On this strip rings seem to shift by up to a tenth of a bin and change by a per cent; a parabola cannot follow a
    # line of 3.6 bins quite.
    assert np.abs(plain[:, 1]).max() > 0.08
    assert np.abs(centred[:, 1]).max() < 0.003
    assert np.abs(plain[:, 0] / area - 1).max() > 0.008
    assert np.abs(centred[:, 0] / area - 1).max() < 0.002


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

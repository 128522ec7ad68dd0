"""From half bins to whole ones: polynomials, and rings on a strip of a detector."""

import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from xrdct.bin_centres import Centring, centring_weights, mean_of_bins
from xrdct.errors import GeometryError
from xrdct.integration import Integrator

N = 11
"""Bins, of width 1; the centre of bin k is k, those of its halves are k ∓ 1/4."""
HALVES = np.arange(2 * N) / 2 - 0.25
STRIP = (40, 600)
AXIS = {"q_min": 0.8, "q_max": 2.2, "n_bins": 167}
WIDE, NARROW = 0.013, 0.0058
"""Standard deviations, 1/Å: rings 3.6 bins wide, as those of an 18650 cell, and 1.6, as those of the demo."""


def pixels_of_halves(seed=0):
    """Five pixels anywhere in each half bin: their distances from its centre, shape (2 n_bins, 5)."""
    return np.random.default_rng(seed).uniform(-0.25, 0.25, (2 * N, 5))


def centring(distance, there=True):
    """What makes whole bins of such pixels; halves that are not `there` have none."""
    size = np.where(there, distance.shape[1], 0) * np.ones(2 * N)
    moments = np.array([(distance**k).mean(axis=1) for k in range(4)])
    return Centring(centring_weights(np.where(size > 0, moments, np.nan), size), size)


def shown(degree, distance):
    """What halves show of x to some power: its mean over their pixels."""
    return ((HALVES[:, None] + distance) ** degree).mean(axis=1)


def of_whole_bins(degree):
    """Its mean over the whole bins, by its integral."""
    edges = np.arange(N + 1) - 0.5
    return np.diff(edges ** (degree + 1.0)) / (degree + 1)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_of_a_cubic_bins_show_their_mean_wherever_their_pixels_lie(degree):
    # Halved, for where pixels lie too unevenly the degree is lower: tested below.
    distance = 0.5 * pixels_of_halves()
    found = centring(distance).whole(shown(degree, distance))
    # Inside; at the ends a parabola is what three halves allow.
    np.testing.assert_allclose(found[1:-1], of_whole_bins(degree)[1:-1], rtol=1e-9)
    if degree < 3:
        np.testing.assert_allclose(found, of_whole_bins(degree), rtol=1e-9, atol=1e-9)


def test_halves_that_are_filled_evenly_are_averaged():
    size = np.ones(2 * N)
    weights = centring_weights(np.repeat([[1.0], [0.0], [1 / 48], [0.0]], 2 * N, axis=1), size)
    np.testing.assert_allclose(weights[:, 1:-1], np.repeat([[0.0], [0.5], [0.5], [0.0]], N - 2, axis=1), atol=1e-9)


def test_beside_a_half_without_pixels_a_parabola_does():
    distance, there = 0.5 * pixels_of_halves(), np.arange(2 * N) != 8
    found = centring(distance, there).whole(np.where(there, shown(2, distance), np.nan))
    np.testing.assert_allclose(found, of_whole_bins(2), rtol=1e-9, atol=1e-9)


def test_a_bin_between_bins_without_pixels_stays_and_they_are_missing():
    there = np.isin(np.arange(2 * N), [10, 11])
    found = centring(pixels_of_halves(), there).whole(np.where(there, 3.0, np.nan))
    np.testing.assert_allclose(found, np.where(np.arange(N) == 5, 3.0, np.nan), rtol=1e-12)


def test_a_half_alone_stands_for_its_bin():
    there = np.arange(2 * N) == 10
    found = centring(pixels_of_halves(), there).whole(np.where(there, 3.0, np.nan))
    np.testing.assert_allclose(found, np.where(np.arange(N) == 5, 3.0, np.nan), rtol=1e-12)


def test_no_curve_makes_noise_more_than_twice_as_large():
    # Halves whose pixels touch those of the next: a cubic through them follows their noise.
    distance = np.where(np.arange(2 * N) % 2, -0.249, 0.249)[:, None] + 1e-3 * pixels_of_halves()
    made = centring(distance)
    growth = (made.weights**2).sum(axis=0) / 0.5
    assert growth.max() < 2
    np.testing.assert_allclose(made.weights.sum(axis=0), 1, rtol=1e-9)
    np.testing.assert_allclose(made.variance(np.ones(2 * N)), growth / 2, rtol=1e-9)


def test_a_half_that_one_frame_lost_takes_its_neighbours_only():
    values = np.ones((2, 2 * N))
    values[1, 12] = np.nan
    values[0] = 2.0
    found = centring(pixels_of_halves()).whole(values)
    np.testing.assert_allclose(found, np.repeat([[2.0], [1.0]], N, axis=1), rtol=1e-9)


def test_means_are_weighted_and_missing_where_nothing_is():
    found = mean_of_bins(np.array([1.0, 2.0, 5.0]), np.array([1.0, 3.0, 1.0]), np.array([0, 0, 2]), 3)
    np.testing.assert_allclose(found, [1.75, np.nan, 5.0])


def strip():
    detector = Detector(pixel1=172e-6, pixel2=172e-6, max_shape=STRIP)
    return AzimuthalIntegrator(dist=1.0, poni1=3.4e-3, poni2=51.7e-3, wavelength=0.1305e-10, detector=detector)


def ring(line=1.3, sigma=WIDE):
    """Counts of a ring at `line` without noise on a falling background, shape (1, rows, columns), float32."""
    q = strip().center_array(STRIP, unit="q_A^-1", scale=True)
    weight = strip().solidAngleArray(STRIP) * strip().polarization(STRIP, 0.95)
    intensity = 1000 * np.exp(-0.5 * ((q - line) / sigma) ** 2) + 100 * np.exp(-q)
    return (intensity * weight).astype(np.float32)[None]


def integrator(mask=None, **more):
    mask = np.zeros(STRIP, bool) if mask is None else mask
    return Integrator(strip(), mask, **({"polarization": 0.95, "estimator": "mean"} | AXIS | more))


def moments(patterns, line):
    """Area of the ring's line in 1/Å, and its first moment beside the ring in bins."""
    near, step = np.abs(patterns.q - line) < 5 * WIDE, patterns.q[1] - patterns.q[0]
    intensity = patterns.intensity[0, near] - 100 * np.exp(-patterns.q[near])
    return intensity.sum() * step, (np.sum(intensity * patterns.q[near]) / intensity.sum() - line) / step


def test_rings_on_a_strip_stand_where_they_are_as_strong_as_they_are():
    lines = np.linspace(1.0, 1.9, 10)
    plain, centred = (
        np.array([moments(work(ring(line)), line) for line in lines])
        for work in (integrator(centred=False), integrator())
    )
    area = 1000 * WIDE * np.sqrt(2 * np.pi)
    # On this strip rings seem to shift by up to a tenth of a bin and change by a per cent.
    assert np.abs(plain[:, 1]).max() > 0.08
    assert np.abs(centred[:, 1]).max() < 0.001
    assert np.abs(plain[:, 0] / area - 1).max() > 0.008
    assert np.abs(centred[:, 0] / area - 1).max() < 0.0005


@pytest.mark.parametrize("estimator", ["mean", "trimmed_mean"])
def test_every_bin_of_a_ring_hardly_wider_than_a_bin_is_right(estimator):
    def off(line, **options):
        """Largest deviation of a bin, relative to the ring's height."""
        work = integrator(estimator=estimator, **options)
        step = work.q[1] - work.q[0]
        fine = work.q[:, None] + step * (np.arange(50) - 24.5) / 50
        true = 1000 * np.exp(-0.5 * ((fine - line) / NARROW) ** 2) + 100 * np.exp(-fine)
        return np.abs(work(ring(line, NARROW)).intensity[0] - true.mean(axis=1)).max() / 1000

    lines = np.linspace(1.0, 1.9, 10)
    assert max(off(line, centred=False) for line in lines) > 0.07
    # What the line's third derivative leaves, and of a trimmed mean that a pixel's place in a half tells its value.
    assert max(off(line) for line in lines) < {"mean": 0.008, "trimmed_mean": 0.02}[estimator]


def test_every_group_of_pixels_is_moved_by_its_own_mean():
    found = integrator(groups=2)(ring())
    plain = integrator(groups=2, centred=False)(ring())
    near = np.abs(found.q - 1.3) < 3 * WIDE
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

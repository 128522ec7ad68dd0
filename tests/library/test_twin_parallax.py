"""Parallax in the twin against closed forms: where a ring lands, how bright, and what a turn makes of it."""

import numpy as np
import pytest
from small_beamtime import IDEAL, one_subset, small

from xrdct.twin.detector import wavelength
from xrdct.twin.parallax import depth_nodes, shifted_patterns
from xrdct.twin.patterns import pseudo_voigt, q_grid
from xrdct.twin.rays import line_paths, matter_of
from xrdct.twin.scattering import radial_tables

LAMBDA, DISTANCE = wavelength(95), 1000.0
Q = q_grid(4.5)
LINE = pseudo_voigt(Q - 3.0, 0.02, 0.0)


def two_theta(q):
    return 2 * np.arcsin(q * LAMBDA / (4 * np.pi))


def centroid(pattern):
    """Mean of Y = ln tan 2θ over a line at q near 3."""
    near = (Q > 2.8) & (Q < 3.2)
    y = np.log(np.tan(two_theta(Q[near])))
    return float((pattern[near] * y).sum() / pattern[near].sum())


@pytest.mark.parametrize("u", [-9.0, -1.0, 0.0, 4.0, 9.0])
def test_a_ring_lands_at_distance_minus_depth_times_tangent(u):
    seen = shifted_patterns(LINE[None], Q, np.array([u]), distance=DISTANCE, wavelength=LAMBDA)[0, 0]
    radius = (DISTANCE - u) * np.tan(two_theta(3.0))
    q_seen = 4 * np.pi / LAMBDA * np.sin(np.arctan(radius / DISTANCE) / 2)
    assert Q[seen.argmax()] == pytest.approx(q_seen, abs=0.0006)  # one point of the grid
    assert (q_seen < 3.0) == (u > 0) or u == 0  # downstream is nearer to the detector: smaller rings


@pytest.mark.parametrize("u", [-9.0, 9.0])
def test_a_ring_keeps_its_photons_wherever_it_lands(u):
    tangent = np.tan(two_theta(Q))
    # A pixel at radius r has the solid angle cos³ 2θ' of one at the foot; the ring's area is 2πr dr.
    per_q = np.cos(two_theta(Q)) ** 3 * tangent * np.gradient(tangent)
    shifted = shifted_patterns(LINE[None], Q, np.array([0.0, u]), distance=DISTANCE, wavelength=LAMBDA)[0]
    at_axis, at_depth = (shifted * per_q).sum(axis=1)
    assert at_depth == pytest.approx(at_axis, rel=1e-4)
    assert (shifted[1].sum() > shifted[0].sum()) == (u > 0)  # nearer is brighter


def test_no_depth_changes_nothing():
    np.testing.assert_allclose(
        shifted_patterns(LINE[None], Q, np.zeros(1), distance=DISTANCE, wavelength=LAMBDA)[0, 0], LINE, atol=1e-9
    )


def test_depths_are_dense_enough_for_the_narrowest_line():
    nodes = depth_nodes(9.15, distance=1000, relative_width=0.003)
    np.testing.assert_allclose(nodes[[0, -1]], [-9.15, 9.15])
    assert np.diff(nodes).max() / 1000 <= 0.003 / 8


def grain_pattern(x, y, angles, *, strength=1.0):
    """Sum over the angles of the patterns of a grain, as the point in its place collects them in a reconstruction."""
    n, voxel = 400, 0.05
    along = (np.arange(n) - (n - 1) / 2) * voxel
    maps = np.exp(-((along[None, :] - x) ** 2 + (along[::-1, None] - y) ** 2) / (2 * 0.06**2))[:, :, None]
    matter = matter_of(np.where(maps > 1e-4, maps, 0), np.zeros(1), voxel)
    depths = depth_nodes(9.5, distance=DISTANCE, relative_width=0.02 / 3)
    patterns = shifted_patterns(LINE[None], Q, strength * depths, distance=DISTANCE, wavelength=LAMBDA)
    total = np.zeros(Q.size)
    for omega in angles:
        paths = line_paths(
            matter, omega, cor=99.5, n_positions=200, step=0.1, n_materials=1, depths=depths, exits=np.zeros(1)
        )
        total += radial_tables(paths, patterns.astype(np.float32))[:, 0].sum(axis=0)
    return total


@pytest.mark.parametrize(("x", "y"), [(8.0, 0.0), (-6.0, 0.0), (3.0, 5.0), (0.0, 8.0)])
def test_an_isolated_grain_shifts_by_two_over_pi_over_a_half_turn_and_not_over_a_full_one(x, y):
    half, full = np.arange(0, 180, 4.0), np.arange(0, 360, 8.0)
    reference = centroid(LINE)
    expected = 2 / np.pi * x / DISTANCE
    shift = centroid(grain_pattern(x, y, half + 2.0)) - reference
    # 1 % for the finite sum over angles and the depths' brightness, which is of second order in u/L.
    assert shift == pytest.approx(expected, rel=0.01, abs=1e-4)
    assert centroid(grain_pattern(x, y, full)) - reference == pytest.approx(0, abs=1e-4)
    if x:
        turned = centroid(grain_pattern(x, y, half + 2.0, strength=-1.0)) - reference
        assert turned == pytest.approx(-expected, rel=0.01, abs=1e-4)


def test_the_width_of_a_grains_line_grows_by_the_spread_of_its_depths():
    x = 8.0
    near = (Q > 2.8) & (Q < 3.2)
    y = np.log(np.tan(two_theta(Q[near])))

    def variance(pattern):
        mean = (pattern[near] * y).sum() / pattern[near].sum()
        return (pattern[near] * (y - mean) ** 2).sum() / pattern[near].sum()

    added = variance(grain_pattern(x, 0.0, np.arange(2, 180, 4.0))) - variance(LINE)
    # Closed form for a grain on the axis y = 0 over a half turn.
    assert added == pytest.approx((x / DISTANCE) ** 2 * (0.5 - 4 / np.pi**2), rel=0.03)


def test_frames_show_parallax_only_when_it_is_switched_on(tmp_path):
    # A short distance makes it large: the casing's halves at ±1.4 mm of 40 mm pull the iron ring apart.
    near = {"detector": {"distance_mm": 40, "pixel_um": 55}, "beam": {"dose": 50}}
    without, _ = one_subset(small(IDEAL, near), tmp_path / "without")
    with_it, _ = one_subset(small(IDEAL, near, {"artefacts": {"parallax": {}}}), tmp_path / "with")
    nothing, _ = one_subset(small(IDEAL, near, {"artefacts": {"parallax": {"strength": 0}}}), tmp_path / "nothing")
    np.testing.assert_allclose(nothing, without, atol=2)
    assert np.abs(with_it - without).max() > 100
    # Photons only move: the strip's sum hardly changes.
    assert with_it.sum() == pytest.approx(without.sum(), rel=0.02)

"""What strays on its way out of the sample, by the depth it comes from: a disc, a wall, and two points of a ray."""

import numpy as np
import pytest

from xrdct.absorption.by_depth import ratio_by_depth
from xrdct.absorption.first_order import full_ring
from xrdct.absorption.leaving import Leaving
from xrdct.errors import AttenuationError, GeometryError
from xrdct.reconstruction.lntan import lntan_axis
from xrdct.reconstruction.tilted import DepthWeights, TiltedBeam

N, STEP, MU, RADIUS = 100, 0.1, 0.3, 4.0
"""Voxels, their edge in mm, 1/mm, mm."""
COR = (N - 1) / 2
TWO_THETA = 0.1
ANGLES = np.array([0.0, 30.0, 75.0])
SCAN = {"step_mm": STEP, "cor": COR, "n_positions": N}
AXIS = (np.arange(N) - COR) * STEP
X, Y = AXIS, AXIS[::-1, None]
FINE = (np.arange(10 * N) - (10 * N - 1) / 2) * STEP / 10
DISC = MU * (np.hypot(FINE, FINE[:, None]) <= RADIUS).reshape(N, 10, N, 10).mean(axis=(1, 3))


def shares(mu, azimuths, angles=ANGLES, two_theta=TWO_THETA, **changed):
    """Shares, and the depth in mm that each stands for."""
    leaving = Leaving(mu, angles, azimuths=lambda _: np.asarray(azimuths), **SCAN | changed)
    found = leaving(two_theta)
    return found, (np.arange(found.shape[2]) + 0.5 - found.shape[2] / 2) * leaving.cell * STEP


def way_out(t, u, cos_azimuth):
    """Length in mm from (t, u) to the rim of the disc, of a ray scattered by TWO_THETA."""
    sideways, onwards = np.sin(TWO_THETA) * cos_azimuth, np.cos(TWO_THETA)
    a, b, c = sideways**2 + onwards**2, t * sideways + u * onwards, t**2 + u**2 - RADIUS**2
    return (np.sqrt(b**2 - a * c) - b) / a


@pytest.mark.parametrize("azimuths", [[0.0], [np.pi / 2], full_ring()])
def test_a_disc_lets_out_what_its_chords_say(azimuths):
    found, depths = shares(DISC, azimuths)
    for position in (30, 50, 70):
        t = AXIS[position]
        inside = np.hypot(t, depths) < RADIUS - 0.3
        ways = np.array([way_out(t, depths[inside], np.cos(azimuth)) for azimuth in azimuths])
        expected = np.exp(-MU * ways).mean(axis=0) / np.exp(-MU * (np.sqrt(RADIUS**2 - t**2) - depths[inside]))
        # A voxel of the rim weakens by 3 %; where in it the rim lies is known to a sixth of it.
        np.testing.assert_allclose(found[:, position, inside], np.tile(expected, (3, 1)), rtol=0.005)


def test_straight_on_and_behind_the_sample_nothing_strays():
    found, _ = shares(DISC, full_ring(), two_theta=0.0)
    np.testing.assert_allclose(found, 1, rtol=1e-6)
    bent, depths = shares(DISC, full_ring())
    np.testing.assert_allclose(bent[:, :, depths > RADIUS + 0.2], 1, rtol=1e-6)


def test_a_wall_beside_the_ray_weakens_what_goes_towards_it():
    """At 0° positions grow with x: a wall at x = 1 mm is met towards growing t from 0.5 mm; at 180° the other way."""
    wall = np.where((np.abs(X - 1.0) < 0.2) & (np.abs(Y) < 4.5), 2.0, 0.0)
    towards, depths = shares(wall, [0.0], angles=[0.0])
    away, _ = shares(wall, [np.pi], angles=[0.0])
    turned, _ = shares(wall, [np.pi], angles=[180.0])
    entrance, column = np.searchsorted(depths, -4.0), int(np.argmin(np.abs(AXIS - 0.5)))
    # 0.4 mm of wall, met at sin 2θ = 0.1, is 4 mm long.
    assert towards[0, column, entrance] == pytest.approx(np.exp(-8), rel=0.15)
    assert away[0, column, entrance] == pytest.approx(1, abs=1e-6)
    assert turned[0, N - 1 - column, entrance] == pytest.approx(towards[0, column, entrance], rel=1e-6)


def test_the_axis_may_wander():
    drift = np.array([0.0, 1.0, -2.0])
    still, _ = shares(DISC, full_ring())
    wandering, _ = shares(DISC, full_ring(), cor=COR + drift)
    for angle, by in enumerate(drift.astype(int)):
        np.testing.assert_allclose(wandering[angle, 30 + by : 70 + by], still[angle, 30:70], rtol=1e-6)


@pytest.mark.parametrize("mu", [np.ones((4, 5)), -DISC, np.full((4, 4), np.nan)])
def test_what_is_no_map_is_refused(mu):
    with pytest.raises(AttenuationError, match="attenuation map"):
        Leaving(mu, ANGLES, azimuths=lambda _: full_ring(), **SCAN)


class TestWeightedProjection:
    """`TiltedBeam.weighted`."""

    step = 1e-3

    def beam(self):
        return TiltedBeam(ANGLES, N, COR, pixel_over_distance=2e-4, step=self.step)

    def test_equal_weights_are_a_factor_and_a_ramp_goes_over_the_channels(self):
        A = self.beam()
        image = np.random.default_rng(0).random((N, N, 8 + 2 * A.padding), dtype=np.float32)
        low, high = np.full((3, N, 142), 2.0), np.full((3, N, 142), 3.0)
        ramp = np.linspace(0, 1, 8)
        found = A.weighted(image, DepthWeights(low, high, ramp, 1.0))
        np.testing.assert_allclose(found, (A @ image) * (2 + ramp), rtol=1e-4)  # sums of float32

    def test_matter_weighs_as_its_own_depth(self):
        A = self.beam()
        image = A.constant_image(0, 4)
        image[20, 50] = 1.0  # 30 rows above the axis: 29.5 pixels downstream at 0°
        weights = np.zeros((3, N, 142))
        weights[0, :, 142 // 2 + 29] = 5.0
        found = A.weighted(image, DepthWeights(weights, weights, np.zeros(4), 1.0))
        np.testing.assert_allclose(found[0], 5 * (A @ image)[0], rtol=1e-5)
        assert found[0].sum() > 0
        np.testing.assert_array_equal(found[1:], 0)

    @pytest.mark.parametrize(("depths", "channels"), [(120, 4), (142, 5)])
    def test_weights_of_another_scan_are_refused(self, depths, channels):
        A = self.beam()
        weights = np.ones((3, N, depths))
        with pytest.raises(GeometryError, match="weights"):
            A.weighted(A.constant_image(1, 4), DepthWeights(weights, weights, np.zeros(channels), 1.0))


def test_lines_of_one_ray_are_divided_by_what_their_own_depth_loses():
    """Two voxels with the same line lie at ±3.5 mm in a beam; parallax of ±7 % keeps their lines apart."""
    q, wavelength, distance = np.linspace(1.0, 2.0, 201), 0.13, 50.0
    azimuths = [0.0, np.pi]
    leaving = Leaving(DISC, [0.0], azimuths=lambda _: np.asarray(azimuths), **SCAN)
    volume = np.zeros((N, N, q.size), dtype=np.float32)
    line = np.exp(-0.5 * ((q - 1.5) / 0.01) ** 2)
    column = 55
    rows = {side: int(np.argmin(np.abs(AXIS[::-1] - side * 3.5))) for side in (-1, 1)}
    for row in rows.values():
        volume[row, column] = line
    scan = {"q": q, "wavelength": wavelength, "distance_mm": distance, **SCAN}
    found = ratio_by_depth(volume, leaving, [0.0], **scan)
    for side, row in rows.items():
        depth = AXIS[::-1][row]
        at = np.argmin(np.abs(q - 1.5 * (1 - depth / distance)))
        two_theta = 2 * np.arcsin(1.5 * wavelength / 4 / np.pi)
        share = leaving(two_theta)
        place = int(depth / STEP / leaving.cell + share.shape[2] / 2)
        # The scattering angle of a block's channels is read between its ends.
        assert found[0, column, at] == pytest.approx(share[0, column, place], abs=2e-3), side
    strayed = 1 - np.array(
        [found[0, column, np.argmin(np.abs(q - 1.5 * (1 - side * 3.5 / distance)))] for side in rows]
    )
    assert abs(strayed[0]) > 4 * abs(strayed[1])  # upstream the way out is the longer one
    np.testing.assert_allclose(found[0, column, :20], 1.0, atol=1e-3)  # where nothing but rounding is seen
    assert lntan_axis(q, wavelength=wavelength).n_bins > 256  # more than one block took part

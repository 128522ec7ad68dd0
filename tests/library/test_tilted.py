"""Parallax: where rings land, what back-projection makes of it, and the operator that knows of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parallax_model import landing, line_sinogram, moments

from xrdct.errors import GeometryError
from xrdct.geometry import pixel_centres
from xrdct.reconstruction.cgls import cgls
from xrdct.reconstruction.fbp import fbp
from xrdct.reconstruction.filtered import refined_fbp
from xrdct.reconstruction.lntan import lntan_axis, rebinning
from xrdct.reconstruction.operator import ParallelBeam
from xrdct.reconstruction.sirt import sirt
from xrdct.reconstruction.tilted import TiltedBeam

WAVELENGTH = 0.1305
DISTANCE = 1000.0
"""mm"""


def papers_axis():
    return lntan_axis(np.linspace(0.5, 3.85, 400), wavelength=WAVELENGTH)


class TestAxis:
    def test_counts_are_conserved_there_and_back(self):
        axis = papers_axis()
        pattern = np.random.default_rng(0).poisson(50, axis.q.size).astype(float)
        there = axis.from_q() @ pattern
        counts = (there / np.cos(axis.two_theta) ** 3 * np.diff(axis.mapped_edges)).sum()
        assert counts == pytest.approx(pattern.sum() * (axis.q[1] - axis.q[0]), rel=1e-12)
        assert (axis.to_q() @ there).sum() == pytest.approx(pattern.sum(), rel=1e-12)

    def test_lines_as_wide_as_two_bins_come_back(self):
        axis = papers_axis()
        q = axis.q
        pattern = sum(np.exp(-4 * np.log(2) * ((q - at) / 0.0176) ** 2) for at in (0.8, 1.3, 2.601, 3.5))
        # Where bins of Y are half as wide as those of q a cubic spline returns such a line to a few thousandths.
        np.testing.assert_allclose(axis.to_q() @ axis.from_q() @ pattern, pattern, atol=3e-3)

    def test_bins_of_y_are_at_most_half_as_wide_as_those_of_q(self):
        axis = papers_axis()
        assert np.diff(axis.mapped_edges).max() < 0.501 * (axis.q[1] - axis.q[0])

    def test_rebinning_keeps_a_parabola(self):
        old, new = np.linspace(0, 3, 13), np.linspace(0, 3, 31) ** 2 / 3
        means = [np.diff(edges**3 / 3) / np.diff(edges) for edges in (old, new)]
        np.testing.assert_allclose(rebinning(old, new) @ means[0], means[1], atol=1e-10)  # the spline is cubic

    def test_q_without_a_tangent_is_refused(self):
        with pytest.raises(GeometryError, match=r"2θ = 90°"):
            lntan_axis(np.linspace(0.5, 70, 400), wavelength=WAVELENGTH)
        with pytest.raises(GeometryError, match="above 0"):
            lntan_axis(np.linspace(0.0, 3, 400), wavelength=WAVELENGTH)


def tilted(angles, n, cor=None, *, kappa=0.27, step=1.1e-3, **options):
    centre = (n - 1) / 2 if cor is None else cor
    return TiltedBeam(angles, n, centre, pixel_over_distance=kappa * step, step=step, **options)


@settings(deadline=None, max_examples=25)  # the first example compiles
@given(
    seed=st.integers(0, 2**32 - 1),
    n_angles=st.integers(1, 7),
    n=st.integers(2, 40),
    n_channels=st.integers(1, 40),
    kappa=st.floats(0, 0.5),
    support=st.one_of(st.none(), st.floats(0, 30)),
)
def test_the_transpose_is_exact(seed, n_angles, n, n_channels, kappa, support):
    rng = np.random.default_rng(seed)
    A = tilted(rng.uniform(-360, 360, n_angles), n, rng.uniform(0, n - 1, n_angles), kappa=kappa, support=support)
    x = rng.random((n, n, n_channels + 2 * A.padding), dtype=np.float32)
    y = rng.random((n_angles, n, n_channels), dtype=np.float32)
    left, right = np.vdot((A @ x).astype(float), y), np.vdot(x.astype(float), A.T @ y)
    assert left == pytest.approx(right, rel=1e-6, abs=1e-9)  # sums of float32 that hardly cancel


@pytest.mark.parametrize("angles", [np.arange(20) * 9.0, np.arange(40) * 9.0])
def test_without_a_tilt_it_is_the_ordinary_operator(angles):
    A, plain = tilted(angles, 30, kappa=0.0, support=15), ParallelBeam(angles, 30, 14.5, support=15)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 30, 24)).astype(np.float32), rng.normal(size=(len(angles), 30, 20)).astype(np.float32)
    inner = slice(A.padding, -A.padding)
    np.testing.assert_allclose(A @ x, plain @ x[..., inner], atol=1e-4)  # float32 sums of 30 values of order 1
    np.testing.assert_allclose((A.T @ y)[..., inner], plain.T @ y, atol=1e-4)


@pytest.mark.parametrize("omega", [0.0, 30.0, 90.0, 137.0, 180.0, 270.0, 341.0])
def test_a_voxel_shows_where_its_ring_lands(omega):
    """The sign of everything: a voxel at depth u towards the detector lands at (L − u) tan 2θ."""
    n, pixel, step, row, column, drift = 40, 0.4, 1.0e-3, 9, 31, 0.3
    A = TiltedBeam([omega], n, (n - 1) / 2 + drift, pixel_over_distance=pixel / DISTANCE, step=step)
    channels = (np.arange(81) - 40) * step
    image = A.constant_image(0, 81)
    wide = (np.arange(image.shape[2]) - A.padding - 40) * step
    image[row, column] = np.exp(-(wide**2) / (2 * (3 * step) ** 2))
    axis = pixel_centres(n, pixel)
    t, radius = landing(np.array([axis[column]]), np.array([axis[::-1][row]]), np.array([omega]), DISTANCE)
    seen = (A @ image)[0].astype(float)
    total, centre, sigma = moments(seen.sum(axis=0), channels)
    assert centre == pytest.approx(np.log(radius[0, 0]), abs=0.002 * step)  # float32 sums of 81 bins
    assert total == pytest.approx(image.sum() / radius[0, 0] ** 2, rel=1e-5)
    assert sigma == pytest.approx(3 * step, rel=2e-3)  # cubic convolution keeps the width; the tails are cut off
    place = (seen.sum(axis=1) * (np.arange(n) - (n - 1) / 2 - drift)).sum() / total * pixel
    # A shadow narrower than a position moves between two of them in less than one step: (1 - 1/sqrt(2))/2 at most.
    assert place == pytest.approx(t[0, 0], abs=0.147 * pixel)


def test_a_wrong_distance_is_refused():
    with pytest.raises(GeometryError, match="is the distance"):
        TiltedBeam([0.0], 100, 49.5, pixel_over_distance=0.1 / 1.0, step=1e-3)


N, PIXEL, SIGMA = 64, 0.3, 0.0045
CHANNELS = np.arange(-48, 49) * 0.0011
TURNS = {"half": np.arange(120) * 1.5, "whole": np.arange(120) * 3.0}


def phantom(name):
    """Points x, y (mm) and amounts."""
    if name == "grain":
        return np.array([8.0]), np.array([0.0]), np.array([1.0])
    if name == "ring":
        turn = np.radians(np.arange(0, 360, 1.0))
        return 8 * np.cos(turn), 8 * np.sin(turn), np.full(turn.size, 0.05)
    axis = np.arange(-8.6, 8.61, 0.2)
    x, y = (part.ravel() for part in np.meshgrid(axis, axis))
    inside = np.hypot(x, y) <= 8.6
    return x[inside], y[inside], np.full(inside.sum(), 0.02)


def seen(name, angles, **options):
    axis = pixel_centres(N, PIXEL)
    return line_sinogram(
        *phantom(name), angles, axis, CHANNELS, distance=DISTANCE, width=SIGMA, beam=0.35, bright=True, **options
    )


def at(image, x, y, radius=0.65):
    """Mean pattern of the pixels within a radius of a point."""
    axis = pixel_centres(N, PIXEL)
    return image[np.hypot(axis[None, :] - x, axis[::-1, None] - y) < radius].sum(axis=0).astype(float)


class TestBackProjection:
    """What filtered back-projection makes of parallax, in closed form: the reason for all this."""

    def test_an_isolated_grain_moves_in_a_half_turn_and_not_in_a_whole_one(self):
        found = {}
        for turn, angles in TURNS.items():
            image = fbp(ParallelBeam(angles, N, (N - 1) / 2), seen("grain", angles))
            found[turn] = moments(at(image, 8, 0), CHANNELS)
        assert found["half"][1] == pytest.approx(2 / np.pi * 8 / DISTANCE, rel=0.02)
        assert abs(found["whole"][1]) < 1e-4
        added = {"half": (8 / DISTANCE) ** 2 * (0.5 - 4 / np.pi**2), "whole": (8 / DISTANCE) ** 2 / 2}
        for turn, variance in added.items():
            assert found[turn][2] == pytest.approx(np.sqrt(SIGMA**2 + variance), rel=0.03)

    def test_a_ring_hardly_shows_any(self):
        image = fbp(ParallelBeam(TURNS["half"], N, (N - 1) / 2), seen("ring", TURNS["half"]))
        _, centre, width = moments(at(image, 8, 0), CHANNELS)
        assert abs(centre) < 3e-4  # the grain's: 51e-4
        assert width / SIGMA < 1.15

    @pytest.mark.parametrize("turn", TURNS)
    def test_the_middle_of_a_disc_is_broadened_as_in_closed_form(self, turn):
        image = fbp(ParallelBeam(TURNS[turn], N, (N - 1) / 2), seen("disc", TURNS[turn]))
        for r in (0.0, 5.0):
            _, centre, width = moments(at(image, 0, r), CHANNELS)
            assert abs(centre) < 2e-4
            expected = np.sqrt(SIGMA**2 + (8.6**2 - r**2) / (2 * DISTANCE**2))
            assert width == pytest.approx(expected, rel=0.04)


class TestTiltedReconstruction:
    @pytest.mark.parametrize("turn", TURNS)
    @pytest.mark.parametrize("solve", [sirt, cgls, refined_fbp])
    def test_the_grain_is_back_where_it_was_and_as_narrow(self, turn, solve):
        angles = TURNS[turn]
        A = TiltedBeam(
            angles, N, (N - 1) / 2, pixel_over_distance=PIXEL / DISTANCE, step=CHANNELS[1] - CHANNELS[0], support=N / 2
        )
        options = {"iterations": 15} if solve is cgls else {"iterations": 30, "nonnegative": True}
        image = solve(A, seen("grain", angles), **options)[..., A.padding : -A.padding]
        _, centre, width = moments(at(image, 8, 0), CHANNELS)
        assert abs(centre) < 2e-4  # 51e-4 without
        assert width / SIGMA == pytest.approx(1, abs=0.05)
        # the blob of the beam's width in pixels of the map: its sum over the map is the sum over a projection
        # (what a grain between pixels rings below 0 is cut off, and makes the sum 6 % larger in the sharpest image)
        assert image.sum() == pytest.approx(seen("grain", angles).sum() / len(angles), rel=0.08)

    def test_refined_back_projection_makes_the_middle_of_a_disc_as_sharp_as_its_rim(self):
        angles = TURNS["half"]
        A = TiltedBeam(
            angles, N, (N - 1) / 2, pixel_over_distance=PIXEL / DISTANCE, step=CHANNELS[1] - CHANNELS[0], support=N / 2
        )
        image = refined_fbp(A, seen("disc", angles), nonnegative=True)[..., A.padding : -A.padding]
        middle, rim = at(image, 0, 0, radius=2), at(image, 7, 0, radius=1)
        # Back-projection alone: 1.69 and 1.2 times sigma.
        for pattern in (middle, rim):
            assert moments(pattern, CHANNELS)[2] / SIGMA == pytest.approx(1, abs=0.04)
        amounts = middle.sum() / (np.pi * 2**2), rim.sum() / (np.pi * 1**2)
        # Circles of 140 and 35 pixels: their edges make 5 % of the smaller one.
        assert amounts[0] / amounts[1] == pytest.approx(1, abs=0.06)

    def test_sirt_never_moves_away_from_the_data(self):
        angles = TURNS["half"][::3]
        A = TiltedBeam(angles, N, (N - 1) / 2, pixel_over_distance=PIXEL / DISTANCE, step=1.1e-3)
        b, x, before = seen("disc", angles), None, np.inf
        for _ in range(4):
            x = sirt(A, b, iterations=2, start=x)
            rest = np.linalg.norm(b - A @ x)
            assert rest < before
            before = rest

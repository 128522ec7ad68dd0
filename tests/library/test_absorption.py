"""Self-absorption: closed forms, the twin's rays, and what is refused."""

import numpy as np
import pytest
from jelly_roll import TWO_THETA, jelly_roll

from xrdct.absorption.casing import factor_from_wall, find_wall
from xrdct.absorption.chain import Attenuation, Matter, Measured, remove_absorption
from xrdct.absorption.correction import correct_absorption, optical_depth, transmission
from xrdct.absorption.factor import factor_from_transmission
from xrdct.absorption.first_order import full_ring, scattered_transmission, transmission_over_q, zero_order_error
from xrdct.absorption.iteration import iterate
from xrdct.errors import AttenuationError
from xrdct.reconstruction.backend import reconstruct

N, STEP = 120, 0.1
CENTRE = (N - 1) / 2
ANGLES = np.arange(60) * 3.0
GRID = {"step_mm": STEP, "cor": CENTRE, "n_positions": N}


def disc(radius, n=N, step=STEP, fine=8):
    """Share of every voxel inside a circle about the axis, (y, x)."""
    axis = (np.arange(n * fine) - (n * fine - 1) / 2) * step / fine
    inside = (np.hypot(*np.meshgrid(axis, axis)) <= radius).astype(float)
    return inside.reshape(n, fine, n, fine).mean(axis=(1, 3))


def chord(t, radius):
    return 2 * np.sqrt(np.clip(radius**2 - np.asarray(t) ** 2, 0, None))


def positions():
    return (np.arange(N) - CENTRE) * STEP


@pytest.fixture(scope="module")
def roll():
    return jelly_roll()


def test_transmission_of_nothing_is_one():
    np.testing.assert_array_equal(transmission(np.zeros((N, N)), ANGLES, **GRID), 1.0)


def test_transmission_of_a_disc_is_that_of_its_chords():
    found = transmission(0.08 * disc(4.0), ANGLES, **GRID)
    inside = np.abs(positions()) < 3.5  # nearer to the edge voxels that it cuts smear a steep chord
    expected = np.exp(-0.08 * chord(positions(), 4.0))
    np.testing.assert_allclose(found[:, inside], np.broadcast_to(expected, found.shape)[:, inside], rtol=0.004)


def test_the_axis_may_lie_elsewhere_on_every_line():
    cor = CENTRE + np.linspace(-2, 2, ANGLES.size)
    found = optical_depth(0.08 * disc(4.0), ANGLES, step_mm=STEP, cor=cor, n_positions=N, subrays=3)[..., 1]
    for row, axis in zip(found, cor, strict=True):
        t = (np.arange(N) - axis) * STEP
        inside = np.abs(t) < 3.5  # voxels that the edge cuts smear a steep chord
        np.testing.assert_allclose(row[inside], 0.08 * chord(t, 4.0)[inside], rtol=0.02)


def test_a_beam_cut_by_an_edge_is_averaged_after_the_exponential():
    mu = np.zeros((4, 4))
    mu[:, 2:] = 30.0  # opaque columns; the axis between them and the empty ones is half a position off
    found = transmission(mu, [0.0], step_mm=1.0, cor=2.0, n_positions=5, subrays=4)
    assert 0.45 < found[0, 2] < 0.55


def test_the_correction_gives_back_what_absorption_and_full_air_took():
    rng = np.random.default_rng(1)
    true, air = rng.uniform(5, 9, (6, 7, 3)), rng.uniform(1, 2, (6, 3))
    T = rng.uniform(0.2, 1, (6, 7))
    measured = T[..., None] * (true + air[:, None]) - air[:, None]  # T of the air is there, all of it was taken
    found = correct_absorption(measured, np.ones_like(measured), T, air=air)
    np.testing.assert_allclose(found.intensity, true, rtol=1e-5)
    np.testing.assert_allclose(found.variance, np.broadcast_to(1 / T[..., None] ** 2, true.shape), rtol=1e-6)
    assert not found.opaque.any()


def test_the_variance_is_that_of_many_repetitions():
    rng = np.random.default_rng(2)
    counts = rng.poisson(400, (3000, 1, 1)).astype(float)
    found = correct_absorption(counts, np.full_like(counts, 400.0), np.full((3000, 1), 0.25))
    # The variance of 3000 values is known to sqrt(2/3000) = 2.6 %.
    assert found.intensity.var() == pytest.approx(found.variance[0, 0, 0], rel=0.1)


def test_opaque_rays_are_capped_and_marked():
    T = np.array([[1e-6, 0.5]])
    found = correct_absorption(np.ones((1, 2, 1)), np.ones((1, 2, 1)), T, least=0.02)
    np.testing.assert_allclose(found.intensity[..., 0], [[50, 2]])
    np.testing.assert_array_equal(found.opaque, [[True, False]])


@pytest.mark.parametrize("bad", [0.0, 1.2, -0.1, np.nan])
def test_a_transmission_outside_0_to_1_is_refused(bad):
    with pytest.raises(AttenuationError, match="transmission"):
        correct_absorption(np.ones((1, 2, 1)), np.ones((1, 2, 1)), np.array([[0.5, bad]]))


def test_arrays_that_do_not_fit_together_are_refused():
    s = np.ones((2, 3, 4))
    for keywords in ({"transmitted": np.ones((3, 2))}, {"transmitted": np.ones((2, 3)), "air": np.ones((3, 4))}):
        with pytest.raises(AttenuationError, match=r"\(2, 3, 4\)"):
            correct_absorption(s, s, **keywords)
    with pytest.raises(AttenuationError, match="attenuation map"):
        transmission(np.ones((4, 5)), ANGLES, **GRID)
    with pytest.raises(AttenuationError, match="not finite"):
        transmission(np.full((4, 4), np.nan), ANGLES, **GRID)


def test_the_factor_is_found_in_the_transmission_in_spite_of_noise_and_lost_rays():
    rng = np.random.default_rng(3)
    unit = chord(positions(), 4.0) * np.ones((40, 1))
    measured = np.exp(-0.07 * unit) * rng.normal(1, 0.01, unit.shape)
    measured[5, 30:60] *= 0.2  # a shutter: outliers
    measured[7] = np.nan
    found = factor_from_transmission(np.clip(measured, 1e-3, 1.0), unit)
    assert found.source == "transmission"
    assert found.value == pytest.approx(0.07, rel=0.005)  # least squares without robustness is off by 4 %
    assert 0 < found.error < 1e-3


def test_known_matter_is_taken_off_before_the_factor_is_found():
    unit = chord(positions(), 4.0) * np.ones((4, 1))
    found = factor_from_transmission(np.exp(-0.05 * unit - 0.02 * unit), unit, 0.02 * unit)
    assert found.value == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("inner", [4.4, 4.92])
def test_the_casings_area_tells_the_factor_however_thin_it_is(inner):
    casing = 0.4 * (disc(5.0, fine=16) - disc(inner, fine=16))
    found = factor_from_wall(casing, thickness_mm=5.0 - inner, step_mm=STEP, radius_mm=5.0)
    assert found.value == pytest.approx(1 / 0.4, rel=0.02)  # 16 points along a voxel's edge count the area to a percent


def test_a_casing_is_found_where_it_is():
    y, x = np.meshgrid(positions()[::-1], positions(), indexing="ij")
    distance = np.hypot(x - 0.3, y + 0.2)
    wall = find_wall(np.where((distance < 4.0) & (distance > 3.4), 2.0, 0.0), thickness_mm=0.6, step_mm=STEP)
    assert (wall.x_mm, wall.y_mm) == (pytest.approx(0.3, abs=0.02), pytest.approx(-0.2, abs=0.02))
    assert wall.radius_mm == pytest.approx(4.0, abs=0.02)
    assert wall.inner_mm == pytest.approx(3.4, abs=0.02)
    assert wall.share(N, STEP).sum() * STEP**2 == pytest.approx(np.pi * (4.0**2 - 3.4**2), rel=0.01)


def test_without_casing_transmission_and_factor_there_is_no_map():
    with pytest.raises(AttenuationError, match=r"raw.transmitted.*absorption.casing.*absorption.given_factor"):
        Attenuation(None, Matter(np.ones(1)))
    with pytest.raises(AttenuationError, match="nowhere"):
        find_wall(np.zeros((8, 8)), thickness_mm=0.1, step_mm=0.1)


def through(x, u, along, radius):
    """Length of a straight line from (x, u) inside a circle about the origin, in closed form."""
    b, c = x * along[0] + u * along[1], x * x + u * u - radius**2
    root = np.sqrt(np.clip(b * b - c, 0, None))
    return np.clip(-b + root, 0, None) - np.clip(-b - root, 0, None)


def exact_cell(x, two_theta, azimuths):
    """Share of what the roll of an 18650 cell scatters that leaves it, by circles: no grid at all."""
    radii, mu = (9.15, 8.9, 1.5), (0.324, 0.076 - 0.324, -0.076)

    def depth(u, along):
        return sum(m * through(x, u, along, r) for r, m in zip(radii, mu, strict=True))

    u = np.linspace(-9.15, 9.15, 8001)
    within = (np.hypot(x, u) < 8.9) & (np.hypot(x, u) > 1.5)
    out = [
        np.exp(-depth(u, np.array([np.tan(two_theta) * np.cos(a), 1]) * c) * r)
        for a in azimuths
        for c in [1 / np.hypot(np.tan(two_theta) * np.cos(a), 1)]
        for r in [1 / (np.cos(two_theta) * np.hypot(np.tan(two_theta) * np.cos(a), 1))]
    ]
    survives = np.exp(-depth(u, np.array([0.0, -1.0]))) * np.mean(out, axis=0)
    return survives[within].mean()


def test_exact_rays_are_those_of_circles_and_the_zero_order_is_within_two_percent_in_an_18650_cell():
    n, step = 310, 0.06
    mu = 0.324 * disc(9.15, n, step) - (0.324 - 0.076) * disc(8.9, n, step) - 0.076 * disc(1.5, n, step)
    scattering = disc(8.9, n, step) - disc(1.5, n, step)
    geometry = {"step_mm": step, "cor": (n - 1) / 2, "n_positions": n}
    for azimuths in (full_ring(), np.zeros(1)):
        found = scattered_transmission(mu, scattering, [0.0], two_theta=TWO_THETA, azimuths=azimuths, **geometry)[0]
        for x in (0.0, 4.0, 8.0):
            column = x / step + (n - 1) / 2
            here = np.interp(column, np.arange(n), found)
            assert here == pytest.approx(exact_cell(x, TWO_THETA, azimuths), rel=0.005)  # voxels along a chord of 2 mm
    full = zero_order_error(mu, scattering, two_theta=TWO_THETA, step_mm=step, angles=np.array([0.0]))
    single = zero_order_error(
        mu, scattering, two_theta=TWO_THETA, step_mm=step, angles=np.array([0.0]), azimuths=np.zeros(1)
    )
    assert full.rms < 0.02 < single.rms
    assert "%" in str(full)


def test_without_scattering_angle_the_exact_rays_are_the_straight_ones():
    mu = 0.08 * disc(4.0)
    bent = scattered_transmission(mu, disc(4.0), ANGLES[:3], two_theta=0.0, azimuths=full_ring(), **GRID)
    inside = np.abs(positions()) < 3.8
    np.testing.assert_allclose(bent[:, inside], transmission(mu, ANGLES[:3], **GRID)[:, inside], rtol=0.005)


def test_between_its_nodes_the_transmission_is_interpolated_over_the_scattering_angle():
    q, wavelength = np.linspace(1, 4, 7), 0.13
    two_theta = 2 * np.arcsin(q * wavelength / (4 * np.pi))
    found = transmission_over_q(q, wavelength, lambda angle: np.full((2, 3), 1 - angle))
    np.testing.assert_allclose(found, np.broadcast_to(1 - two_theta, (2, 3, 7)), rtol=1e-12)


ROLL_R, WALL_R, PURE = 3.8, 4.4, np.array([0.324, 0.06])


def weakened_cell():
    """Sinogram of a steel wall of six voxels around a roll, one channel each, and its transmission, in closed form."""
    fine = positions()[:, None] + (np.arange(8) - 3.5) / 8 * STEP  # a beam is as wide as a step
    paths = np.stack([chord(fine, WALL_R) - chord(fine, ROLL_R), chord(fine, ROLL_R)], axis=-1)
    through = np.exp(-paths @ PURE)
    weak = np.broadcast_to((paths * through[..., None]).mean(axis=1), (ANGLES.size, N, 2)).astype(np.float32)
    q = np.array([1.0, 1.1])
    measured = Measured(weak, weak, None, ANGLES, np.full(ANGLES.size, CENTRE), STEP, q)
    return measured, np.broadcast_to(through.mean(axis=1), weak.shape[:2])


def rebuild(sinogram):
    return reconstruct(sinogram, ANGLES, cor=CENTRE, device="cpu", filter="hann") / STEP


def each_channel_a_phase(volume):
    return 7 * np.moveaxis(volume, -1, 0).astype(float)  # in any unit


@pytest.mark.parametrize("known", ["casing", "transmission", "factor"])
def test_a_weakened_ring_and_disc_come_out_at_the_truth(known):
    measured, transmitted = weakened_cell()
    first = each_channel_a_phase(rebuild(measured.intensity))
    wall = find_wall(first[0], thickness_mm=WALL_R - ROLL_R, step_mm=STEP)
    attenuation = Attenuation(
        measured,
        Matter(PURE),
        transmitted=transmitted if known == "transmission" else None,
        factor=1 / 7 if known == "factor" else None,
        casing=None if known == "transmission" else (0, wall),
    )
    found = remove_absorption(
        measured,
        attenuation,
        first=first,
        reconstruct=rebuild,
        fit=each_channel_a_phase,
        most=12,
        tolerance=1e-3,
        wavelength=0.13,
    )
    assert found.settled.settled
    assert found.factor.source == ("given" if known == "factor" else known)
    assert found.factor.value == pytest.approx(1 / 7, rel=0.03)
    radius = np.hypot(*np.meshgrid(positions(), positions()))
    for place in (radius < 1, (radius > 2.8) & (radius < 3.5)):
        assert found.settled.mu[place].mean() == pytest.approx(0.06, rel=0.03)
        assert found.settled.scales[1][place].mean() == pytest.approx(7, rel=0.03)
        assert first[1][place].mean() < 7 / 2


def test_an_iteration_that_does_not_settle_says_so(caplog):
    swing = iter([0.5, 1.0, 0.5])
    found = iterate(
        np.full((1, 2, 2), 5.0),
        attenuate=lambda scales: scales[0],
        correct=lambda mu: correct_absorption(np.ones((1, 2, 1)), np.ones((1, 2, 1)), mu[:1] / 10),
        reconstruct=lambda sinogram: sinogram,
        fit=lambda volume: np.full((1, 2, 2), next(swing)),
        most=3,
    )
    assert not found.settled
    assert len(found.changes) == 3
    assert "still changes" in caplog.text


def test_scales_of_another_shape_after_a_pass_are_refused():
    with pytest.raises(AttenuationError, match="scale maps"):
        iterate(
            np.ones((1, 2, 2)),
            attenuate=lambda scales: scales[0],
            correct=lambda mu: correct_absorption(np.ones((1, 2, 1)), np.ones((1, 2, 1)), np.ones((1, 2))),
            reconstruct=lambda sinogram: sinogram,
            fit=lambda volume: np.ones((2, 2, 2)),
        )


def test_the_twins_direct_beam_is_transmitted_as_its_attenuation_map_says(roll):
    found = transmission(roll.mu, roll.angles, step_mm=roll.step, cor=(len(roll.mu) - 1) / 2, n_positions=len(roll.mu))
    error = np.abs(found / roll.transmission - 1)
    # Voxels of 0.19 mm smear a casing of 0.25 mm: rays that graze it are off by up to 15 %, and they alone.
    assert np.median(error) < 0.01
    assert np.quantile(error, 0.9) < 0.04


def test_the_twins_roll_is_flat_after_division_by_the_transmission_of_its_true_map(roll):
    n = len(roll.mu)
    cor = (n - 1) / 2
    T = transmission(roll.mu, roll.angles, step_mm=roll.step, cor=cor, n_positions=n)
    row = roll.names.index("graphite")
    measured = roll.sinogram[..., row : row + 1]
    corrected = correct_absorption(measured, measured, T).intensity
    stack = np.concatenate([measured, corrected, roll.free[..., row : row + 1]], axis=-1)
    volume = reconstruct(stack, roll.angles, cor=cor, device="cpu")
    axis = (np.arange(n) - cor) * roll.step
    radius = np.hypot(*np.meshgrid(axis, axis))
    rings = np.array([volume[(radius >= r) & (radius < r + 1)].mean(axis=0) for r in range(2, 8)])
    uncorrected, flat = rings[:, 0] / rings[:, 2], rings[:, 1] / rings[:, 2]
    assert uncorrected.min() < 0.25  # a factor of four at the worst
    np.testing.assert_allclose(flat, 1, atol=0.03)


def test_the_zero_order_error_of_the_twins_cell_is_below_two_percent(roll):
    scattering = roll.fractions.sum(axis=0)
    found = zero_order_error(roll.mu, scattering, two_theta=TWO_THETA, step_mm=roll.step, angles=np.arange(6) * 30.0)
    assert found.rms < 0.02


def test_a_sample_too_deep_for_scales_alone_is_warned_of(caplog):
    through = np.full((2, 5), np.exp(-1.3))
    iterate(
        np.ones((1, 2, 2)),
        attenuate=lambda scales: scales[0],
        correct=lambda mu: correct_absorption(np.ones((2, 5, 1)), np.ones((2, 5, 1)), through),
        reconstruct=lambda sinogram: sinogram,
        fit=lambda volume: np.ones((1, 2, 2)),
        most=2,
    )
    assert "lose 73 % on average" in caplog.text

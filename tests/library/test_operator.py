"""The projection operator: its transpose, its geometry, its values, and that threads do not change a bit."""

import astra
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrdct.errors import GeometryError
from xrdct.geometry import lateral_position, pixel_centres
from xrdct.reconstruction.operator import ParallelBeam

ANGLES = np.arange(33) * 360 / 33


def dense(A):
    """The operator as a matrix, from its action on every pixel: each pixel is a channel."""
    pixels = np.eye(A.n_pixels**2, dtype=np.float32).reshape(A.n_pixels, A.n_pixels, -1)
    return (A @ pixels).reshape(-1, A.n_pixels**2).astype(float)


@settings(deadline=None, max_examples=30)  # the first example compiles
@given(
    seed=st.integers(0, 2**32 - 1),
    n_angles=st.integers(1, 11),
    n_positions=st.integers(2, 40),
    n_pixels=st.integers(1, 45),
    centre=st.floats(0, 1),
    channels=st.sampled_from([(), (1,), (5,), (70,)]),
    support=st.one_of(st.none(), st.floats(0, 30)),
)
def test_the_transpose_is_exact(seed, n_angles, n_positions, n_pixels, centre, channels, support):
    rng = np.random.default_rng(seed)
    A = ParallelBeam(
        rng.uniform(-360, 360, n_angles), n_positions, centre * (n_positions - 1), n_pixels, support=support
    )
    x = rng.random((n_pixels, n_pixels, *channels), dtype=np.float32)
    y = rng.random((n_angles, n_positions, *channels), dtype=np.float32)
    left, right = np.vdot((A @ x).astype(float), y), np.vdot(x.astype(float), A.T @ y)
    # All values are positive, so that the sums do not cancel and float32 rounding is all that differs.
    assert left == pytest.approx(right, rel=1e-6, abs=1e-9)


def test_a_pixel_projects_to_its_lateral_position():
    A = ParallelBeam(ANGLES, 50, 22.3)
    image = np.zeros((50, 50), dtype=np.float32)
    row, column = 12, 31
    image[row, column] = 1
    axis = pixel_centres(50, 1.0)
    expected = lateral_position(axis[column], axis[::-1][row], ANGLES) + 22.3
    sinogram = A @ image
    np.testing.assert_allclose(sinogram.sum(axis=1), 1, rtol=1e-6)
    # A shadow narrower than a position moves between two of them in less than one step: (1 - 1/sqrt(2))/2 at most.
    assert np.abs(sinogram @ np.arange(50) - expected).max() < 0.147


def test_the_matrix_of_a_small_scan_is_the_overlap_of_shadows_with_positions():
    A, angles = ParallelBeam(ANGLES[:7], 9, 3.8, 8), ANGLES[:7, None, None, None]
    axis = pixel_centres(8, 1.0)
    t = lateral_position(axis[None, None, None, :], axis[None, None, ::-1, None], angles) + 3.8
    width = np.maximum(np.abs(np.cos(np.radians(angles))), np.abs(np.sin(np.radians(angles))))
    k = np.arange(9)[None, :, None, None]
    overlap = np.minimum(t + width / 2, k + 0.5) - np.maximum(t - width / 2, k - 0.5)
    np.testing.assert_allclose(dense(A), np.clip(overlap / width, 0, None).reshape(63, 64), atol=1e-6)  # float32


@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 60.0, 90.0])
def test_a_uniform_square_projects_to_its_chords_without_a_ripple(angle):
    image = np.zeros((64, 64), dtype=np.float32)
    image[16:48, 16:48] = 1
    c, s = sorted([abs(np.cos(np.radians(angle))), abs(np.sin(np.radians(angle)))])
    t = np.abs(np.arange(64) - 31.5)
    flat = 32 / s  # as long as the ray enters and leaves through opposite sides
    found = (ParallelBeam([angle], 64, 31.5) @ image)[0]
    inner, outer = 16 * (s - c), 16 * (s + c)
    slope = np.interp(t, [inner, outer], [flat, 0]) if c > 1e-9 else np.where(t < 16, flat, 0)
    away = (np.abs(t - inner) > 1) & (np.abs(t - outer) > 1)  # a position is one pixel wide: corners are rounded
    np.testing.assert_allclose(found[away], slope[away], atol=0.02 * flat)


def test_a_smooth_object_projects_as_in_closed_form_and_as_astra_does():
    axis, sigma = pixel_centres(64, 1.0), 5.0
    image = np.exp(-((axis[None, :] - 8) ** 2 + (axis[::-1, None] + 5) ** 2) / (2 * sigma**2)).astype(np.float32)
    found = ParallelBeam(ANGLES, 64, 31.5) @ image
    distance = np.arange(64) - 31.5 - lateral_position(8, -5, ANGLES)[:, None]
    expected = sigma * np.sqrt(2 * np.pi) * np.exp(-(distance**2) / (2 * sigma**2))
    # Shadow and position widen a line by up to 1/12 of a pixel squared each: the peak falls by 1/(12*25) at most, and
    # a position that looks at the flank gains as much.
    assert np.abs(found - expected).max() < 0.01 * expected.max()
    rays, volume = astra.create_proj_geom("parallel", 1.0, 64, np.radians(ANGLES)), astra.create_vol_geom(64, 64)
    projector = astra.create_projector("linear", rays, volume)
    data, theirs = astra.create_sino(image, projector)
    astra.data2d.delete(data)
    astra.projector.delete(projector)
    assert np.abs(found - theirs).max() < 0.01 * expected.max()


@pytest.mark.parametrize("n_channels", [1, 3, 70])
def test_any_number_of_threads_gives_the_same_bits(n_channels):
    rng, A = np.random.default_rng(0), ParallelBeam(ANGLES, 40, 17.0, 45)
    image = rng.normal(size=(45, 45, n_channels)).astype(np.float32)
    before, results = numba.get_num_threads(), []
    try:
        for threads in sorted({1, 2, numba.config.NUMBA_NUM_THREADS} & set(range(numba.config.NUMBA_NUM_THREADS + 1))):
            numba.set_num_threads(threads)
            sinogram = A @ image
            results.append((sinogram, A.T @ sinogram))
    finally:
        numba.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_channels_do_not_touch_each_other_and_need_not_be_contiguous():
    rng, A = np.random.default_rng(0), ParallelBeam(ANGLES, 40, 17.0)
    sinogram = rng.normal(size=(33, 40, 150)).astype(np.float32)
    whole = A.T @ sinogram
    np.testing.assert_array_equal(A.T @ sinogram[..., 30:100], A.T @ sinogram[..., 30:100].copy())
    # The same sums; a compiler may contract a product and a sum in one loop and not in another.
    np.testing.assert_allclose(A.T @ sinogram[..., 30:100], whole[..., 30:100], atol=1e-5)
    np.testing.assert_allclose(A.T @ sinogram[..., 7], whole[..., 7], atol=1e-5)
    swapped = np.ascontiguousarray(np.moveaxis(sinogram, -1, 0))
    np.testing.assert_array_equal(A.T @ np.moveaxis(swapped, 0, -1), whole)


def test_outside_the_support_nothing_is_seen_and_nothing_comes_back():
    A, whole = ParallelBeam(ANGLES, 40, 17.0, support=15.0), ParallelBeam(ANGLES, 40, 17.0)
    axis = pixel_centres(40, 1.0)
    inside = np.hypot(axis[None, :], axis[::-1, None]) <= 15.0
    image = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    np.testing.assert_array_equal(A @ image, A @ (image * inside))
    np.testing.assert_allclose(A @ image, whole @ (image * inside), atol=1e-5)
    back = A.T @ np.ones((33, 40), np.float32)
    assert (back[~inside] == 0).all()
    np.testing.assert_allclose(back[inside], (whole.T @ np.ones((33, 40), np.float32))[inside], rtol=1e-6)


def test_some_projections_are_the_rows_of_all():
    A = ParallelBeam(ANGLES, 40, 17.0)
    image = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    np.testing.assert_array_equal(A.rows([3, 8, 20]) @ image, (A @ image)[[3, 8, 20]])
    np.testing.assert_array_equal(A.rows(slice(5, 9)) @ image, (A @ image)[5:9])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], 40, 40.0), "outside the field of 40 positions"),
        (([0.0], 40, np.nan), "outside the field of 40 positions"),
        (([0.0], 1, 0.0), "outside the field of 1 positions"),
        (([], 40, 20.0), "finite angles"),
        (([0.0, np.nan], 40, 20.0), "finite angles"),
    ],
)
def test_an_impossible_scan_is_refused(arguments, message):
    with pytest.raises(GeometryError, match=message):
        ParallelBeam(*arguments)


def test_an_array_of_another_shape_is_refused_with_both_shapes():
    A = ParallelBeam(ANGLES, 40, 17.0)
    with pytest.raises(GeometryError, match=r"image \[y, x\]\[, channel\] of \(40, 40\), found \(33, 40\)"):
        A @ np.zeros((33, 40))
    with pytest.raises(GeometryError, match=r"sinogram .* of \(33, 40\), found \(40, 40, 2\)"):
        A.T @ np.zeros((40, 40, 2))


def test_every_projection_may_have_its_own_centre():
    rng = np.random.default_rng(5)
    angles, centres = np.array([0.0, 40.0, 75.0, 110.0, 150.0]), 15.5 + np.array([0.3, -0.25, 1.5, 0.0, -2.2])
    A = ParallelBeam(angles, 32, centres)
    image = rng.random((32, 32, 3), dtype=np.float32)
    alone = [ParallelBeam([angle], 32, centre) @ image for angle, centre in zip(angles, centres, strict=True)]
    np.testing.assert_array_equal(A @ image, np.concatenate(alone))
    sinogram = rng.random((5, 32, 3), dtype=np.float32)
    there, back = np.vdot(A @ image, sinogram), np.vdot(image, A.T @ sinogram)
    assert there == pytest.approx(back, rel=1e-6)  # float32 sums of a few thousand terms
    np.testing.assert_array_equal(A.rows(slice(1, 4)) @ image, (A @ image)[1:4])


def test_as_many_centres_as_angles_are_asked_for():
    with pytest.raises(GeometryError, match=r"one for each of 3, found \(2,\)"):
        ParallelBeam([0.0, 1.0, 2.0], 32, [15.0, 16.0])
    with pytest.raises(GeometryError, match=r"centre of rotation 32\.5 lies outside the field of 32 positions"):
        ParallelBeam([0.0, 1.0], 32, [15.0, 32.5])

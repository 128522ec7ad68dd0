"""Filtered back-projection against closed forms, ASTRA, scikit-image, and its own promises."""

import astra
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import iradon

from xrdct.errors import GeometryError
from xrdct.geometry import lateral_position, pixel_centres
from xrdct.reconstruction.fbp import FILTERS, angular_weights, fbp, filter_projections
from xrdct.reconstruction.operator import ParallelBeam

N = 96
CENTRED = (N - 1) / 2


def reconstruct_fbp(sinogram, angles, *, cor, filter="ram-lak"):
    return fbp(ParallelBeam(angles, sinogram.shape[1], cor), sinogram, filter=filter)


def turn(n_angles, span=180.0):
    return np.arange(n_angles) * span / n_angles


def disc_sinogram(angles, cor, *, x=0.0, y=0.0, radius=30.0, n=N):
    """Chord lengths of a disc of value 1 per pixel, in closed form; shape (n_angles, n, 1)."""
    t = np.arange(n) - cor
    distance = t - lateral_position(x, y, angles)[:, None]
    return 2 * np.sqrt(np.clip(radius**2 - distance**2, 0, None))[..., None].astype(np.float32)


def inside(x=0.0, y=0.0, radius=30.0, n=N):
    """Pixels well inside the disc: 5 pixels from its edge, where the ringing of a sharp edge has died away."""
    axis = pixel_centres(n, 1.0)
    return np.hypot(axis[None, :] - x, axis[::-1, None] - y) < radius - 5


def blobs_sinogram(angles, cor, n=N):
    """Gaussians, smooth enough that no interpolation matters; also their map."""
    t, axis = np.arange(n) - cor, pixel_centres(n, 1.0)
    sinogram, image = 0.0, 0.0
    for x, y, sigma, height in [(10, 14, 4, 1.0), (-17, 3, 5, 0.6), (2, -20, 3, 1.4)]:
        distance = t - lateral_position(x, y, angles)[:, None]
        sinogram += height * sigma * np.sqrt(2 * np.pi) * np.exp(-(distance**2) / (2 * sigma**2))
        square = (axis[None, :] - x) ** 2 + (axis[::-1, None] - y) ** 2
        image += height * np.exp(-square / (2 * sigma**2))
    return sinogram[..., None].astype(np.float32), image


def astra_fbp(sinogram, angles):
    """ASTRA's own FBP on the CPU: axis at the centre of the detector, per-voxel scale."""
    n = sinogram.shape[1]
    rays, volume = astra.create_proj_geom("parallel", 1.0, n, np.radians(angles)), astra.create_vol_geom(n, n)
    projector = astra.create_projector("linear", rays, volume)
    data, image = astra.data2d.create("-sino", rays, sinogram), astra.data2d.create("-vol", volume)
    settings = astra.astra_dict("FBP")
    settings |= {"ProjectorId": projector, "ProjectionDataId": data, "ReconstructionDataId": image}
    settings["option"] = {"FilterType": "Ram-Lak"}
    algorithm = astra.algorithm.create(settings)
    astra.algorithm.run(algorithm)
    result = astra.data2d.get(image)
    astra.algorithm.delete(algorithm)
    astra.data2d.delete([data, image])
    astra.projector.delete(projector)
    return result


def rms(difference):
    return np.sqrt(np.mean(np.square(difference)))


@pytest.mark.parametrize("cor", [CENTRED, 45.2, 52.0])
@pytest.mark.parametrize(("n_angles", "span"), [(90, 180.0), (180, 180.0), (180, 360.0), (181, 360.0)])
def test_a_uniform_disc_is_flat_and_has_its_value_per_voxel_whatever_the_angles_and_the_centre(cor, n_angles, span):
    angles = turn(n_angles, span)
    values = reconstruct_fbp(disc_sinogram(angles, cor, x=4, y=-7), angles, cor=cor)[..., 0][inside(4, -7)]
    assert values.mean() == pytest.approx(1.0, abs=0.003)  # chords sampled at points: the disc's area to 1 pixel row
    assert values.std() < 0.001  # what the ringing of the sharp edge leaves 5 pixels inside


@pytest.mark.parametrize("omegas", [turn(120), turn(120, 360.0), np.sort(turn(150) - 90.0), turn(120)[::-1]])
def test_smooth_blobs_come_back_as_they_are_at_their_row_and_column(omegas):
    sinogram, image = blobs_sinogram(omegas, 50.3)
    found = reconstruct_fbp(sinogram, omegas, cor=50.3)[..., 0]
    # A position is one pixel wide, which smooths a blob of sigma 3 by 0.2 %.
    assert rms(found - image) < 0.003 * image.max()
    for slope in np.gradient(image):
        shift = np.sum((found - image) * slope) / np.sum(slope**2)
        assert abs(shift) < 0.001  # pixels


def test_a_point_appears_at_its_row_and_column():
    x, y, cor, angles = 11.0, 24.0, 47.5, turn(150)
    image = reconstruct_fbp(disc_sinogram(angles, cor, x=x, y=y, radius=1.5), angles, cor=cor)[..., 0]
    row, column = np.unravel_index(image.argmax(), image.shape)
    axis = pixel_centres(N, 1.0)
    # The point lies on the corner of four pixels: each is right.
    assert abs(axis[column] - x) <= 0.5
    assert abs(axis[::-1][row] - y) <= 0.5


def test_interlaced_and_shuffled_angles_give_the_image_of_sorted_ones():
    angles = np.add.outer(np.arange(4) * 1.5, np.arange(30) * 6.0).ravel()
    sinogram = disc_sinogram(angles, 46.0, x=6)
    order = np.argsort(angles)
    # The same float32 sums in another order.
    np.testing.assert_allclose(
        reconstruct_fbp(sinogram, angles, cor=46.0),
        reconstruct_fbp(sinogram[order], angles[order], cor=46.0),
        atol=1e-5,
    )


def test_a_disc_is_reconstructed_as_astra_does_it():
    angles = turn(120)
    sinogram = disc_sinogram(angles, CENTRED, x=5, y=9)
    ours, theirs = reconstruct_fbp(sinogram, angles, cor=CENTRED)[..., 0], astra_fbp(sinogram[..., 0], angles)
    # ASTRA interpolates along each row of the image, which leaves a texture of 0.6 % in a uniform disc.
    assert rms((ours - theirs)[inside(5, 9)]) < 0.01
    assert rms((ours - 1)[inside(5, 9)]) < rms((theirs - 1)[inside(5, 9)])


@pytest.mark.parametrize("filter", FILTERS)
def test_every_filter_keeps_the_value_of_a_wide_disc(filter):
    angles = turn(120)
    found = reconstruct_fbp(disc_sinogram(angles, CENTRED), angles, cor=CENTRED, filter=filter)[..., 0]
    assert found[inside()].mean() == pytest.approx(1.0, abs=0.003)  # apodisation leaves zero frequency alone


def test_filters_are_ever_smoother_from_ramp_to_hann():
    noise = np.random.default_rng(0).normal(size=(20, 64, 1))
    strength = [filter_projections(noise, filter).std() for filter in FILTERS]
    assert strength == sorted(strength, reverse=True)
    assert strength[-1] < 0.5 * strength[0]


def test_an_unknown_filter_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'ramp', expected one of ram-lak, shepp-logan, cosine, hann"):
        reconstruct_fbp(disc_sinogram(turn(20), CENTRED), turn(20), cor=CENTRED, filter="ramp")


def test_reconstruction_is_linear_and_channels_do_not_touch_each_other():
    rng, angles = np.random.default_rng(0), turn(40)
    sinogram = rng.normal(size=(40, 32, 19)).astype(np.float32)  # more channels than one block
    sinogram[..., 18] = 2 * sinogram[..., 0] - 0.5 * sinogram[..., 17]
    volume = reconstruct_fbp(sinogram, angles, cor=15.1)
    # float32 sums of 40 terms of order 1.
    np.testing.assert_allclose(volume[..., 18], 2 * volume[..., 0] - 0.5 * volume[..., 17], atol=1e-5)
    for k in (0, 15, 16, 18):
        alone = reconstruct_fbp(sinogram[..., k : k + 1], angles, cor=15.1)
        np.testing.assert_allclose(volume[..., k], alone[..., 0], atol=1e-6)


def test_a_channel_with_one_nan_is_nan_and_the_others_do_not_change():
    angles = turn(40)
    sinogram = np.random.default_rng(0).normal(size=(40, 32, 18)).astype(np.float32)
    clean = reconstruct_fbp(sinogram, angles, cor=15.5)
    poisoned = sinogram.copy()
    poisoned[7, 20, 3] = np.nan
    volume = reconstruct_fbp(poisoned, angles, cor=15.5)
    assert np.isnan(volume[..., 3]).all()
    others = np.arange(18) != 3
    assert np.array_equal(volume[..., others], clean[..., others])


def test_a_gap_in_the_angles_is_refused_with_its_place():
    angles = np.r_[0:60:2, 75:180:2].astype(float)
    with pytest.raises(GeometryError, match=r"between 58\.00° and 75\.00° \(modulo 180°\)"):
        reconstruct_fbp(disc_sinogram(angles, CENTRED), angles, cor=CENTRED)


def test_a_half_covered_turn_is_refused_however_it_is_numbered():
    with pytest.raises(GeometryError, match=r"between 89\.00° and 180\.00°"):
        angular_weights(np.arange(0, 90.0))
    with pytest.raises(GeometryError, match=r"between 45\.00° and 136\.00°"):
        angular_weights(np.arange(-44, 46.0))


@pytest.mark.parametrize("cor", [-0.1, 95.1, np.nan])
def test_a_centre_outside_the_field_is_refused(cor):
    with pytest.raises(GeometryError, match="outside the field of 96 positions"):
        reconstruct_fbp(disc_sinogram(turn(20), CENTRED), turn(20), cor=cor)


def test_as_many_angles_as_projections_are_demanded():
    with pytest.raises(GeometryError, match=r"expected a sinogram of \(21, 96\), found \(20, 96\)"):
        reconstruct_fbp(disc_sinogram(turn(20), CENTRED), turn(21), cor=CENTRED)


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([180.0, 360.0]),
    st.floats(-360, 360),
    st.booleans(),
)
def test_weights_add_up_to_half_a_turn(seed, span, start, doubled):
    rng = np.random.default_rng(seed)
    angles = start + (np.arange(100) + rng.uniform(-0.4, 0.4, 100)) * span / 100  # gaps below 10°
    if doubled:
        angles = np.r_[angles, angles[:7], angles[3] + 180]
    weights = angular_weights(rng.permutation(angles))
    assert weights.sum() == pytest.approx(np.pi, rel=1e-12)
    assert weights.min() >= 0


@pytest.mark.parametrize("span", [180.0, 360.0])
def test_regular_angles_weigh_the_same(span):
    np.testing.assert_allclose(angular_weights(turn(60, span)), np.pi / 60, rtol=1e-9)


def test_an_angle_next_to_a_gap_weighs_more_and_a_doubled_one_as_two_halves():
    weights = angular_weights(np.r_[0:90:1, 93:180:1, 30.0])
    degree = np.radians(1)
    np.testing.assert_allclose(weights[[89, 90]], 2.5 * degree, rtol=1e-9)
    np.testing.assert_allclose(weights[[30, -1]], 0.5 * degree, rtol=1e-9)


@pytest.mark.real_data
def test_a_real_tooth_is_reconstructed_as_astra_and_scikit_image_do(tooth):
    projections, angles = tooth
    projections = projections[:, :591]  # the axis, at 295.8, is now within a pixel of the centre of an odd field
    ours = reconstruct_fbp(projections[..., None], angles, cor=295.0)[..., 0]
    axis = pixel_centres(591, 1.0)
    field = np.hypot(axis[None, :], axis[:, None]) < 280
    scale = np.percentile(ours[field], 99)
    # The three share a pixel out differently, which shows in the finest texture of the noise: ours and scikit-image's
    # differ by 0.6 %, ours and ASTRA's, which interpolates along the rows of the image, by 1.3 %.
    other = iradon(projections.T, angles, filter_name="ramp", circle=True)
    assert rms((ours - other)[field]) < 0.01 * scale
    assert rms((ours - astra_fbp(projections, angles))[field]) < 0.02 * scale
    assert np.sum(ours[field] * other[field]) / np.sum(other[field] ** 2) == pytest.approx(1.0, abs=0.002)

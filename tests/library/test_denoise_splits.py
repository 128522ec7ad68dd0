"""Parts of a scan: independent noise, the same object, and nothing of the target in the input."""

import logging

import numpy as np
import pytest
from scan_parts import ANGLES, COR, K, N, clean_sinogram, inside, noisy_parts, poisson_groups

from xrdct.denoise.baseline import blend, features_of, filtered
from xrdct.denoise.scaling import find_scales, noise_map
from xrdct.denoise.splits import (
    by_angle,
    by_group,
    by_thinning,
    interlaced_parts,
    leave_one_out,
    reconstruct_parts,
    reconstruct_turned,
    refuse_unlike_parts,
)
from xrdct.denoise.training import pair
from xrdct.errors import GeometryError
from xrdct.reconstruction.backend import reconstruct

SINOGRAM = clean_sinogram()


@pytest.fixture(scope="module")
def parts():
    return noisy_parts()


def test_the_mean_of_the_groups_is_the_reconstruction_of_all_counts(parts):
    groups = poisson_groups(dose=3.0, seed=0)
    whole = reconstruct(groups.mean(axis=2), ANGLES, cor=COR)
    # float32 sums of 60 angles in another order
    np.testing.assert_allclose(parts.mean(axis=1), np.moveaxis(whole, -1, 0), atol=2e-5)


def test_the_mean_of_thinned_parts_is_the_sinogram_itself():
    split = by_thinning(SINOGRAM, SINOGRAM, ANGLES, cor=COR, n_parts=3)
    np.testing.assert_allclose(np.mean(split.read(slice(0, 5)), axis=0), SINOGRAM[..., :5], rtol=1e-5, atol=1e-5)


def test_thinned_parts_are_uncorrelated_and_have_k_times_the_variance():
    rng = np.random.default_rng(1)
    truth, variance = np.full((200, 100, 4), 50.0), np.full((200, 100, 4), 7.0)
    noisy = rng.normal(truth, np.sqrt(variance))
    read = by_thinning(noisy, variance, np.arange(200), cor=50, n_parts=4).read(slice(0, 4))
    found = np.cov([part.ravel() for part in read]) / variance.flat[0]
    # 80,000 samples: the standard error of a covariance of 4 is 4 / sqrt(80,000) = 0.014, of a variance 0.02
    np.testing.assert_allclose(found, 4 * np.eye(4), atol=0.1)


def test_thinned_parts_do_not_depend_on_the_blocks_of_channels():
    split = by_thinning(SINOGRAM, SINOGRAM, ANGLES, cor=COR)
    whole, late = split.read(slice(0, 6)), split.read(slice(4, 6))
    np.testing.assert_array_equal(whole[2][..., 4:], late[2])


def test_parts_by_angle_share_no_projection_and_leave_none_out():
    numbered = np.broadcast_to(np.arange(len(ANGLES), dtype=np.float32)[:, None, None], (len(ANGLES), 20, 1))
    split = by_angle(numbered, ANGLES, interlaced_parts(ANGLES, 4), cor=10)
    taken = np.concatenate([part[:, 0, 0] for part in split.read(slice(0, 1))])
    assert sorted(taken) == list(range(len(ANGLES)))
    assert [own[0] for own in split.angles] == [0, 3, 6, 9]


def test_parts_by_angle_keep_the_scale_and_the_centre_of_each_line():
    shuffled = np.random.default_rng(0).permutation(len(ANGLES))
    cor = COR + np.linspace(-0.5, 0.5, len(ANGLES))
    t = np.arange(N) - cor[:, None]
    disc = 2 * np.sqrt(np.clip(15**2 - t**2, 0, None))[shuffled, :, None]
    split = by_angle(disc, ANGLES[shuffled], interlaced_parts(ANGLES[shuffled], 2), cor=cor[shuffled])
    parts = reconstruct_parts(split)
    # 30 angles for a disc of 15 px: away from the edge it is flat within a few per cent
    np.testing.assert_allclose(parts[0][:, inside(margin=14)], 1, atol=0.05)


def test_turned_parts_are_the_same_scan_at_random_angles(monkeypatch):
    monkeypatch.setattr("xrdct.denoise.splits.OFFSETS", 2)
    groups = poisson_groups(dose=30.0, seed=0)
    split = by_group(groups, ANGLES, cor=COR)
    turned = reconstruct_turned(split, 5, seed=4)
    assert turned.shape == (2, K, N, N)
    for images, offset in zip(turned, np.random.default_rng((4, 5)).uniform(0, 360, 2), strict=True):
        whole = reconstruct(groups.mean(axis=2)[..., [5]], ANGLES + offset, cor=COR)[..., 0]
        np.testing.assert_allclose(images.mean(axis=0), whole, atol=1e-4)
    first, second = (
        np.hypot(*(np.average(axis, weights=np.clip(image, 0, None)) - COR for axis in np.mgrid[:N, :N]))
        for image in (turned[0].mean(axis=0), reconstruct_parts(split)[5].mean(axis=0))
    )
    assert first == pytest.approx(second, abs=0.3)  # the centre of mass went round the axis
    np.testing.assert_array_equal(turned, reconstruct_turned(split, 5, seed=4))


def test_few_angles_in_a_part_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        by_angle(SINOGRAM, ANGLES, interlaced_parts(ANGLES, 2), cor=COR)
        assert not caplog.records
        by_angle(SINOGRAM, ANGLES, interlaced_parts(ANGLES, 4), cor=COR)
    assert "15 angles for 48 positions" in caplog.text


def test_one_part_is_refused():
    with pytest.raises(GeometryError, match=r"integrate\.groups"):
        by_group(SINOGRAM[:, :, None], ANGLES, cor=COR)


def test_a_part_that_drifted_in_intensity_is_refused(parts):
    refuse_unlike_parts(parts)
    drifted = parts * np.array([1, 1.05, 1, 1])[:, None, None]
    with pytest.raises(GeometryError, match=r"part 2 of 4 .*assemble\.align"):
        refuse_unlike_parts(drifted)


@pytest.mark.parametrize("held_out", range(K))
def test_no_count_of_the_target_reaches_the_input(parts, held_out):
    """Whatever the held-out part holds, the input is the same, bit by bit; NaN would spread to all it touches."""
    scales = find_scales(parts, inside())
    without = np.array(parts)
    without[:, held_out] = np.nan
    np.testing.assert_array_equal(pair(parts, scales, 5, held_out)[0], pair(without, scales, 5, held_out)[0])
    assert np.isnan(pair(without, scales, 5, held_out)[1]).all()


def test_noise_of_input_and_target_is_uncorrelated(parts):
    """Against the noise-free reconstruction, over all voxels and channels."""
    clean = reconstruct_parts(by_group(np.repeat(SINOGRAM[:, :, None], 2, axis=2), ANGLES, cor=COR))[:, :1]
    noise = (parts - clean)[:, :, inside()]
    known = np.array([leave_one_out(values, 0) for values in noise])
    # 24 channels of about 400 independent values each (FBP noise is short-ranged): standard error 0.01
    assert abs(np.corrcoef(known.ravel(), noise[:, 0].ravel())[0, 1]) < 0.04


def test_noise_free_groups_have_the_noise_free_reconstruction_as_fixed_point():
    """The best linear prediction of a part is then the reconstruction itself; split by angle it is a blur."""
    groups = np.repeat(SINOGRAM[:, :, None], K, axis=2)
    parts = {
        "pixel": reconstruct_parts(by_group(groups, ANGLES, cor=COR)),
        "angle": reconstruct_parts(by_angle(SINOGRAM, ANGLES, interlaced_parts(ANGLES, 3), cor=COR)),
    }
    errors = {}
    for name, own in parts.items():
        clean = own.mean(axis=1)
        found = np.stack([blend(features_of(values), values, inside())[0].mean(axis=0) for values in own])
        errors[name] = np.std((found - clean)[:, inside()]) / np.std(clean[:, inside()])
    assert errors["pixel"] < 1e-3  # the ridge of the normal equations, 1e-6, against the smallest feature
    assert errors["angle"] > 0.02  # the floor that is not noise


def test_weights_of_pure_noise_give_about_the_mean():
    rng = np.random.default_rng(2)
    parts = rng.normal(3.0, 1.0, (K, N, N)).astype(np.float32)
    found, _ = blend(features_of(parts), parts, inside())
    # the widest Gaussian keeps a few per cent of white noise; the weights are fitted to noise of 1700 voxels
    assert np.std(found.mean(axis=0)[inside()]) < 0.05
    assert found[:, inside()].mean() == pytest.approx(parts[:, inside()].mean(), abs=1e-4)


def test_scales_are_the_mean_and_the_noise_of_the_mean():
    rng = np.random.default_rng(3)
    scales = find_scales(rng.normal(7.0, 2.0, (2, K, N, N)), inside())
    np.testing.assert_allclose(scales.mean, 7, atol=0.1)  # 2 / sqrt(4 · 1700) = 0.024
    np.testing.assert_allclose(scales.noise, 2 / np.sqrt(K), rtol=0.05)  # 1 / sqrt(2 · 3 · 1700) = 1 %
    values = rng.random((3, 3))
    np.testing.assert_allclose(scales.restored(scales.scaled(values, 1), 1), values, atol=1e-5)


def test_channels_without_noise_or_with_nan_are_not_usable():
    parts = np.random.default_rng(4).normal(size=(3, K, N, N))
    parts[1], parts[2, 0, 20, 20] = 5.0, np.nan
    assert find_scales(parts, inside()).usable.tolist() == [0]


def test_the_noise_map_follows_noise_that_varies_over_the_image():
    sigma = np.where(np.arange(N) < N / 2, 1.0, 3.0)
    parts = np.random.default_rng(5).normal(size=(K, N, N)) * sigma
    found = noise_map(parts) * np.sqrt(K)
    # 3 degrees of freedom times 200 voxels under the Gaussian: 3 %, several of them over the columns looked at
    assert found[:, 4].mean() == pytest.approx(1, rel=0.1)
    assert found[:, -4].mean() == pytest.approx(3, rel=0.1)


def test_the_first_feature_is_the_image_itself():
    image = np.random.default_rng(6).random((N, N))
    np.testing.assert_array_equal(filtered(image)[0], image)

"""All channels at once: what it gains, what it erases, and the gates and the guard against that."""

import numpy as np
import pytest
from scan_parts import N_CHANNELS, K, N, clean_volume, inside, noisy_parts, psnr

from xrdct.denoise.baseline import blend, features_of
from xrdct.denoise.gates import grain_left, passes_grain, plant_grain, plant_shift, shift_left
from xrdct.denoise.low_rank import denoise_jointly, find_basis, put_back
from xrdct.denoise.scaling import find_scales

GRAIN = (np.array([30, 30, 31]), np.array([14, 15, 15]))
PATTERN = 1.0 * np.exp(-0.5 * ((np.arange(N_CHANNELS) - 21) / 1.2) ** 2)


@pytest.fixture(scope="module")
def parts():
    return noisy_parts(dose=10.0)


def jointly(threshold):
    return lambda parts: denoise_jointly(parts, find_scales(parts, inside()), inside(), threshold=threshold)


def plain(parts):
    return np.asarray(parts).mean(axis=1)


def test_the_joint_method_beats_filters_of_single_images(parts):
    weighted = np.stack([blend(features_of(values), values, inside())[0].mean(axis=0) for values in parts])
    clean = clean_volume()
    joint, single = (psnr(found, clean, inside()).mean() for found in (jointly(5.0)(parts), weighted))
    assert joint > single + 3  # measured 5.6 dB


def test_the_rank_is_about_the_number_of_things_that_vary(parts):
    """Four discs with a pattern each; at most a few more, never all channels, are worth keeping."""
    rank = find_basis(parts, find_scales(parts, inside()), inside(), held_out=0).patterns.shape[1]
    assert 3 <= rank <= 8


def test_the_basis_does_not_know_the_held_out_part_but_for_its_rank(parts):
    scales = find_scales(parts, inside())
    other = np.array(parts)
    other[:, 1] = other[:, 1, ::-1]
    one, two = (find_basis(p, scales, inside(), held_out=1) for p in (parts, other))
    shared = min(one.patterns.shape[1], two.patterns.shape[1])
    np.testing.assert_array_equal(one.patterns[:, :shared], two.patterns[:, :shared])


def test_the_joint_method_alone_erases_a_grain_and_the_gate_sees_it(parts):
    left = grain_left(jointly(np.inf), parts, GRAIN, PATTERN)
    assert left[0] < 0.5
    assert not passes_grain(left)


def test_the_guard_keeps_a_grain_of_three_voxels(parts):
    assert passes_grain(grain_left(jointly(5.0), parts, GRAIN, PATTERN))


def test_the_plain_reconstruction_passes_both_gates(parts):
    left = grain_left(plain, parts, GRAIN, PATTERN)
    np.testing.assert_allclose(left, 1, atol=1e-4)
    patch = np.zeros((N, N), bool)
    patch[20:26, 20:26] = True
    assert shift_left(plain, parts, patch, 0.5) == pytest.approx(1, abs=1e-4)


def test_a_method_that_replaces_every_voxel_by_the_mean_fails_both_gates(parts):
    def mean(parts):
        return np.broadcast_to(plain(parts).mean(axis=(1, 2), keepdims=True), (N_CHANNELS, N, N))

    patch = np.zeros((N, N), bool)
    patch[20:26, 20:26] = True
    assert shift_left(mean, parts, patch, 0.5) < 0.1
    assert not passes_grain(grain_left(mean, parts, GRAIN, PATTERN))


def test_planting_changes_nothing_elsewhere_and_leaves_its_input_alone(parts):
    before = parts.copy()
    patch = np.zeros((N, N), bool)
    patch[GRAIN] = True
    for planted in (plant_grain(parts, GRAIN, PATTERN), plant_shift(parts, patch, 1.0)):
        np.testing.assert_array_equal(planted[:, :, ~patch], parts[:, :, ~patch])
        assert not np.array_equal(planted, parts)
    np.testing.assert_array_equal(parts, before)


def test_a_shift_by_whole_channels_moves_the_values(parts):
    patch = np.ones((N, N), bool)
    np.testing.assert_allclose(plant_shift(parts, patch, 2.0)[2:], parts[:-2])


def test_the_guard_leaves_noise_alone_and_gives_a_peak_back():
    rng = np.random.default_rng(0)
    noise = np.ones((40, 32, 32))
    result, fbp = np.zeros((40, 32, 32)), rng.normal(size=(40, 32, 32))
    # 41,000 matched values at 5 σ: 0.02 expected by chance
    np.testing.assert_array_equal(put_back(result, fbp, noise), 0)
    fbp[18:23, 10, 10] += 8.0
    found = put_back(result, fbp, noise)
    np.testing.assert_array_equal(found[18:23, 10, 10].astype(np.float32), fbp[18:23, 10, 10].astype(np.float32))
    assert not found[:, 20:, 20:].any()


def test_the_guard_survives_channels_without_noise_or_with_nan():
    fbp, noise = np.zeros((10, 4, 4)), np.ones((10, 4, 4))
    fbp[3], noise[3], noise[6] = np.nan, np.nan, 0.0
    assert not put_back(np.zeros((10, 4, 4)), fbp, noise).any()


def test_parts_of_other_numbers_work_too():
    three = noisy_parts(dose=10.0)[:, :3]
    assert denoise_jointly(three, find_scales(three, inside()), inside()).shape == (N_CHANNELS, N, N)
    assert K == 4

"""All channels at once: what it gains, what it erases, and the gates and the guard against that."""

from itertools import pairwise

import numpy as np
import pytest
from scan_parts import N_CHANNELS, K, N, clean_volume, inside, noisy_parts, psnr
from scipy.ndimage import gaussian_filter

from xrdct.denoise.baseline import blend, features_of
from xrdct.denoise.displaced import put_in_place
from xrdct.denoise.gates import grain_left, passes_grain, shift_left, try_on_scan
from xrdct.denoise.guard import PEAK, THRESHOLD, put_back
from xrdct.denoise.low_rank import denoise_jointly, find_basis, project_leave_one_out
from xrdct.denoise.planting import Planted, plan_trials, plant_grain, plant_shift
from xrdct.denoise.scaling import find_scales
from xrdct.denoise.selection import denoise_best

GRAIN = (np.array([30, 30, 31]), np.array([14, 15, 15]))
PATTERN = 1.0 * np.exp(-0.5 * ((np.arange(N_CHANNELS) - 21) / 1.2) ** 2)


@pytest.fixture(scope="module")
def parts():
    return noisy_parts(dose=10.0)


def jointly(threshold):
    """The joint method with a guard of so many standard deviations; infinity: none."""

    def method(parts):
        return put_back(denoise_jointly(parts, find_scales(parts, inside()), inside()), parts, threshold=threshold)[0]

    return method


def plain(parts):
    return np.asarray(parts).mean(axis=1)


def test_the_joint_method_beats_filters_of_single_images(parts):
    weighted = np.stack([blend(features_of(values), values, inside())[0].mean(axis=0) for values in parts])
    clean = clean_volume()
    joint, single = (psnr(found, clean, inside()).mean() for found in (jointly(THRESHOLD)(parts), weighted))
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
    assert passes_grain(grain_left(jointly(THRESHOLD), parts, GRAIN, PATTERN))


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
    noise = np.random.default_rng(0).normal(size=(40, K, 48, 48)).astype(np.float32)
    nothing = np.zeros((40, 48, 48), np.float32)
    # 92,000 looks at three scales and at displacements: 0.7 false alarms of up to 45 values; the noise map itself is
    # uncertain by 3 %, which makes them 3 times as many
    assert (put_back(nothing, noise)[0] != 0).mean() < 1e-3
    noise[18:23, :, 10, 10] += 5.0
    found, error = put_back(nothing, noise)
    np.testing.assert_allclose(found[18:23, 10, 10], noise[18:23, :, 10, 10].mean(axis=1), rtol=1e-5)
    # the noise of four parts of 1 is 1/2; the map averages 100 voxels of 3 degrees of freedom: 6 %, thrice that here
    np.testing.assert_allclose(error[18:23, 10, 10], 0.5, rtol=0.2)
    assert (found[:, 24:, 24:] != 0).mean() < 1e-3


def test_the_guard_gives_back_a_region_too_faint_for_single_voxels():
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(20, K, 48, 48)).astype(np.float32)
    parts[9:12, :, 15:30, 15:30] += 0.6
    found, error = put_back(np.zeros((20, 48, 48), np.float32), parts)
    # a Gaussian of 2 px leaves 0.6 as it is inside a square of 15 px; its noise is 0.5 / 7
    assert found[9:12, 18:27, 18:27].mean() == pytest.approx(0.6, abs=0.1)
    assert 0.05 < error[10, 18:27, 18:27].min() <= error[10, 18:27, 18:27].max() < 0.12
    assert np.abs(found[:5]).mean() < 0.01


def test_the_guard_is_the_same_in_blocks_and_at_once(monkeypatch):
    parts = np.random.default_rng(2).normal(size=(40, K, 12, 12)).astype(np.float32)
    parts[13:18, :, 5, 5] += 6.0  # across the edge of a block of 16
    nothing = np.zeros((40, 12, 12), np.float32)
    smooth = gaussian_filter(parts.mean(axis=1), (2, 2, 2)) + np.sin(np.arange(40))[:, None, None]
    for denoised in (nothing, smooth.astype(np.float32)):
        monkeypatch.setattr("xrdct.denoise.guard.BLOCK", 40)
        whole = put_back(denoised, parts)
        monkeypatch.setattr("xrdct.denoise.guard.BLOCK", 16)
        # sums of float32 over the same neighbours, begun elsewhere
        np.testing.assert_allclose(put_back(denoised, parts), whole, atol=1e-5)


def test_the_guard_survives_channels_without_noise_or_with_nan():
    parts = np.random.default_rng(3).normal(size=(10, K, 8, 8))
    parts[3], parts[6] = np.nan, 0.0
    found, _ = put_back(np.zeros((10, 8, 8)), parts)
    assert np.isfinite(found[[0, 1, 2, 4, 5, 6, 7, 8, 9]]).all()


def test_the_guard_sees_what_no_voxel_shows_alone():
    """Three voxels that lack 3.5 σ of a matched peak each: together they exceed the threshold, one of them never."""
    height = 3.5 * 0.5 / np.sqrt((PEAK**2).sum())
    found = []
    for seed in range(6):
        parts = np.random.default_rng(seed).normal(size=(15, K, 24, 24)).astype(np.float32)
        parts[5:10, :, [11, 11, 12], [11, 12, 12]] += height * PEAK[:, None, None]
        found.append(put_back(np.zeros((15, 24, 24), np.float32), parts)[0][7, [11, 11, 12], [11, 12, 12]].mean())
    # a power of about a half at √3 · 3.5 · 0.8 (the Gaussian is not their shape) = 4.85 σ
    assert sum(value > 0.5 * height for value in found) >= 2


def test_peaks_that_a_method_pulled_away_in_a_region_are_put_back_in_their_place():
    """Half a channel off in a square of 14 px, where the slope is 1 σ a voxel at most; outside nothing moves."""
    axis, rng = np.arange(30), np.random.default_rng(5)

    def peak(centre):
        return np.exp(-0.5 * ((axis - centre) / 1.5) ** 2)

    clean = np.broadcast_to(peak(14)[:, None, None], (30, 40, 40)).copy()
    clean[:, 13:27, 13:27] = peak(14.5)[:, None, None]
    parts = (clean[:, None] + rng.normal(0, 0.4, (30, K, 40, 40))).astype(np.float32)
    pulled = np.broadcast_to(peak(14)[:, None, None], clean.shape).astype(np.float32)

    def centre(volume):
        return (axis[8:21] @ volume[8:21].mean(axis=(1, 2))) / volume[8:21].mean(axis=(1, 2)).sum()

    moved, error = put_in_place(pulled, parts, threshold=THRESHOLD)
    assert centre(moved[:, 16:24, 16:24]) == pytest.approx(14.5, abs=0.1)  # the first order of a shift: 90 % and more
    assert centre(moved[:, :8, :8]) == pytest.approx(14.0, abs=0.02)
    assert np.abs(moved - clean)[:, 16:24, 16:24].mean() < 0.4 * np.abs(pulled - clean)[:, 16:24, 16:24].mean()
    assert 0 < error[12, 20, 20] < 0.05  # far below the 0.2 of a voxel's own noise
    np.testing.assert_array_equal(put_in_place(pulled, parts, threshold=np.inf)[0], pulled)


def test_what_is_planted_is_read_by_channel_by_block_and_by_rows_alike(parts):
    trials = plan_trials(parts, plain(parts), find_scales(parts, inside()), inside())
    planted = Planted(parts, trials.changes)
    whole = np.asarray(planted)
    np.testing.assert_array_equal(np.stack([planted[c] for c in range(N_CHANNELS)]), whole)
    np.testing.assert_array_equal(planted[5:17], whole[5:17])
    np.testing.assert_array_equal(planted[:, :, 16:32], whole[:, :, 16:32])
    changed = np.any(whole != parts, axis=(0, 1))
    assert changed[trials.shift.voxels].all()
    assert changed.sum() == trials.shift.voxels[0].size + 3 * len(trials.grains)
    for grain in trials.grains:
        added = (whole - parts)[grain.channels][:, 0][:, grain.voxels[0][0], grain.voxels[1][0]]
        np.testing.assert_allclose(added, grain.added[:, 0, 0], rtol=1e-3, atol=1e-5)  # a float32 difference


def test_windows_hold_all_that_is_planted_and_do_not_overlap(parts):
    trials = plan_trials(parts, plain(parts), find_scales(parts, inside()), inside())
    windows = trials.around(2, N_CHANNELS)
    for change in trials.changes:
        assert sum(w.start <= change.channels.start and change.channels.stop <= w.stop for w in windows) == 1
    assert all(a.stop < b.start for a, b in pairwise(windows))


def test_a_scan_of_few_channels_has_no_room_for_a_trial():
    few = noisy_parts(dose=10.0)[:8]
    assert plan_trials(few, plain(few), find_scales(few, inside()), inside()) is None


@pytest.mark.parametrize(("joint", "dose"), [(False, 10.0), (True, 100.0)])
def test_the_gates_let_the_guarded_pass_on_the_scan_itself(joint, dose):
    """At the lower dose the joint method leaves 0.85 of the shift, on the edge."""
    parts = noisy_parts(dose=dose)
    scales = find_scales(parts, inside())
    projected = project_leave_one_out(parts, scales, inside()) if joint else None
    chosen = [found.image for found in denoise_best(parts, scales, inside(), projected=projected)]
    left = try_on_scan(parts, put_back(np.stack(chosen), parts)[0], scales, inside(), joint=joint)
    assert left.passed, left


def test_the_gates_stop_a_method_without_a_guard(parts, monkeypatch):
    monkeypatch.setattr("xrdct.denoise.gates.put_back", lambda volume, parts: (volume, 0 * volume))
    scales = find_scales(parts, inside())
    volume = np.stack([found.image for found in denoise_best(parts, scales, inside())])
    left = try_on_scan(parts, volume, scales, inside())
    assert left.intensity < 0.5
    assert not left.passed


def test_a_method_that_is_refused_is_not_chosen(parts):
    scales = find_scales(parts, inside())
    assert {found.method for found in denoise_best(parts, scales, inside(), without=["weights"])} == {"none"}


def test_parts_of_other_numbers_work_too():
    three = noisy_parts(dose=10.0)[:, :3]
    assert denoise_jointly(three, find_scales(three, inside()), inside()).shape == (N_CHANNELS, N, N)
    assert K == 4

"""From patterns in acquisition order to a sinogram, against known sinograms."""

from dataclasses import replace

import numpy as np
import pytest

from xrdct.air import subtract_air
from xrdct.errors import GeometryError, RawDataError
from xrdct.geometry import nominal_positions
from xrdct.repair import repair
from xrdct.sinogram import (
    Sinogram,
    SubsetPatterns,
    columns_from_translation,
    merge_subsets,
)

N_LINES, N_POINTS, N_Q = 6, 5, 3


def known_pattern(angles, columns):
    """What the sample sends at these angles (degrees) and columns, shape (…, N_Q): no two frames alike."""
    return (100 + angles + 7 * columns)[..., None] * np.array([1.0, 2.0, 0.5])


def acquire(angles, *, columns=None, monitor=None, zigzag=True):
    """A subset as the beamline takes it: counts follow the monitor, frames come in the order of the motor."""
    columns = nominal_positions(len(angles), N_POINTS, zigzag=zigzag) if columns is None else columns
    monitor = np.ones(columns.shape) if monitor is None else monitor
    counts = known_pattern(angles[:, None] + 0 * columns, np.rint(columns)) * monitor[..., None]
    return SubsetPatterns(
        intensity=counts.astype(np.float32),
        variance=counts.astype(np.float32),
        columns=columns,
        angles=angles,
        monitor=monitor,
        valid=np.ones(columns.shape, dtype=bool),
    )


def expected(angles):
    return known_pattern(np.sort(angles)[:, None] + 0 * np.arange(N_POINTS), np.arange(N_POINTS) + 0 * angles[:, None])


ANGLES = np.add.outer(np.arange(3) / 3, np.arange(N_LINES)) * 180 / N_LINES


def one_scan(n_lines):
    """Subset, direction and offset of the lines of a scan in one piece."""
    return np.ones(n_lines, int), np.ones(n_lines, int), np.zeros(n_lines)


def planes(bad=(), n_angles=9, n_points=8):
    """A sinogram linear in angle and column, so that linear interpolation of any frame is exact; `bad` ones are NaN."""
    angles = np.sort(np.random.default_rng(0).uniform(0, 180, n_angles))
    intensity = known_pattern(angles[:, None] + np.zeros(n_points), np.arange(n_points) + np.zeros((n_angles, 1)))
    marked = np.zeros((n_angles, n_points), dtype=bool)
    for place in bad:
        marked[place] = True
    truth = intensity.astype(np.float32)
    intensity = np.where(marked[..., None], np.nan, truth).astype(np.float32)
    return Sinogram(intensity, intensity / 10, angles, *one_scan(n_angles), marked), truth


class TestMerging:
    @pytest.mark.parametrize("zigzag", [True, False])
    def test_interlaced_zigzag_subsets_in_any_order_become_the_known_sinogram(self, zigzag):
        merged = merge_subsets([acquire(ANGLES[k], zigzag=zigzag) for k in (1, 2, 0)])
        np.testing.assert_allclose(merged.intensity, expected(ANGLES.ravel()), rtol=1e-6)  # float32
        np.testing.assert_allclose(merged.variance, expected(ANGLES.ravel()), rtol=1e-6)
        np.testing.assert_array_equal(merged.angles, np.sort(ANGLES.ravel()))
        assert merged.subset.tolist() == [3, 1, 2] * N_LINES
        assert not merged.repaired.any()
        assert merged.intensity.dtype == merged.variance.dtype == np.float32

    def test_lines_are_sorted_by_true_angle_when_the_rotation_ran_backwards_through_zero(self):
        angles = np.linspace(90, -60, N_LINES)
        merged = merge_subsets([acquire(angles)])
        np.testing.assert_allclose(merged.intensity, expected(angles), rtol=1e-6)

    def test_frames_go_where_the_recorded_translation_says_in_both_directions(self):
        """Motor positions in mm with jitter: forwards on some lines, backwards on others, on one criss-cross."""
        rng = np.random.default_rng(0)
        backwards = np.array([False, True, True, False, True, False])
        millimetres = (
            12.5 + 0.02 * np.tile(np.arange(N_POINTS), (N_LINES, 1)) + rng.uniform(-0.006, 0.006, (N_LINES, N_POINTS))
        )
        millimetres[backwards] = millimetres[backwards][:, ::-1]
        millimetres[5] = millimetres[5, [2, 0, 4, 1, 3]]  # an order that is not its own inverse
        columns = columns_from_translation(millimetres, step=0.02, origin=12.5)
        assert np.abs(columns - np.rint(columns)).max() < 0.31
        merged = merge_subsets([acquire(ANGLES[0], columns=columns)])
        np.testing.assert_allclose(merged.intensity, expected(ANGLES[0]), rtol=1e-6)

    def test_the_incoming_beam_is_divided_out_within_and_between_subsets(self):
        rng = np.random.default_rng(0)
        monitors = [level * rng.uniform(0.8, 1.2, (N_LINES, N_POINTS)) for level in (1e5, 5e4, 8e4)]
        mean = np.mean([m.mean() for m in monitors])
        merged = merge_subsets([acquire(a, monitor=m) for a, m in zip(ANGLES, monitors, strict=True)])
        np.testing.assert_allclose(merged.intensity / mean, expected(ANGLES.ravel()), rtol=1e-6)
        # Variance of counts × f is f² times theirs: with Poisson counts f × the normalised intensity.
        order = np.argsort(ANGLES.ravel())
        factor = mean / np.concatenate([np.where(np.arange(N_LINES)[:, None] % 2, m[:, ::-1], m) for m in monitors])
        np.testing.assert_allclose(merged.variance, merged.intensity * factor[order][..., None], rtol=1e-6)

    @pytest.mark.parametrize("reading", [0.0, -3.0, np.nan, 1e-4])
    def test_a_frame_without_beam_or_monitor_is_bad_and_nan(self, reading):
        monitor = np.ones((N_LINES, N_POINTS))
        monitor[1, 0] = reading  # driven backwards: the last column
        merged = merge_subsets([acquire(ANGLES[0], monitor=monitor)])
        assert np.argwhere(merged.repaired).tolist() == [[1, N_POINTS - 1]]
        assert np.isnan(merged.intensity[1, -1]).all()
        assert np.isfinite(merged.intensity[~merged.repaired]).all()

    def test_a_frame_that_integration_calls_invalid_is_bad(self):
        subset = acquire(ANGLES[0])
        subset.valid[2, 3] = False
        assert np.argwhere(merge_subsets([subset]).repaired).tolist() == [[2, 3]]

    def test_a_subset_without_any_beam_is_named(self):
        dark = acquire(ANGLES[1], monitor=np.zeros((N_LINES, N_POINTS)))
        with pytest.raises(RawDataError, match=r"subset 2: no valid frame has a monitor reading.*raw\.monitor"):
            merge_subsets([acquire(ANGLES[0]), dark])

    def test_equal_angles_are_named_with_their_subsets(self):
        with pytest.raises(
            GeometryError, match=r"subsets 1 and 3 both have a projection at 30\.0000°; check angle_start"
        ):
            merge_subsets([acquire(ANGLES[0]), acquire(ANGLES[1]), acquire(np.r_[30.0, ANGLES[2][1:]])])

    def test_a_line_that_misses_a_position_is_named(self):
        columns = nominal_positions(N_LINES, N_POINTS, zigzag=True)
        columns[3] = [4, 3, 1, 1, 0]
        with pytest.raises(
            RawDataError, match=r"subset 2, line 3: .* 0\.00 … 4\.00 px do not visit each of the 5 columns"
        ):
            merge_subsets([acquire(ANGLES[0]), acquire(ANGLES[1], columns=columns)])

    def test_a_line_that_ran_off_the_grid_is_named(self):
        columns = nominal_positions(N_LINES, N_POINTS, zigzag=False)
        columns[5] += 0.7
        with pytest.raises(RawDataError, match=r"subset 1, line 5: .* 0\.70 … 4\.70 px"):
            merge_subsets([acquire(ANGLES[0], columns=columns)])

    def test_a_position_that_was_not_recorded_is_named(self):
        subset = acquire(ANGLES[0])
        subset.columns[4, 2] = np.nan
        with pytest.raises(RawDataError, match="subset 1, line 4: the position of point 2 was not recorded"):
            merge_subsets([subset])

    def test_subsets_of_different_shapes_are_refused_with_them(self):
        other = acquire(ANGLES[1])
        other = replace(other, intensity=other.intensity[..., :2], variance=other.variance[..., :2])
        with pytest.raises(GeometryError, match=r"\[\(5, 2\), \(5, 3\)\]"):
            merge_subsets([acquire(ANGLES[0]), other])


class TestRepair:
    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param([(4, 3)], id="one frame"),
            pytest.param([(4, 2), (4, 3), (4, 4)], id="a run along a line"),
            pytest.param([(3, 5), (4, 5), (5, 5)], id="a run along a column"),
            pytest.param([(4,)], id="a whole line"),
            pytest.param([(3,), (4,)], id="two whole lines"),
            pytest.param([(3, slice(3, None))], id="a line that broke off"),
            pytest.param([(2, 0), (6, 7)], id="edges of the field"),
            pytest.param([(4,), (slice(None), 3)], id="a line that crosses a column"),
        ],
    )
    def test_bad_frames_are_interpolated_and_stay_marked(self, bad):
        broken, truth = planes(bad)
        whole = repair(broken, max_bad_share=0.5)
        # Linear interpolation of a plane is exact, up to float32.
        np.testing.assert_allclose(whole.intensity, truth, rtol=1e-5)
        np.testing.assert_allclose(whole.variance, truth / 10, rtol=1e-5)
        np.testing.assert_array_equal(whole.repaired, broken.repaired)
        assert np.isnan(broken.intensity).any()  # the input is left alone

    def test_a_bad_corner_repeats_a_good_neighbour(self):
        broken, truth = planes([(0, slice(0, 2)), (1, 0)])
        whole = repair(broken, max_bad_share=0.1)
        np.testing.assert_allclose(whole.intensity[0, 0], truth[0, 2], rtol=1e-6)

    def test_a_long_run_is_taken_from_the_neighbouring_angles(self):
        """Across the sample a straight line is wrong; the angles on either side saw almost the same."""
        profile = np.exp(-((np.arange(40) - 20.0) ** 2) / 50)
        intensity = np.tile(profile[None, :, None], (11, 1, 2)).astype(np.float32)
        marked = np.zeros((11, 40), dtype=bool)
        marked[5, 10:30] = True
        broken = np.where(marked[..., None], np.nan, intensity)
        whole = repair(Sinogram(broken, broken, np.arange(11.0), *one_scan(11), marked), max_bad_share=0.1)
        np.testing.assert_allclose(whole.intensity, intensity, rtol=1e-6)

    def test_a_bin_missing_in_a_good_frame_is_filled_and_its_frame_marked(self):
        broken, truth = planes([(4, 2)])
        for values in (broken.intensity, broken.variance):
            values[4, 3, 1] = values[7, 5, 0] = np.nan
        whole = repair(broken, max_bad_share=0.05)
        np.testing.assert_allclose(whole.intensity, truth, rtol=1e-5)
        np.testing.assert_allclose(whole.variance, truth / 10, rtol=1e-5)
        assert np.argwhere(whole.repaired).tolist() == [[4, 2], [4, 3], [7, 5]]

    def test_a_bin_that_the_detector_does_not_see_stays_nan(self):
        broken, truth = planes([(4, 2)])
        broken.intensity[..., 1] = broken.variance[..., 1] = np.nan
        whole = repair(broken, max_bad_share=0.05)
        assert np.isnan(whole.intensity[..., 1]).all()
        np.testing.assert_allclose(whole.intensity[..., [0, 2]], truth[..., [0, 2]], rtol=1e-5)
        assert whole.repaired.sum() == 1

    def test_a_scan_without_bad_frames_is_left_as_it_is(self):
        whole, _ = planes()
        assert repair(whole, max_bad_share=0.0) is whole

    def test_too_many_bad_frames_are_refused_with_their_number_and_the_first_place(self):
        broken, _ = planes([(2, 6), (4,)])
        place = rf"9 of 72 frames are bad \(first: angle {broken.angles[2]:.3f}°, position 6\)"
        with pytest.raises(RawDataError, match=place + r".*max_bad_share = 0\.1$"):
            repair(broken, max_bad_share=0.1)
        repair(broken, max_bad_share=9 / 72)

    def test_a_scan_of_bad_frames_is_refused_whatever_share_is_allowed(self):
        with pytest.raises(RawDataError, match="72 of 72"):
            repair(planes([()])[0], max_bad_share=1.0)


class TestAir:
    def test_air_that_changes_from_projection_to_projection_is_taken_away(self):
        rng = np.random.default_rng(0)
        sample = np.zeros((N_LINES, 10, N_Q), np.float32)
        sample[:, 3:7] = rng.uniform(1, 2, (N_LINES, 4, N_Q))
        air = rng.uniform(5, 9, (N_LINES, N_Q)).astype(np.float32)
        counts = sample + air[:, None]
        full = Sinogram(counts, counts / 100, ANGLES[0], *one_scan(N_LINES), np.zeros((N_LINES, 10), bool))
        corrected, found = subtract_air(full, positions=2)
        np.testing.assert_allclose(found, air, rtol=1e-6)  # float32
        np.testing.assert_allclose(corrected.intensity, sample, atol=2e-6)
        # The mean of four columns of variance `air` adds a quarter of it.
        np.testing.assert_allclose(corrected.variance, (sample + 1.25 * air[:, None]) / 100, rtol=1e-6)

    def test_the_variance_is_the_scatter_of_repeats_in_the_sample(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(400.0, (4000, 12, 1)).astype(np.float32)
        repeats = Sinogram(counts, counts, np.arange(4000.0), *one_scan(4000), np.zeros((4000, 12), bool))
        corrected, _ = subtract_air(repeats, positions=2)
        scatter = corrected.intensity[:, 2:-2].var(axis=0)
        # 4000 repeats know a variance to 2.2 %.
        np.testing.assert_allclose(scatter / corrected.variance[:, 2:-2].mean(axis=0), 1.0, atol=0.09)

    def test_no_air_positions_subtract_nothing(self):
        full, _ = planes()
        same, air = subtract_air(full, positions=0)
        assert same is full
        assert air.shape == (9, N_Q)
        assert not air.any()

    def test_edges_that_meet_are_refused(self):
        with pytest.raises(GeometryError, match=r"air_positions = 4 at either edge leaves nothing of 8 positions"):
            subtract_air(planes()[0], positions=4)

"""Bad frames, zingers, stripes and air, planted into counted projections of a cell in closed form."""

import numpy as np
import pytest
from test_alignment import chords

from xrdct.air import find_air_positions, subtract_air
from xrdct.bad_frames import DARK, GOOD, INVALID, KINDS, LINE, STRONG, WEAK, find_bad_frames
from xrdct.errors import GeometryError
from xrdct.repair import repair
from xrdct.sinogram import Sinogram, SubsetPatterns, merge_subsets
from xrdct.stripes import remove_stripes
from xrdct.zingers import remove_zingers

N_ANGLES, N_COLUMNS, N_Q, COR = 90, 60, 24, 29.3
ANGLES = np.arange(N_ANGLES) * 2.0
AIR = 40 * np.exp(-np.linspace(0, 1, N_Q))


def cell(seed=0, *, counts=20.0, radius=26.0, air=AIR, noise=True):
    """Counts of a cell with a bright rim and ten things in it, each with a pattern of its own, in air."""
    rng = np.random.default_rng(seed)
    things = np.stack([*rng.uniform(-0.6, 0.6, (2, 10)) * radius, rng.uniform(1.5, 5, 10), np.ones(10)], axis=1)
    rim = np.array([[0.6, -0.4, radius, 1.0], [0.6, -0.4, radius - 1.5, -0.8]])
    t = np.arange(N_COLUMNS) - COR + np.zeros((N_ANGLES, 1))
    parts = [chords(rim, ANGLES, t), *(chords(thing[None], ANGLES, t) for thing in things)]
    patterns = rng.gamma(0.5, 1.0, (len(parts), N_Q))
    clean = counts / 10 * np.einsum("kap,kq->apq", np.array(parts), patterns) + air
    return (rng.poisson(clean * 25) / 25 if noise else clean).astype(np.float32)


def sinogram_of(intensity, variance=None):
    n = len(intensity)
    return Sinogram(
        intensity,
        intensity / 25 if variance is None else variance,
        ANGLES[:n],
        np.ones(n, int),
        np.ones(n, int),
        np.zeros(n),
        np.zeros(intensity.shape[:2], bool),
    )


def kinds(intensity, invalid=None):
    nowhere = np.zeros(intensity.shape[:2], bool)
    return find_bad_frames(intensity, intensity / 25, ANGLES, invalid=nowhere if invalid is None else invalid)


class TestBadFrames:
    @pytest.mark.parametrize("counts", [2.0, 20.0, 200.0])
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_a_good_scan_raises_no_alarm(self, seed, counts):
        """The mark is a thousandth of the frames; the bright rim, which moves, is where alarms would come from."""
        assert np.mean(kinds(cell(seed, counts=counts)) != GOOD) < 0.001

    def test_every_dark_frame_is_found_in_the_sample_and_beside_it(self):
        intensity = cell()
        planted = np.random.default_rng(1).random(intensity.shape[:2]) < 0.01
        intensity[planted] *= 0.01
        np.testing.assert_array_equal(kinds(intensity) == DARK, planted)

    def test_a_run_of_dark_frames_and_neighbouring_ones_do_not_hide_one_another(self):
        intensity = cell()
        intensity[30, 10:30] = intensity[31, 12] = intensity[32, 12] = 0
        found = kinds(intensity)
        assert (found[30, 10:30] == DARK).all()
        assert (found == DARK).sum() == 22

    @pytest.mark.parametrize(("factor", "kind"), [(0.4, WEAK), (2.5, STRONG)])
    def test_frames_outside_what_their_neighbours_span_are_found(self, factor, kind):
        intensity = cell()
        places = [(20, 25), (45, 31), (70, 18), (5, 40)]
        for place in places:
            intensity[place] *= factor
        assert sorted(map(tuple, np.argwhere(kinds(intensity) == kind).tolist())) == sorted(places)

    def test_a_line_that_is_mostly_bad_is_bad_as_a_whole(self):
        intensity = cell()
        intensity[40, 10:] *= 0.4
        found = kinds(intensity)
        assert (found[40] != GOOD).all()
        assert (found[40] == LINE).any()
        assert np.mean(np.delete(found, 40, axis=0) != GOOD) < 0.001

    def test_the_spot_of_one_grain_is_no_bad_frame(self):
        intensity = cell()
        intensity[30, 30, 5] *= 50
        assert kinds(intensity)[30, 30] == GOOD

    def test_channels_that_the_detector_does_not_see_take_no_part(self):
        """Three of 24 bins are a whole band."""
        intensity = cell()
        intensity[..., :3] = np.nan
        intensity[40, 20] *= 0.01
        assert np.argwhere(kinds(intensity) != GOOD).tolist() == [[40, 20]]

    def test_frames_known_to_be_bad_or_without_a_number_are_invalid(self):
        intensity, known = cell(), np.zeros((N_ANGLES, N_COLUMNS), bool)
        known[3, 4] = True
        intensity[7, 8] = np.nan
        found = kinds(intensity, known)
        assert np.argwhere(found == INVALID).tolist() == [[3, 4], [7, 8]]
        assert KINDS[INVALID] == "invalid"

    def test_a_frame_that_the_detector_sent_twice_is_not_used(self):
        rng = np.random.default_rng(0)
        counts = rng.poisson(30.0, (3, 5, 7)).astype(np.float32)
        counts[1, 3] = counts[1, 2]
        columns = np.tile(np.arange(5.0), (3, 1))
        ones = np.ones((3, 5))
        merged = merge_subsets([SubsetPatterns(counts, counts, columns, ANGLES[:3], ones, ones.astype(bool))])
        assert np.argwhere(merged.repaired).tolist() == [[1, 3]]


class TestRepair:
    def test_a_lost_line_is_taken_from_the_neighbours_at_the_same_place_of_the_sample(self):
        """Forward lines see the axis half a column farther along than backward ones."""
        shift = np.where(np.arange(N_ANGLES) % 2, -0.25, 0.25)
        rows = np.arange(N_COLUMNS) - COR - shift[:, None]
        clean = np.exp(-((rows / 9) ** 2))[..., None].astype(np.float32) * np.ones(3, np.float32)
        lost = np.zeros((N_ANGLES, N_COLUMNS), bool)
        lost[41] = True
        broken = clean.copy()
        broken[lost] = np.nan
        one = np.ones(N_ANGLES, int)
        whole = repair(Sinogram(broken, clean, ANGLES, one, one, shift, lost), max_bad_share=0.05).intensity
        with_offset = np.abs(whole[41] - clean[41]).max()
        # The profile falls by 9 % from column to column at most; half of it would be the error without offsets.
        assert with_offset < 0.005
        assert np.abs((clean[40] + clean[42]) / 2 - clean[41]).max() > 0.04

    def test_a_channel_that_no_frame_sees_stays(self):
        intensity = cell()
        intensity[..., 4] = np.nan
        intensity[3, 5] = np.nan
        broken = sinogram_of(intensity)
        broken.repaired[3, 5] = True
        whole = repair(broken, max_bad_share=0.05)
        assert np.isnan(whole.intensity[..., 4]).all()
        assert np.isfinite(np.delete(whole.intensity, 4, axis=2)).all()


class TestZingers:
    def test_planted_ones_are_replaced_by_what_stands_beside_them(self):
        clean = cell()
        planted = np.random.default_rng(3).random(clean.shape) < 2e-4
        dirty = np.where(planted, clean * 3 + 60, clean).astype(np.float32)
        variance = clean / 25
        found = remove_zingers(dirty, variance, ANGLES)
        assert found.sum() >= 0.9 * planted.sum()  # those in the bright rim's shadow may stay below its neighbours
        replaced = dirty != clean
        # What is put there is wrong by noise (a fifth of a count) and by how much the sample changes in a column.
        assert np.median(np.abs(dirty - clean)[replaced & planted]) < 0.1 * np.median(clean[planted])

    @pytest.mark.parametrize("seed", [0, 1])
    def test_a_clean_scan_is_hardly_touched(self, seed):
        intensity = cell(seed)
        before = intensity.copy()
        assert remove_zingers(intensity, before / 25, ANGLES).sum() <= 1e-5 * before.size
        assert np.mean(intensity != before) <= 1e-5

    def test_a_bright_grain_on_its_sine_is_kept(self):
        intensity, t = cell(), np.arange(N_COLUMNS) - COR
        sine = 12 * np.cos(np.radians(ANGLES)) + 8 * np.sin(np.radians(ANGLES))
        for line in range(20, 30):  # it reflects through ten projections
            intensity[line, np.abs(t - sine[line]).argmin(), 7] += 300
        before = intensity.copy()
        remove_zingers(intensity, before / 25, ANGLES)
        inside = slice(21, 29)  # the first and the last have one bright neighbour only, and are kept too
        np.testing.assert_array_equal(intensity[inside, :, 7], before[inside, :, 7])


class TestStripes:
    def test_a_column_that_answers_too_strongly_is_brought_back(self):
        clean = cell(noise=False)
        dirty = clean.copy()
        dirty[:, 33] *= 1.2
        remove_stripes(dirty, width=3)
        before, after = 0.2 * clean[:, 33].mean(), np.abs(dirty - clean)[:, 33].mean()
        assert after < 0.4 * before

    def test_without_noise_and_stripes_a_smooth_scan_stays(self):
        smooth = np.exp(-(((np.arange(N_COLUMNS) - COR) / 15) ** 2))[None, :, None] * np.ones(
            (N_ANGLES, 1, 2), np.float32
        )
        before = smooth.copy()
        remove_stripes(smooth, width=5)
        # A median over five columns cuts the top of the hill by its curvature.
        assert np.abs(smooth - before).max() < 0.02

    def test_channels_without_numbers_are_left_alone(self):
        intensity = cell()
        intensity[..., 3] = np.nan
        remove_stripes(intensity, width=3)
        assert np.isnan(intensity[..., 3]).all()
        assert np.isfinite(np.delete(intensity, 3, axis=2)).all()

    @pytest.mark.parametrize("width", [1, 4])
    def test_a_median_without_a_middle_is_refused(self, width):
        with pytest.raises(ValueError, match="odd and at least 3"):
            remove_stripes(cell(), width=width)


class TestAir:
    @pytest.mark.parametrize("radius", [20.0, 24.0, 26.0])
    def test_the_number_of_free_positions_is_found(self, radius):
        """The cell is off the axis by 0.72 columns, and the axis 0.2 columns left of the middle."""
        free = min(int(COR - 0.72 - radius + 0.5), N_COLUMNS // 10)
        assert free - 1 <= find_air_positions(sinogram_of(cell(radius=radius))) <= free

    def test_with_the_transmission_known_less_than_a_hundredth_of_the_mean_pattern_remains(self):
        """The mark. Air in the shadow is attenuated; without the transmission a part of it is taken twice."""
        t = np.arange(N_COLUMNS) - COR + np.zeros((N_ANGLES, 1))
        transmission = np.exp(-chords(np.array([[0.6, -0.4, 24.0, 1.0]]), ANGLES, t) / 35)
        sample = cell(air=0 * AIR, radius=24.0, noise=False)
        strength = 1 + 0.05 * np.sin(np.arange(N_ANGLES))[:, None, None]
        rng = np.random.default_rng(0)
        counts = (rng.poisson((sample + strength * AIR * transmission[..., None]) * 25) / 25).astype(np.float32)
        left = {}
        for name, known in (("known", transmission), ("unknown", None)):
            full = sinogram_of(counts)
            corrected, air = subtract_air(full, positions=find_air_positions(full), transmission=known)
            left[name] = np.abs((corrected.intensity - sample).mean(axis=(0, 1))).max() / sample.mean()
            np.testing.assert_allclose(air, strength[:, 0] * AIR, rtol=0.05)  # a few hundred counts in each
        assert left["known"] < 0.01
        assert left["unknown"] > 0.05

    def test_one_shape_for_all_projections_adds_little_noise(self):
        intensity = cell(radius=20.0)
        corrected, _ = subtract_air(sinogram_of(intensity), positions=2)
        added = (corrected.variance - intensity / 25)[:, :2].mean() / (intensity / 25)[:, :2].mean()
        # Four columns of one projection alone would add a quarter.
        assert added < 0.05

    @pytest.mark.parametrize("seed", range(8))
    def test_noise_of_few_counts_is_no_sample_at_the_edge(self, seed):
        """Two counts in the air of a frame: half of such scans were refused when a variance was taken as exact."""
        clean = cell(counts=0.02, radius=15.0, air=0.001 * AIR, noise=False)
        counted = np.random.default_rng(seed).poisson(clean * 4).astype(np.float32) / 4
        _, air = subtract_air(sinogram_of(counted, counted / 4), positions=3)
        # 90 projections with six frames of air each: 1300 counts in all, known to 3 %.
        assert air.sum(axis=1).mean() == pytest.approx(0.001 * AIR.sum(), rel=0.15)

    def test_a_sample_that_reaches_the_edge_is_refused(self):
        with pytest.raises(GeometryError, match=r"the outermost 2 positions see the sample at some angles"):
            subtract_air(sinogram_of(np.roll(cell(), 9, axis=1)), positions=2)

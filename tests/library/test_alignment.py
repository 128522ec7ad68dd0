"""Axis, backlash, drift, strangers and zigzag, found in projections in closed form, with noise and attenuation."""

from dataclasses import dataclass

import numpy as np
import pytest

from xrdct.alignment import Alignment, find_alignment, find_strangers, find_zigzag
from xrdct.errors import GeometryError
from xrdct.geometry import lateral_position


def axis_of(projections, angles):
    """The centre of rotation of a scan in one piece."""
    one = np.ones(len(angles), int)
    return find_alignment(projections, angles, one, one).cor


def discs():
    """Twelve discs (x, y, radius, value) somewhere within 40 pixels of the axis."""
    rng = np.random.default_rng(1)
    radius, turn = rng.uniform(2, 8, 12), rng.uniform(0, 2 * np.pi, 12)
    distance = rng.uniform(0, 40 - radius)
    return np.stack([distance * np.cos(turn), distance * np.sin(turn), radius, rng.uniform(0.5, 2, 12)], axis=1)


def spiral():
    """The windings of a jelly roll, made of small discs."""
    turn = np.linspace(2 * np.pi, 8 * np.pi, 200)
    distance = 42 * turn / turn[-1]
    return np.stack([distance * np.cos(turn), distance * np.sin(turn), 0 * turn + 1.2, 0 * turn + 1], axis=1)


def projections_of(objects, angles, cor, n=120):
    """Chord lengths of discs, averaged over each pixel's width; shape (n_angles, n)."""
    fine = 4
    t = (np.arange(n * fine) + 0.5) / fine - 0.5 - cor
    total = np.zeros((len(angles), n * fine))
    for x, y, radius, value in objects:
        distance = t - lateral_position(x, y, angles)[:, None]
        total += value * 2 * np.sqrt(np.clip(radius**2 - distance**2, 0, None))
    return total.reshape(len(angles), n, fine).mean(axis=2)


HALF_TURN = np.arange(181) * 180 / 181


class TestCentreOfRotation:
    """The mark is 0.1 pixels; none of these scans holds a pair of opposite projections."""

    @pytest.mark.parametrize("cor", [55.14, 57.3, 59.5, 61.0, 62.77])
    @pytest.mark.parametrize("sample", [discs(), spiral()], ids=["discs", "spiral"])
    @pytest.mark.parametrize("noise", [0.0, 0.1])
    def test_it_is_found_wherever_it_lies(self, cor, sample, noise):
        clean = projections_of(sample, HALF_TURN, cor)
        noisy = clean + np.random.default_rng(5).normal(0, noise * clean.mean(), clean.shape)
        assert axis_of(noisy, HALF_TURN) == pytest.approx(cor, abs=0.1 if noise else 0.02)

    def test_noise_does_not_pull_it_towards_any_part_of_a_pixel(self):
        """Interpolating between columns smooths noise most at half a column and would draw the minimum there."""
        errors = []
        for seed, cor in enumerate(np.arange(57, 59, 0.125)):
            clean = projections_of(discs(), HALF_TURN, cor)
            noisy = clean + np.random.default_rng(seed).normal(0, 0.2 * clean.mean(), clean.shape)
            errors.append(axis_of(noisy, HALF_TURN) - cor)
        # Without a pull the 16 errors scatter by 0.05; interpolating draws those on whole columns 0.23 away.
        assert np.sqrt(np.mean(np.square(errors))) < 0.08

    @pytest.mark.parametrize(
        "angles",
        [
            pytest.param(HALF_TURN - 90, id="-90 to 90"),
            pytest.param(HALF_TURN[::-1], id="descending"),
            pytest.param(np.arange(0, 180.5, 1.0), id="0 to 180, both ends"),
            pytest.param(np.arange(200) * 1.8, id="a full turn"),
            pytest.param(-np.arange(200) * 1.8, id="a full turn backwards"),
            pytest.param(np.delete(HALF_TURN, np.arange(3, 181, 4)), id="one interlaced subset of four is missing"),
            pytest.param(HALF_TURN[:177], id="the last four lines are missing"),
        ],
    )
    def test_it_is_found_whatever_the_angles_are(self, angles):
        assert axis_of(projections_of(discs(), angles, 57.3), angles) == pytest.approx(57.3, abs=0.1)

    @pytest.mark.parametrize("mu", [0.03, 0.1])
    def test_it_is_found_where_uneven_absorption_moves_the_centre_of_mass_by_pixels(self, mu):
        sample, absorber = discs(), np.array([[22.0, -14.0, 18.0, mu]])
        signal = projections_of(sample, HALF_TURN, 61.2) * np.exp(-projections_of(absorber, HALF_TURN, 61.2))
        omega = np.radians(HALF_TURN)
        design = np.stack([np.ones_like(omega), np.cos(omega), np.sin(omega)], axis=1)
        centre_of_mass = np.linalg.lstsq(design, signal @ np.arange(120) / signal.sum(axis=1), rcond=None)[0][0]
        assert abs(centre_of_mass - 61.2) > 1  # otherwise the test shows nothing
        assert axis_of(signal, HALF_TURN) == pytest.approx(61.2, abs=0.1)

    @pytest.mark.real_data
    def test_it_is_found_in_a_real_tooth(self, tooth):
        """TomoPy's documentation turns this scan about 296; mirroring 0° and 179° gives 295.6."""
        assert axis_of(*tooth) == pytest.approx(295.6, abs=0.5)

    def test_too_few_projections_are_refused(self):
        with pytest.raises(GeometryError, match=r"7 projections are too few.*set assemble\.cor"):
            axis_of(np.ones((7, 20)), np.arange(7) * 180 / 7)

    def test_a_part_of_a_half_turn_is_refused_with_what_is_missing(self):
        angles = np.arange(0, 150.0)
        with pytest.raises(
            GeometryError, match=r"no projection between 149\.00° and 180\.00° \(modulo 180°\).*set assemble\.cor"
        ):
            axis_of(projections_of(discs(), angles, 59), angles)

    def test_a_scan_without_signal_is_refused(self):
        with pytest.raises(GeometryError, match="181 of 181 projections have no signal above the air"):
            axis_of(np.zeros((181, 120)), HALF_TURN)

    def test_a_few_lines_without_beam_do_not_stop_it(self):
        projections = projections_of(discs(), HALF_TURN, 57.3)
        projections[[20, 21, 90]] = 0
        assert axis_of(projections, HALF_TURN) == pytest.approx(57.3, abs=0.02)

    @pytest.mark.parametrize("cor", [-0.5, 120.0])
    def test_a_given_centre_outside_the_field_is_refused(self, cor):
        one = np.ones(181, int)
        with pytest.raises(GeometryError, match=r"assemble\.cor = .* lies outside the field of 120 columns"):
            find_alignment(projections_of(discs(), HALF_TURN, 57.3), HALF_TURN, one, one, cor=cor)

    def test_a_given_centre_of_a_scan_in_one_piece_needs_no_lines(self):
        one = np.ones(3, int)
        found = find_alignment(np.ones((3, 20)), np.array([0.0, 60.0, 120.0]), one, one, cor=9.25)
        assert (found.cor, found.cor_err, found.backlash) == (9.25, 0.0, None)
        assert found.offsets(one, one).tolist() == [0, 0, 0]

    def test_a_sample_at_the_edge_of_the_field_is_refused(self):
        with pytest.raises(GeometryError, match="not all of it in the field"):
            axis_of(projections_of(np.array([[0, 0, 15.0, 1.0]]), HALF_TURN, 20.0), HALF_TURN)


N_COLUMNS, COR = 72, 36.2


@dataclass
class Scan:
    projections: np.ndarray
    angles: np.ndarray
    subset: np.ndarray
    direction: np.ndarray
    alignment: Alignment | None = None

    def __iter__(self):
        return iter((self.projections, self.angles, self.subset, self.direction))


def scan_of(
    seed,
    *,
    cor=COR,
    backlash=0.3,
    shift=(-0.08, -0.02, 0.03, 0.07),
    factor=(0.985, 0.995, 1.005, 1.015),
    n_lines=64,
    span=180.0,
    absorption=0.0,
    noise=0.0,
    starts=None,
    way=1,
):
    """A casing with discs in it, subset after subset in zigzag; noise is relative to the mean, absorption to 1/R."""
    rng, n_subsets = np.random.default_rng(seed), len(shift)
    per_subset, radius = n_lines // n_subsets, 0.44 * N_COLUMNS
    starts = span / n_lines * np.arange(n_subsets) if starts is None else np.asarray(starts)
    angles = (starts[:, None] + way * span / per_subset * np.arange(per_subset)).ravel()
    subset = np.repeat(np.arange(1, n_subsets + 1), per_subset)
    direction = np.tile(np.where(np.arange(per_subset) % 2, -1, 1), n_subsets)
    seen_at = cor + np.asarray(shift)[subset - 1] + backlash / 2 * direction
    inside = np.stack(
        [*rng.uniform(-0.5, 0.5, (2, 10)) * radius, rng.uniform(2, 7, 10), rng.uniform(-0.3, 2, 10)], axis=1
    )
    casing = np.array([[0.4, -0.3, radius, 1.0], [0.4, -0.3, 0.96 * radius, -0.6]])
    objects, absorber = np.vstack([casing, inside]), np.vstack([casing, [5.0, 3.0, 6.0, 1.0]])
    fine = 8
    t = (np.arange(N_COLUMNS * fine) + 0.5) / fine - 0.5 - seen_at[:, None]
    thickness = chords(absorber, angles, t) * absorption / (2 * radius)
    clean = (chords(objects, angles, t) * np.exp(-thickness)).reshape(len(angles), N_COLUMNS, fine).mean(axis=2)
    measured = clean * np.asarray(factor)[subset - 1][:, None]
    return Scan(measured + rng.normal(0, noise * clean.mean(), clean.shape), angles, subset, direction)


def chords(objects, angles, t):
    """Chord lengths times values of discs (x, y, radius, value) at lateral positions t (n_angles, ·)."""
    total = np.zeros(t.shape)
    for x, y, radius, value in objects:
        distance = t - lateral_position(x, y, angles)[:, None]
        total += value * 2 * np.sqrt(np.clip(radius**2 - distance**2, 0, None))
    return total


MISALIGNED = {
    "as the twin's demo": {},
    "strong absorption": {"absorption": 3.0},
    "the other way, and more": {"backlash": -0.9, "shift": (0.5, -0.2, -0.1, -0.2), "cor": 33.1, "absorption": 1.5},
    "a full turn": {"span": 360.0, "absorption": 1.5},
    "starts in any order": {"starts": (8.4, 0.0, 5.6, 2.8), "absorption": 1.5},
    "descending, uneven starts": {"starts": (0.0, 2.0, 6.1, 9.5), "way": -1},
    "two subsets": {"shift": (0.4, -0.4), "factor": (1.05, 1 / 1.05)},
    "one subset": {"shift": (0.0,), "factor": (1.0,)},
}


class TestSubsets:
    """Marks: axis, backlash and drift within 0.1 pixels, intensity within 0.5 %."""

    @pytest.mark.parametrize("planted", MISALIGNED.values(), ids=MISALIGNED)
    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_what_was_planted_is_found(self, planted, seed):
        found = find_alignment(*scan_of(seed, noise=0.02, **planted))
        shift = np.asarray(planted.get("shift", (-0.08, -0.02, 0.03, 0.07)))
        factor = np.asarray(planted.get("factor", (0.985, 0.995, 1.005, 1.015)))
        assert found.cor == pytest.approx(planted.get("cor", COR), abs=0.1)
        assert found.backlash == pytest.approx(planted.get("backlash", 0.3), abs=0.1)
        np.testing.assert_allclose(found.shift, shift - shift.mean(), atol=0.1)
        np.testing.assert_allclose(found.factor, factor / np.exp(np.log(factor).mean()), rtol=0.005)

    def test_the_standard_errors_say_how_far_off_it_is(self):
        errors = []
        for seed in range(40):
            found = find_alignment(*scan_of(seed, noise=0.05, absorption=1.0))
            off = np.array([found.cor - COR, found.backlash - 0.3, *(found.shift - [-0.08, -0.02, 0.03, 0.07])[:3]])
            errors.append(off / [found.cor_err, found.backlash_err, *found.shift_err[:3]])
        # 200 values know their own spread to 5 %; the weights are estimated from the same data, which costs some more.
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(1.0, abs=0.3)

    @pytest.mark.parametrize("noise", [0.2, 0.6])
    def test_the_standard_errors_know_of_strong_noise(self, noise):
        """Noise makes the derivatives large; taken for the sample's they promised errors three to thirty times less."""
        errors = []
        for seed in range(16):
            found = find_alignment(*scan_of(seed, noise=noise, absorption=1.0))
            off = np.array([found.backlash - 0.3, *(found.shift - [-0.08, -0.02, 0.03, 0.07])[:3], found.cor - COR])
            errors.append(off / [found.backlash_err, *found.shift_err[:3], found.cor_err])
        spread = np.sqrt(np.mean(np.square(errors), axis=0))
        # 64 values know their own spread to 9 %; the axis' own error is at the safe side.
        assert np.sqrt(np.mean(spread[:4] ** 2)) == pytest.approx(1.0, abs=0.35)
        assert 0.2 < spread[4] < 1.3

    def test_a_known_axis_is_kept_and_the_rest_found(self):
        found = find_alignment(*scan_of(3, noise=0.01), cor=COR)
        assert (found.cor, found.cor_err) == (COR, 0.0)
        assert found.backlash == pytest.approx(0.3, abs=0.02)

    def test_bad_frames_and_a_wild_line_do_not_disturb_it(self):
        scan = scan_of(4, noise=0.01)
        rng = np.random.default_rng(0)
        scan.projections[rng.random(scan.projections.shape) < 0.02] = np.nan
        scan.projections[20] = np.nan
        scan.projections[37] = rng.random(N_COLUMNS) * scan.projections.max()
        found = find_alignment(*scan)
        assert found.left_out[[20, 37]].all()
        assert found.left_out.sum() <= 5
        assert found.backlash == pytest.approx(0.3, abs=0.1)
        assert found.cor == pytest.approx(COR, abs=0.1)

    def test_offsets_say_where_each_line_sees_the_axis(self):
        scan = scan_of(5)
        found = find_alignment(*scan)
        planted = np.array([-0.08, -0.02, 0.03, 0.07])[scan.subset - 1] + 0.15 * scan.direction
        np.testing.assert_allclose(found.cor + found.offsets(scan.subset, scan.direction), COR + planted, atol=0.005)

    def test_a_scan_in_one_direction_has_no_backlash(self):
        scan = scan_of(6, backlash=0.0)
        found = find_alignment(scan.projections, scan.angles, scan.subset, np.ones_like(scan.direction))
        assert found.backlash is None
        assert found.offsets(scan.subset, scan.direction) == pytest.approx(found.shift[scan.subset - 1])


class TestStrangers:
    def of(self, scan):
        return find_strangers(*scan, find_alignment(*scan))[1].tolist()

    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
    def test_subsets_of_one_scan_belong_together(self, noise):
        assert self.of(scan_of(0, noise=noise, absorption=1.0)) == [False] * 4

    @pytest.mark.parametrize("noise", [0.0, 0.02])
    def test_a_subset_of_another_sample_is_named(self, noise):
        scan, other = scan_of(1, noise=noise), scan_of(2, noise=noise)
        scan.projections[scan.subset == 3] = other.projections[scan.subset == 3]
        assert self.of(scan) == [False, False, True, False]

    def test_a_sample_that_moved_before_a_subset_is_named(self):
        """Displaced by (1.5, −1) pixels: no shift of the axis, which all other lines of the subset would share."""
        scan = scan_of(1, noise=0.01)
        columns = np.arange(N_COLUMNS)
        for line in np.flatnonzero(scan.subset == 2):
            moved = columns - lateral_position(1.5, -1.0, scan.angles[line])
            scan.projections[line] = np.interp(moved, columns, scan.projections[line])
        assert self.of(scan) == [False, True, False, False]

    def test_an_axis_that_moved_is_no_stranger(self):
        assert self.of(scan_of(1, shift=(0.0, 0.0, 2.0, 0.0), noise=0.01)) == [False] * 4

    def test_of_two_that_differ_both_are_named_and_a_single_subset_belongs(self):
        scan = scan_of(1, shift=(0.0, 0.0), factor=(1.0, 1.0))
        scan.projections[scan.subset == 2] = scan_of(2, shift=(0.0, 0.0), factor=(1.0, 1.0)).projections[32:]
        assert self.of(scan) == [True, True]
        assert self.of(scan_of(1, shift=(0.0,), factor=(1.0,))) == [False]


class TestZigzag:
    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
    @pytest.mark.parametrize("zigzag", [True, False])
    def test_it_is_seen_in_the_lines_as_they_were_acquired(self, zigzag, noise):
        scan = scan_of(0, noise=noise, absorption=1.5)
        acquired = scan.projections.copy()
        if zigzag:
            acquired[scan.direction < 0] = acquired[scan.direction < 0, ::-1]
        found, times = find_zigzag(acquired, scan.angles, np.tile(np.arange(16), 4))
        assert found is zigzag
        assert times > 2

    def test_a_sample_that_mirrors_itself_does_not_say(self):
        angles = np.arange(64) * 180 / 64
        t = np.arange(N_COLUMNS) - (N_COLUMNS - 1) / 2 + np.zeros((64, 1))
        disc = chords(np.array([[0.0, 0.0, 30.0, 1.0]]), angles, t)
        noisy = disc + np.random.default_rng(1).normal(0, 0.05, disc.shape)
        assert find_zigzag(noisy, angles, np.arange(64))[1] < 1.3

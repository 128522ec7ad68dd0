"""The full-profile fit against an independent pattern, finite differences, and patterns whose answer is known."""

import numpy as np
import pytest
from scipy.special import voigt_profile, xlogy

from support_fit import PIXEL, PROFILE
from xrdct.config.fit import PhaseSetSettings, read_preset
from xrdct.errors import ConfigError, FitError
from xrdct.fit.cells import line_positions
from xrdct.fit.engine import NumbaEngine
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns
from xrdct.fit.start import search_cells


def model_of(preset, step=PIXEL):
    phases = load_phase_set(read_preset(preset))
    return PatternModel(phases, np.arange(phases.q_min, phases.q_max, step), PROFILE)


@pytest.fixture(scope="module")
def nca():
    return model_of("nca-8")


def drawn(model, n, dose, rng, *, level="full"):
    """Parameters of n patterns: scales 0 to 1 (of the dose at the peak), a third of them 0, the rest in its limits."""
    parameters = np.repeat(model.start[None], n, axis=0)
    nonlinear = model.free(level=level) & np.isfinite(model.high)
    parameters[:, nonlinear] = rng.uniform(model.low[nonlinear], model.high[nonlinear], (n, nonlinear.sum()))
    scales = rng.uniform(0, 1, (n, model.n_scales)) * (rng.random((n, model.n_scales)) > 0.3)
    scales[:, 0] = rng.uniform(0.2, 1, n)
    parameters[:, model.scale_places] = scales * dose / model.units(model.start).max(axis=1)
    parameters[:, model.background_places] = dose * np.array([0.1, 0.02, 0.01])
    return parameters


def deviance(model, counts, parameters):
    """Twice the log likelihood that is missing to a model of the counts themselves, shape (n_patterns,)."""
    expected = np.maximum(model.patterns(parameters), 1e-9)
    return 2 * (expected - counts + xlogy(counts, counts / expected)).sum(axis=1)


class TestModel:
    def test_a_pattern_is_the_sum_of_voigts_at_the_lines_of_the_cell(self):
        """Independently: true Voigts from SciPy, averaged over each bin, lines from the metric tensor."""
        free = {"a": [2.8, 2.9], "c": [14, 14.6]}
        phases = load_phase_set(
            PhaseSetSettings.model_validate(
                {"name": "one", "q_min": 1.2, "q_max": 2.8, "phases": [{"name": "NCA", "free": free, "size_nm": 150}]}
            )
        )
        q = np.arange(1.2, 2.8, PIXEL)
        model = PatternModel(phases, q, PROFILE)
        parameters = model.start.copy()
        cell = {"a": 2.83, "c": 14.35}
        for name, value in cell.items():
            parameters[model.place("NCA", name)] = value
        parameters[model.place("NCA", "scale")] = 3.0
        phase = phases.phases[0]
        reference, _ = line_positions(phase.lines.hkl, "hexagonal", phase.cell)
        positions, _ = line_positions(phase.lines.hkl, "hexagonal", cell)
        volume = cell["a"] ** 2 * cell["c"] / (phase.cell["a"] ** 2 * phase.cell["c"])
        fine = np.arange(q[0] - PIXEL / 2, q[-1] + PIXEL, PIXEL / 40) + PIXEL / 80
        expected = np.zeros_like(fine)
        for at, before, intensity in zip(positions, reference, phase.lines.intensity, strict=True):
            fwhm = PROFILE.fwhm_q(before)
            gauss = fwhm * np.sqrt(1 - 0.74417 * 0.1 - 0.24781 * 0.01 - 0.0081 * 0.001)
            gauss = np.sqrt(gauss**2 - 8 * np.log(2) / 12 * (PIXEL / 2) ** 2)  # the bins in which it was measured
            lorentz = fwhm * (0.72928 * 0.1 + 0.19289 * 0.01 + 0.07783 * 0.001) + 2 * np.pi * 0.9 / 1500
            area = 3.0 * intensity * (before / at) ** 2 / volume**2
            expected += area * voigt_profile(fine - at, gauss / np.sqrt(8 * np.log(2)), lorentz / 2)
        expected = expected[: q.size * 40].reshape(q.size, 40).mean(axis=1)
        found = model.patterns(parameters)[0]
        # Thompson, Cox & Hastings write a Voigt to 1 % of its height, the bin's width by its variance to another half.
        assert np.abs(found - expected).max() < 0.015 * expected.max()
        # What is cut off the tails at 12 FWHM: 1 % of the Lorentzian's share of the area.
        assert found.sum() == pytest.approx(expected.sum(), rel=0.01)

    @pytest.mark.parametrize("preset", ["nca-8", "nca-13", "lixc-6", "nmc532-charged"])
    def test_derivatives_are_those_of_finite_differences(self, preset):
        model, rng = model_of(preset), np.random.default_rng(0)
        at = drawn(model, 1, 100.0, rng)[0]
        at[model.scale_places] += 1e-3  # no scale is 0: all derivatives show
        slopes = model.derivatives(at)
        for k, name in enumerate(model.names):
            step = np.zeros_like(at)
            step[k] = 1e-6 * max(abs(at[k]), 1e-3)
            expected = (model.patterns(at + step) - model.patterns(at - step))[0] / (2 * step[k])
            # Central differences of 1e-6 in double precision leave some 1e-5.
            np.testing.assert_allclose(
                slopes[k], expected, atol=2e-4 * np.abs(expected).max() + 1e-12, err_msg=str(name)
            )

    def test_broadening_by_parallax_adds_its_gaussian(self, nca):
        at = nca.start.copy()
        at[nca.place("graphite", "scale")] = 1.0
        narrow, wide = nca.patterns(at)[0], nca.patterns(at, extra=0.01)[0]
        line = np.abs(nca.q - 1.865) < 0.1
        q, added = nca.q[line], []
        for pattern in (narrow, wide):
            share = np.maximum(pattern[line] - pattern.min(), 0) / pattern[line].sum()
            added.append(np.sum(share * (q - 1.865) ** 2))
        # Variances of Gaussians add; the Lorentzian's tails, cut by the window, change it by a few percent.
        assert added[1] - added[0] == pytest.approx((0.01 * 1.865) ** 2 / (8 * np.log(2)), rel=0.15)

    def test_a_grid_that_is_not_even_and_one_that_is_too_short_are_refused(self):
        phases = load_phase_set(read_preset("nca-8"))
        with pytest.raises(ValueError, match="evenly spaced"):
            PatternModel(phases, np.geomspace(1.16, 2.84, 200), PROFILE)
        with pytest.raises(ConfigError, match=r"21 bins in 1\.16–2\.84 1/Å are too few for 43 parameters"):
            PatternModel(phases, np.arange(1.16, 2.84, 0.08), PROFILE)


class TestFit:
    @pytest.mark.parametrize("level", ["quick", "full"])
    def test_a_pattern_without_noise_gives_back_what_made_it(self, nca, level):
        # So many counts that limits, the other knowledge of a cell or size, weigh little beside them.
        truth = drawn(nca, 200, 1e6, np.random.default_rng(3), level=level)
        found = fit_patterns(nca, nca.patterns(truth), level=level, most=200)
        scales, present = nca.scale_places, truth[:, nca.scale_places] > 0
        settled = found.converged
        assert settled.mean() > 0.98
        relative = np.abs(found.parameters - truth)[:, scales] / truth[:, scales].max(axis=0)
        # Nothing but its limits, 0.2 % apart, tells the a of LiC30, and the area goes with its fourth power.
        assert np.percentile(relative[settled][present[settled]], 95) < 6e-3
        assert np.percentile(relative[settled][present[settled]], 50) < 1e-3
        a, c = nca.place("NCA", "a"), nca.place("NCA", "c")
        assert np.percentile(np.abs(found.parameters - truth)[settled][:, [a, c]], 95, axis=0) == pytest.approx(
            [0, 0], abs=3e-4
        )

    @pytest.mark.parametrize(("level", "dose"), [("quick", 100), ("quick", 2000), ("full", 100), ("full", 2000)])
    def test_standard_errors_are_honest_and_the_fit_ends_where_it_would_from_the_truth(self, nca, level, dose):
        rng = np.random.default_rng(5)
        truth = drawn(nca, 1500, dose, rng, level=level)
        counts = rng.poisson(nca.patterns(truth)).astype(float)
        found = fit_patterns(nca, counts, level=level)
        ideal = fit_patterns(nca, counts, level=level, start=truth, search=False)
        # Deviance 1 more is one parameter off by one error. The mark is one pattern in 200; local minima are left
        # where weak neighbours (LiC12 and LiC18, a line's width apart, widths free) may share a line.
        worse = deviance(nca, counts, found.parameters) - deviance(nca, counts, ideal.parameters)
        assert np.mean(worse < 1) > 0.995
        assert worse.max() < 9
        for name in ("scale", "a", "c"):
            k = nca.place("NCA", name)
            inside = np.abs(found.parameters - truth)[:, k] < found.errors[:, k]
            # 1500 patterns know a share of .68 to .012; the mark is .65 to .72.
            assert inside[np.isfinite(found.errors[:, k])].mean() == pytest.approx(0.683, abs=0.045), name
        # Also of phases that share a line, and whose a, which changes the volume, nothing but the limits tells. Each is
        # there in some thousand patterns, which know a share to .015: the mark and two of these.
        for place in nca.scale_places:
            there = np.isfinite(found.errors[:, place]) & (truth[:, place] > 0.2 * truth[:, place].max())
            inside = np.abs(found.parameters - truth)[there, place] < found.errors[there, place]
            assert 0.62 < inside.mean() < 0.75, nca.names[place]
        assert np.median(found.chi2) == pytest.approx(1.0, abs=0.03)

    def test_the_search_finds_cells_that_are_lines_away(self, nca):
        truth = drawn(nca, 300, 500.0, np.random.default_rng(7), level="quick")
        free, best = nca.free(level="quick"), NumbaEngine().best_templates
        starts = search_cells(nca, nca.patterns(truth), nca.start, free, best=best)
        for name, far in (("a", 0.006), ("c", 0.04)):
            k = nca.place("NCA", name)
            # A line's width is 0.4 % of q = 2.6: 0.011 Å in a, 0.06 Å in c (006).
            assert np.mean(np.abs(starts - truth)[:, k] < far) > 0.97

    def test_scales_are_never_negative_and_absent_phases_stay_absent(self, nca):
        rng = np.random.default_rng(1)
        truth = drawn(nca, 300, 200.0, rng)
        absent = [nca.place(name, "scale") for name in ("LiC6", "LiC18")]
        truth[:, absent] = 0.0
        found = fit_patterns(nca, rng.poisson(nca.patterns(truth)).astype(float))
        assert (found.parameters[:, nca.scale_places] >= 0).all()
        # Half of them end at 0; the others are noise: three standard errors are rarely passed.
        assert np.nanmean(found.parameters[:, absent] > 3.5 * found.errors[:, absent]) < 0.02

    def test_parameters_stay_within_their_limits_and_say_when_they_hit_them(self, nca):
        at = drawn(nca, 1, 2000.0, np.random.default_rng(2))[0]
        at[nca.scale_places] = 0
        k = nca.place("NCA", "a")
        at[nca.place("NCA", "scale")] = 10.0
        at[k] = 2.879  # outside 2.810–2.875
        found = fit_patterns(nca, nca.patterns(at), level="quick")
        assert found.parameters[0, k] == pytest.approx(2.875)
        assert found.at_limit[0, k]

    def test_with_a_variance_the_unit_does_not_matter(self, nca):
        rng = np.random.default_rng(4)
        truth = drawn(nca, 50, 1000.0, rng, level="quick")
        clean = nca.patterns(truth)
        noisy = clean + rng.normal(0, 10.0, clean.shape)
        one = fit_patterns(nca, noisy, level="quick", variance=np.full(nca.q.size, 100.0))
        small = fit_patterns(nca, noisy * 1e-4, level="quick", variance=np.full(nca.q.size, 1e-6))
        np.testing.assert_allclose(small.chi2, one.chi2, rtol=1e-3)
        # The fits end a hundredth of an error apart at most.
        c = nca.place("NCA", "c")
        assert np.abs(small.parameters - one.parameters)[:, c].max() < 0.1 * np.nanmedian(one.errors[:, c])

    def test_without_absolute_weights_errors_follow_the_misfit(self, nca):
        rng = np.random.default_rng(4)
        truth = drawn(nca, 400, 1000.0, rng, level="quick")
        clean = nca.patterns(truth)
        noisy = clean + rng.normal(0, 3 * np.sqrt(clean))
        found = fit_patterns(nca, noisy, level="quick", absolute=False)
        k = nca.place("NCA", "c")
        assert np.mean(np.abs(found.parameters - truth)[:, k] < found.errors[:, k]) == pytest.approx(0.683, abs=0.08)

    def test_a_hopeless_pattern_does_not_stop_the_others(self, nca):
        patterns = nca.patterns(drawn(nca, 3, 500.0, np.random.default_rng(0)))
        patterns[1] = 0.0
        patterns[2] = -5.0
        found = fit_patterns(nca, patterns)
        assert np.isfinite(found.parameters).all()
        assert found.rwp[0] < 0.02  # 500 counts do not outweigh the limits whole

    @pytest.mark.parametrize(
        ("patterns", "variance", "message"),
        [
            (np.ones((2, 7)), None, "patterns have 7 bins, the model 203"),
            (np.full((2, 203), np.nan), None, r"2 of 2 patterns hold NaN or infinity \(first: 0\)"),
            (np.ones((2, 203)), np.ones(7), r"variance of shape \(7,\)"),
            (np.ones((2, 203)), np.full(203, np.nan), "203 variances are NaN"),
        ],
    )
    def test_what_cannot_be_fitted_is_refused(self, nca, patterns, variance, message):
        with pytest.raises(FitError, match=message):
            fit_patterns(nca, patterns, variance=variance)

"""PQ-Net on two phases: patterns, training, error bars, warnings, and the two steps of the fit."""

import sys

import numpy as np
import pytest
import torch

from support_fit import PIXEL, PROFILE
from xrdct.config import PhaseSetSettings, PqNet
from xrdct.errors import ConfigError, StoreError
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns
from xrdct.io.onnx import write_onnx
from xrdct.io.pqnet import read_ensemble, read_member, read_training, write_ensemble, write_member, write_training
from xrdct.pqnet.calibration import calibrate, coverage
from xrdct.pqnet.ensemble import Ensemble, draw_held_out, make_ensemble
from xrdct.pqnet.inference import is_in_range, predict_volume
from xrdct.pqnet.library import Recipe, draw_library, full_scales, stream_library
from xrdct.pqnet.network import LOG_WIDTHS, new_network
from xrdct.pqnet.noise import POISSON, RECONSTRUCTED, add_noise, level_of
from xrdct.pqnet.novelty import find_components, find_threshold
from xrdct.pqnet.refine import largest_residual, refine
from xrdct.pqnet.score import card_text, measure_card
from xrdct.pqnet.seeds import Purpose, numpy_generator, torch_generator
from xrdct.pqnet.series import predict_series
from xrdct.pqnet.task import grid_of, make_task, make_training
from xrdct.pqnet.training import Noise, Schedule, learning_rate

PHASES = PhaseSetSettings.model_validate(
    {
        "name": "two",
        "q_min": 1.2,
        "q_max": 2.9,
        "phases": [
            {"name": "NCA", "free": {"a": [2.81, 2.875], "c": [14.15, 14.55]}, "per_voxel": ["a", "c"]},
            {"name": "graphite", "free": {"a": [2.462, 2.466], "c": [6.735, 6.74]}},
        ],
        "peaks": [
            {"name": "separator", "q": 1.525, "q_limits": [1.51, 1.54], "fwhm": 0.03, "fwhm_limits": [0.02, 0.05]}
        ],
    }
)
Q = np.arange(1.0, 3.0, PIXEL)
SETTINGS = {"epochs": 10, "batch": 250, "held_out": 10_000, "targets": ["NCA"], "seed": 3}
LIBRARY = {"patterns": 10_000, "noise": "poisson", "background": [0.04, 0.15]}


def task_of(**changes):
    settings = SETTINGS | changes
    return make_task(
        PHASES, Q, PROFILE, PqNet.model_validate(settings | {"library": LIBRARY | changes.get("library", {})})
    )


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def task():
    return task_of()


@pytest.fixture(scope="module")
def ensemble(task):
    members = [make_training(task, member=k).run() for k in range(2)]
    return make_ensemble(
        task.model, task.recipe, task.noise, task.scaling, members, patterns=10_000, alarms=0.05, seed=3
    )


def at_dose(task, dose, n=2000, seed=0):
    return draw_held_out(
        task.model, task.recipe, task.noise, n, purpose=Purpose.TEST, seed=seed, doses=(dose, dose * 1.0001)
    )


class TestLibrary:
    def test_patterns_are_those_of_the_fits_model_within_the_limits(self, task):
        library = draw_library(task.model, Recipe(broadening=0.01), 200, np.random.default_rng(0))
        again = PatternModel(load_phase_set(PHASES), Q, PROFILE).patterns(library.parameters, extra=library.extra)
        np.testing.assert_allclose(library.patterns, again, rtol=1e-6)  # stored in single precision
        assert (library.parameters >= task.model.low - 1e-12).all()
        assert (library.parameters <= task.model.high + 1e-12).all()
        assert (library.patterns > 0).all()
        assert 0.002 < library.extra.mean() < 0.008

    def test_a_fit_without_noise_finds_the_parameters_of_a_library_pattern(self, task):
        library = draw_library(task.model, Recipe(absent=0), 50, np.random.default_rng(1))
        patterns = 1e6 * library.patterns.astype(float)
        found = fit_patterns(task.model, patterns, start=library.parameters, search=False)
        # Single precision of 1e-7 at 1e6 counts is far below their noise; a step ends at a twentieth of that. A cathode
        # that is hardly there has the size that its limits say.
        there = library.parameters[:, task.model.place("NCA", "scale")] > 1e-3
        assert there.sum() > 40
        assert (np.abs(found.parameters - library.parameters * unit(task.model, 1e6)) < 0.2 * found.errors)[there][
            :, [task.model.place("NCA", "a"), task.model.place("NCA", "c"), 0]
        ].all()

    def test_sizes_are_uniform_in_nm_and_phases_are_absent_as_often_as_asked(self, task):
        library = draw_library(task.model, Recipe(absent=0.3), 20_000, np.random.default_rng(2))
        sizes = 1 / library.parameters[:, task.model.place("NCA", "1/size")]
        assert sizes.min() >= 60
        assert sizes.max() <= 1000
        # Mean 530 and standard deviation 271 of a uniform distribution; 20,000 draws know the mean to 2.
        assert sizes.mean() == pytest.approx(530, abs=8)
        assert np.mean(library.parameters[:, 0] == 0) == pytest.approx(0.3, abs=0.012)
        strongest = library.parameters[:, task.model.scale_places] / full_scales(task.model)
        assert strongest.max() == pytest.approx(1, abs=0.01)

    def test_the_same_seed_gives_the_same_stream_and_another_seed_another(self, task):
        one, same, other = (
            np.concatenate([part.patterns for part in stream_library(task.model, task.recipe, 20_050, seed=seed)])
            for seed in (5, 5, 6)
        )
        assert len(one) == 20_050
        assert (one == same).all()
        assert not (one == other).all(axis=1).any()

    def test_keys_that_differ_by_trailing_zeros_draw_different_numbers(self):
        draws = [numpy_generator(Purpose.STREAM, *key).random() for key in ((5,), (5, 0), (5, 0, 0))]
        assert len(set(draws)) == 3


class TestNoise:
    @pytest.mark.parametrize("kind", [POISSON, RECONSTRUCTED])
    def test_noise_has_the_variance_that_is_said_and_the_level_its_effective_counts(self, task, kind):
        clean = torch.from_numpy(draw_library(task.model, task.recipe, 64, np.random.default_rng(0)).patterns)
        dose = torch.full((64,), 500.0)
        pulls, levels = [], []
        for k in range(40):
            noisy, level, variance = add_noise(clean, dose, kind=kind, generator=torch_generator(Purpose.TEST, k))
            variance = clean * dose[:, None] if kind == POISSON else variance
            pulls.append(((noisy - clean * dose[:, None]) / variance.sqrt()).numpy())
            levels.append(level.numpy())
        # 40 × 64 × 205 numbers know a mean to 0.0014 and a variance to 0.002.
        assert np.mean(pulls) == pytest.approx(0, abs=0.007)
        assert np.var(pulls) == pytest.approx(1, abs=0.01)
        if kind == POISSON:
            np.testing.assert_allclose(np.mean(levels, axis=0), 500 * clean.mean(1).numpy(), rtol=0.05)

    def test_the_level_does_not_depend_on_the_unit(self):
        patterns = torch.rand(5, 100, generator=torch.Generator().manual_seed(0)) * 50
        variance = patterns + 3
        np.testing.assert_allclose(level_of(patterns, variance), level_of(patterns * 1e-3, variance * 1e-6), rtol=1e-4)


class TestScaling:
    def test_answers_give_back_the_parameters(self, task):
        held_out = at_dose(task, 1000.0, n=50)
        mean = held_out.patterns.mean(axis=1)
        targets = torch.from_numpy(held_out.targets(task.scaling) / np.where(task.scaling.is_scale, 1000.0, 1.0))
        values, counts = task.scaling.answers(targets, torch.from_numpy(mean / 1000.0))
        back = task.scaling.physical(values.numpy(), mean)
        np.testing.assert_allclose(back, held_out.targets(task.scaling), rtol=2e-3, atol=1e-9)
        assert (
            counts.numpy()[:, 1] == (held_out.targets(task.scaling)[:, 0] > 0.02 * 1000 * task.scaling.full[0])
        ).all()

    def test_an_unknown_target_is_refused(self):
        with pytest.raises(
            ConfigError, match=r"pqnet\.targets: LiC6 not in phase set 'two' \(NCA, graphite, separator\)"
        ):
            task_of(targets=["LiC6"])


class TestTraining:
    @pytest.mark.parametrize("network", ["dense", "convolution"])
    def test_a_killed_training_goes_on_to_the_same_weights(self, tmp_path, network):
        task = task_of(epochs=3, batch=100, network=network, library={"patterns": 1000})
        whole = make_training(task, member=1).run()

        class Killed(Exception):
            pass

        def kill(state):
            write_training(state, tmp_path / "t.pt", key="k")
            if state["epoch"] == 2:
                raise Killed

        with pytest.raises(Killed):
            make_training(task, member=1).run(checkpoint=kill)
        torch.rand(3)  # what others draw does not matter
        resumed = make_training(task, member=1)
        resumed.restore(read_training(tmp_path / "t.pt", key="k"))
        assert resumed.epoch == 2
        for name, value in resumed.run().state_dict().items():
            assert torch.equal(value, whole.state_dict()[name]), name
        assert read_training(tmp_path / "t.pt", key="another") is None
        assert read_training(tmp_path / "none.pt", key="k") is None

    def test_members_differ(self):
        task = task_of(epochs=1, batch=100, library={"patterns": 1000})
        one, two = (make_training(task, member=k).run().state_dict()["first.weight"] for k in (0, 1))
        assert not torch.equal(one, two)

    def test_training_makes_the_error_smaller_and_keeps_the_best(self, task):
        training = make_training(task_of(epochs=4), member=0)
        training.run()
        assert training.best["error"] == min(training.history)
        assert training.history[-1] < 0.7 * training.history[0]

    def test_a_stored_library_is_shown_again_in_another_order_and_patience_ends_the_training(self):
        task = task_of(schedule="paper", library={"patterns": 1000})
        held_out = at_dose(task, 500.0, n=200)
        truth = held_out.truth.copy()
        linear = np.r_[task.model.scale_places, task.model.background_places]
        truth[:, linear] /= held_out.dose[:, None]
        stored = {
            "patterns": held_out.patterns,
            "level": held_out.patterns.mean(axis=1),
            "dose": held_out.dose,
            "parameters": truth,
        }
        training = make_training(task, member=0, stored=stored)
        first, second = (torch.cat([b.patterns for b in training.source.batches(0, e)]) for e in (0, 1))
        assert not torch.equal(first, second)
        assert sorted(first.sum(1).tolist()) != sorted(held_out.patterns.sum(1).tolist())  # 6 of 7 batches of 32
        assert set(first.sum(1).tolist()) <= set(torch.from_numpy(held_out.patterns).sum(1).tolist())
        training.best = {"error": 0.0, "epoch": 0, "weights": training.best["weights"]}  # nothing can gain
        training.run()
        assert training.epoch == 5

    def test_the_learning_rate_rises_and_falls_or_stays(self):
        fast, paper = Schedule(learning_rate=1.0), Schedule(learning_rate=1.0, falling=False)
        assert [round(learning_rate(fast, done), 2) for done in (0.0, 0.05, 0.5, 1.0)] == [0.0, 1.0, 0.5, 0.0]
        assert learning_rate(paper, 0.9) == 1.0


class TestCalibration:
    def test_bars_hold_at_every_level_and_signal_where_one_factor_would_not(self):
        rng = np.random.default_rng(0)
        n = 24_000
        level, strength = np.exp(rng.uniform(0, 6, n)), rng.uniform(0, 3, (n, 1))
        true = 2 * level[:, None] ** -0.3 * (1 + strength)
        errors, raw = true * rng.normal(size=(n, 1)), np.ones((n, 1))
        half = slice(0, n // 2)
        counts = np.ones((n, 1), bool)
        found = calibrate(errors[half], raw[half], level[half], strength[half], strength[half], counts[half])
        rest = slice(n // 2, n)
        bars = found.calibrated(raw[rest], level[rest], strength[rest])
        single = np.quantile(np.abs(errors[half]), 0.6827)
        for low, high in ((1, 3), (20, 50), (200, 400)):
            chosen = (level[rest] > low) & (level[rest] < high)
            # At least 1300 patterns: a share of .68 to .013; true bars run by a factor of 1.3 within a class.
            assert coverage(errors[rest][chosen], bars[chosen], counts[rest][chosen])[0] == pytest.approx(
                0.683, abs=0.05
            )
        extreme = level[rest] < 3
        assert np.mean(np.abs(errors[rest][extreme]) < single) < 0.55

    def test_bars_of_weak_phases_hold_although_scales_end_at_0(self):
        rng = np.random.default_rng(1)
        n, sigma = 40_000, 0.2
        truth, level = rng.uniform(0, 1, (n, 1)), np.exp(rng.uniform(0, 3, n))
        found, raw = np.maximum(truth + sigma * rng.normal(size=(n, 1)), 0), np.full((n, 1), sigma)
        half, rest = slice(0, n // 2), slice(n // 2, n)
        counts = np.ones((n, 1), bool)
        signals = found / raw
        calibration = calibrate(
            (found - truth)[half], raw[half], level[half], signals[half], (truth / raw)[half], counts[half]
        )
        bars = calibration.calibrated(raw[rest], level[rest], signals[rest])
        weak = truth[rest] < sigma
        errors = (found - truth)[rest]
        # Below one sigma an answer of 0 is never farther off than that: of all errors only those above count, 16 %.
        assert coverage(errors, raw[rest], weak)[0] == pytest.approx(0.84, abs=0.02)
        # 5300 patterns look weak: a share to .006. What is weak is known by its answer only: the second is milder.
        assert coverage(errors, bars, found[rest] < sigma)[0] == pytest.approx(0.683, abs=0.05)
        assert coverage(errors, bars, weak)[0] == pytest.approx(0.683, abs=0.1)

    def test_cells_of_weak_phases_are_not_taken_for_those_of_what_only_looks_weak(self):
        rng = np.random.default_rng(2)
        n = 60_000
        true, level = rng.uniform(0, 6, (n, 1)), np.exp(rng.uniform(0, 3, n))
        signals = true + rng.normal(size=(n, 1))
        errors = np.exp(1.5 - true).clip(0.4, 3) * rng.normal(size=(n, 1))  # a weak phase's cell is hardly seen
        raw, counts = np.ones((n, 1)), np.ones((n, 1), bool)
        half, rest = slice(0, n // 2), slice(n // 2, n)
        weak = true[rest] < 1
        covered = {}
        for name, sorted_by in (("seen", signals), ("true", true)):
            found = calibrate(errors[half], raw[half], level[half], signals[half], sorted_by[half], counts[half])
            bars = found.calibrated(raw[rest], level[rest], signals[rest])
            covered[name] = coverage(errors[rest], bars, weak)[0]
            # Whatever the classes, two thirds of all: 30,000 patterns know a share to .003.
            assert coverage(errors[rest], bars, counts[rest])[0] == pytest.approx(0.683, abs=0.01)
        # 5000 weak patterns know a share to .007. One noise width of signal cannot be told from the next: half way.
        assert covered["seen"] < 0.5
        assert covered["true"] > covered["seen"] + 0.08

    def test_absent_phases_have_no_say(self):
        errors, counts = np.array([[0.5], [100.0]]), np.array([[True], [False]])
        assert coverage(errors, np.ones((2, 1)), counts)[0] == 1.0
        assert np.isnan(coverage(errors, np.ones((2, 1)), np.zeros((2, 1), bool))[0])


class TestEnsemble:
    def test_the_network_knows_cells_and_scales(self, ensemble, task):
        held_out = at_dose(task, 2000.0)
        found = ensemble.predict(held_out.patterns)
        errors = (found.values - held_out.targets(task.scaling))[held_out.present(task.scaling, 0.2)[:, 0]]
        # Half a minute of training: a few percent of the ranges (1; 0.065 Å; 0.4 Å).
        assert np.median(np.abs(errors[:, 0])) < 0.05 * 2000 * task.scaling.full[0]
        assert np.median(np.abs(errors[:, 1])) < 0.005
        assert np.median(np.abs(errors[:, 2])) < 0.02

    @pytest.mark.parametrize("dose", [30.0, 300.0, 10_000.0])
    def test_error_bars_cover_two_thirds_at_every_dose(self, ensemble, task, dose):
        held_out = at_dose(task, dose, n=3000)
        found = ensemble.predict(held_out.patterns)
        errors = found.values - held_out.targets(task.scaling)
        covered = coverage(errors, found.bars, held_out.present(task.scaling, 0.02))
        # The mark is 0.63–0.73; 2100 patterns know a share to .010, 90 patterns of a class its factor to 4 %.
        assert covered == pytest.approx(np.full(3, 0.683), abs=0.06)

    def test_the_unit_of_the_patterns_does_not_matter(self, ensemble, task):
        held_out = at_dose(task, 500.0, n=20)
        variance = np.maximum(held_out.patterns, 1)
        one = ensemble.predict(held_out.patterns, variance)
        small = ensemble.predict(held_out.patterns * 1e-4, variance * 1e-8)
        scale = np.where(task.scaling.is_scale, 1e-4, 1.0)
        np.testing.assert_allclose(small.values, one.values * scale, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(small.bars, one.bars * scale, rtol=1e-3)

    def test_an_ensemble_comes_back_from_its_file(self, ensemble, task, tmp_path):
        path, names = tmp_path / "model.pt", task.model.phases.names
        write_ensemble(ensemble, path, q=task.model.q, phases=names, facts={"noise": "poisson"})
        again, facts = read_ensemble(path, q=task.model.q, phases=names)
        patterns = at_dose(task, 500.0, n=10).patterns
        one, two = ensemble.predict(patterns), again.predict(patterns)
        assert facts == {"noise": "poisson"}
        for name in ("values", "bars", "strange"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        with pytest.raises(StoreError, match=r"is for 205 bins .* the patterns have 204"):
            read_ensemble(path, q=task.model.q[:-1], phases=names)
        with pytest.raises(StoreError, match="is for phases NCA, graphite, separator, not for NCA"):
            read_ensemble(path, q=task.model.q, phases=("NCA",))

    @pytest.mark.parametrize("kind", ["dense", "convolution"])
    def test_an_exported_network_answers_the_same(self, task, tmp_path, kind):
        pytest.importorskip("onnxscript")
        reference = pytest.importorskip("onnx.reference")
        targets = len(task.scaling.targets)
        member = new_network(seed=1, kind=kind, n_bins=task.model.q.size, n_targets=targets).eval()
        alone = Ensemble((member,), task.scaling, None, None, None, None, None, None)
        facts = {"targets": list(task.scaling.targets), "q": [float(Q[0]), float(Q[-1]), task.model.q.size]}
        (path,) = write_onnx(alone, facts, tmp_path)
        patterns = at_dose(task, 300, n=5).patterns.astype(np.float32)
        level, mean = np.full(5, 40.0), patterns.mean(axis=1, dtype=float)
        values, _, width = alone.raw_answers(patterns, level, mean)
        inputs = {"patterns": patterns, "level": level.astype(np.float32)}
        found = reference.ReferenceEvaluator(str(path)).run(["values", "widths"], inputs)
        # Single precision; values near 0 against the size of the largest of their kind.
        np.testing.assert_allclose(found[0], values, rtol=1e-5, atol=1e-5 * np.abs(values).max())
        np.testing.assert_allclose(found[1], width, rtol=1e-4)

    def test_without_its_packages_the_export_says_what_to_install(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        with pytest.raises(StoreError, match=r"pip install 'xrdct\[onnx\]'"):
            write_onnx(None, {}, tmp_path)

    def test_the_card_says_what_the_model_is_for(self, ensemble, task):
        card = measure_card(ensemble, task, patterns=300)
        text = card_text(card)
        assert "| NCA | c | 14.15 | 14.55 |" in text
        assert "missing in 30 % of the patterns, backgrounds are 0.04 to 0.15 of that height" in text
        assert {s["dose"] for s in card["scores"]} == {30.0, 100.0, 500.0, 2000.0, 10_000.0}
        assert all(0 <= s["coverage"] <= 1 for s in card["scores"])


class TestFiles:
    def test_a_member_comes_back_with_its_best_weights(self, tmp_path):
        training = make_training(task_of(epochs=1, batch=100, library={"patterns": 1000}), member=0)
        training.run()
        write_member(training.state(), tmp_path / "m.pt", key="k", settings={})
        x = torch.rand(3, training.network.architecture["n_bins"] + 1)
        assert torch.equal(read_member(tmp_path / "m.pt")(x), training.network.eval()(x))

    def test_what_is_no_member_is_refused_and_no_code_in_it_runs(self, tmp_path):
        with pytest.raises(StoreError, match="no such file"):
            read_member(tmp_path / "none.pt")
        torch.save({"kind": "pqnet training", "format": 1}, tmp_path / "other.pt")
        with pytest.raises(StoreError, match="expected a pqnet member"):
            read_member(tmp_path / "other.pt")
        torch.save({"kind": Noise()}, tmp_path / "code.pt")  # an object of a class, not plain values
        with pytest.raises(StoreError, match="not a readable network"):
            read_member(tmp_path / "code.pt")


@pytest.fixture(scope="module")
def alarms(ensemble, task):
    """Share of patterns called out of range at dose 2000, after a change to them."""

    def measure(change):
        held_out = at_dose(task, 2000.0, n=800, seed=9)
        rng = np.random.default_rng(1)
        strong = held_out.present(task.scaling, 0.3)[:, 0]
        parameters = held_out.truth[strong].copy()
        clean = change(parameters)
        patterns = rng.poisson(np.maximum(clean, 0)).astype(float)
        prediction = ensemble.predict(patterns)
        refined = refine(task.model, patterns, task.scaling.targets, prediction.values)
        local = largest_residual(task.model, patterns, refined)
        return float(1 - is_in_range(ensemble, task.model, prediction, refined, local).mean())

    return measure


class TestRange:
    def test_ordinary_patterns_are_in_range(self, alarms, task):
        # 5 % were asked for; 560 patterns know it to 1 %, and 60 of 1250 in a class a threshold to 1 %.
        assert alarms(task.model.patterns) < 0.1

    def test_an_unknown_peak_is_out_of_range(self, alarms, task):
        def with_peak(parameters):
            line = np.exp(-4 * np.log(2) * ((task.model.q - 2.2) / 0.015) ** 2)
            return task.model.patterns(parameters) + 0.15 * 2000 * line

        assert alarms(with_peak) > 0.95

    def test_a_cell_beyond_its_limits_is_out_of_range(self, alarms, task):
        def moved(parameters):
            parameters[:, task.model.place("NCA", "a")] = 2.890
            return task.model.patterns(parameters)

        assert alarms(moved) > 0.95

    def test_thresholds_follow_the_noise_level(self):
        rng = np.random.default_rng(0)
        level = np.exp(rng.uniform(0, 5, 8000))
        scores = 1 + 0.1 * np.log(level) + 0.1 * rng.normal(size=level.size)
        threshold = find_threshold(scores, level, alarms=0.05)
        for low, high in ((1, 5), (5, 30), (30, 148)):
            chosen = (level > low) & (level < high)
            assert threshold.exceeded(scores[chosen], level[chosen]).mean() == pytest.approx(0.05, abs=0.03)

    def test_components_leave_nothing_of_the_library_but_noise(self, task):
        library = draw_library(task.model, task.recipe, 3000, np.random.default_rng(4))
        components = find_components(library.patterns)
        counts = np.random.default_rng(5).poisson(300.0 * library.patterns).astype(float)
        assert components.components.shape[0] < task.model.q.size // 2
        np.testing.assert_allclose(
            components.components @ components.components.T, np.eye(len(components.components)), atol=1e-9
        )
        assert np.median(components.scores(counts, counts)) == pytest.approx(1, abs=0.15)


class TestTwoSteps:
    @pytest.mark.parametrize("dose", [100.0, 2000.0])
    def test_two_steps_from_the_network_reach_the_bound_with_honest_errors(self, ensemble, task, dose):
        held_out = at_dose(task, dose, n=1000, seed=4)
        found = refine(task.model, held_out.patterns, task.scaling.targets, ensemble.predict(held_out.patterns).values)
        strong = np.flatnonzero(held_out.present(task.scaling, 0.2)[:, 0])
        bound = np.array([cramer_rao(task.model, row) for row in held_out.truth[strong]])[:, task.scaling.places]
        errors = (found.parameters - held_out.truth)[strong][:, task.scaling.places]
        ratio = np.sqrt((errors**2).mean(axis=0) / (bound**2).mean(axis=0))
        # 600 patterns know a root mean square to 3 %; the mark is 1.1 at 2000. At 100 a few outliers drive that of a.
        assert (ratio[[0, 2]] < 1.15).all()
        assert ratio[1] < (1.15 if dose == 2000 else 1.6)
        level = held_out.patterns.mean(axis=1)
        inside = np.abs(errors) < ensemble.calibrated_steps(found, level).errors[strong][:, task.scaling.places]
        assert inside.mean(axis=0) == pytest.approx(np.full(3, 0.683), abs=0.06)

    def test_the_fit_goes_on_where_two_steps_promise_too_much(self, task):
        held_out = at_dose(task, 2000.0, n=300, seed=5)
        strong = held_out.present(task.scaling, 0.5)[:, 0]
        patterns, truth = held_out.patterns[strong], held_out.truth[strong][:, task.scaling.places]
        far = truth + np.array([0, 0.012, 0.08])  # more than a line's width at q = 2.6
        errors = {
            most: np.abs(
                refine(task.model, patterns, task.scaling.targets, far, most=most).parameters[:, 3] - truth[:, 2]
            )
            for most in (2, 12)
        }
        # c is known to 0.002 Å here; a few starts this far off still end elsewhere.
        assert np.percentile(errors[12], 80) < 0.01 < np.percentile(errors[2], 80)

    def test_cells_beyond_the_limits_start_at_them(self, task):
        answers = np.array([[1.0, 3.0, 14.3]])
        held_out = at_dose(task, 500.0, n=1)
        found = refine(task.model, held_out.patterns, task.scaling.targets, answers)
        assert np.isfinite(found.parameters).all()


class TestVolume:
    def test_lines_that_parallax_widens_are_no_misfit(self, ensemble, task):
        model, size, width = task.model, 12, 0.01
        parameters = np.repeat(model.start[None], size * size, axis=0)
        parameters[:, 0], parameters[:, model.place("background", "0")] = 2000 * full_scales(model)[0], 200.0
        volume = np.zeros((size, size, Q.size))
        counts = np.random.default_rng(0).poisson(model.patterns(parameters, extra=width))
        volume[..., model.inside] = counts.reshape(size, size, -1)
        asked = []

        def widen(amount):
            asked.append(amount)
            return np.full(amount.shape, width)

        options = {"variance": np.where(model.inside, 1.0, np.nan), "mask_threshold": 0.02}
        options["variance"][model.inside] = counts.mean(axis=0)
        plain = predict_volume(ensemble, model, volume, **options)
        widened = predict_volume(ensemble, model, volume, widen=widen, **options)
        assert asked[0].shape == (size, size)
        assert widened.noise_factor == pytest.approx(1, rel=0.05)
        assert plain.noise_factor > 1.2

    @pytest.mark.parametrize("variance", ["channel", None])
    def test_a_volume_of_any_unit_gives_maps_and_its_own_noise(self, ensemble, task, variance):
        model, size, dose, gain = task.model, 20, 1000.0, 1e-3
        rng = np.random.default_rng(0)
        parameters = np.repeat(model.start[None], size * size, axis=0)
        scale = dose * full_scales(model)[0] * np.linspace(0.3, 1, size * size)
        parameters[:, 0], parameters[:, model.place("background", "0")] = scale, 0.1 * dose
        parameters[:, model.place("NCA", "c")] = 14.2
        parameters[size * size // 2 :, model.place("NCA", "c")] = 14.45
        volume = np.zeros((size, size, Q.size))
        clean = model.patterns(parameters).reshape(size, size, -1)
        channels = clean.mean(axis=(0, 1)) if variance else clean
        volume[..., model.inside] = clean + rng.normal(size=clean.shape) * np.sqrt(channels)
        volume[0, 0] = np.nan
        given = np.where(model.inside, 1.0, np.nan)
        if variance:
            given[model.inside] = channels * gain
        found = predict_volume(
            ensemble, model, gain * volume, variance=given if variance else None, mask_threshold=0.02
        )
        assert found.refined.mask.sum() == size * size - 1
        assert found.noise_factor == pytest.approx(gain, rel=0.1)
        cells = found.map_of(found.prediction.values, list(task.scaling.targets), "c")[0].ravel()[1:]
        refined = found.refined.phase_maps("c")[0].ravel()[1:]
        truth = parameters[1:, model.place("NCA", "c")]
        # The network errs by some 0.01 Å, the two steps by 0.003 at this dose.
        assert np.corrcoef(cells, truth)[0, 1] > 0.97
        assert np.median(np.abs(refined - truth)) < 0.005
        scales = found.refined.phase_maps("scale")[0].ravel()[1:]
        assert np.median(np.abs(scales / (gain * scale[1:]) - 1)) < 0.05
        assert found.in_range[found.refined.mask].mean() > 0.85
        # The networks know this structure: what they say alone lies where the steps end, but for one voxel in ten.
        assert found.answers_in_range.sum() > 0.9 * found.in_range.sum()
        assert not found.in_range[0, 0]

    def test_a_line_against_time_has_the_networks_answers_or_the_two_steps_from_them(self, ensemble, task):
        model, n_lines, n_points, dose = task.model, 10, 8, 500.0
        parameters = np.tile(model.start, (n_lines, n_points, 1))
        parameters[..., 0] = dose * full_scales(model)[0] * np.linspace(0.4, 1, n_lines)[:, None]
        parameters[..., model.place("background", "0")] = 0.1 * dose
        parameters[..., model.place("NCA", "c")] = c = np.linspace(14.2, 14.5, n_lines)[:, None]
        patterns = np.zeros((n_lines, n_points, Q.size))
        clean = model.patterns(parameters.reshape(-1, parameters.shape[-1]))
        counts = np.random.default_rng(0).poisson(clean).reshape(n_lines, n_points, -1)
        patterns[..., model.inside] = counts
        patterns[3, 2] = np.nan
        answered, steps = (predict_series(ensemble, model, patterns, refined=refined) for refined in (False, True))
        error = {}
        for name, found in {"networks": answered.found, "steps": steps.found}.items():
            cell, bar = (found.lines.phase_maps("c", errors=errors)[0] for errors in (False, True))
            error[name] = np.abs(cell - c).max()
            assert (np.abs(cell - c) < 5 * bar).all()
            np.testing.assert_array_equal(
                np.isfinite(found.points.phase_maps("scale")[0]), np.isfinite(patterns[..., 0])
            )
        # As in a volume: the networks err by some 0.01 Å, the two steps on eight times the counts by a thousandth.
        assert error["steps"] < 0.004 < error["networks"] < 0.05
        assert np.isnan(answered.found.points.phase_maps("scale", errors=True)[1]).all()  # graphite is no target
        assert answered.in_range.mean() > 0.8
        assert not answered.in_range[3, 2]
        assert answered.line_in_range.shape == (n_lines,)


class TestNetwork:
    @pytest.mark.parametrize("kind", ["dense", "convolution"])
    def test_a_network_answers_a_value_and_a_width_per_target_and_follows_its_seed(self, kind):
        one, same, other = (new_network(seed=s, kind=kind, n_bins=64, n_targets=5).eval() for s in (1, 1, 2))
        x = torch.rand(7, 65)
        assert one(x).shape == (7, 5, 2)
        assert torch.equal(one(x), same(x))
        assert not torch.equal(one(x), other(x))
        assert LOG_WIDTHS[0] < 0 < LOG_WIDTHS[1]


def test_the_grid_is_that_of_integration():
    np.testing.assert_allclose(grid_of(q_min=1.0, q_max=2.0, n_bins=4), [1.125, 1.375, 1.625, 1.875])


def unit(model, dose):
    """Factor on all parameters that makes patterns `dose` times as strong."""
    factor = np.ones(len(model.names))
    factor[model.scale_places] = factor[model.background_places] = dose
    return factor


def cramer_rao(model, parameters):
    """Least standard errors of one pattern with Poisson noise, ranges taken as prior knowledge of their variance."""
    slopes = model.derivatives(parameters)[np.flatnonzero(model.free(level="full"))]
    pattern = np.maximum(model.patterns(parameters)[0], 1e-9)
    information = (slopes / pattern) @ slopes.T
    places = np.flatnonzero(model.free(level="full"))
    width = (model.high - model.low)[places]
    information[np.diag_indices(len(places))] += np.where(np.isfinite(width), 12 / width**2, 0)
    bound = np.full(len(model.names), np.nan)
    bound[places] = np.sqrt(np.diag(np.linalg.inv(information)))
    return bound

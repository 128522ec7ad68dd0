"""The fit as tensors against numba's: the same model, the same steps, the same answers. On the CPU, as on a GPU."""

import numpy as np
import pytest
import torch

from support_fit import PIXEL, PROFILE
from xrdct.config.fit import read_preset
from xrdct.fit import engine
from xrdct.fit.bounded import bounded_minimum
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns
from xrdct.fit.tensor_bounded import bounded_minimum as bounded_minima
from xrdct.fit.tensor_model import TensorModel


def model_of(preset):
    phases = load_phase_set(read_preset(preset))
    return PatternModel(phases, np.arange(phases.q_min, phases.q_max, PIXEL), PROFILE)


@pytest.fixture(scope="module")
def nca():
    return model_of("nca-8")


def drawn(model, n, dose, rng):
    """Parameters anywhere within their limits, a third of the phases absent, and counts."""
    truth = np.repeat(model.start[None], n, axis=0)
    free = np.isfinite(model.high)
    truth[:, free] = rng.uniform(model.low[free], model.high[free], (n, free.sum()))
    scales = rng.uniform(0, 1, (n, model.n_scales)) * (rng.random((n, model.n_scales)) > 1 / 3)
    truth[:, model.scale_places] = scales * dose / model.units(model.start).max(axis=1)
    truth[:, model.background_places[0]] = 0.1 * dose
    return truth, rng.poisson(model.patterns(truth)).astype(float)


def assert_same(found, expected):
    """Sums in another order differ by 1e-12; a step begins a round more or less where that decides, not seen here."""
    known = np.isfinite(expected.errors)
    np.testing.assert_array_equal(np.isfinite(found.errors), known)
    np.testing.assert_allclose(found.errors[known], expected.errors[known], rtol=1e-6)
    away = np.abs(found.parameters - expected.parameters)[known] / expected.errors[known]
    assert away.max() < 1e-6
    np.testing.assert_allclose(found.chi2, expected.chi2, rtol=1e-8)
    np.testing.assert_allclose(found.rwp, expected.rwp, rtol=1e-8)
    np.testing.assert_array_equal(found.converged, expected.converged)
    np.testing.assert_array_equal(found.at_limit, expected.at_limit)


@pytest.mark.parametrize("preset", ["nca-13", "nmc532-charged"])
def test_patterns_and_derivatives_are_those_of_the_kernels(preset):
    """Phases of every system, and single peaks; each pattern with a width of its own."""
    model, rng = model_of(preset), np.random.default_rng(0)
    truth, _ = drawn(model, 5, 100.0, rng)
    extra, columns = rng.uniform(0, 0.01, 5), np.arange(len(model.names))
    low, high = truth.min(axis=0), truth.max(axis=0)
    tensors = TensorModel(model.arrays, columns, np.empty((0, 0)), low, high, widest=extra.max(), device="cpu")
    patterns, slopes = (v.numpy() for v in tensors.evaluate(torch.from_numpy(truth), torch.from_numpy(extra)))
    np.testing.assert_allclose(patterns, model.patterns(truth, extra=extra), rtol=1e-10)
    for k in range(5):
        expected = model.derivatives(truth[k], extra=extra[k])
        np.testing.assert_allclose(slopes[k], expected, atol=1e-9 * np.abs(expected).max())


def test_minima_within_limits_are_those_of_the_kernel():
    """Half of the limits bind, neighbours are nearly the same, and some parameters are fixed."""
    rng, n, m = np.random.default_rng(0), 60, 14
    columns = rng.normal(size=(n, 3 * m, m))
    columns[..., 1::2] = 0.99 * columns[..., :-1:2] + 0.14 * columns[..., 1::2]
    matrix, gradient = columns.mT @ columns, columns.mT @ rng.normal(size=(n, 3 * m, 1)) * 5
    gradient, fixed = gradient[..., 0], rng.random((n, m)) < 0.1
    low = np.where(rng.random((n, m)) < 0.2, -np.inf, -rng.random((n, m)) * (rng.random((n, m)) < 0.7))
    high = np.where(rng.random((n, m)) < 0.2, np.inf, rng.random((n, m)))
    found = bounded_minima(*(torch.from_numpy(values) for values in (matrix, gradient, low, high, fixed))).numpy()
    for k in range(n):
        expected = np.empty(m)
        bounded_minimum(matrix[k], gradient[k], low[k], high[k], fixed[k], expected, np.empty((m, m)))
        np.testing.assert_allclose(found[k], expected, atol=1e-9)


@pytest.mark.parametrize(("level", "dose"), [("quick", 2000.0), ("full", 30.0), ("full", 1000.0)])
def test_fits_of_counts_are_those_of_numba(nca, level, dose):
    _, counts = drawn(nca, 60, dose, np.random.default_rng(1))
    expected = fit_patterns(nca, counts, level=level, engine="numba")
    # The test is worth something where much is absent and much is at a limit.
    assert (expected.parameters[:, nca.scale_places] == 0).mean() > 0.1
    if level == "full":
        assert expected.at_limit.any(axis=1).sum() > 3
    assert_same(fit_patterns(nca, counts, level=level, engine="torch"), expected)


@pytest.mark.parametrize("per_pattern", [False, True])
def test_fits_with_a_variance_are_those_of_numba_also_where_every_pattern_has_its_own(nca, per_pattern):
    """Bins that are masked, weights that are only relative, starts, widths and a number of steps that is too small."""
    rng = np.random.default_rng(2)
    truth, counts = drawn(nca, 40, 500.0, rng)
    variance = rng.uniform(20.0, 50.0, counts.shape if per_pattern else counts.shape[1])
    variance[..., 60:64] = 0.0
    options = {"variance": variance, "absolute": False, "most": 5}
    if per_pattern:
        options |= {"extra": rng.uniform(0, 0.004, 40), "start": truth}
    for level in ("quick", "full"):
        expected = fit_patterns(nca, counts, level=level, engine="numba", **options)
        assert not expected.converged.all()
        assert_same(fit_patterns(nca, counts, level=level, engine="torch", **options), expected)


def test_fits_that_end_where_a_step_promises_little_are_those_of_numba(nca):
    truth, counts = drawn(nca, 40, 500.0, np.random.default_rng(4))
    options = {"start": truth, "search": False, "enough": 10.0}
    for most in (3, 15):
        expected = fit_patterns(nca, counts, most=most, engine="numba", **options)
        assert expected.converged.any()
        assert_same(fit_patterns(nca, counts, most=most, engine="torch", **options), expected)


def test_a_pattern_without_anything_does_not_stop_the_others(nca):
    patterns = np.stack([np.zeros(nca.q.size), np.full(nca.q.size, -5.0), np.full(nca.q.size, 7.0)])
    found = fit_patterns(nca, patterns, engine="torch")
    assert np.isfinite(found.parameters).all()
    assert found.rwp[2] < 1e-6


def test_the_cpu_goes_on_where_a_gpu_is_full(nca, monkeypatch, caplog):
    _, counts = drawn(nca, 6, 500.0, np.random.default_rng(3))
    tried = []

    def run(self, patterns, *_):
        tried.append(len(patterns))
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    expected = fit_patterns(nca, counts, engine="numba")
    monkeypatch.setattr("xrdct.fit.tensor_newton.TensorFit.run", run)
    found = fit_patterns(nca, counts, engine="torch")
    np.testing.assert_array_equal(found.parameters, expected.parameters)
    assert tried == [6, 3, 1]
    assert caplog.messages[-1] == "fit, patterns: the GPU's memory does not hold a single one; goes on on the CPU"


def test_a_gpu_is_taken_where_there_is_one_and_enough_to_do(monkeypatch):
    assert isinstance(engine.choose_engine("auto", 10**6), engine.NumbaEngine)
    monkeypatch.setattr(engine, "cuda_available", lambda: True)
    monkeypatch.setattr(engine, "TensorEngine", str)
    assert engine.choose_engine("auto", 10**6) == "cuda"
    assert isinstance(engine.choose_engine("auto", 10), engine.NumbaEngine)
    assert isinstance(engine.choose_engine("numba", 10**6), engine.NumbaEngine)
    with pytest.raises(ValueError, match="unknown engine 'gpu'"):
        engine.choose_engine("gpu", 10)


def test_as_many_patterns_at_a_time_as_the_free_memory_holds(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (8 * 10**9, 10**10))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    tensors = engine.TensorEngine("cuda")
    assert tensors.at_a_time(50_000) == 12_000  # 0.6 of 8 GB, in numbers of 8 bytes
    assert tensors.at_a_time(10**12) == 1

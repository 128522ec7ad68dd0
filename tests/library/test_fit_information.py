"""Least errors from the normal matrix: closed forms, and the scatter of fits."""

import numpy as np
import pytest

from support_fit import PIXEL, PROFILE
from xrdct.config import PhaseSetSettings
from xrdct.config.fit import read_preset
from xrdct.fit.information import covariance, cramer_rao, normal_matrix
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns


def model_of(settings):
    phases = load_phase_set(settings)
    return PatternModel(phases, np.arange(phases.q_min, phases.q_max, PIXEL), PROFILE)


@pytest.fixture(scope="module")
def one_line():
    phase = {"name": "Cu", "free": {"a": [3.55, 3.68]}, "size_limits_nm": [199, 201]}
    return model_of(
        PhaseSetSettings.model_validate(
            {"name": "one", "q_min": 2.8, "q_max": 3.2, "phases": [phase], "background_degree": 0}
        )
    )


def test_the_bound_on_a_line_alone_is_that_of_its_counts(one_line):
    """N counts give the scale to N/√N whatever the shape, and the place by its slopes: Σ (dm/dq)²/m."""
    at = one_line.start.copy()
    at[one_line.place("Cu", "scale")] = 1e6 / one_line.units(at).max()
    n_counts = one_line.patterns(at)[0].sum()
    bound = cramer_rao(one_line, at, level="linear")
    scale = one_line.place("Cu", "scale")
    # A background that is free too costs a percent: the line's tails look like it.
    assert bound[scale] / at[scale] == pytest.approx(1 / np.sqrt(n_counts), rel=0.02)
    pattern = one_line.patterns(at)[0]
    place = 1 / np.sqrt(np.sum(np.gradient(pattern, one_line.q) ** 2 / np.maximum(pattern, 1)))
    a = one_line.place("Cu", "a")
    # Differences over two bins flatten the flanks by some percent.
    assert cramer_rao(one_line, at)[a] / at[a] == pytest.approx(place / 3.011, rel=0.04)


def test_a_parameter_that_the_data_say_nothing_about_lies_anywhere_between_its_limits(one_line):
    at = one_line.start.copy()
    at[one_line.place("background", "0")] = 100.0  # and no line at all
    bound = cramer_rao(one_line, at)
    assert bound[one_line.place("Cu", "a")] == pytest.approx(0.13 / np.sqrt(12), rel=1e-3)


def test_fits_scatter_by_what_is_least():
    model = model_of(read_preset("nca-8"))
    at = model.start.copy()
    at[model.scale_places] = 500 / model.units(at).max(axis=1)
    at[model.background_places[0]] = 100.0
    rng = np.random.default_rng(0)
    counts = rng.poisson(np.repeat(model.patterns(at), 800, axis=0)).astype(float)
    found = fit_patterns(model, counts, level="quick", search=False).parameters
    places, least = covariance(model, at, level="quick")
    scatter = np.cov(found[:, places], rowvar=False)
    root = np.sqrt(np.diag(least))
    # 800 draws know a standard deviation to 2.5 %, a correlation to 0.035: four times these.
    np.testing.assert_allclose(np.sqrt(np.diag(scatter)) / root, 1.0, atol=0.1)
    np.testing.assert_allclose(scatter / np.outer(root, root), least / np.outer(root, root), atol=0.2)


def test_bins_that_are_masked_say_nothing(one_line):
    at = one_line.start.copy()
    at[one_line.place("Cu", "scale")] = 1.0
    places, all_bins = normal_matrix(one_line, at, variance=np.ones(one_line.q.size))
    variance = np.ones(one_line.q.size)
    variance[np.abs(one_line.q - 3.01) < 0.1] = 0.0
    _, rest = normal_matrix(one_line, at, variance=variance)
    assert np.all(np.diag(rest) <= np.diag(all_bins))
    a = list(places).index(one_line.place("Cu", "a"))
    assert rest[a, a] < 1e-3 * all_bins[a, a]

"""What the voxels of a scan have in common, and how far it helps a voxel."""

import numpy as np
import pytest

from xrdct.bench.pqnet import bench_task
from xrdct.pqnet.population import narrowed, population, with_limits_of
from xrdct.pqnet.refine import refine


def fitted(truth, noise, low, high, rng):
    """Values and errors as the fit gives them: limits are knowledge."""
    known = 12 / (high - low) ** 2
    information = noise**-2.0 + known
    seen = truth + noise * rng.normal(size=truth.size)
    return (seen / noise**2 + known * (low + high) / 2) / information, information**-0.5


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_mean_and_scatter_of_the_truth_are_found_from_values_that_limits_drew_to_their_middle(spread):
    rng, n = np.random.default_rng(0), 3000
    noise = rng.uniform(0.1, 0.5, n)
    values, errors = fitted(0.3 + spread * rng.normal(size=n), noise, -1.0, 1.0, rng)
    centre, found = population(values, errors, -1.0, 1.0)
    # 3000 values of errors around 0.25 know the mean to 0.004 and the scatter's square to 0.001.
    assert centre == pytest.approx(0.3, abs=0.016)
    assert found**2 == pytest.approx(spread**2, abs=0.004)


def test_where_few_voxels_tell_or_most_are_at_a_limit_the_limits_stay():
    rng = np.random.default_rng(0)
    few = fitted(np.full(20, 0.3), np.full(20, 0.1), -1.0, 1.0, rng)
    values, errors = fitted(np.full(90, 0.3), np.full(90, 0.1), -1.0, 1.0, rng)
    errors[:50] = np.nan
    dull = fitted(np.full(90, 0.3), np.full(90, 5.0), -1.0, 1.0, rng)
    for case in (few, (values, errors), dull, (np.empty(0), np.empty(0))):
        assert population(*case, -1.0, 1.0) == pytest.approx((0.0, 2 / np.sqrt(12)))


@pytest.fixture(scope="module")
def scan():
    """Voxels of one scan: stages of graphite have one cell and size everywhere, NCA its own cell in each."""
    task, rng, n, dose = bench_task("nca-8", 1), np.random.default_rng(1), 600, 300.0
    model = task.model
    truth = np.repeat(model.start[None], n, axis=0)
    truth[:, model.scale_places] = (
        rng.random((n, 8)) * (rng.random((n, 8)) > 0.3) * dose / model.units(model.start).max(axis=1)
    )
    truth[:, model.background_places[0]] = 0.1 * dose
    for name, value in (("LiC30", 1 / 150), ("LiC18", 1 / 90), ("graphite", 1 / 250)):
        truth[:, model.place(name, "1/size")] = value
    answered = tuple(target for target in task.scaling.targets if target[1] != "scale")
    places = [model.place(*target) for target in answered]
    truth[:, places] += rng.uniform(-0.02, 0.02, (n, 2)) * [0.3, 1.0]
    return model, truth, rng.poisson(model.patterns(truth)).astype(float), answered, truth[:, places]


def test_scales_of_stages_that_overlap_are_better_known_and_a_cell_that_differs_stays_free(scan):
    model, truth, patterns, answered, answers = scan
    alone = refine(model, patterns, answered, answers)
    here = narrowed(model, alone, answered)
    found = with_limits_of(model, refine(here, patterns, answered, answers))
    errors = {
        name: np.sqrt(np.mean((fit.parameters - truth)[:, model.scale_places] ** 2, axis=0))
        for name, fit in (("alone", alone), ("found", found))
    }
    gain = dict(zip(model.phases.names, errors["alone"] / errors["found"], strict=True))
    assert min(gain["LiC18"], gain["LiC30"], gain["graphite"]) > 1.05
    assert min(gain.values()) > 0.97  # 600 voxels know a ratio of errors to some per cent
    own = [model.place(*target) for target in answered]
    np.testing.assert_array_equal(here.low[own], model.low[own])
    # The size of NCA is one, too: its cells are known no worse.
    strong = truth[:, 0] > 0.2 * truth[:, 0].max()
    before, after = (np.abs(fit.parameters - truth)[strong][:, own].mean(axis=0) for fit in (alone, found))
    assert (after < 1.03 * before).all()


def test_a_size_that_ends_at_a_narrow_limit_is_at_no_limit_of_the_phase_set(scan):
    model, _, patterns, answered, answers = scan
    here = narrowed(model, refine(model, patterns, answered, answers), answered)
    narrow = refine(here, patterns, answered, answers)
    found = with_limits_of(model, narrow)
    inside = (here.low > model.low) & (here.high < model.high)
    assert narrow.at_limit[:, inside].any()
    assert not found.at_limit[:, inside].any()

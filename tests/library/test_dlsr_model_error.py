"""Errors of the model of a DLSR: found per channel from what is left, and what becomes of weights, χ² and words."""

from dataclasses import replace

import numpy as np
import pytest

from support_dlsr import ONE_LINE
from xrdct.bench.thick_cell import DISTANCE_MM, PROFILE, Q, thick_cell
from xrdct.dlsr.advice import doubts
from xrdct.dlsr.forward import Forward
from xrdct.dlsr.model_error import relative_errors
from xrdct.dlsr.refine import Start, refine
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.checkpoint import Checkpoint
from xrdct.reconstruction.backend import reconstruct

N, N_ANGLES, WRONG = 20, 30, 0.08
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES


def test_errors_that_were_planted_are_found_channel_by_channel():
    rng, planted = np.random.default_rng(0), np.array([0.0, 0.01, 0.03, 0.1])
    expected = rng.uniform(5, 50, (60, 40, 4))
    variance = expected / 200 * rng.uniform(0.5, 2, expected.shape)
    residual = rng.normal(size=expected.shape) * np.sqrt(variance + (planted * expected) ** 2)
    found = relative_errors(residual, variance, expected, np.ones(expected.shape, bool))
    # 2400 samples tell a variance to 3 %, the additional one to that share of all of it.
    np.testing.assert_allclose(found[1:], planted[1:], rtol=0.05)
    assert found[0] < 0.004
    assert (relative_errors(residual, 1e3 * variance, expected, np.ones(expected.shape, bool)) == 0).all()


def test_equal_samples_have_the_closed_form_and_bad_ones_do_not_count():
    residual = np.full((5, 4, 1), 3.0)
    good = np.ones(residual.shape, bool)
    residual[0, 0], good[0, 0] = 1e6, False
    found = relative_errors(residual, np.full_like(residual, 2.0), np.full_like(residual, 10.0), good, freedom=0.5)
    # 9 / (2 + 100 ε²) = 0.5
    np.testing.assert_allclose(found, [np.sqrt((9 / 0.5 - 2) / 100)], rtol=1e-6)


@pytest.fixture(scope="module")
def work():
    """A chain, a start, and a sinogram part of which errs by `WRONG` from ray to ray, beyond the noise of counts."""
    cell, rng = thick_cell(N, seed=3, layer_px=2.5), np.random.default_rng(3)
    data = rng.poisson(cell.sinogram(ANGLES, counts=4000)).astype(np.float32)
    phases, cor = load_phase_set(ONE_LINE), (N - 1) / 2
    volume, noise = reconstruct(data, ANGLES, cor=cor), data.mean(axis=(0, 1))
    fitted = fit_volume(PatternModel(phases, Q, PROFILE), volume, level="quick", variance=noise, mask_threshold=0.02)
    chain = Forward(
        phases, Q, PROFILE, mask=fitted.mask, angles=ANGLES, cor=cor, n_positions=N, step_mm=cell.step_mm,
        distance_mm=DISTANCE_MM,
    )  # fmt: skip
    used = data[..., chain.used]
    disturbed = used.copy()
    disturbed[..., ::2] *= 1 + WRONG * rng.standard_normal(disturbed[..., ::2].shape, dtype=np.float32)
    return chain, used, disturbed, Start(fitted.voxels.parameters, fitted.voxels.errors), cell


OPTIONS = {"phases": ("NCA",), "smooth": 0.1, "samples": 0, "most": 20}


@pytest.fixture(scope="module")
def found(work):
    """With and without errors of the model."""
    chain, used, disturbed, start, _ = work
    return [refine(chain, disturbed, np.maximum(used, 1), start, **OPTIONS, model_error=on) for on in (True, False)]


def test_channels_that_the_model_misses_count_less(work, found):
    chain, used, _, _, cell = work
    with_errors, by_counts = found
    strong = used.mean(axis=(0, 1)) > 0.3 * used.mean(axis=(0, 1)).max()
    # What counts leave unexplained at 4000 counts (layers are no pixels) comes on top.
    assert np.median(with_errors.model_error[::2][strong[::2]]) == pytest.approx(WRONG, rel=0.25)
    assert np.median(with_errors.model_error[1::2]) < 0.4 * WRONG
    assert with_errors.solution.converged
    # By definition one at the end of the search by counts, from which this one goes on.
    assert 0.8 < with_errors.reduced_chi2 < 1.1
    assert with_errors.counts_chi2 > by_counts.counts_chi2 > 2
    assert by_counts.reduced_chi2 == by_counts.counts_chi2
    place, layers = chain.model.place("NCA", "c"), (cell.nca > 0.5)[chain.mask]
    misses = [np.sqrt(np.mean((one.values[:, place] - cell.c[chain.mask])[layers] ** 2)) for one in found]
    assert misses[0] < 0.8 * misses[1]  # 0.0056 and 0.0104 Å


def test_a_user_is_told_what_chi2_does_not_say(work, found):
    q = Q[work[0].used]
    with_errors, by_counts = (doubts(one, q) for one in found)
    assert "no proof of the model" in with_errors[0]
    assert "% of the intensity" in with_errors[0]
    assert "phase missing" not in with_errors[0]
    assert "set dlsr.model_error" in by_counts[0]
    unlisted = found[0].model_error.copy()
    unlisted[7] = 0.9
    assert f"90 % at {q[7]:.2f} 1/Å" in doubts(replace(found[0], model_error=unlisted), q)[0]
    assert "phase missing" in doubts(replace(found[0], model_error=unlisted), q)[0]


def test_a_search_for_errors_goes_on_where_it_was_stopped(work, found, tmp_path, monkeypatch):
    chain, used, disturbed, start, _ = work
    kept = Checkpoint(tmp_path / "c.npz", "this work")
    options = OPTIONS | {"model_error": True, "checkpoint": kept}

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:  # a job that was killed after its search by counts
        patched.setattr("xrdct.dlsr.model_error.relative_errors", stop)
        with pytest.raises(KeyboardInterrupt):
            refine(chain, disturbed, np.maximum(used, 1), start, **options)
    assert kept.part("model-error").load()[1]["steps"] > 0
    again = refine(chain, disturbed, np.maximum(used, 1), start, **options)
    np.testing.assert_array_equal(again.values, found[0].values)
    kept.path.unlink()  # and one that was killed before the first step with the errors
    monkeypatch.setattr("xrdct.dlsr.model_error.minimise", None)
    again = refine(chain, disturbed, np.maximum(used, 1), start, **options)
    np.testing.assert_array_equal(again.model_error, found[0].model_error)
    np.testing.assert_array_equal(again.values, found[0].values)
    kept.remove()
    assert list(tmp_path.iterdir()) == []

"""What a voxel may leave the fit by: noise of its place, and errors of the model that a scan's voxels share."""

import numpy as np
import pytest
import torch

from support_fit import PIXEL, PROFILE
from xrdct.config import PhaseSetSettings
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.pqnet.allowance import find_allowance, noise_factors, over_the_image
from xrdct.pqnet.calibration import Calibration
from xrdct.pqnet.ensemble import Ensemble
from xrdct.pqnet.inference import predict_volume
from xrdct.pqnet.library import Recipe, draw_library, full_scales
from xrdct.pqnet.novelty import Threshold, find_components
from xrdct.pqnet.refine import largest_excess
from xrdct.pqnet.scaling import find_scaling

PHASES = PhaseSetSettings.model_validate(
    {
        "name": "one",
        "q_min": 1.2,
        "q_max": 2.9,
        "phases": [{"name": "NCA", "free": {"a": [2.81, 2.875], "c": [14.15, 14.55]}, "per_voxel": ["a", "c"]}],
    }
)
Q = np.arange(1.0, 3.0, PIXEL)
DOSE, SIZE = 5000.0, 24


@pytest.fixture(scope="module")
def model():
    return PatternModel(load_phase_set(PHASES), Q, PROFILE)


class TestNoise:
    def test_noise_is_told_apart_from_misfit_in_a_few_channels(self):
        rng = np.random.default_rng(0)
        variance, factors = rng.uniform(1, 5, (200, 300)), rng.uniform(0.3, 4, 200)
        residual = rng.normal(size=variance.shape) * np.sqrt(variance * factors[:, None])
        residual[:, :15] += 30
        clean = (residual[:, 15:] ** 2 / variance[:, 15:]).mean(axis=1)
        found = noise_factors(residual, variance, (residual**2 / variance).mean(axis=1))
        # A median of 300 squares scatters by 14 %, its mean over 200 patterns by 1 %. With 5 % of the channels beyond
        # it is the 0.526 quantile of the others, 0.513 instead of 0.455. The squares' mean is far too large.
        assert np.mean(found / factors) == pytest.approx(0.513 / 0.455, abs=0.04)
        assert np.corrcoef(found, clean)[0, 1] > 0.95
        assert ((residual**2 / variance).mean(axis=1) > 4 * factors).all()

    def test_channels_that_the_fit_used_up_count(self):
        residual = np.random.default_rng(1).normal(size=(400, 200)) * np.sqrt(0.75)  # 50 of 200 parameters' worth
        chi2 = (residual**2).sum(axis=1) / 150
        assert np.mean(noise_factors(residual, np.ones((1, 200)), chi2)) == pytest.approx(1, abs=0.03)
        unmeasured = np.concatenate([residual, np.full_like(residual, -7)], axis=1)
        variance = np.repeat([1.0, 0.0], 200)[None]
        assert np.mean(noise_factors(unmeasured, variance, chi2)) == pytest.approx(1, abs=0.03)

    def test_a_map_of_noise_follows_the_image_and_not_one_voxel(self):
        y, x = np.mgrid[:40, :40]
        mask = np.hypot(y - 20, x - 20) < 19
        true = (4 * np.exp(-((y - 20) ** 2 + (x - 20) ** 2) / 600))[mask]
        chosen = np.arange(mask.sum()) % 3 == 0
        factors = true[chosen] * np.exp(0.14 * np.random.default_rng(2).normal(size=chosen.sum()))
        found = over_the_image(factors, chosen, mask)
        # Averaged over some 50 voxels: 2 % of scatter. At the edge there are neighbours on one side alone, three voxels
        # away on average, where the map is a fifth higher.
        np.testing.assert_allclose(found, true, rtol=0.3)
        strange = factors.copy()
        strange[100] *= 30
        assert over_the_image(strange, chosen, mask)[np.flatnonzero(chosen)[100]] < 1.4 * true[chosen][100]

    def test_a_voxel_far_from_the_sample_has_the_noise_of_the_scan(self):
        mask = np.zeros((60, 60), bool)
        mask[:10, :10] = mask[-1, -1] = True
        chosen = np.arange(101) < 100
        assert over_the_image(np.full(100, 2.0), chosen, mask)[-1] == pytest.approx(2.0)


class TestAllowance:
    def test_errors_relative_to_the_fit_and_leaks_are_found_again(self):
        rng = np.random.default_rng(3)
        fitted = np.repeat(rng.uniform(0, 100, (3000, 1)), 3, axis=1)
        fitted[:1500] = 0.1
        noise = np.ones_like(fitted)
        residual = rng.normal(size=fitted.shape)
        residual[:, 1] += 0.12 * fitted[:, 1] * rng.normal(size=3000)
        typical = np.sqrt((fitted**2).mean(axis=0))
        residual[:1500, 2] += 0.05 * typical[2] * rng.normal(size=1500)
        found = find_allowance(residual, noise, fitted)
        # A quantile of 1500 squares knows an error to 3 %. Without one the quantile is above 0 by its scatter: 0.3 % of
        # fits of 25 and more.
        assert found.own[0] < 0.01
        assert found.own[1] == pytest.approx(0.12, rel=0.1)
        assert found.leaked[2] == pytest.approx(0.05 * typical[2], rel=0.1)
        assert (found.leaked[:2] < 0.01 * typical[:2]).all()

    def test_a_line_that_no_phase_has_is_not_allowed_even_where_all_voxels_have_it(self):
        fitted, noise = np.full((500, 2), 5.0), np.ones((500, 2))
        residual = np.random.default_rng(4).normal(size=fitted.shape) + np.array([0, 50])
        allowed = find_allowance(residual, noise, fitted).variance(fitted)
        assert (50 / np.sqrt(noise + allowed)[:, 1] > 15).all()

    def test_what_few_voxels_tell_is_not_allowed(self):
        fitted, noise = np.full((500, 1), 0.1), np.ones((500, 1))
        fitted[:20] = 100
        residual = np.where(fitted > 1, 20.0, 0.0)
        assert find_allowance(residual, noise, fitted).own[0] == 0

    def test_bins_of_a_line_that_are_off_together_stand_out_no_more_than_one(self, model):
        rng = np.random.default_rng(5)
        noise, allowed = np.ones((400, model.q.size)), np.zeros((400, model.q.size))
        allowed[:, 90:110] = 25.0
        together = rng.normal(size=(400, model.q.size)) + 5 * rng.normal(size=(400, 1)) * (allowed > 0)
        found = largest_excess(model, together, noise, allowed)
        alone = largest_excess(model, rng.normal(size=noise.shape), noise)
        # Largest of 200 normal numbers: 2.7 on average, known to 0.02; 20 bins of them hold one number only.
        assert found.mean() == pytest.approx(alone.mean(), abs=0.15)

    def test_what_lies_below_the_fit_is_no_line(self, model):
        residual = np.zeros((1, model.q.size))
        residual[0, 100] = -50.0
        assert largest_excess(model, residual, np.ones(1)) == pytest.approx(0)
        assert largest_excess(model, -residual, np.ones(1)) > 20


class Knowing(torch.nn.Module):
    """A network that answers the middle of every range with a small width, whatever it is shown."""

    def __init__(self, n_targets):
        super().__init__()
        self.answer = torch.nn.Parameter(torch.tensor([0.0, -3.0]).repeat(n_targets, 1))

    def forward(self, inputs):
        return self.answer.expand(len(inputs), -1, -1)


@pytest.fixture(scope="module")
def ensemble(model):
    """Cells start in the middle of the limits; thresholds of ordinary patterns with exact noise."""
    library = draw_library(model, Recipe(), 2000, np.random.default_rng(0))
    scaling = find_scaling(model, library)
    shape = (len(scaling.targets), 2, 2)
    levels = np.log([1.0, 1000.0])
    even = Calibration(levels, np.tile([1.0, 10.0], (*shape[:2], 1)), np.ones(shape))
    limits = [Threshold(levels, np.full(2, value)) for value in (1.5, 1.3, 4.3)]
    return Ensemble((Knowing(len(scaling.targets)),), scaling, find_components(library.patterns), even, even, *limits)


class TestVolume:
    def test_neither_uneven_noise_nor_what_all_voxels_share_puts_them_out_of_range_but_a_strange_line_does(
        self, model, ensemble
    ):
        rng = np.random.default_rng(6)
        y, x = np.mgrid[:SIZE, :SIZE]
        strange = (y - 6) ** 2 + (x - 17) ** 2 < 8
        parameters = np.tile(model.start, (SIZE * SIZE, 1))
        parameters[:, 0] = DOSE * full_scales(model)[0] * rng.uniform(0.3, 1, SIZE * SIZE)
        parameters[:, model.place("NCA", "a")] = 2.84
        parameters[:, model.place("background", "0")] = 0.1 * DOSE
        clean = model.patterns(parameters).reshape(SIZE, SIZE, -1)
        channels = clean.mean(axis=(0, 1))
        clean[..., np.abs(model.q - 2.6) < 0.06] *= 1.2  # 104, of another structure
        peak = np.exp(-4 * np.log(2) * ((model.q - 2.2) / 0.015) ** 2)
        clean += 0.15 * DOSE * strange[..., None] * peak
        # Twelve times the variance at the centre of that at the edge, as back-projection leaves it.
        factor = 0.5 + 5.5 * np.exp(-((y - 12) ** 2 + (x - 12) ** 2) / 40)
        volume = np.zeros((SIZE, SIZE, Q.size))
        volume[..., model.inside] = clean + rng.normal(size=clean.shape) * np.sqrt(factor[..., None] * channels)
        variance = np.zeros(Q.size)
        variance[model.inside] = channels
        found = predict_volume(ensemble, model, volume, variance=variance, mask_threshold=0.02)
        # 5 % may be called strange; without the map of noise none at the centre was in range, without what voxels share
        # a tenth of all.
        assert found.in_range[~strange].mean() > 0.9
        assert found.in_range[factor > 4].mean() > 0.85
        assert not found.in_range[strange].any()
        # The scale takes half of the 20 %.
        assert 0.05 < found.missed.max() < 0.2

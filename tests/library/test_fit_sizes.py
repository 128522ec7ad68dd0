"""Sizes from small regions of a map where the cell of a phase differs from place to place."""

import numpy as np
import pytest

from support_fit import PIXEL, PROFILE
from xrdct.config import PhaseSetSettings
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.sizes import sizes_of_regions

PHASE_SET = {
    "name": "charged",
    "q_min": 1.16,
    "q_max": 3.36,
    "background_degree": 1,
    "phases": [
        {"name": "NCA", "free": {"a": [2.80, 2.88], "c": [14.1, 14.6]}, "per_voxel": ["a", "c"]},
        {"name": "graphite", "free": {"a": [2.46, 2.47], "c": [6.70, 6.74]}},
    ],
}
CHARGED, DISCHARGED = (2.819, 14.481), (2.851, 14.289)
SIZE_NM, N = 150.0, 32


@pytest.fixture(scope="module")
def cell():
    """Charged but for the lower right quarter, where the cathode has not taken part; noise of 1 % of the peak."""
    model = PatternModel(
        load_phase_set(PhaseSetSettings.model_validate(PHASE_SET)), np.arange(1.0, 3.4, PIXEL), PROFILE
    )
    parameters = np.repeat(model.start[None], N * N, axis=0).reshape(N, N, -1)
    parameters[..., model.place("NCA", "scale")] = 100 / model.units(model.start)[0].max()
    parameters[..., model.place("background", "0")] = 5.0
    parameters[..., model.place("NCA", "1/size")] = 1 / SIZE_NM
    for edge, charged, discharged in zip("ac", CHARGED, DISCHARGED, strict=True):
        parameters[..., model.place("NCA", edge)] = charged
        parameters[N // 2 :, N // 2 :, model.place("NCA", edge)] = discharged
    volume = np.zeros((N, N, model.inside.size))
    clean = model.patterns(parameters.reshape(N * N, -1)).reshape(N, N, -1)
    volume[..., model.inside] = clean + np.random.default_rng(0).normal(0, 1, clean.shape)
    return model, volume


def test_two_states_of_a_phase_do_not_spoil_its_size_and_with_it_its_cell(cell):
    model, volume = cell
    # As in a reconstructed voxel, bins are as noisy as the scan is bright there: the weak lines count.
    variance = np.maximum(volume.mean(axis=(0, 1)), 1)
    found = fit_volume(model, volume, level="quick", variance=variance, mask_threshold=0)
    place = model.place("NCA", "1/size")
    of_the_mean, of_regions = 1 / found.mean.parameters[0, place], 1 / found.voxels.parameters[:, place]
    # The mean pattern's lines are as wide as the two states are apart.
    assert of_the_mean < 0.8 * SIZE_NM
    # A region's mean pattern has a noise of 1/16 %: its size is good to some per cent.
    np.testing.assert_allclose(of_regions, SIZE_NM, rtol=0.05)
    c = found.phase_maps("c")[0]
    charged = np.ones((N, N), bool)
    charged[N // 2 :, N // 2 :] = False
    # 768 and 256 voxels with errors of 1e-3 Å; with the mean pattern's size the means lie 5e-3 and 6e-3 Å off.
    assert abs(c[charged].mean() - CHARGED[1]) < 5e-4
    assert abs(c[~charged].mean() - DISCHARGED[1]) < 5e-4


def test_a_phase_that_no_region_surely_holds_keeps_the_size_of_the_mean_pattern(cell):
    model, _ = cell
    mask = np.ones((N, N), bool)
    noise = np.random.default_rng(1).normal(0, 1, (N * N, model.q.size))
    start = model.start.copy()
    start[model.place("NCA", "1/size")] = 1 / 123
    better = sizes_of_regions(model, noise, mask, start, variance=np.ones(model.q.size))
    np.testing.assert_array_equal(better, start)


def test_a_map_too_small_for_regions_is_left_alone(cell):
    model, volume = cell
    patterns = volume[:8, :8].reshape(64, -1)[:, model.inside]
    better = sizes_of_regions(model, patterns, np.ones((8, 8), bool), model.start)
    np.testing.assert_array_equal(better, model.start)

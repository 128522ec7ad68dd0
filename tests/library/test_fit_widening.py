"""Lines that a sample's depth widens, in patterns that were not reconstructed."""

import numpy as np
import pytest

from support_fit import PIXEL, PROFILE
from xrdct.composition import weight_fractions
from xrdct.config import PhaseSetSettings
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.series import fit_series

Q = np.arange(1.5, 3.0, PIXEL)
PHASE_SET = {
    "name": "stages",
    "q_min": 1.55,
    "q_max": 2.95,
    "phases": [
        {"name": name, "size_nm": 150, "free": {"c": limits}}
        for name, limits in {"LiC6": [3.66, 3.72], "LiC12": [7.0, 7.1], "LiC18": [10.38, 10.54]}.items()
    ],
}
SIZE_NM = 150.0
SHARE = np.array([[0.8, 0.2, 0.0], [0.3, 0.5, 0.2], [0.0, 0.5, 0.5], [0.0, 0.1, 0.9]]).T
"""Of the three stages in four lines."""


def lines_of_depths(model, depths):
    """Noiseless patterns of matter at depths relative to the distance of the detector, shape (n_lines, 1, n_q)."""
    parameters = np.tile(model.start, (SHARE.shape[1], 1))
    parameters[:, model.scale_places] = 100 * SHARE.T
    parameters[:, model.place("background", "0")] = 100.0
    patterns = np.zeros((SHARE.shape[1], 1, Q.size))
    for depth in depths:
        moved = parameters.copy()
        for phase in model.phases.phases:
            for name in "abc":
                moved[:, model.place(phase.name, name)] /= 1 - depth
        patterns[:, 0, model.inside] += model.patterns(moved) / len(depths)
    return patterns


@pytest.mark.parametrize("half", [0.0, 0.002])
def test_the_depth_along_the_beam_is_found_and_stages_that_overlap_keep_their_weights(half):
    model = PatternModel(load_phase_set(PhaseSetSettings.model_validate(PHASE_SET)), Q, PROFILE)
    found = fit_series(model, lines_of_depths(model, np.linspace(-half, half, 41)), level="quick")
    # Of a uniform depth half / √3 is the standard deviation; a Gaussian is not quite its shape.
    assert found.widening == pytest.approx(half / np.sqrt(3) * np.sqrt(8 * np.log(2)), rel=0.1, abs=2e-4)
    weight = weight_fractions(found.lines.phase_maps("scale")[:3, :, 0], model.phases.densities)
    np.testing.assert_allclose(weight, weight_fractions(SHARE + 1e-12, model.phases.densities), atol=0.001)
    # Where depth is put down to size, weights are three times as far off and sizes are 120 nm.
    sizes = [1 / found.lines.voxels.parameters[0, model.place(name, "1/size")] for name in model.phases.names]
    np.testing.assert_allclose(sizes, SIZE_NM, rtol=0.03)

"""DLSR's parts that need no cell: banded matrices, the prior, its weight, and settings that are refused."""

import numpy as np
import pytest
import scipy.sparse as sp

from xrdct.config import Config, validate
from xrdct.dlsr.banded import Banded
from xrdct.dlsr.hold_out import _least
from xrdct.dlsr.newton import Problem
from xrdct.errors import ConfigError

MINIMAL = {
    "detector": {"name": "Pilatus CdTe 2M"},
    "beam": {"energy_kev": 95},
    "calibrate": {"frame": "x.cbf"},
    "reconstruct": {"method": "sirt", "parallax": "dlsr"},
    "windows": {"preset": "lithiated-graphite"},
}


@pytest.mark.parametrize("shape", [(596, 196), (150, 400), (30, 40)])
def test_a_band_is_multiplied_like_the_whole_matrix_there_and_back(shape):
    rng = np.random.default_rng(0)
    distance = np.arange(shape[0])[:, None] / shape[0] - np.arange(shape[1]) / shape[1]
    matrix = rng.normal(size=shape) * (np.abs(distance) < 0.06)
    x, y = rng.normal(size=(3, 5, shape[0])), rng.normal(size=(3, 5, shape[1]))
    band = Banded(matrix)
    np.testing.assert_allclose(band.of(x), x @ matrix, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(band.transposed(y), y @ matrix.T, rtol=1e-6, atol=1e-9)


class TestPrior:
    @pytest.fixture
    def steps(self):
        """Problems of a smooth and of a flat-and-steep prior on a chain of voxels, one unit apart."""
        rows = sp.diags_array([-np.ones(49), np.ones(49)], offsets=[0, 1], shape=(49, 50)).tocsr()
        return [Problem(None, None, None, None, None, rows, 1.0, edges) for edges in (False, True)]

    def test_an_edge_costs_its_height_or_the_square_of_it(self, steps):
        def cost(problem, height):
            return problem.differences(height * (np.arange(50) > 20.0))[0].sum()

        smooth, total_variation = steps
        assert cost(smooth, 20.0) / cost(smooth, 10.0) == pytest.approx(4)
        assert cost(total_variation, 2000.0) / cost(total_variation, 1000.0) == pytest.approx(2, rel=1e-2)
        assert cost(total_variation, 0.01) == pytest.approx(cost(smooth, 0.01), rel=1e-3)

    def test_its_curvature_lies_above_it_and_touches_it(self, steps):
        rng = np.random.default_rng(0)
        for problem in steps:
            d, other = rng.normal(0, 3, (2, 50))
            (cost, share), there = problem.differences(d), problem.differences(other)[0]
            rough = problem.roughness @ np.stack([d, other], axis=1)
            parabola = cost + share * (rough[:, 1] ** 2 - rough[:, 0] ** 2)
            assert np.all(there <= parabola + 1e-9)


def test_the_weight_lies_between_two_that_predict_alike():
    assert _least({30.0: 1.5, 3.0: 1.4, 0.3: 1.4}) == pytest.approx(3 / 10**0.5)
    assert _least({30.0: 1.5, 3.0: 1.4, 0.3: 1.5}) == pytest.approx(3)
    assert _least({3.0: 1.4, 0.3: 1.5}) == 3.0


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="dlsr refines a fit"):
        validate(MINIMAL)
    with pytest.raises(ConfigError, match=r"denoise\.apply reconstructs without parallax"):
        validate(MINIMAL | {"fit": {"preset": "nca-8"}, "denoise": {"apply": True}})
    with pytest.raises(ConfigError, match=r"dlsr\.phases: Fe has free cell"):
        validate(MINIMAL | {"fit": {"preset": "nca-8"}, "dlsr": {"phases": ["Fe"]}})
    assert isinstance(validate(MINIMAL | {"fit": {"preset": "nca-8"}}), Config)

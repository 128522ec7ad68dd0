"""Attenuation of materials, and maps of it from scales of phases."""

import numpy as np
import pytest
import xraydb

from xrdct.absorption.attenuation import compare_maps, mu_map, mu_without_pores, weight_fractions
from xrdct.absorption.material import composition_of, linear_attenuation, mass_attenuation
from xrdct.errors import AttenuationError, ConfigError


def test_steel_and_graphite_weaken_as_the_nist_tables_say():
    # NIST XCOM at 100 keV: Fe 0.3717, C 0.1514 cm²/g; the Elam tables follow within half a percent.
    assert mass_attenuation({"Fe": 1}, 100.0) == pytest.approx(0.3717, rel=0.01)
    assert mass_attenuation({"C": 6}, 100.0) == pytest.approx(0.1514, rel=0.01)


def test_a_compound_weakens_as_another_routine_of_the_tables_says():
    formula, density = "LiNi0.8Co0.15Al0.05O2", 4.74
    found = linear_attenuation([density], [composition_of(formula)], 95.0)
    assert found[0] == pytest.approx(xraydb.material_mu(formula, 95e3, density=density) / 10, rel=1e-6)


@pytest.mark.parametrize("composition", [{"Xx": 1}, {}, {"Fe": -1}, {"Fe": np.nan}, {"Fe": 0}])
def test_matter_of_no_known_elements_is_refused(composition):
    with pytest.raises(ConfigError, match="composition"):
        mass_attenuation(composition, 95.0)


def test_text_that_is_no_formula_is_refused():
    with pytest.raises(ConfigError, match="no chemical formula"):
        composition_of("Qz3(")


def test_the_energy_must_be_tabulated_and_the_density_positive():
    with pytest.raises(ConfigError, match="keV"):
        mass_attenuation({"Fe": 1}, 5000.0)
    with pytest.raises(ConfigError, match="density"):
        linear_attenuation([0.0], [{"Fe": 1}], 95.0)


def test_pores_are_filled_and_extra_matter_is_added():
    scales = np.zeros((2, 2, 2))
    scales[:, 0, 0] = 1.0, 2.0  # K = 0.25: fractions 0.25 and 0.5, a quarter is pore
    found = mu_map(scales, np.array([0.4, 0.2]), 0.25, fill=0.02, extra=0.001)
    np.testing.assert_allclose(found, [[0.1 + 0.1 + 0.005 + 0.001, 0.021], [0.021, 0.021]], rtol=1e-12)


def test_crystals_cannot_fill_more_than_their_voxel():
    found = mu_map(np.full((2, 1, 1), 3.0), np.array([0.4, 0.2]), 0.5, fill=0.02)
    np.testing.assert_allclose(found, [[0.3]])


def test_weight_fractions_are_undefined_in_voids_and_the_papers_map_takes_every_voxel_for_full():
    scales = np.zeros((2, 2, 2))
    scales[:, 0, 0] = 0.3, 0.1
    densities, pure = np.array([8.0, 2.0]), np.array([0.32, 0.04])
    weights = weight_fractions(scales, densities)
    np.testing.assert_allclose(weights[:, 0, 0], [2.4 / 2.6, 0.2 / 2.6])
    assert np.isnan(weights[:, 1, 1]).all()
    papers = mu_without_pores(scales, pure, densities)
    np.testing.assert_allclose(papers, [[0.75 * 0.32 + 0.25 * 0.04, 0], [0, 0]])
    assert compare_maps(mu_map(scales, pure, 1.0), papers)["mean_mu_papers"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite"), (-1e-3, "negative")], ids=["not a number", "negative"]
)
def test_scales_that_are_no_volumes_are_refused(value, message):
    scales = np.ones((1, 4, 4))
    scales[0, 2, 3] = value
    with pytest.raises(AttenuationError, match=f"{message}.*row 2, column 3"):
        mu_map(scales, np.ones(1), 1.0)


@pytest.mark.parametrize("shape", [(2, 4, 4), (1, 4, 5), (4, 4)])
def test_scale_maps_of_another_shape_are_refused(shape):
    with pytest.raises(AttenuationError, match="scale maps"):
        mu_map(np.ones(shape), np.ones(1), 1.0)

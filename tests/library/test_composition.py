"""What a phase is made of, against chemistry's own numbers and closed forms."""

import numpy as np
import pytest
import xraydb

from xrdct.composition import cell_contents, density, element_fractions, molar_mass, weight_fractions
from xrdct.errors import ConfigError
from xrdct.phases import STRUCTURES, read_structure
from xrdct.twin.structures import read_crystal

NAMES = sorted(path.stem for path in STRUCTURES.glob("*.cif"))


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_holds_the_atoms_that_all_images_of_its_sites_make(name):
    crystal, contents = read_crystal(name), cell_contents(read_structure(name))
    for element in set(crystal.elements):
        counted = sum(o for e, o in zip(crystal.elements, crystal.occupancy, strict=True) if e == element)
        assert contents[element] == pytest.approx(counted, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "expected"),  # g/cm³, handbooks (fluorapatite: mineral data of the cell that the file cites)
    [
        ("Fe", 7.874),
        ("Cu", 8.935),
        ("Al", 2.699),
        ("Si", 2.329),
        ("CeO2", 7.215),
        ("graphite", 2.26),
        ("FAP", 3.18),
        ("LFP", 3.60),
        ("FP", 3.68),
        ("polyethylene", 1.00),
    ],
)
def test_densities_are_those_of_the_handbooks(name, expected):
    structure = read_structure(name)
    # 1 %: handbooks differ by this much for graphite and polymers.
    assert density(cell_contents(structure), structure.cell.volume) == pytest.approx(expected, rel=0.01)


def test_masses_are_those_of_another_table():
    contents = cell_contents(read_structure("LFP"))
    other = {element: n * xraydb.atomic_mass(element) for element, n in contents.items()}
    # 3e-4: tables round the atomic weight of lithium, which varies in nature, to 6.94 or 6.941.
    assert molar_mass(contents) == pytest.approx(sum(other.values()), rel=3e-4)
    for element, share in element_fractions(contents).items():
        assert share == pytest.approx(other[element] / sum(other.values()), rel=3e-4)


def test_weight_fractions_equal_hill_and_howards_from_scales_without_the_volume():
    rng = np.random.default_rng(0)
    structures = [read_structure(name) for name in ("NCA", "LiC6", "Cu")]
    volume = np.array([s.cell.volume for s in structures])
    zm = np.array([molar_mass(cell_contents(s)) for s in structures])
    rho = np.array([density(cell_contents(s), s.cell.volume) for s in structures])
    scales = rng.uniform(0, 1, (3, 4, 5))
    s_zmv = (scales / volume[:, None, None] ** 2) * (zm * volume)[:, None, None]
    np.testing.assert_allclose(weight_fractions(scales, rho), s_zmv / s_zmv.sum(axis=0), rtol=1e-12)


def test_a_void_has_no_composition_and_a_voxel_without_fit_stays_unknown():
    scales = np.array([[1.0, 0.0, np.nan], [1.0, 0.0, 1.0]])
    found = weight_fractions(scales, [1.0, 3.0])
    np.testing.assert_allclose(found[:, 0], [0.25, 0.75])
    assert np.isnan(found[:, 1:]).all()


@pytest.mark.parametrize(
    ("scales", "densities", "message"),
    [([[1.0], [1.0]], [1.0], "each of 2"), ([[1.0]], [0.0], "positive"), ([[-0.5]], [1.0], "found -0.5")],
)
def test_densities_of_other_phases_and_negative_scales_are_refused(scales, densities, message):
    with pytest.raises(ConfigError, match=message):
        weight_fractions(scales, densities)

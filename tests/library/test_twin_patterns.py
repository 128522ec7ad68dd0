"""Structure factors, line shapes and patterns of the twin, against closed forms and independent sums."""

import numpy as np
import pytest
import xraydb
from scipy.integrate import quad
from scipy.spatial.distance import pdist
from scipy.special import voigt_profile

from xrdct.errors import ConfigError
from xrdct.twin.parameters import Amorphous, Instrument, LatticeParameters
from xrdct.twin.patterns import (
    amorphous_pattern,
    broaden,
    crystal_pattern,
    lattice_of,
    material_patterns,
    pseudo_voigt,
    q_grid,
    widen,
)
from xrdct.twin.structures import Lines, diffuse, form_factor, metric_tensor, powder_lines, read_crystal

NARROW = Instrument(fwhm=0.01, eta=0.1, size_nm=1e6)


def fwhm(x, y):
    """Full width at half maximum by linear interpolation."""
    above = np.flatnonzero(y >= y.max() / 2)
    edges = [
        np.interp(y.max() / 2, y[[i, j]], x[[i, j]]) for i, j in ((above[0] - 1, above[0]), (above[-1] + 1, above[-1]))
    ]
    return edges[1] - edges[0]


@pytest.mark.parametrize("element", ["Li", "C", "O", "Al", "Fe", "Ni", "Cu", "Ce"])
def test_form_factors_agree_with_another_table(element):
    q = np.linspace(0, 8, 33)
    # Waasmaier and Kirfel against the International Tables: 1 % of the electrons at most.
    electrons = form_factor(element, np.zeros(1))[0]
    np.testing.assert_allclose(form_factor(element, q), xraydb.f0(element, q / (4 * np.pi)), atol=0.01 * electrons)


def test_cells_have_as_many_atoms_as_their_formula_and_space_group_say():
    counts = {"Fe": 2, "Cu": 4, "CeO2": 12, "graphite": 4, "LiC6": 7, "LiC12": 13, "beta-FeSi2": 48, "NCA": 3 * 6}
    for name, n in counts.items():
        assert len(read_crystal(name).elements) == n, name
    nca = read_crystal("NCA")
    metals = [occ for element, occ in zip(nca.elements, nca.occupancy, strict=True) if element in ("Ni", "Co", "Al")]
    assert sum(metals) == pytest.approx(3)


def test_the_metric_tensor_gives_the_volume_of_an_oblique_cell():
    alpha, beta, gamma = np.radians([80, 95, 110])
    root = 1 - np.cos(alpha) ** 2 - np.cos(beta) ** 2 - np.cos(gamma) ** 2
    root += 2 * np.cos(alpha) * np.cos(beta) * np.cos(gamma)
    volume = np.sqrt(np.linalg.det(metric_tensor(np.array([3, 4, 5, 80, 95, 110]))))
    assert volume == pytest.approx(60 * np.sqrt(root), rel=1e-12)


def test_the_intensity_of_copper_111_is_eight_times_four_atoms_squared():
    copper = read_crystal("Cu")
    lines = powder_lines(copper, 3.2)
    assert lines.q == pytest.approx([2 * np.pi * 3**0.5 / 3.615], rel=1e-9)
    f2 = (4 * form_factor("Cu", lines.q) * np.exp(-0.55 * (lines.q / (4 * np.pi)) ** 2)) ** 2
    assert lines.intensity == pytest.approx(8 * f2 / (3.615**3 * lines.q) ** 2, rel=1e-9)


def test_the_powder_average_scatters_as_much_as_debyes_sum_over_a_small_sphere():
    a, radius = 3.615, 16.0
    cell = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3), axis=-1).reshape(-1, 3)
    atoms = np.concatenate([cell + offset for offset in ([0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5])]) * a
    atoms = atoms[np.linalg.norm(atoms, axis=1) < radius]
    q = np.arange(2.3, 4.2, 0.02)
    number, edges = np.histogram(pdist(atoms), bins=2000)
    distance = (edges[1:] + edges[:-1]) / 2
    debye = len(atoms) + 2 * np.sinc(np.outer(q, distance) / np.pi) @ number
    debye *= form_factor("Cu", q) ** 2 / (len(atoms) * a**3 / 4)
    still = read_crystal("Cu")
    still = type(still)(still.cell, still.elements, still.positions, still.occupancy, np.zeros(4))
    lines = powder_lines(still, 4.2)  # 111 and 200
    expected = 2 * np.pi**2 * lines.intensity.sum()
    # Tails of the neighbouring lines and the surface of a sphere of 1500 atoms: a few percent.
    assert np.trapezoid(debye, q) == pytest.approx(expected, rel=0.05)


def test_diffuse_scattering_grows_from_nothing_to_that_of_free_atoms():
    copper = read_crystal("Cu")
    forward, far = diffuse(copper, np.array([0.0, 20.0]))
    assert abs(forward) < 1e-3 * far  # f(0) of the table is 28.997
    f = xraydb.f0("Cu", 20 / (4 * np.pi))[0]
    # exp(−2 B s²) is 0.06 there: nearly all coherent scattering is diffuse, beside Raman's Z − f²/Z electrons.
    assert far == pytest.approx((29 - f**2 / 29 + f**2) * 4 / 3.615**3, rel=0.03)


@pytest.mark.parametrize("eta", [0, 0.1, 0.7, 1])
def test_a_pseudo_voigt_has_unit_area_and_its_own_width(eta):
    area, _ = quad(lambda x: 2 * pseudo_voigt(np.array(x), 0.02, eta), 0, np.inf, points=None)
    assert area == pytest.approx(1, rel=1e-6)
    x = np.linspace(-0.1, 0.1, 20001)
    assert fwhm(x, pseudo_voigt(x, 0.02, eta)) == pytest.approx(0.02, rel=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("lorentzian", [0.0, 0.004, 0.02])
def test_widening_is_convolution_with_a_lorentzian(eta, lorentzian):
    width, shape = widen(0.012, eta, lorentzian)
    x = np.arange(-60000, 60001) * 1e-5
    line = pseudo_voigt(x, 0.012, eta)
    if lorentzian:
        line = eta * voigt_profile(x, 0, (0.012 + lorentzian) / 2)
        line += (1 - eta) * voigt_profile(x, 0.012 / np.sqrt(8 * np.log(2)), lorentzian / 2)
    # Thompson, Cox and Hastings' series: the width within 1 %, the height within 2 %.
    assert width == pytest.approx(fwhm(x, line), rel=0.01)
    assert pseudo_voigt(np.zeros(1), width, shape)[0] == pytest.approx(line.max(), rel=0.02)


@pytest.mark.parametrize(("centre", "area"), [(1.5, 2.0), (3.0, 5.0)])
def test_lines_keep_their_area_and_place(centre, area):
    q = q_grid(4.5)
    pattern = broaden(Lines(np.array([centre]), np.array([area])), q, instrument=NARROW, size_nm=150)
    near = np.abs(q - centre) < 0.7
    # The Lorentzian holds 1 % of its area beyond 0.7 1/Å, some 40 FWHM.
    assert np.trapezoid(pattern[near], q[near]) == pytest.approx(area, rel=0.01)
    assert np.sum(q[near] * pattern[near]) / np.sum(pattern[near]) == pytest.approx(centre, abs=1e-4)


def test_tails_fall_smoothly_over_the_whole_pattern():
    iron = Lines(np.array([3.1]), np.array([1.0]))
    q = q_grid(3.4)
    pattern = broaden(iron, q, instrument=NARROW, size_nm=80)
    below = pattern[q < 3.1]
    # A Lorentzian tail grows towards its line by 2·Q_STEP/distance from sample to sample: 2 % at 0.05 1/Å, less beyond.
    growth = np.diff(below[q[q < 3.1] < 3.05]) / below[q[q < 3.1] < 3.05][:-1]
    assert np.all(below > 0)
    assert growth.min() > 0
    assert growth.max() < 0.025


def test_a_line_just_beyond_the_pattern_reaches_into_it():
    copper = read_crystal("Cu")
    q_200 = 4 * np.pi / 3.615
    full, cut = q_grid(5.0), q_grid(q_200 - 0.05)
    settings = {"instrument": NARROW, "size_nm": 150}
    expected = crystal_pattern(copper, full, **settings)[: cut.size]
    near = cut > q_200 - 0.07
    # Lines that even the shorter grid leaves out are 1 1/Å away: under 1e-3 of the 200 line's own tail here.
    np.testing.assert_allclose(crystal_pattern(copper, cut, **settings)[near], expected[near], rtol=1e-3)


def test_small_crystallites_broaden_by_scherrers_formula():
    lines, q = Lines(np.array([2.0]), np.array([1.0])), q_grid(4)
    sharp = Instrument(fwhm=1e-3, eta=1)  # Lorentzian widths add
    pattern = broaden(lines, q, instrument=sharp, size_nm=20)
    assert fwhm(q, pattern) == pytest.approx(1e-3 + 0.9 * 2 * np.pi / 200, rel=0.01)


def test_the_instrument_broadens_relatively_more_at_large_q():
    lines, q = Lines(np.array([1.0, 4.0]), np.array([1.0, 1.0])), q_grid(6)
    pattern = broaden(lines, q, instrument=Instrument(fwhm=0.01, fwhm_slope=0.005, eta=0), size_nm=1e6)
    for centre in lines.q:
        near = np.abs(q - centre) < 0.3
        assert fwhm(q[near], pattern[near]) == pytest.approx(np.hypot(0.01, 0.005 * centre), rel=0.01)


def test_a_pattern_is_lines_on_diffuse_scattering():
    copper, q = read_crystal("Cu"), q_grid(3.3)
    pattern = crystal_pattern(copper, q, instrument=NARROW, size_nm=1e6) - diffuse(copper, q)
    expected = 2 * np.pi**2 * powder_lines(copper, 3.3).intensity.sum()
    assert np.trapezoid(pattern, q) == pytest.approx(expected, rel=0.01)


def test_the_separator_is_a_halo_on_compton_scattering():
    material = Amorphous(q=1.525, fwhm=0.03, height=25, electrons=0.33)
    at = amorphous_pattern(material, np.array([0, 1.51, 1.525, 1.54, 30]))
    halo = at - amorphous_pattern(material.model_copy(update={"height": 0}), np.array([0, 1.51, 1.525, 1.54, 30]))
    np.testing.assert_allclose(halo, [0, 12.5, 25, 12.5, 0], atol=1e-9)
    assert at[0] == pytest.approx(0, abs=1e-9)
    assert at[-1] == pytest.approx(0.33)


@pytest.mark.parametrize(
    ("phase", "own", "expected"),
    [
        ("NCA", {"a": 2.82, "c": 14.48}, (2.82, 2.82, 14.48, 90, 90, 120)),
        ("NCA", {"c": 14.48}, (2.8616, 2.8616, 14.48, 90, 90, 120)),
        ("Cu", {"a": 3.7}, (3.7, 3.7, 3.7, 90, 90, 90)),
        ("alpha-FeSi2", {"a": 2.7}, (2.7, 2.7, 5.134, 90, 90, 90)),
        ("beta-FeSi2", {"a": 9.9}, (9.9, 7.791, 7.833, 90, 90, 90)),
        ("beta-FeSi2", {}, (9.863, 7.791, 7.833, 90, 90, 90)),
    ],
)
def test_a_states_cell_keeps_what_symmetry_makes_equal(phase, own, expected):
    assert lattice_of(phase, {phase: LatticeParameters(**own)}) == pytest.approx(expected)


def test_a_cubic_phase_has_no_c_of_its_own():
    with pytest.raises(ConfigError, match="Cu: the phase is cubic"):
        lattice_of("Cu", {"Cu": LatticeParameters(c=3.7)})


def test_a_longer_c_axis_moves_the_003_line_of_that_material_only():
    q = q_grid(1.6)
    settings = {"instrument": NARROW, "amorphous": {"glue": Amorphous(q=1.5, fwhm=0.3, height=1, electrons=0.3)}}
    before = material_patterns(["NCA", "glue", "graphite"], q, lattice={}, **settings)
    after = material_patterns(["NCA", "glue", "graphite"], q, lattice={"NCA": LatticeParameters(c=14.481)}, **settings)
    assert q[before[0].argmax()] == pytest.approx(6 * np.pi / 14.2315, abs=3e-4)  # grid of 5e-4
    assert q[after[0].argmax()] == pytest.approx(6 * np.pi / 14.481, abs=3e-4)
    np.testing.assert_array_equal(before[1:], after[1:])

"""Structures and powder lines, held against closed forms, brute force and the twin's independent sums."""

import re
from itertools import product

import numpy as np
import pytest
import xraydb

from xrdct.errors import ConfigError
from xrdct.phases import STRUCTURES, line_list, read_structure, structure_path
from xrdct.twin import structures
from xrdct.twin.structures import metric_tensor, powder_lines, read_crystal

NAMES = sorted(path.stem for path in STRUCTURES.glob("*.cif"))
Q_MIN, Q_MAX = 0.3, 7.0


def grouped(lines):
    """q and intensity summed over orbits that share a q; extinct lines dropped."""
    present = lines.intensity > 1e-9 * lines.intensity.max()
    q, intensity = lines.q[present], lines.intensity[present]
    starts = np.flatnonzero(np.diff(q, prepend=-1) > 1e-6)
    return q[starts], np.add.reduceat(intensity, starts)


@pytest.mark.parametrize("name", NAMES)
def test_lines_agree_with_a_sum_over_all_atoms_and_all_reflections(name):
    q, intensity = grouped(line_list(read_structure(name), Q_MIN, Q_MAX))
    brute = powder_lines(read_crystal(name), Q_MAX)
    inside = brute.q >= Q_MIN
    np.testing.assert_allclose(q, brute.q[inside], atol=1e-9)
    # 1e-6 of the strongest line: CIFs write 1/3 with eight digits, form factors are single precision in gemmi.
    np.testing.assert_allclose(intensity, brute.intensity[inside], atol=1e-6 * brute.intensity.max())


@pytest.mark.parametrize("name", NAMES)
def test_multiplicities_count_the_orbit_of_each_reflection(name):
    structure = read_structure(name)
    rotations = [np.array(op.rot) // 24 for op in structure.spacegroup.operations().sym_ops]
    lines = line_list(structure, Q_MIN, 5.0)
    for hkl, multiplicity in zip(lines.hkl, lines.multiplicity, strict=True):
        images = [sign * hkl @ rotation for rotation in rotations for sign in (1, -1)]
        assert len({tuple(image) for image in images}) == multiplicity, hkl


@pytest.mark.parametrize("name", NAMES)
def test_spacings_are_those_of_the_cell(name):
    structure = read_structure(name)
    lines = line_list(structure, Q_MIN, Q_MAX)
    h, k, l = lines.hkl.T  # noqa: E741 - hkl are the field's letters
    cell = structure.cell
    if structure.spacegroup.crystal_system_str() in ("hexagonal", "trigonal"):
        inverse_square = 4 / 3 * (h**2 + h * k + k**2) / cell.a**2 + l**2 / cell.c**2
    else:
        inverse_square = h**2 / cell.a**2 + k**2 / cell.b**2 + l**2 / cell.c**2
    np.testing.assert_allclose(lines.d, inverse_square**-0.5, rtol=1e-12)
    np.testing.assert_allclose(lines.q, 2 * np.pi * inverse_square**0.5, rtol=1e-12)
    assert (np.diff(lines.q) >= 0).all()


@pytest.mark.parametrize(
    ("name", "hkl", "low", "high"),
    [  # windows of the lines in the NCA 18650 paper (Vamvakeros et al.), 1/Å, from their ranges of c
        ("LiC6", (0, 0, 1), 1.7005, 1.7120),
        ("LiC12", (0, 0, 2), 1.7749, 1.7875),
        ("LiC18", (0, 0, 3), 1.8003, 1.8046),
        ("LiC30", (0, 0, 6), 1.8155, 1.8301),
        ("LiC30plus", (0, 0, 6), 1.8480, 1.8557),
        ("graphite", (0, 0, 2), 1.8646, 1.8658),
    ],
)
def test_the_strongest_line_of_each_stage_lies_where_the_literature_has_it(name, hkl, low, high):
    lines = line_list(read_structure(name), 1.6, 2.2)
    strongest = np.argmax(lines.intensity)
    assert tuple(np.abs(lines.hkl[strongest])) == hkl
    assert low <= lines.q[strongest] <= high


@pytest.mark.parametrize(
    ("name", "hkl"), [("Fe", (1, 0, 0)), ("Cu", (1, 1, 0)), ("graphite", (0, 0, 1)), ("NCA", (0, 0, 1))]
)
def test_reflections_that_symmetry_forbids_are_not_there(name, hkl):
    assert not (np.abs(line_list(read_structure(name), 0.2, 4).hkl) == hkl).all(axis=1).any()


@pytest.mark.parametrize(("name", "element", "b"), [("Cu", "Cu", 0.55), ("Al", "Al", 0.85)])
def test_structure_factors_of_face_centred_metals_are_four_atoms_damped_by_their_thermal_motion(name, element, b):
    lines = line_list(read_structure(name), 2.5, 6.0)
    s = lines.q / (4 * np.pi)
    expected = (4 * xraydb.f0(element, s) * np.exp(-b * s**2)) ** 2
    # xraydb has Waasmaier and Kirfel's form factors, gemmi those of the International Tables: 1 % apart at most.
    np.testing.assert_allclose(lines.f2, expected, rtol=0.01)
    volume = read_structure(name).cell.volume
    np.testing.assert_allclose(lines.intensity, lines.multiplicity * lines.f2 / (volume * lines.q) ** 2, rtol=1e-12)


def test_another_cell_moves_the_lines_and_leaves_the_structure_as_it_was():
    structure = read_structure("NCA")
    before = line_list(structure, 1, 3)
    moved = line_list(structure, 1, 3, cell=(2.819, 2.819, 14.481, 90, 90, 120))
    assert moved.q[0] == pytest.approx(6 * np.pi / 14.481, rel=1e-12)
    np.testing.assert_array_equal(line_list(structure, 1, 3).q, before.q)


def test_the_limits_of_the_range_belong_to_it():
    q = 2 * np.pi / 3.615 * np.sqrt(3)
    assert len(line_list(read_structure("Cu"), q * (1 - 1e-9), q * (1 + 1e-9))) == 1
    assert len(line_list(read_structure("Cu"), q * 1.001, q * 1.1)) == 0


@pytest.mark.parametrize(("q_min", "q_max"), [(2, 1), (1, 1), (-1, 2)])
def test_a_range_without_extent_is_refused(q_min, q_max):
    with pytest.raises(ConfigError, match="q_min < q_max"):
        line_list(read_structure("Cu"), q_min, q_max)


@pytest.mark.parametrize("name", NAMES)
def test_every_structure_says_where_it_comes_from_and_how_sure_it_is(name):
    header = structure_path(name).read_text(encoding="utf-8").split("data_")[0]
    assert all(line.startswith("# ") for line in header.splitlines())
    origin, confidence = " ".join(line.removeprefix("# ") for line in header.splitlines()).split("Confidence: ")
    assert len(origin.split()) > 5
    assert re.search(r"\b(high|good|fair|low|as \w+)\b", confidence)


GOOD = "NCA"
BROKEN = {
    "not a readable CIF: the file is empty": lambda text: "",
    "not a readable CIF": lambda text: "counts of a frame\n",
    "no space group": lambda text: text.replace("_space_group_name_H-M_alt 'R -3 m:H'\n", ""),
    "unknown space group 'Q 7'": lambda text: text.replace("R -3 m:H", "Q 7"),
    "no unit cell": lambda text: text.replace("_cell_length_c 14.2315\n", ""),
    "no atoms": lambda text: text.split("loop_")[0],
    "atom 'Ni1' is of no known element": lambda text: text.replace("Ni1 Ni", "Ni1 Qq"),
    "atom 'O1' lacks a number": lambda text: text.replace("0.2415", "?"),
    r"Ni1 0.9 \+ Co1 0.15 \+ Al1 0.05": lambda text: text.replace("0.5 0.8 0.4", "0.5 0.9 0.4"),
    "O1 1.2, not between 0 and 1": lambda text: text.replace("0.2415 1 0.8", "0.2415 1.2 0.8"),
    "Li1 -1": lambda text: text.replace("Li1 Li 0 0 0 1 1", "Li1 Li 0 0 0 -1 1"),
}


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("read", [read_structure, read_crystal])
def test_a_structure_without_what_it_needs_is_refused_with_its_name(tmp_path, read, message):
    path = tmp_path / "mine.cif"
    path.write_text(BROKEN[message](structure_path(GOOD).read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ConfigError, match=f"mine.cif: .*{message}"):
        read(str(path))


def test_a_structure_of_ones_own_is_read_by_its_path(tmp_path):
    path = tmp_path / "mine.cif"
    path.write_text(structure_path("Cu").read_text(encoding="utf-8"), encoding="utf-8")
    np.testing.assert_array_equal(line_list(read_structure(str(path)), 1, 4).q, line_list(read_structure("Cu"), 1, 4).q)


def test_an_unknown_structure_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"LiC7\.cif: no such structure.*LiC6"):
        read_structure("LiC7")


BONDS = {  # Å, nearest pairs: tables of ionic and covalent radii, and the spread of structures of the kind
    "O-P": (1.48, 1.60),
    "C-C": (1.40, 1.56),
    "C-H": (1.05, 1.13),
    "C-Li": (2.2, 2.4),
    "Fe-Si": (2.25, 2.5),
    "Si-Si": (2.33, 2.6),
    "Ni-O": (1.85, 2.02),
    "Mn-O": (1.85, 2.02),
    "Li-O": (2.0, 2.2),
    "Fe-O": (1.85, 2.2),
    "Ca-O": (2.25, 2.6),
    "Ca-F": (2.25, 2.4),
    "Ce-O": (2.3, 2.4),
    "O-O": (2.35, 2.9),
    "Cu-Cu": (2.4, 2.7),
    "Al-Al": (2.75, 2.95),
    "Fe-Fe": (2.4, 4.0),
}


@pytest.mark.parametrize("name", NAMES)
def test_atoms_are_as_far_apart_as_chemistry_has_them(name):
    found = _shortest(read_crystal(name))
    assert min(found.values()) > 1.0
    for pair, distance in found.items():
        low, high = BONDS.get(pair, (1.0, 9.0))
        # An alloy's or a mixed site's like neighbours are further apart than in the metal; none is closer.
        assert low <= distance, pair
        assert distance <= high or pair in ("Al-Al", "Cu-Cu"), pair


def _shortest(crystal):
    """Shortest distance of each pair of elements, Å; atoms that share a site do not count."""
    metric = metric_tensor(crystal.cell)
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    offsets = crystal.positions[:, None] - crystal.positions
    offsets = (offsets - np.round(offsets))[:, :, None] + shifts
    distance = np.sqrt(np.einsum("abci,ij,abcj->abc", offsets, metric, offsets))
    nearest = np.where(distance > 0.05, distance, np.inf).min(axis=2)
    found = {}
    for (i, one), (j, two) in product(enumerate(crystal.elements), repeat=2):
        pair = "-".join(sorted((one, two)))
        found[pair] = min(found.get(pair, np.inf), nearest[i, j])
    return found


@pytest.mark.parametrize("name", [name for name in NAMES if name != "polyethylene"])
def test_intensities_agree_with_those_of_other_form_factors(name, monkeypatch):
    """Without polyethylene: gemmi's hydrogen is the contracted atom of a bond, xraydb's the free one, 11 % apart."""
    q, intensity = grouped(line_list(read_structure(name), Q_MIN, Q_MAX))
    # Waasmaier and Kirfel's analytical form factors, an independent fit of the same free atoms.
    monkeypatch.setattr(structures, "form_factor", lambda element, q: xraydb.f0(element, q / (4 * np.pi)))
    brute = powder_lines(read_crystal(name), Q_MAX)
    expected = np.interp(q, brute.q, brute.intensity)
    ours, other = intensity * q**2, expected * q**2
    # Without 1/q², which would hide weak errors at high q under the first line.
    np.testing.assert_allclose(ours, other, atol=0.005 * other.max())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "polyethylene"])
@pytest.mark.filterwarnings("default")
def test_intensities_are_those_of_dans_diffraction(name):
    """Without polyethylene, whose setting P n a m is not in that program's list of space groups."""
    other = pytest.importorskip("Dans_Diffraction", reason="the oracle Dans_Diffraction is not installed")
    crystal = other.Crystal(str(structure_path(name)))
    crystal.Scatter.setup_scatter(scattering_type="xray", output=False)
    lines = line_list(read_structure(name), Q_MIN, Q_MAX)
    expected = lines.multiplicity * crystal.Scatter.intensity(lines.hkl, scattering_type="xray") / lines.q**2
    # Half a percent of the strongest line is asked for; measured: below 1e-6 of it, the form factors being the same.
    np.testing.assert_allclose(lines.multiplicity * lines.f2 / lines.q**2, expected, atol=1e-4 * expected.max())

"""Phase sets: the papers' presets hold together, lines follow their cells, and mistakes are named."""

import gemmi
import numpy as np
import pytest

from xrdct.config import PhaseSetSettings
from xrdct.config.fit import PHASE_SETS, Fit, read_preset
from xrdct.errors import ConfigError
from xrdct.fit.cells import CELLS, cell_system, full_cell, independent_parameters, line_positions, stretch
from xrdct.fit.phase_set import load_phase_set
from xrdct.phases import line_list, read_structure, structure_path

PRESETS = sorted(path.stem for path in PHASE_SETS.glob("*.yaml"))
CELL = {"a": 5.1, "b": 6.3, "c": 7.7, "alpha": 83.0, "beta": 104.0, "gamma": 97.0}
HKL = np.array([[1, 0, 0], [0, 2, 1], [1, -1, 3], [2, 1, -1], [-1, 2, 2]])


def phase_set(*phases, q_min=1.16, q_max=3.82, **more):
    return PhaseSetSettings.model_validate({"name": "mine", "q_min": q_min, "q_max": q_max, "phases": phases, **more})


def test_every_preset_can_be_chosen_and_every_file_is_a_preset():
    names = Fit.model_fields["preset"].annotation.__args__[0].__args__
    assert sorted(names) == PRESETS
    assert Fit(preset="nca-8").chosen() == read_preset("nca-8")
    assert Fit().chosen() is None


@pytest.mark.parametrize(
    ("preset", "n", "q_min", "q_max"),  # NCA 18650 paper: number of phases and q range of its four libraries
    [
        ("nca-13", 13, 1.16, 3.82),
        ("nca-8", 8, 1.16, 2.84),
        ("lixc-6", 6, 1.6, 2.22),
        ("lixc-4", 4, 1.6, 2.22),
        ("nmc532-charged", 10, 1.16, 3.82),
        ("nmc532-discharged", 10, 1.16, 3.82),
    ],
)
def test_presets_have_the_papers_phases_and_ranges(preset, n, q_min, q_max):
    loaded = load_phase_set(read_preset(preset))
    assert (len(loaded.names), loaded.q_min, loaded.q_max, loaded.background_degree) == (n, q_min, q_max, 2)
    assert len(loaded.densities) == len(loaded.phases)
    for limits in loaded.ranges().values():
        assert limits[0] < limits[1]


@pytest.mark.parametrize("preset", PRESETS)
def test_no_line_that_enters_the_range_for_some_cell_within_the_limits_is_missing(preset):
    loaded, rng = load_phase_set(read_preset(preset)), np.random.default_rng(1)
    settings = {phase.name: phase for phase in read_preset(preset).phases}
    for phase in loaded.phases:
        known = {tuple(hkl) for hkl in phase.lines.hkl}
        structure = read_structure(settings[phase.name].structure or phase.name)
        for _ in range(3):
            cell = phase.cell | {item.name: rng.choice([item.low, item.high]) for item in phase.free}
            inside = line_list(structure, loaded.q_min, loaded.q_max, cell=full_cell(phase.system, cell))
            strong = inside.intensity > 1e-4 * phase.lines.intensity.max()
            assert {tuple(hkl) for hkl in inside.hkl[strong]} <= known


@pytest.mark.parametrize("system", CELLS)
def test_positions_are_gemmis_and_their_slopes_those_of_differences(system):
    values = {name: CELL[name] for name in independent_parameters(system)}
    q, slopes = line_positions(HKL, system, values)
    cell = gemmi.UnitCell(*full_cell(system, values))
    np.testing.assert_allclose(q, [2 * np.pi / cell.calculate_d(list(hkl)) for hkl in HKL], rtol=1e-12)
    step = 1e-5
    for slope, name in zip(slopes, values, strict=True):
        up = line_positions(HKL, system, values | {name: values[name] + step})[0]
        down = line_positions(HKL, system, values | {name: values[name] - step})[0]
        # 1e-9: third derivatives times step², and rounding of q (1e-16) over the step (1e-5).
        np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-9)


@pytest.mark.parametrize("system", CELLS)
def test_no_line_moves_further_than_the_stretch_between_two_cells(system):
    values = {name: CELL[name] for name in independent_parameters(system)}
    moved = {
        name: value * factor for (name, value), factor in zip(values.items(), [1.02, 0.97, 1.01] * 2, strict=False)
    }
    low, high = stretch(full_cell(system, values), full_cell(system, moved))
    hkl = np.random.default_rng(0).integers(-9, 10, (500, 3))
    hkl = hkl[(hkl != 0).any(axis=1)]
    ratio = line_positions(hkl, system, moved)[0] / line_positions(hkl, system, values)[0]
    assert low * (1 - 1e-12) <= ratio.min() <= ratio.max() <= high * (1 + 1e-12)
    # 500 directions come near the extremes, so that the factors are not idly wide.
    np.testing.assert_allclose([ratio.min(), ratio.max()], [low, high], atol=2e-3)


@pytest.mark.parametrize(
    ("group", "system"),
    [
        ("P 1 21/c 1", "monoclinic-b"),
        ("P 1 1 2/m", "monoclinic-c"),
        ("P -1", "triclinic"),
        ("R -3 m:H", "hexagonal"),
        ("R -3 m:R", "rhombohedral"),
        ("P n m a", "orthorhombic"),
        ("P 4/m m m", "tetragonal"),
        ("F m -3 m", "cubic"),
    ],
)
def test_the_system_of_a_space_group_is_known(group, system):
    assert cell_system(gemmi.SpaceGroup(group)) == system


@pytest.mark.parametrize(
    ("group", "system", "free"),
    [("P 1 21/c 1", "monoclinic-b", {"beta": (103, 105)}), ("P -1", "triclinic", {"alpha": (82, 84), "c": (7.6, 7.8)})],
)
def test_an_oblique_structure_of_ones_own_has_its_lines_where_its_cell_puts_them(tmp_path, group, system, free):
    full = full_cell(system, CELL)
    keys = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    cell = "".join(f"_cell_{key} {value}\n" for key, value in zip(keys, full, strict=True))
    atoms = "loop_\n" + "".join(
        f"_atom_site_{key}\n" for key in ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
    )
    path = tmp_path / "own.cif"
    path.write_text(f"data_own\n_space_group_name_H-M_alt '{group}'\n{cell}{atoms}Fe1 Fe 0.1 0.2 0.3\n")
    (phase,) = load_phase_set(phase_set({"name": "own", "structure": str(path), "free": free})).phases
    assert phase.system == system
    np.testing.assert_allclose(line_positions(phase.lines.hkl, system, phase.cell)[0], phase.lines.q, rtol=1e-12)
    assert phase.volume == pytest.approx(gemmi.UnitCell(*full).volume)
    n_images = len(list(gemmi.SpaceGroup(group).operations()))
    assert phase.contents == pytest.approx({"Fe": n_images})


def test_the_density_is_that_of_the_cell_at_the_start():
    (wide,) = load_phase_set(phase_set({"name": "Cu", "cell": {"a": 3.7}})).phases
    (filed,) = load_phase_set(phase_set({"name": "Cu"})).phases
    assert wide.density == pytest.approx(filed.density * (3.615 / 3.7) ** 3)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        (
            [{"name": "Cu", "free": {"a": (3.70, 3.72)}}],
            r"phase 'Cu': the limits of a \(3.7–3.72\) do not hold .*3.615",
        ),
        ([{"name": "Cu", "free": {"c": (3.6, 3.7)}}], "'Cu': c is no free parameter of a cubic cell; there are a"),
        ([{"name": "Cu", "cell": {"beta": 91}}], "beta is no free parameter of a cubic cell"),
        ([{"name": "LiC7"}], "phase 'LiC7': .*no such structure"),
        (
            [{"name": "one", "structure": "Cu"}, {"name": "two", "structure": "Cu"}],
            "'one' and 'two' have one structure",
        ),
        ([{"name": "LiC7"}, {"name": "Cu", "free": {"c": (3.6, 3.7)}}], r"LiC7(.|\n)*phase 'Cu': c is no"),
    ],
)
def test_a_set_that_cannot_be_fitted_is_refused_with_its_phase(phases, message):
    with pytest.raises(ConfigError, match=message):
        load_phase_set(phase_set(*phases))


def test_a_phase_without_a_line_in_the_range_is_refused():
    with pytest.raises(ConfigError, match=r"phase 'Cu': has no line in 1.6–2.22 1/Å"):
        load_phase_set(phase_set({"name": "Cu", "free": {"a": (3.60, 3.63)}}, q_min=1.6, q_max=2.22))


def test_two_phases_of_one_structure_may_stand_side_by_side_when_their_cells_cannot_meet():
    one = {"name": "low", "structure": "NCA", "free": {"c": (14.15, 14.3)}}
    two = {"name": "high", "structure": "NCA", "cell": {"c": 14.4}, "free": {"c": (14.3, 14.5)}}
    assert load_phase_set(phase_set(one, two)).names == ("low", "high")


def test_a_structure_with_an_overfull_site_is_refused_with_its_phase(tmp_path):
    path = tmp_path / "mine.cif"
    path.write_text(structure_path("NCA").read_text(encoding="utf-8").replace("0.5 0.8 0.4", "0.5 0.9 0.4"))
    with pytest.raises(ConfigError, match=r"phase 'mine': .*Ni1 0.9"):
        load_phase_set(phase_set({"name": "mine", "structure": str(path)}))


def test_a_line_below_the_range_is_kept_where_its_second_wavelength_lies_inside():
    cu = {"name": "Cu", "free": {"a": (3.61, 3.62)}}  # 111 at 3.010
    alone = load_phase_set(phase_set(cu, q_min=3.10, q_max=3.82))
    both = load_phase_set(phase_set(cu, q_min=3.10, q_max=3.82, second_wavelength={"ratio": 1.05, "share": 0.4}))
    assert (1, 1, 1) not in {tuple(sorted(hkl)) for hkl in alone.phases[0].lines.hkl}
    assert (1, 1, 1) in {tuple(sorted(hkl)) for hkl in both.phases[0].lines.hkl}
    assert (both.second_wavelength.ratio, both.second_wavelength.share) == (1.05, 0.4)


@pytest.mark.parametrize("wrong", [{"ratio": 2.0}, {"ratio": 1.0025, "share": 0.0}, {"share": 0.5}])
def test_a_second_wavelength_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="second_wavelength"):
        phase_set({"name": "Cu"}, second_wavelength=wrong)

"""The papers' cells: regions, lattice parameters of their own, pin and ends of the electrodes; parts of a beamtime."""

import numpy as np
import pytest
import yaml
from small_beamtime import IDEAL, one_subset, small

from xrdct.cli import main
from xrdct.errors import ConfigError
from xrdct.scans import read_scans
from xrdct.twin.cell import material_maps, material_names, region_maps, region_names
from xrdct.twin.parameters import chosen_scans, first_lines, load_parameters
from xrdct.twin.patterns import lattice_of

COARSE = 110
"""Voxels across a cell: enough to find every part of it, in a second."""


def coarse_maps(parameters, state):
    """Volume fractions by material and shares by region, on `COARSE` voxels, with x and y of the voxels in mm."""
    names, regions = material_names(parameters.cell, parameters.states), region_names(parameters.states)
    step = 1.03 * parameters.cell.diameter_mm / COARSE
    maps = material_maps(parameters.cell, state, names, n=COARSE, step=step)
    shares = region_maps(parameters.cell, state, regions, n=COARSE, step=step)
    return dict(zip(names, np.moveaxis(maps, 2, 0), strict=True)), dict(zip(regions, shares, strict=True)), step


@pytest.mark.parametrize("preset", ["nca18650", "nmc532aaa"])
def test_every_part_of_the_papers_cells_is_there_in_every_state(preset):
    parameters = load_parameters(preset)
    for state in (parameters.states[0], parameters.states[-1]):
        maps, regions, step = coarse_maps(parameters, state)
        area = {name: image.sum() * (step / 4) ** 2 for name, image in maps.items()}
        here = {phase for r in (*state.anode, *state.cathode_regions) for phase in r.phases} | {"Fe", "Cu", "Al"}
        here |= {"tab_NiCu", "separator", "electrolyte", *(grain.phase for grain in parameters.cell.grains)}
        assert all(area[name] > 0 for name in here), area
        named = {r.name for r in (*state.anode, *state.cathode_regions)}
        assert all(regions[name].sum() > 0 for name in named)
        assert np.sum(list(regions.values()), axis=0).max() <= 1 + 1e-9
        assert max(sum(images) for images in zip(*(m.ravel() for m in maps.values()), strict=True)) <= 1 + 1e-9
        ring = np.pi * (parameters.cell.diameter_mm - parameters.cell.casing_mm) * parameters.cell.casing_mm
        assert area["Fe"] == pytest.approx(ring, rel=0.02)


def test_the_nca_cell_has_the_papers_lattice_parameters_in_its_regions():
    parameters = load_parameters("nca18650")
    assert [state.voltage_V for state in parameters.states] == [2.65, 3.7, 3.79, 3.85, 3.95, 4.2]
    discharged, charged = parameters.states[0], parameters.states[-1]
    # Table S5 of the NCA 18650 paper.
    assert lattice_of("NCA@ROI1", discharged.lattice)[::2][:2] == (2.861, 14.231)
    assert lattice_of("NCA@ROI1", charged.lattice)[::2][:2] == (2.819, 14.481)
    assert lattice_of("NCA@ROI3", charged.lattice)[::2][:2] == (2.851, 14.289)
    a = [lattice_of("NCA@ROI1", state.lattice)[0] for state in parameters.states]
    assert a == sorted(a, reverse=True)  # a shrinks on charging
    assert (parameters.scan.n_positions, parameters.scan.n_subsets, parameters.scan.n_projections) == (637, 4, 100)
    assert parameters.detector.shape == (1679, 1475)


def test_the_aaa_cell_has_its_papers_values_and_shares_the_rest_with_the_18650():
    parameters = load_parameters("nmc532aaa")
    lattice = {state.scan: lattice_of("NMC532", state.lattice)[::2][:2] for state in parameters.states}
    assert lattice["charged_C20"] == (2.822, 14.472)
    assert lattice["discharged_C20"] == (2.859, 14.316)
    assert parameters.beam.energy_kev == 103.5
    assert parameters.detector == load_parameters("nca18650").detector
    _, regions, _ = coarse_maps(parameters, parameters.states[0])
    assert 0 < regions["Spot"].mean() < 0.01  # a hot spot that the mean hides


def test_a_pin_stands_in_the_hole_and_electrodes_end_where_they_should():
    pin = {"pin": {"diameter_mm": 0.4, "wall_mm": 0.05}}
    ends = {"anode_along": {"turns": [0.0, 1.5]}, "cathode_along": {"turns": [0.5, 2.0]}, "bare_cathode": None}
    plain = small({"cell": {"aluminium_tab": None, "bare_cathode": None, "anode_tab": None}})
    changed = small({"cell": pin | ends | {"aluminium_tab": None, "anode_tab": None}})
    before, _, step = coarse_maps(plain, plain.states[0])
    after, _, _ = coarse_maps(changed, changed.states[0])
    assert after["pin_austenite"].sum() * (step / 4) ** 2 == pytest.approx(np.pi * 0.35 * 0.05, rel=0.03)
    along = (np.arange(4 * COARSE) - 2 * COARSE + 0.5) * step / 4
    radius = np.hypot(along[None, :] - 0.020, along[::-1, None] + 0.015)
    assert radius[after["pin_austenite"] > 0.5].max() < 0.21
    for foil, turns in (("Cu", (0.0, 1.5)), ("Al", (0.5, 2.0))):
        # The length of a winding grows with its radius: r0 + pitch · turns, times 2π.
        cell = plain.cell
        depth = 97 + 4 if foil == "Cu" else 2 * 12 + 2 * 85 + 8 + 70 + 6.5
        inner = cell.hole_radius_mm + depth / 1000
        length = [inner * t + cell.pitch_mm * t**2 / 2 for t in (*turns, 2.0)]
        kept = (length[1] - length[0]) / length[2]
        assert after[foil].sum() / before[foil].sum() == pytest.approx(kept, rel=0.02)
    with pytest.raises(ValueError, match="needs a larger `hole_radius_mm`"):
        small({"cell": {"pin": {"diameter_mm": 0.5, "wall_mm": 0.05}}})


def test_a_region_of_the_cathode_can_have_a_lattice_of_its_own(tmp_path):
    region = {"name": "ROI", "turns": [0.0, 0.7], "phases": {"NCA@tab": 1.0}}
    state = small().states[0].model_dump()
    same, other = ({"NCA": {"a": 2.8616, "c": 14.2315}, "NCA@tab": {"a": 2.8616, "c": c}} for c in (14.2315, 14.6))
    plain = state | {"lattice": {"NCA": {"a": 2.8616, "c": 14.2315}}}
    frames = {}
    for name, changed in {
        "plain": plain,
        "same": state | {"cathode_regions": [region], "lattice": same},
        "other": state | {"cathode_regions": [region], "lattice": other},
    }.items():
        frames[name], _ = one_subset(small(IDEAL, {"states": [changed], "beam": {"dose": 30}}), tmp_path / name)
    np.testing.assert_allclose(frames["same"], frames["plain"], atol=1)
    assert np.abs(frames["other"] - frames["same"]).max() > 50


def test_the_first_lines_of_a_scan_are_the_same_frames_at_the_same_angles(tmp_path):
    whole = small({"beam": {"monitor_decay": 0}})
    part = first_lines(whole, 2)
    assert part.scan.n_projections == 2
    frames, counters = one_subset(part, tmp_path / "part")
    reference, all_counters = one_subset(whole, tmp_path / "whole")
    np.testing.assert_array_equal(frames, reference[:2])
    np.testing.assert_array_equal(counters["rot"], all_counters["rot"][:24])
    rows = [read_scans(tmp_path / name / "scans.tsv")[1] for name in ("part", "whole")]
    assert rows[0].angle_start_deg == rows[1].angle_start_deg
    assert rows[0].angle_step_deg == pytest.approx(rows[1].angle_step_deg)
    assert first_lines(whole, 99).scan.n_projections == 3


def test_only_the_chosen_scans_are_written(tmp_path, capsys):
    settings = tmp_path / "mine.yaml"
    changes = {"base": "tiny", "scan": {"n_positions": 10, "step_mm": 0.4}, "sample": "mine"}
    settings.write_text(yaml.safe_dump(changes), encoding="utf-8")
    call = ["simulate", str(settings), "--out", str(tmp_path / "out"), "--scan", "charged_4p2V", "--lines", "1"]
    assert main([*call, "--workers", "1"]) == 0
    assert "1 scans, 20 frames" in capsys.readouterr().out
    assert {row.scan for row in read_scans(tmp_path / "out" / "scans.tsv")} == {"charged_4p2V"}
    assert {row.sample for row in read_scans(tmp_path / "out" / "scans.tsv")} == {"mine"}
    with pytest.raises(ConfigError, match="no scan or series is called v9"):
        chosen_scans(load_parameters("tiny"), ["v9"])

"""Parallax of a whole scan: the diagnosis, the linear reconstruction of a noisy cell, and what is refused."""

import json

import numpy as np
import pytest

import diagnose_parallax
from xrdct.bench.thick_cell import (
    DISTANCE_MM,
    FIELD_MM,
    PHASES,
    WAVELENGTH,
    Q,
    ThickCell,
    lattice_errors,
    q_of_depth,
    thick_cell,
)
from xrdct.bench.thick_cell import PROFILE as CELL_PROFILE
from xrdct.config import Reconstruct
from xrdct.errors import GeometryError
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.parallax import diagnose, in_layers, is_whole_turn, isolated, sample_radius
from xrdct.reconstruction.backend import reconstruct
from xrdct.reconstruction.beam_sense import CLEAR, sense_of_parallax
from xrdct.reconstruction.parallax import blocks, reconstruct_with_parallax

N, N_ANGLES = 40, 60
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
SCAN = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "cor": (N - 1) / 2}


@pytest.fixture(scope="module")
def cell():
    return thick_cell(N, seed=1)


@pytest.fixture(scope="module")
def data(cell):
    return np.random.default_rng(1).poisson(cell.sinogram(ANGLES, counts=2000)).astype(np.float32)


@pytest.fixture(scope="module")
def linear(cell, data):
    return reconstruct_with_parallax(data, ANGLES, step_mm=cell.step_mm, nonnegative=True, **SCAN)


def fitted(volume, data):
    model = PatternModel(load_phase_set(PHASES), Q, CELL_PROFILE)
    return fit_volume(model, volume, level="quick", variance=data.mean(axis=(0, 1)), mask_threshold=0.02)


class TestLinear:
    def test_it_halves_the_error_of_c_and_brings_isolated_grains_back(self, cell, data, linear):
        layers = (cell.nca > 0.5) & ~cell.grains
        errors, shifts = [], []
        for volume in (reconstruct(data, ANGLES, cor=(N - 1) / 2), linear):
            maps = fitted(volume, data)
            a, c = maps.phase_maps("a")[0], maps.phase_maps("c")[0]
            errors.append(lattice_errors(cell, a, c, where=layers))
            shifts.append(np.abs(a - cell.a)[cell.grains].max() / 2.84)
        assert errors[1]["c"] < 0.6 * errors[0]["c"]  # 0.5 is the mark at 48 px and 72 angles; here are fewer of both
        assert errors[1]["a"] < 0.6 * errors[0]["a"]
        assert shifts[0] > 0.003
        assert shifts[1] < 0.1 * shifts[0]

    def test_blocks_of_bins_are_the_whole(self, cell, data, linear):
        whole = reconstruct_with_parallax(
            data, ANGLES, step_mm=cell.step_mm, nonnegative=True, block=10_000, iterations=20, **SCAN
        )
        parts = reconstruct_with_parallax(
            data, ANGLES, step_mm=cell.step_mm, nonnegative=True, block=150, iterations=20, **SCAN
        )
        # Beyond the margin of a block less is known of its voxels; that hardly reaches in.
        assert np.abs(parts - whole).max() < 0.01 * whole.max()

    def test_a_channel_with_a_nan_is_nan_and_the_others_stay(self, cell, data, linear):
        broken = data.copy()
        broken[3, 5, 100] = np.nan
        found = reconstruct_with_parallax(broken, ANGLES, step_mm=cell.step_mm, nonnegative=True, **SCAN)
        assert np.isnan(found[..., 100]).all()
        assert np.abs(found - linear)[..., :90].max() < 0.01 * linear.max()

    def test_the_sense_of_the_beam_is_seen_in_the_data(self, cell, data):
        found = sense_of_parallax(data, ANGLES, step_mm=cell.step_mm, **SCAN)
        assert found["reversed"] > CLEAR * found["as calibrated"]
        other = sense_of_parallax(data[:, ::-1], ANGLES, step_mm=cell.step_mm, **SCAN)
        assert other["as calibrated"] > CLEAR * other["reversed"]

    @pytest.mark.parametrize("distance", [None, np.nan, 0.0, -1000.0])
    def test_a_missing_distance_is_refused(self, cell, data, distance):
        wrong = SCAN | {"distance_mm": distance}
        with pytest.raises(GeometryError, match=r"needs the distance.*\.poni"):
            reconstruct_with_parallax(data, ANGLES, step_mm=cell.step_mm, **wrong)

    def test_blocks_cover_every_bin_once(self):
        for n, size in ((1, 256), (256, 256), (257, 256), (1870, 256)):
            covered = np.concatenate([np.arange(n)[part] for part in blocks(n, size)])
            np.testing.assert_array_equal(covered, np.arange(n))


@pytest.mark.parametrize(("omega", "depth"), [(0.0, 7.0), (90.0, -3.0), (180.0, -7.0), (270.0, 3.0)])
def test_the_phantom_puts_lines_where_rings_land(omega, depth):
    points = tuple(np.array([value]) for value in (3.0, 7.0, 1.0, 0.0, 2.84, 14.35))
    grain = ThickCell(N, FIELD_MM / N, *[np.ones((N, N))] * 4, points)
    pattern = grain.sinogram(np.array([omega]), counts=1.0)[0].sum(axis=0)
    near = np.abs(Q - 1.31) < 0.1
    line = pattern[near] - pattern[near].min()
    expected = q_of_depth(np.array([2 * np.pi * 3 / 14.35]), depth)[0]
    # Parallax moves the line by 92e-4 and 39e-4 1/Å; a centroid of bins of 0.008 1/Å is far better than this.
    assert (line * Q[near]).sum() / line.sum() == pytest.approx(expected, abs=2e-4)


GEOMETRY = {
    "radius_mm": 9.15,
    "distance_mm": 1000.0,
    "angles": np.arange(400) * 0.45,
    "q": np.array([1.0, 3.0]),
    "fwhm_q": np.array([0.0135, 0.0135]),
    "cells": {"NCA": {"a": (2.84, 2.81, 2.875), "c": (14.35, 14.15, 14.55)}},
    "windows": {"LiC6": (1.67, 1.73), "wide": (1.0, 3.0)},
}


class TestDiagnosis:
    def test_the_papers_cell_is_at_risk_and_told_what_to_do(self):
        found = diagnose(**GEOMETRY)
        assert found["parallax_percent"] == pytest.approx(0.915)
        assert max(found["isolated_shift_percent"]) == pytest.approx(100 * 2 / np.pi * 0.00915)
        assert {item["parameter"] for item in found["cells_at_risk"]} == {"a", "c"}
        assert [item["window"] for item in found["windows_at_risk"]] == ["LiC6"]
        said = " ".join(found["advice"])
        assert all(way in said for way in ("scan 0–360°", "parallax: linear", "dlsr", "a detector at"))
        assert found["warnings"] == []
        json.dumps(found)

    def test_a_whole_turn_moves_nothing_but_broadens_all_the_same(self):
        found = diagnose(**GEOMETRY | {"angles": np.arange(400) * 0.9})
        assert max(found["isolated_shift_percent"]) == 0
        assert found["cells_at_risk"] == []
        assert found["layers_broadening_percent"] == diagnose(**GEOMETRY)["layers_broadening_percent"]

    def test_a_thin_sample_needs_nothing(self):
        found = diagnose(**GEOMETRY | {"radius_mm": 0.5})
        assert found["advice"] == ["parallax is small here: nothing needs to be done"]

    def test_a_turn_that_was_declared_and_not_made_is_named(self):
        found = diagnose(**GEOMETRY, declared_span=360.0, beyond_field=True)
        assert any("declares a turn of 360°" in text for text in found["warnings"])
        assert any("beyond the field" in text for text in found["warnings"])

    def test_a_sample_larger_than_the_distance_is_refused(self):
        with pytest.raises(GeometryError, match="does not fit between"):
            diagnose(**GEOMETRY | {"distance_mm": 1.0})

    def test_the_formulas_meet_where_they_must(self):
        # A ray through the axis of a disc sees depths from −R to R, evenly: variance R²/3 for one ray, and R²/2 in the
        # mean over all that back-projection adds up.
        assert in_layers(0.0, 9.0, 1000.0) == pytest.approx(9e-3 / 2**0.5)
        assert in_layers(9.0, 9.0, 1000.0) == 0
        assert isolated(9.0, 1000.0, whole_turn=True)[0] == 0

    def test_the_radius_is_where_the_sample_ends(self):
        total = np.zeros((10, 50))
        total[:, 15:36] = 1.0
        assert sample_radius(total, np.full(10, 25.0), 0.1) == (pytest.approx(1.05), False)
        assert sample_radius(np.ones((10, 50)), np.full(10, 25.0), 0.1)[1]
        with pytest.raises(GeometryError, match="no sample"):
            sample_radius(np.zeros((10, 50)), np.full(10, 25.0), 0.1)

    def test_whole_turns_are_told_from_half_ones(self):
        assert is_whole_turn(np.arange(0, 360, 2.0))
        assert not is_whole_turn(np.arange(0, 180, 0.5))

    def test_free_cells_are_those_of_the_phase_set(self):
        found = diagnose_parallax.free_cells(PHASES.model_dump(mode="json"))
        assert found["NCA"]["c"][1:] == (14.0, 14.7)
        assert diagnose_parallax.free_cells(None) == {}


@pytest.mark.parametrize("method", ["sart", "tv"])
def test_methods_that_do_not_know_of_parallax_are_refused(method):
    with pytest.raises(ValueError, match="does not know of parallax"):
        Reconstruct(method=method, parallax="linear")


def test_back_projection_can_be_kept_from_negative_values_and_conjugate_gradients_cannot():
    assert Reconstruct(method="fbp", nonnegative=True, parallax="linear").nonnegative
    with pytest.raises(ValueError, match="cannot be `nonnegative`"):
        Reconstruct(method="cgls", nonnegative=True, parallax="linear")

"""DLSR: exact transposes and derivatives, a solution that does not depend on the start, and what is refused."""

import numpy as np
import pytest

from xrdct.bench.thick_cell import DISTANCE_MM, PHASES, PROFILE, WAVELENGTH, Q, lattice_errors, thick_cell
from xrdct.config import Config, validate
from xrdct.dlsr.forward import Forward
from xrdct.dlsr.newton import Curvature, Problem, conjugate_gradients
from xrdct.dlsr.refine import Start, held_out_rows, prepare, refine
from xrdct.errors import ConfigError, FitError
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.reconstruction.backend import reconstruct
from xrdct.reconstruction.parallax import reconstruct_with_parallax

N, N_ANGLES = 24, 36
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
COR = (N - 1) / 2


@pytest.fixture(scope="module")
def phases():
    return load_phase_set(PHASES)


@pytest.fixture(scope="module")
def cell():
    return thick_cell(N, seed=3, layer_px=2.5)


@pytest.fixture(scope="module")
def data(cell):
    return np.random.default_rng(3).poisson(cell.sinogram(ANGLES, counts=4000)).astype(np.float32)


def chain_of(phases, mask, cell, distance=DISTANCE_MM):
    return Forward(
        phases, Q, PROFILE, mask=mask, angles=ANGLES, cor=COR, n_positions=N, step_mm=cell.step_mm, distance_mm=distance
    )


@pytest.fixture(scope="module")
def fits(phases, cell, data):
    """Two starts: the fit of the linear volume, and that of the conventional one on the same voxels."""
    model, variance = PatternModel(phases, Q, PROFILE), data.mean(axis=(0, 1))
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm, "cor": COR}
    volume = reconstruct_with_parallax(data, ANGLES, nonnegative=True, **scan)
    linear = fit_volume(model, volume, level="quick", variance=variance, mask_threshold=0.02)
    plain = reconstruct(data, ANGLES, cor=COR)
    plain[~linear.mask] = 0
    plain[linear.mask] += 1e-3  # every voxel of the mask counts as one that holds something
    other = fit_volume(model, plain, level="quick", variance=variance, mask_threshold=-1e9)
    return linear, other


def start_of(found, mask):
    whole = np.tile(found.mean.parameters[0], (mask.size, 1))
    errors = np.full(whole.shape, np.nan)
    whole[found.mask.ravel()], errors[found.mask.ravel()] = found.voxels.parameters, found.voxels.errors
    return Start(whole[mask.ravel()], errors[mask.ravel()])


@pytest.fixture(scope="module")
def chain(phases, cell, fits):
    return chain_of(phases, fits[0].mask, cell)


@pytest.fixture(scope="module")
def refined(chain, data, fits):
    return [
        refine(
            chain,
            data[..., chain.used],
            np.maximum(data, 1)[..., chain.used],
            start_of(found, chain.mask),
            phases=("NCA",),
            smooth=1.0,
            samples=4,
            most=30,
        )
        for found in fits
    ]


def values_of(fits):
    return fits[0].voxels.parameters


class TestForward:
    def test_derivatives_are_those_of_finite_differences(self, chain, fits):
        values, rng = values_of(fits), np.random.default_rng(0)
        places = np.array([chain.model.place("NCA", name) for name in ("scale", "a", "c", "1/size")])
        change = rng.normal(size=(len(values), 4)) * np.array([1e-4, 1e-4, 1e-3, 1e-5])
        moved = [values.copy(), values.copy()]
        for sign, there in zip((1, -1), moved, strict=True):
            there[:, places] += sign * change
        expected = (chain.predict(moved[0]) - chain.predict(moved[1])) / 2
        found = chain.slopes(values, places).forward(change)
        # Differences of float32 sums leave 1e-6 of the sinogram, a thousandth of the change.
        assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max()

    def test_derivatives_forward_and_back_are_transposes(self, chain, fits, monkeypatch):
        values, rng = values_of(fits), np.random.default_rng(0)
        slopes = chain.slopes(values, np.array([0, 1, 3]))
        x, y = rng.normal(size=(len(values), 3)), rng.random(chain.predict(values).shape, dtype=np.float32)
        forward, back = slopes.forward(x), slopes.back(y)
        size = np.linalg.norm(forward.astype(float)) * np.linalg.norm(y.astype(float))
        assert abs(np.vdot(forward.astype(float), y) - np.vdot(x, back)) < 1e-6 * size
        monkeypatch.setattr("xrdct.dlsr.forward.MEMORY", 0.0)
        np.testing.assert_allclose(chain.slopes(values, np.array([0, 1, 3])).back(y), back, rtol=1e-5, atol=1e-9)

    def test_the_truth_predicts_data_that_other_code_made(self, chain, cell, fits):
        """Voxels with the cells of the truth and the scales of the start: lines are where the phantom's are."""
        values = values_of(fits).copy()
        known = np.isfinite(cell.a[chain.mask])
        for name, truth in (("a", cell.a), ("c", cell.c)):
            values[known, chain.model.place("NCA", name)] = truth[chain.mask][known]
        expected = cell.sinogram(ANGLES, counts=4000)[..., chain.used]
        shares = [np.corrcoef(chain.predict(v).ravel(), expected.ravel())[0, 1] for v in (values, values_of(fits))]
        assert min(shares) > 0.98  # scales of voxels of 2.5 px layers are blurred; a line off its place gives 0.5

    def test_a_range_that_parallax_empties_is_refused(self, phases, cell):
        with pytest.raises(FitError, match="too narrow"):
            Forward(
                phases, Q[30:36], PROFILE, mask=np.ones((N, N), bool), angles=ANGLES, cor=COR, n_positions=N,
                step_mm=cell.step_mm, distance_mm=60.0,
            )  # fmt: skip


class TestUnknowns:
    def test_writing_what_was_read_changes_nothing_and_gathering_is_the_transpose(self, chain, fits):
        values, unknowns, _ = prepare(chain, Start(values_of(fits), fits[0].voxels.errors), ("NCA",))
        vector = unknowns.read(values)
        np.testing.assert_array_equal(unknowns.write(vector, values), values)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=vector.size), rng.normal(size=(len(values), len(unknowns.places)))
        assert np.vdot(unknowns.expand(x), y) == pytest.approx(x @ unknowns.gather(y), rel=1e-12)

    def test_a_plane_is_as_rough_as_its_slope(self, chain, fits):
        values, unknowns, _ = prepare(chain, Start(values_of(fits), fits[0].voxels.errors), ("NCA",))
        place = chain.model.place("NCA", "c")
        row, _ = np.nonzero(chain.mask)
        values[:, place] = 14.0 + 0.01 * row
        rough = unknowns.roughness(chain.mask, {place: 0.005}) @ unknowns.read(values)
        assert set(np.abs(rough).round(6)) == {0.0, 2.0}

    def test_an_unknown_phase_is_refused(self, chain, fits):
        with pytest.raises(FitError, match="'graphite' has no cell to map"):
            prepare(chain, Start(values_of(fits), fits[0].voxels.errors), ("graphite",))


def test_conjugate_gradients_solve_the_normal_equations(chain, data, fits):
    base, unknowns, units = prepare(chain, Start(values_of(fits), fits[0].voxels.errors), ("NCA",))
    weights = np.ones_like(data[..., chain.used])
    rough = unknowns.roughness(chain.mask, units)
    curvature = Curvature(
        Problem(chain, unknowns, base, data[..., chain.used], weights, rough, 1.0), unknowns.read(base)
    )
    rng = np.random.default_rng(0)
    free = rng.random(unknowns.read(base).size) > 0.2
    right = (curvature @ (rng.normal(size=free.size) * free)) * free
    x = conjugate_gradients(curvature, right, free, most=60, precision=1e-3)
    rest = ((curvature @ x) * free - right) * free
    assert np.all(x[~free] == 0)
    measure = [float(v @ curvature.precondition(v)) for v in (rest, right)]
    assert measure[0] < 1e-4 * measure[1]


class TestRefine:
    def test_cells_are_far_better_than_from_the_conventional_way(self, chain, cell, fits, refined):
        layers = (cell.nca > 0.5) & ~cell.grains
        places = [chain.model.place("NCA", name) for name in "ac"]

        def errors(values):
            images = np.full((2, N, N), np.nan)
            images[:, chain.mask] = values[:, places].T
            return lattice_errors(cell, *images, where=layers)

        conventional, found = errors(start_of(fits[1], chain.mask).values), errors(refined[0].values)
        assert found["a"] < 0.6 * conventional["a"]
        assert found["c"] < 0.5 * conventional["c"]

    def test_two_starts_give_the_same_answer(self, chain, refined):
        member = refined[0].unknowns.member & refined[1].unknowns.member
        for name in ("a", "c"):
            column = list(refined[0].unknowns.local).index(chain.model.place("NCA", name))
            both = member[:, column]
            place = chain.model.place("NCA", name)
            difference = (refined[0].values - refined[1].values)[both, place]
            error = refined[0].errors[both, place]
            assert np.median(np.abs(difference) / error) < 0.3
        assert refined[0].solution.converged
        assert refined[1].solution.converged
        assert refined[0].solution.chi2 == pytest.approx(refined[1].solution.chi2, rel=2e-3)

    def test_it_says_how_good_it_is(self, refined):
        assert 0.8 < refined[0].reduced_chi2 < 1.5  # 24 px cannot show the edges of the layers
        assert 0 < refined[0].rwp < 0.2

    def test_the_errors_are_of_the_right_size(self, chain, cell, refined):
        place = chain.model.place("NCA", "c")
        column = list(refined[0].unknowns.local).index(place)
        pure = refined[0].unknowns.member[:, column] & (cell.nca > 0.5)[chain.mask]
        scatter = (refined[0].values[:, place] - cell.c[chain.mask])[pure] / refined[0].errors[pure, place]
        # Noise is not all: voxels hold more than one c, neighbours are pulled together, four draws give a third.
        assert 0.4 < np.median(np.abs(scatter)) < 3

    def test_a_model_without_parallax_predicts_the_held_out_projections_worse(self, phases, cell, data, fits):
        start, found = start_of(fits[0], fits[0].mask), {}
        for distance in (DISTANCE_MM, np.inf):
            chain = chain_of(phases, fits[0].mask, cell, distance)
            held = held_out_rows(N_ANGLES, None)
            used, rows = data[..., chain.used], np.flatnonzero(~held)
            result = refine(
                chain.rows(rows), used[rows], np.maximum(used, 1)[rows], start, phases=("NCA",), smooth=1.0,
                samples=0, most=5,
            )  # fmt: skip
            rest = used[held] - chain.rows(np.flatnonzero(held)).predict(result.values)
            found[distance] = float((rest**2 / np.maximum(used[held], 1)).mean())
        assert found[DISTANCE_MM] < 0.8 * found[np.inf]

    def test_a_sinogram_of_another_shape_is_refused(self, chain, data, fits):
        with pytest.raises(FitError, match="expected a sinogram"):
            refine(chain, data, data, Start(values_of(fits), fits[0].voxels.errors), phases=("NCA",))


def test_the_last_subset_is_held_out_or_every_fifth_projection():
    assert held_out_rows(6, np.array([1, 2, 1, 2, 1, 2])).tolist() == [False, True] * 3
    assert held_out_rows(10, None).sum() == held_out_rows(10, np.ones(10)).sum() == 2


MINIMAL = {
    "detector": {"name": "Pilatus CdTe 2M"},
    "beam": {"energy_kev": 95},
    "calibrate": {"frame": "x.cbf"},
    "reconstruct": {"method": "sirt", "parallax": "dlsr"},
    "windows": {},
}


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="dlsr refines a fit"):
        validate(MINIMAL)
    with pytest.raises(ConfigError, match=r"denoise\.apply reconstructs without parallax"):
        validate(MINIMAL | {"fit": {"preset": "nca-8"}, "denoise": {"apply": True}})
    with pytest.raises(ConfigError, match=r"dlsr\.phases: Fe has free cell"):
        validate(MINIMAL | {"fit": {"preset": "nca-8"}, "dlsr": {"phases": ["Fe"]}})
    assert isinstance(validate(MINIMAL | {"fit": {"preset": "nca-8"}}), Config)

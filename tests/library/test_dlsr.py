"""DLSR: exact transposes and derivatives, a solution that does not depend on the start, and what is refused."""

import numpy as np
import pytest

from support_dlsr import ONE_LINE
from xrdct.bench.thick_cell import (
    DISTANCE_MM,
    FIELD_MM,
    FINENESS,
    PROFILE,
    WAVELENGTH,
    Q,
    ThickCell,
    thick_cell,
)
from xrdct.dlsr import forward, precondition
from xrdct.dlsr.forward import Forward
from xrdct.dlsr.newton import Curvature, Problem, conjugate_gradients
from xrdct.dlsr.refine import Start, prepare, refine
from xrdct.errors import FitError
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.checkpoint import Checkpoint
from xrdct.reconstruction.backend import reconstruct
from xrdct.reconstruction.parallax import reconstruct_with_parallax

N, N_ANGLES = 24, 36
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
COR = (N - 1) / 2


def chain_of(phases, mask, cell, distance=DISTANCE_MM, angles=ANGLES, band=None):
    return Forward(
        phases, Q, PROFILE, mask=mask, angles=angles, cor=COR, n_positions=N, step_mm=cell.step_mm,
        distance_mm=distance, band=band,
    )  # fmt: skip


def flat(start, chain):
    """The same start with one c everywhere."""
    values, place = start.values.copy(), chain.model.place("NCA", "c")
    values[:, place] = np.median(values[:, place])
    return Start(values, start.errors)


@pytest.fixture(scope="module")
def phases():
    return load_phase_set(ONE_LINE)


@pytest.fixture(scope="module")
def cell():
    return thick_cell(N, seed=3, layer_px=2.5)


@pytest.fixture(scope="module")
def data(cell):
    return np.random.default_rng(3).poisson(cell.sinogram(ANGLES, counts=4000)).astype(np.float32)


@pytest.fixture(scope="module")
def conventional(phases, data):
    """c of every voxel from filtered back-projection and a fit."""
    model, variance = PatternModel(phases, Q, PROFILE), data.mean(axis=(0, 1))
    found = fit_volume(model, reconstruct(data, ANGLES, cor=COR), level="quick", variance=variance, mask_threshold=0.02)
    return found.phase_maps("c")[0]


@pytest.fixture(scope="module")
def linear(phases, cell, data):
    """The fit of the linear volume."""
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm, "cor": COR}
    volume = reconstruct_with_parallax(data, ANGLES, nonnegative=True, **scan)
    model = PatternModel(phases, Q, PROFILE)
    return fit_volume(model, volume, level="quick", variance=data.mean(axis=(0, 1)), mask_threshold=0.02)


@pytest.fixture(scope="module")
def start(linear):
    return Start(linear.voxels.parameters, linear.voxels.errors)


@pytest.fixture(scope="module")
def chain(phases, cell, linear):
    return chain_of(phases, linear.mask, cell)


@pytest.fixture(scope="module")
def refined(chain, data, start):
    used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
    return [
        refine(chain, used, variance, begin, phases=("NCA",), smooth=1.0, samples=8, most=40)
        for begin in (start, flat(start, chain))
    ]


class TestForward:
    def test_a_grain_is_predicted_as_other_code_made_it(self, phases):
        """One pixel of NCA, off the axis: position, shape and brightness of its line at every angle."""
        row, column, pixel = 5, 18, FIELD_MM / N
        offsets = (np.arange(FINENESS) - (FINENESS - 1) / 2) * pixel / FINENESS
        x, y = (part.ravel() for part in np.meshgrid((column - COR) * pixel + offsets, (COR - row) * pixel + offsets))
        one = np.ones(x.size)
        grain = ThickCell(N, pixel, *[np.ones((N, N))] * 4, (x, y, one, 0 * one, 2.83 * one, 14.35 * one))
        mask = np.zeros((N, N), dtype=bool)
        mask[row, column] = True
        chain = chain_of(phases, mask, grain)
        values = chain.model.start[None].copy()
        values[:, chain.model.place("NCA", "c")] = 14.35
        parts = []
        for place in (chain.model.place("NCA", "scale"), chain.model.place("background", "0")):
            values[:, [chain.model.place("NCA", "scale"), chain.model.place("background", "0")]] = 0
            values[:, place] = 1
            parts.append(chain.predict(values).astype(float).sum(axis=1))
        expected = grain.sinogram(ANGLES, counts=1000)[..., chain.used].sum(axis=1)
        share, *_ = np.linalg.lstsq(np.stack([p.ravel() for p in parts], axis=1), expected.ravel(), rcond=None)
        # Voigts and pseudo-Voigts differ by 1 % of the height, tails are cut at different lengths; a line that is off
        # by a tenth of a bin differs by 4 %, one without its brightness by depth by 1 %.
        found = share[0] * parts[0] + share[1] * parts[1]
        assert np.abs(found - expected).max() < 0.02 * expected.max()
        np.testing.assert_allclose(found.sum(axis=1), expected.sum(axis=1), rtol=2e-3)

    def test_derivatives_are_those_of_finite_differences(self, chain, start):
        rng, places = (
            np.random.default_rng(0),
            np.array([chain.model.place("NCA", k) for k in ("scale", "c", "1/size")]),
        )
        values = start.values.copy()
        values[:, places[0]] += 0.01 * values[:, places[0]].max()
        units = np.array([1e-3 * values[:, places[0]].max(), 3e-3, 1e-4])
        change = rng.normal(size=(len(values), 3)) * units
        moved = [values.copy(), values.copy()]
        for sign, there in zip((1, -1), moved, strict=True):
            there[:, places] += sign * change
        expected = (chain.predict(moved[0]) - chain.predict(moved[1])) / 2
        found = chain.slopes(values, places).forward(change)
        # Third order in the change, and differences of float32 sums: a few thousandths.
        assert np.abs(found - expected).max() < 1e-2 * np.abs(expected).max()

    def test_derivatives_forward_and_back_are_transposes(self, chain, start, monkeypatch):
        values, rng, places = start.values, np.random.default_rng(0), np.array([0, 3])
        slopes = chain.slopes(values, places)
        x, y = rng.normal(size=(len(values), 2)), rng.random(chain.predict(values).shape, dtype=np.float32)
        forward, back = slopes.forward(x), slopes.back(y)
        size = np.linalg.norm(forward.astype(float)) * np.linalg.norm(y.astype(float))
        assert abs(np.vdot(forward.astype(float), y) - np.vdot(x, back)) < 1e-6 * size
        monkeypatch.setattr("xrdct.dlsr.forward.MEMORY", 0.0)
        np.testing.assert_allclose(chain.slopes(values, places).back(y), back, rtol=1e-5, atol=1e-9)

    def test_bands_are_the_whole_and_hold_a_part_of_it_at_a_time(self, phases, cell, chain, start, data):
        bands = chain_of(phases, chain.mask, cell, band=12)
        assert len(chain.bands) == 1
        assert len(bands.bands) == 6
        assert max(band.back.shape[0] for band in bands.bands) < 0.7 * chain.bands[0].back.shape[0]
        owned = np.concatenate([band.model.q[band.own] for band in bands.bands])
        np.testing.assert_array_equal(owned, chain.bands[0].model.q[chain.bands[0].own])
        expected = chain.predict(start.values)
        # Weights of the resampling below 1e-7 of the largest are left out; the rest is float32.
        np.testing.assert_allclose(bands.predict(start.values), expected, atol=1e-5 * expected.max())
        places = np.array([0, 3])
        expected = chain.slopes(start.values, places).back(data[..., chain.used])
        found = bands.slopes(start.values, places).back(data[..., chain.used])
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())

    def test_what_it_will_cost_is_said_before_it_begins(self, chain, monkeypatch):
        monkeypatch.setattr(forward, "seconds_per_projection", lambda beam: 3e-5)
        bins = sum(band.back.shape[0] for band in chain.bands)
        minutes = 3 * forward.PROJECTIONS * 3e-5 * bins / 60
        assert f"about {minutes:.2g} minutes for 3 searches" in chain.cost(3)
        assert "GB" in chain.cost()

    def test_a_range_that_parallax_empties_is_refused(self, cell):
        narrow = load_phase_set(ONE_LINE.model_copy(update={"q_min": 1.28, "q_max": 1.35}))
        with pytest.raises(FitError, match="too narrow"):
            chain_of(narrow, np.ones((N, N), bool), cell, distance=400.0)


class TestUnknowns:
    def test_writing_what_was_read_changes_nothing_and_gathering_is_the_transpose(self, chain, start):
        values, unknowns, _ = prepare(chain, start, ("NCA",))
        vector = unknowns.read(values)
        np.testing.assert_array_equal(unknowns.write(vector, values), values)
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=vector.size), rng.normal(size=(len(values), len(unknowns.places)))
        assert np.vdot(unknowns.expand(x), y) == pytest.approx(x @ unknowns.gather(y), rel=1e-12)

    def test_a_plane_is_as_rough_as_its_slope(self, chain, start):
        values, unknowns, _ = prepare(chain, start, ("NCA",))
        place = chain.model.place("NCA", "c")
        row, _ = np.nonzero(chain.mask)
        values[:, place] = 14.0 + 0.01 * row
        rough = unknowns.roughness(chain.mask, {place: 0.005}) @ unknowns.read(values)
        assert set(np.abs(rough).round(6)) == {0.0, 2.0}

    def test_an_unknown_phase_is_refused(self, chain, start):
        with pytest.raises(FitError, match="'graphite' has no cell to map"):
            prepare(chain, start, ("graphite",))


@pytest.fixture(scope="module")
def problem(chain, data, start):
    base, unknowns, units = prepare(chain, start, ("NCA",))
    used = data[..., chain.used]
    return Problem(chain, unknowns, base, used, 1 / np.maximum(used, 1), unknowns.roughness(chain.mask, units), 1.0)


def test_conjugate_gradients_solve_the_normal_equations(problem):
    curvature = Curvature(problem, problem.unknowns.read(problem.base))
    rng = np.random.default_rng(0)
    free = rng.random(problem.unknowns.read(problem.base).size) > 0.2
    right = (curvature @ (rng.normal(size=free.size) * free)) * free
    x = conjugate_gradients(curvature, right, free, most=100, precision=1e-3)
    rest = ((curvature @ x) * free - right) * free
    assert np.all(x[~free] == 0)
    measure = [float(v @ curvature.precondition(v)) for v in (rest, right)]
    assert measure[0] < 1e-4 * measure[1]


class TestPreconditioner:
    def test_it_is_symmetric_and_positive(self, problem):
        curvature = Curvature(problem, problem.unknowns.read(problem.base))
        rng = np.random.default_rng(0)
        one, other = rng.normal(size=(2, problem.unknowns.read(problem.base).size))
        there, back = one @ curvature.precondition(other), curvature.precondition(one) @ other
        assert there == pytest.approx(back, rel=1e-9)
        assert all(v @ curvature.precondition(v) > 0 for v in (one, other))

    def test_a_step_gets_farther_with_what_couples_neighbours(self, problem, monkeypatch):
        vector = problem.unknowns.read(problem.base)
        residual = problem.misfit(vector)[2]
        lowered = []
        for weights in (precondition.frequency_weights, lambda shape, _: np.ones((shape[0], shape[1] // 2 + 1))):
            monkeypatch.setattr(precondition, "frequency_weights", weights)
            curvature = Curvature(problem, vector)
            right = curvature.gradient(vector, residual)
            x = conjugate_gradients(curvature, right, np.ones(vector.size, bool), most=8, precision=1e-6)
            lowered.append(float(2 * right @ x - x @ (curvature @ x)))
        best = conjugate_gradients(curvature, right, np.ones(vector.size, bool), most=200, precision=1e-5)
        missed = [float(right @ best) - one for one in lowered]
        assert 0 <= missed[0] < 0.5 * missed[1]

    def test_the_mean_weight_of_rays_and_of_a_prior_is_one(self):
        for prior in (0.0, 0.5, 1.0):
            half = precondition.frequency_weights((64, 64), prior)
            whole = np.concatenate([half, half[:, 1:-1]], axis=1)
            assert whole.mean() == pytest.approx(1, abs=0.15)  # the least of a weight is raised
            assert half.min() >= precondition.LEAST


class TestRefine:
    def test_cells_are_far_better_than_from_the_conventional_way(self, chain, cell, conventional, refined):
        layers = (cell.nca > 0.5) & ~cell.grains & chain.mask
        image = np.full((N, N), np.nan)
        image[chain.mask] = refined[0].values[:, chain.model.place("NCA", "c")]
        errors = [np.sqrt(np.nanmean((c - cell.c)[layers] ** 2)) for c in (conventional, image)]
        assert errors[1] < 0.5 * errors[0]

    def test_a_whole_turn_gives_the_same_cells(self, phases, cell, chain, start, refined):
        turn = np.where(2 * ANGLES < 180, 2 * ANGLES, 2 * ANGLES + 5)  # opposite projections would be mirror images
        whole = chain_of(phases, chain.mask, cell, angles=turn)
        data = np.random.default_rng(4).poisson(cell.sinogram(turn, counts=4000)).astype(np.float32)
        used, variance = data[..., whole.used], np.maximum(data, 1)[..., whole.used]
        found = refine(whole, used, variance, start, phases=("NCA",), smooth=1.0, samples=0, most=40)
        assert found.solution.converged
        place, pure = chain.model.place("NCA", "c"), (cell.nca > 0.5)[chain.mask]
        truth = cell.c[chain.mask][pure]
        errors = [np.sqrt(np.mean((one.values[pure, place] - truth) ** 2)) for one in (found, refined[0])]
        assert errors[0] < 1.3 * errors[1]  # as many projections, other noise

    def test_two_starts_give_the_same_answer(self, chain, refined):
        place, member = chain.model.place("NCA", "c"), refined[0].unknowns.member[:, -1]
        difference = (refined[0].values - refined[1].values)[member, place]
        assert all(found.solution.converged for found in refined)
        error = np.median(refined[0].errors[member, place])
        # A step that would take off a share of 1e-4 of χ² is not made. That is 1 here, one standard error in one
        # direction among all: a tenth of one in most voxels, more in a few.
        assert np.sqrt(np.mean(difference**2)) < 0.15 * error
        assert np.abs(difference).max() < 0.6 * error
        assert refined[0].solution.chi2 == pytest.approx(refined[1].solution.chi2, rel=5e-4)

    def test_it_says_how_good_it_is(self, refined):
        assert 0.8 < refined[0].reduced_chi2 < 1.7  # at 4000 counts it shows that layers of 2.5 px are no pixels
        assert 0 < refined[0].rwp < 0.2

    def test_the_errors_are_of_the_right_size(self, chain, cell, refined):
        place, member = chain.model.place("NCA", "c"), refined[0].unknowns.member[:, -1]
        pure = member & (cell.nca > 0.5)[chain.mask]
        scatter = (refined[0].values[:, place] - cell.c[chain.mask])[pure] / refined[0].errors[pure, place]
        # 0.67 for a Gaussian. Voxels hold more than one c, neighbours are pulled together, eight draws give a quarter.
        assert 0.4 < np.median(np.abs(scatter)) < 1.5

    def test_held_out_projections_choose_the_prior_and_convict_a_model_without_parallax(
        self, phases, cell, data, linear, start, tmp_path, monkeypatch
    ):
        least = {}
        for distance in (DISTANCE_MM, np.inf):
            chain = chain_of(phases, linear.mask, cell, distance)
            used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
            subset = np.arange(N_ANGLES) % 4 + 1
            kept = Checkpoint(tmp_path / f"{distance}.npz", "this work")
            options = {"phases": ("NCA",), "subset": subset, "samples": 0, "most": 15}
            found = refine(chain, used, variance, start, **options, checkpoint=kept)
            best = min(found.held_out, key=found.held_out.get)
            assert 0.3 < found.smooth / best < 3.2  # half a decade to either side, where the parabola is least
            assert np.isnan(found.errors).all()
            least[distance] = found.held_out[best]
        assert least[DISTANCE_MM] < 0.7 * least[np.inf]
        # A job that is killed after the last hold-out has to make none of them again.
        kept.path.unlink()
        tried = []
        monkeypatch.setattr("xrdct.dlsr.refine.minimise", lambda *a, **k: tried.append(a) or found.solution)
        assert refine(chain, used, variance, start, **options, checkpoint=kept).held_out == found.held_out
        assert len(tried) == 1
        kept.remove()
        assert list(tmp_path.glob("inf*")) == []

    def test_total_variation_finds_the_same_cells_within_their_errors(self, chain, data, start, refined):
        used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
        found = refine(chain, used, variance, start, phases=("NCA",), smooth=1.0, edges=True, samples=2, most=40)
        assert found.solution.converged
        place, member = chain.model.place("NCA", "c"), found.unknowns.member[:, -1]
        assert np.isfinite(found.errors[member, place]).all()
        # The same data within their errors, and the same cells where neither prior matters much.
        assert found.solution.chi2 < 1.05 * refined[0].solution.chi2
        apart = (found.values - refined[0].values)[member, place] / refined[0].errors[member, place]
        assert np.median(np.abs(apart)) < 1

    def test_a_search_that_was_stopped_goes_on_where_it_was(self, chain, data, start, refined, tmp_path):
        used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
        kept = Checkpoint(tmp_path / "c.npz", "this work")
        options = {"phases": ("NCA",), "smooth": 1.0, "samples": 0, "checkpoint": kept}
        stopped = refine(chain, used, variance, start, most=3, **options)
        assert not stopped.solution.converged
        vector, facts = kept.load()
        assert facts == {"smooth": 1.0, "held_out": {}, "steps": 3}
        np.testing.assert_array_equal(vector, stopped.solution.vector)
        # Settings are in the key; a checkpoint of other work is not taken up.
        assert Checkpoint(kept.path, "other work").load() is None
        gone_on = refine(chain, used, variance, start, most=40, **options)
        # Step by step what an unbroken search does.
        assert gone_on.solution.steps == refined[0].solution.steps
        assert gone_on.solution.chi2 == pytest.approx(refined[0].solution.chi2, rel=1e-9)
        kept.path.write_bytes(b"PK half of a file")
        assert kept.load() is None
        kept.remove()
        assert kept.load() is None

    def test_a_sinogram_of_another_shape_is_refused(self, chain, data, start):
        with pytest.raises(FitError, match="expected a sinogram"):
            refine(chain, data, data, start, phases=("NCA",))

"""Parallax: the operator, a thick cell by three methods and three seeds, and the cost at full size."""

import time
from itertools import pairwise

import numba
import numpy as np

from ..dlsr.forward import Forward
from ..dlsr.refine import Refined, Start, refine
from ..fit.maps import VoxelFit, fit_volume
from ..fit.model import PatternModel
from ..fit.phase_set import load_phase_set
from ..reconstruction.backend import reconstruct
from ..reconstruction.operator import ParallelBeam
from ..reconstruction.parallax import reconstruct_with_parallax
from ..reconstruction.sirt import sirt_images
from ..reconstruction.stopping import choose_iterations, held_out_rows
from ..reconstruction.tilted import TiltedBeam
from .marks import Mark, at_least, at_most, reported
from .parallax_size import CORES, full_size
from .thick_cell import DISTANCE_MM, PHASES, PROFILE, WAVELENGTH, Q, ThickCell, lattice_errors, thick_cell

DEVICE = "CPU"
N, N_ANGLES, COUNTS, SEEDS = 40, 60, 2000, (20, 21, 22)
"""No rule was chosen with these seeds: that for iterations was tried on 10 and 11."""


def measure() -> list[Mark]:
    """All marks; some four minutes on two cores."""
    numba.set_num_threads(min(CORES, numba.config.NUMBA_NUM_THREADS))
    return [*operator(), *thick_cells(), *full_size()]


def operator() -> list[Mark]:
    """Adjoint, and what is left without a tilt."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 360, 60)
    A = TiltedBeam(angles, 64, 31.2, pixel_over_distance=3e-4, step=1.1e-3)
    x = rng.normal(size=(64, 64, 100 + 2 * A.padding)).astype(np.float32)
    y = rng.normal(size=(60, 64, 100)).astype(np.float32)
    image, back = (A @ x).astype(float), A.T @ y
    adjoint = abs(np.vdot(image, y) - np.vdot(x.astype(float), back)) / np.linalg.norm(image) / np.linalg.norm(y)
    flat = TiltedBeam(angles, 64, 31.2, pixel_over_distance=0, step=1.1e-3)
    plain = ParallelBeam(angles, 64, 31.2) @ x[..., flat.padding : -flat.padding]
    return [
        at_most("adjoint, |<Ax,y> − <x,Aᵀy>| / |Ax||y|", 1e-6, float(adjoint)),
        at_most("tilt 0 against the ordinary operator", 1e-5, float(np.abs(flat @ x - plain).max() / plain.max())),
    ]


def thick_cells() -> list[Mark]:
    """a and c of a thick cell by back-projection, linearly and by DLSR, and from a second start."""
    # Total variation has no mark: one seed shows where it stands.
    found = [one_cell(seed, edges=seed == SEEDS[0]) for seed in SEEDS]
    mean = {key: float(np.mean([one[key] for one in found if key in one])) for key in found[0]}
    name = f"{N} px, {N_ANGLES} angles, {COUNTS} counts, {len(SEEDS)} seeds"
    marks = [
        at_most(f"linear over back-projection, error of c ({name})", 0.5, mean["linear c"] / mean["fbp c"]),
        at_most("the same with CGLS", 0.5, mean["linear, cgls c"] / mean["fbp c"]),
    ]
    marks += [
        at_most(f"DLSR over back-projection, error of {edge}", goal, mean[f"dlsr {edge}"] / mean[f"fbp {edge}"])
        for edge, goal in (("a", 0.6), ("c", 0.5))
    ]
    marks += [
        at_least("isolated grains' shift, back-projection over linear", 10, mean["fbp grains"] / mean["linear grains"]),
        at_least("isolated grains' shift, back-projection over DLSR", 10, mean["fbp grains"] / mean["dlsr grains"]),
        at_most("DLSR, error of the mean a over regions", 0.001, max(one["region a"] for one in found), "Å"),
        at_most("DLSR, error of the mean c over regions", 0.002, max(one["region c"] for one in found), "Å"),
        at_most("DLSR, reduced χ²", 1.3, max(one["chi2"] for one in found)),
        at_most("two starts, rms difference of c over its error", 0.3, mean["starts c"]),
        at_most("held-out χ², DLSR over DLSR without parallax", 1.0, mean["held out"] / mean["held out, none"]),
        at_most("held-out χ², DLSR over SIRT without parallax", 1.0, mean["held out"] / mean["held out, linear"]),
        reported("weight of the prior that the rule chose", mean["weight"]),
        reported(f"the same of total variation, seed {SEEDS[0]}", mean["weight, tv"]),
        reported("iterations of SIRT that the rule chose", mean["linear iterations"]),
        reported("iterations of CGLS that the rule chose", mean["linear, cgls iterations"]),
        reported("DLSR, settled", mean["converged"]),
        reported("DLSR, CPU time of a cell", mean["seconds"], "s"),
    ]
    return marks + [
        reported(f"{way}, rms error of {edge}", mean[f"{way} {edge}"], "Å")
        for way in ("fbp", "no parallax, fbp", "linear", "linear, cgls", "dlsr", "dlsr, tv")
        for edge in "ac"
    ]


def one_cell(seed: int, *, edges: bool = False) -> dict[str, float]:
    """All figures of one seed; with `edges` also those of total variation."""
    angles, cell, phases = np.arange(N_ANGLES) * 180 / N_ANGLES, thick_cell(N, seed), load_phase_set(PHASES)
    rng = np.random.default_rng(seed)
    data, without = (
        rng.poisson(cell.sinogram(angles, counts=COUNTS, parallax=on)).astype(np.float32) for on in (True, False)
    )
    model, cor = PatternModel(phases, Q, PROFILE), (N - 1) / 2
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm, "cor": cor}
    volumes = {
        "fbp": reconstruct(data, angles, cor=cor),
        "no parallax, fbp": reconstruct(without, angles, cor=cor),
    }
    found = {}
    for way, options in {"linear": {"nonnegative": True}, "linear, cgls": {"method": "cgls"}}.items():
        stopping = choose_iterations(data, angles, **scan, **options, variance=np.maximum(data, 1))
        volumes[way] = reconstruct_with_parallax(data, angles, **scan, **options, iterations=stopping.iterations)
        found[f"{way} iterations"] = stopping.iterations
    fits = {
        way: fit_volume(model, volume, level="quick", variance=data.mean(axis=(0, 1)), mask_threshold=0.02)
        for way, volume in volumes.items()
    }
    for way, fitted in fits.items():
        found |= _errors(way, cell, fitted.phase_maps("a")[0], fitted.phase_maps("c")[0])
    found |= _refined(cell, data, fits["linear"], angles)
    return found | _with_edges(cell, data, fits["linear"], angles) if edges else found


def _refined(cell: ThickCell, data: np.ndarray, linear: VoxelFit, angles: np.ndarray) -> dict[str, float]:
    """Figures of DLSR: from the linear fit, from one cell everywhere, and without parallax."""
    start = Start(linear.voxels.parameters, linear.voxels.errors)
    chain = _chain(cell, linear, angles, DISTANCE_MM)
    used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
    began = time.process_time()
    first = refine(chain, used, variance, start, phases=("NCA",), samples=2)
    seconds = time.process_time() - began
    places = [chain.model.place("NCA", edge) for edge in "ac"]
    values = start.values.copy()
    values[:, places] = np.median(values[:, places], axis=0)
    again = Start(values, start.errors)
    other = refine(chain, used, variance, again, phases=("NCA",), smooth=first.smooth, samples=0, most=30)
    member = first.unknowns.member[:, -1]
    apart = (first.values - other.values)[member, places[1]]
    a, c = (_image(first, linear.mask, place) for place in places)
    return {
        **_errors("dlsr", cell, a, c),
        "weight": first.smooth,
        **{f"region {edge}": _worst_region(cell, image, edge) for edge, image in (("a", a), ("c", c))},
        "chi2": first.reduced_chi2,
        "converged": float(first.solution.converged),
        "seconds": seconds,
        "starts c": float(np.sqrt(np.mean(apart**2)) / np.median(first.errors[member, places[1]])),
        "held out": _held_out(cell, data, linear, start, first.smooth, angles, DISTANCE_MM),
        "held out, none": _held_out(cell, data, linear, start, first.smooth, angles, np.inf),
        "held out, linear": _held_out_linear(data, chain.used, angles),
    }


def _with_edges(cell: ThickCell, data: np.ndarray, linear: VoxelFit, angles: np.ndarray) -> dict[str, float]:
    """Figures of DLSR with total variation."""
    start, chain = Start(linear.voxels.parameters, linear.voxels.errors), _chain(cell, linear, angles, DISTANCE_MM)
    used, variance = data[..., chain.used], np.maximum(data, 1)[..., chain.used]
    found = refine(chain, used, variance, start, phases=("NCA",), edges=True, samples=0)
    images = (_image(found, linear.mask, chain.model.place("NCA", edge)) for edge in "ac")
    return {**_errors("dlsr, tv", cell, *images), "weight, tv": found.smooth}


def _held_out(cell, data, linear, start, smooth, angles, distance) -> float:
    """χ² per sample of every fifth projection, predicted from the others."""
    chain, held = _chain(cell, linear, angles, distance), held_out_rows(len(angles), None)
    used = data[..., chain.used]
    variance = np.maximum(used, 1)
    found = refine(
        chain.rows(np.flatnonzero(~held)), used[~held], variance[~held], start, phases=("NCA",), smooth=smooth,
        samples=0, most=8,
    )  # fmt: skip
    rest = used[held] - chain.rows(np.flatnonzero(held)).predict(found.values)
    return float((rest**2 / variance[held]).mean())


def _held_out_linear(data: np.ndarray, used: np.ndarray, angles: np.ndarray) -> float:
    """The same by SIRT without parallax, a free pattern in every voxel, at the number of iterations that is best."""
    A, held = ParallelBeam(angles, N, (N - 1) / 2, support=N / 2), held_out_rows(len(angles), None)
    known, hidden = data[~held][..., used], data[held][..., used]
    images = sirt_images(A.rows(~held), known, nonnegative=True)
    seen = (A.rows(held) @ next(images) for _ in range(150))
    return min(float(((hidden - one) ** 2 / np.maximum(hidden, 1)).mean()) for one in seen)


def _chain(cell: ThickCell, linear: VoxelFit, angles: np.ndarray, distance: float) -> Forward:
    return Forward(
        load_phase_set(PHASES), Q, PROFILE, mask=linear.mask, angles=angles, cor=(N - 1) / 2, n_positions=N,
        step_mm=cell.step_mm, distance_mm=distance,
    )  # fmt: skip


def _image(found: Refined, mask: np.ndarray, place: int) -> np.ndarray:
    image = np.full(mask.shape, np.nan)
    image[mask] = found.values[:, place]
    return image


def _errors(way: str, cell: ThickCell, a: np.ndarray, c: np.ndarray) -> dict[str, float]:
    """Errors in the layers, and the relative shift of isolated grains (root mean square)."""
    layers = (cell.nca > 0.5) & ~cell.grains
    errors = {f"{way} {edge}": value for edge, value in lattice_errors(cell, a, c, where=layers).items()}
    return errors | {f"{way} grains": float(np.sqrt(np.nanmean((a / cell.a - 1)[cell.grains] ** 2)))}


def _worst_region(cell: ThickCell, image: np.ndarray, edge: str) -> float:
    """Largest error of the mean over an inner, a middle and an outer third of the layers."""
    truth, layers = getattr(cell, edge), (cell.nca > 0.5) & ~cell.grains & np.isfinite(image)
    axis = (np.arange(cell.n) - (cell.n - 1) / 2) * cell.step_mm
    r = np.hypot(axis[:, None], axis)
    limits = np.quantile(r[layers], [0, 1 / 3, 2 / 3, 1])
    regions = [layers & (r >= low) & (r <= high) for low, high in pairwise(limits)]
    return max(abs(float(np.mean((image - truth)[region]))) for region in regions)

"""DLSR at the size at which the papers' one ended: 140 × 140 pixels, 400 angles, for which it took 350 GB.

The thick cell with layers of two pixels, from its sinogram to maps: the number of iterations by its rule, the linear
volume, its fit, the weight of the prior by hold-out, the search to its end, uncertainties. Nothing is scaled.
"""

import resource
import time

import numba
import numpy as np

from ..dlsr.forward import Forward
from ..dlsr.refine import Refined, Start, refine
from ..fit.maps import VoxelFit, fit_volume
from ..fit.model import PatternModel
from ..fit.phase_set import load_phase_set
from ..reconstruction.backend import reconstruct
from ..reconstruction.parallax import reconstruct_with_parallax
from ..reconstruction.stopping import choose_iterations
from .marks import Mark, at_most, reported
from .parallax import COUNTS
from .parallax_size import CORES, PAPER
from .thick_cell import DISTANCE_MM, PHASES, PROFILE, WAVELENGTH, Q, ThickCell, lattice_errors, thick_cell

DEVICE = "CPU"
SEED, LAYER_PX = 23, 2.0
"""A seed on which no rule was tried, and the layers of the papers' cell on its pixels of 80 µm."""
SAMPLES = 2


def measure() -> list[Mark]:
    """All marks; some half an hour of one core."""
    numba.set_num_threads(min(CORES, numba.config.NUMBA_NUM_THREADS))
    cell = thick_cell(PAPER["n"], SEED, layer_px=LAYER_PX)
    angles = np.arange(PAPER["n_angles"]) * 180 / PAPER["n_angles"]
    data = np.random.default_rng(SEED).poisson(cell.sinogram(angles, counts=COUNTS)).astype(np.float32)
    projected = _fitted(reconstruct(data, angles, cor=_middle(cell)), data)
    began = time.process_time()
    linear = _fitted(_linear_volume(cell, data, angles), data)
    between = time.process_time()
    found = _refined(cell, data, angles, linear)
    ended = time.process_time()
    name = f"{cell.n} px, {len(angles)} angles, {Q.size} bins"
    return [
        at_most(f"{name}: from the sinogram to maps by DLSR, on {CORES} cores", 30, _minutes(ended - began), "min"),
        reported(f"of it linear volume and its fit, on {CORES} cores", _minutes(between - began), "min"),
        reported(f"of it weight of the prior, search and {SAMPLES} draws", _minutes(ended - between), "min"),
        reported("voxels", len(found.values)),
        reported("largest memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9, "GB"),
        *_errors(cell, projected, linear, found),
        at_most("reduced χ²", 1.3, found.reduced_chi2),
        reported("weight of the prior that the rule chose", found.smooth),
        reported("steps of the last search", found.solution.steps),
        reported("settled", float(found.solution.converged)),
    ]


def _errors(cell: ThickCell, projected: VoxelFit, linear: VoxelFit, found: Refined) -> list[Mark]:
    """Errors of a and c in the layers by three ways."""
    images = []
    for edge in "ac":
        image = np.full(linear.mask.shape, np.nan)
        image[linear.mask] = found.values[:, found.unknowns.model.place("NCA", edge)]
        images.append(image)
    maps = {way: [one.phase_maps(edge)[0] for edge in "ac"] for way, one in (("FBP", projected), ("linear", linear))}
    layers = (cell.nca > 0.5) & ~cell.grains
    errors = {way: lattice_errors(cell, *pair, where=layers) for way, pair in {**maps, "DLSR": images}.items()}
    return [
        *(
            at_most(f"DLSR over back-projection, error of {edge}", goal, errors["DLSR"][edge] / errors["FBP"][edge])
            for edge, goal in (("a", 0.6), ("c", 0.5))
        ),
        *(reported(f"{way}, rms error of {edge}", error[edge], "Å") for way, error in errors.items() for edge in "ac"),
    ]


def _refined(cell: ThickCell, data: np.ndarray, angles: np.ndarray, linear: VoxelFit) -> Refined:
    chain = Forward(
        load_phase_set(PHASES), Q, PROFILE, mask=linear.mask, angles=angles, cor=_middle(cell), n_positions=cell.n,
        step_mm=cell.step_mm, distance_mm=DISTANCE_MM,
    )  # fmt: skip
    used, start = data[..., chain.used], Start(linear.voxels.parameters, linear.voxels.errors)
    return refine(chain, used, np.maximum(used, 1), start, phases=("NCA",), samples=SAMPLES)


def _fitted(volume: np.ndarray, data: np.ndarray) -> VoxelFit:
    model = PatternModel(load_phase_set(PHASES), Q, PROFILE)
    return fit_volume(model, volume, level="quick", variance=data.mean(axis=(0, 1)), mask_threshold=0.02)


def _middle(cell: ThickCell) -> float:
    return (cell.n - 1) / 2


def _linear_volume(cell: ThickCell, data: np.ndarray, angles: np.ndarray) -> np.ndarray:
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm}
    scan |= {"cor": _middle(cell), "nonnegative": True}
    stopping = choose_iterations(data, angles, **scan, variance=np.maximum(data, 1))
    return reconstruct_with_parallax(data, angles, **scan, iterations=stopping.iterations)


def _minutes(processor_seconds: float) -> float:
    """Minutes that it takes when all cores are busy."""
    return processor_seconds / CORES / 60

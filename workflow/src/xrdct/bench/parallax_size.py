"""What parallax costs at the size of the papers' scans: memory and time, from a few bins of ln tan 2θ."""

import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from ..dlsr.forward import Forward
from ..dlsr.newton import STEPS_OF_CG
from ..fit.phase_set import load_phase_set
from ..reconstruction.lntan import lntan_axis
from ..reconstruction.parallax import BLOCK, memory, reconstruct_with_parallax
from ..reconstruction.tilted import TiltedBeam
from ..reconstruction.tilted_torch import TiltedTensors, cuda_available
from .marks import Mark, at_most, not_measured, reported
from .thick_cell import DISTANCE_MM, PHASES, PROFILE, WAVELENGTH, Q

FULL = {"n": 637, "n_angles": 400, "field_mm": 19.11, "q": np.linspace(0.5, 3.85, 400)}
PAPER = {"n": 140, "n_angles": 400}
CHANNELS = 128
"""Bins of Y with which the full size is timed; more scale."""
CORES = 2
"""That times of the processor are shared out to."""


def full_size() -> list[Mark]:
    """Memory and time of the papers' scans, from a few bins of Y."""
    n, n_angles = FULL["n"], FULL["n_angles"]
    axis = lntan_axis(FULL["q"], wavelength=WAVELENGTH)
    A = _beam(n, n_angles, axis)
    seconds = _seconds_per_bin(A)
    paper = _beam(PAPER["n"], PAPER["n_angles"], axis)
    dlsr = 10 * _seconds_per_step()
    linear = 2 * 60 * _seconds_per_bin(paper) * (axis.n_bins + 4 * paper.padding * -(-axis.n_bins // BLOCK))
    return [
        at_most(f"{n} px, {n_angles} angles, {axis.n_bins} bins: memory of SIRT", 12, memory(A, axis, BLOCK), "GB"),
        reported(f"the same, an iteration on {CORES} cores, from {CHANNELS} bins", seconds * 2 * axis.n_bins, "s"),
        at_most("the same, peak of a process that makes a block, with the whole volume", 12, _peak_of_a_block(), "GB"),
        at_most(f"{PAPER['n']} px, 60 iterations of SIRT on {CORES} cores, scaled", 30, linear / 60, "min"),
        at_most(f"{PAPER['n']} px, ten steps of DLSR on {CORES} cores, scaled", 30, dlsr / 60, "min"),
        *_on_a_gpu(A, axis.n_bins + 4 * A.padding * -(-axis.n_bins // BLOCK)),
        not_measured("DLSR at full size on a GPU", "≤ 1 h", "DLSR works on the CPU only"),
    ]


def _peak_of_a_block() -> float:
    """GB that a new process holds at the most while it iterates once on a block of full size, and the volume in q."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_one_block).result() + 4e-9 * FULL["n"] ** 2 * len(FULL["q"])


def _one_block() -> float:
    n, q = FULL["n"], FULL["q"][-3 * BLOCK // 7 :]  # these bins of q are one block
    sinogram = np.broadcast_to(np.float32(1), (FULL["n_angles"], n, len(q)))
    angles = np.arange(FULL["n_angles"]) * 180 / FULL["n_angles"]
    scan = {"q": q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": FULL["field_mm"] / n}
    reconstruct_with_parallax(sinogram, angles, **scan, cor=(n - 1) / 2, iterations=1, nonnegative=True)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-9


def _on_a_gpu(A: TiltedBeam, bins: int) -> list[Mark]:
    """A hundred iterations at full size, from one of `CHANNELS` bins."""
    name, goal = "100 linear iterations at full size on a GPU, scaled", 10
    if not cuda_available():
        return [not_measured(name, f"≤ {goal} min", "no GPU")]
    tensors = TiltedTensors(A, "cuda")
    image = tensors.constant_image(1, CHANNELS)
    for _ in range(2):  # the first makes handles
        began = time.perf_counter()
        float((tensors.T @ (tensors @ image)).sum())
        seconds = time.perf_counter() - began
    return [at_most(name, goal, 100 * seconds * bins / CHANNELS / 60, "min")]


def _seconds_per_step() -> float:
    """A step of DLSR on the papers' small map, from one product of its curvature."""
    n, n_angles = PAPER["n"], PAPER["n_angles"]
    axis = np.arange(n) - (n - 1) / 2
    chain = Forward(
        load_phase_set(PHASES), Q, PROFILE, mask=np.hypot(axis[:, None], axis) < 0.48 * n,
        angles=np.arange(n_angles) * 180 / n_angles, cor=(n - 1) / 2, n_positions=n, step_mm=FULL["field_mm"] / n,
        distance_mm=DISTANCE_MM,
    )  # fmt: skip
    values = np.tile(chain.model.start, (chain.n_voxels, 1))
    values[:, chain.model.scale_places] = 1.0
    places = np.r_[chain.model.scale_places, chain.model.background_places, chain.model.place("NCA", "a")]
    slopes = chain.slopes(values, places)
    change = np.zeros((chain.n_voxels, places.size))
    slopes.forward(change)  # compile
    began = time.process_time()
    slopes.back(slopes.forward(change))
    return (time.process_time() - began) / CORES * (STEPS_OF_CG + 2)


def _beam(n, n_angles, axis) -> TiltedBeam:
    angles = np.arange(n_angles) * 180 / n_angles
    scale = FULL["field_mm"] / n / DISTANCE_MM
    return TiltedBeam(angles, n, (n - 1) / 2, pixel_over_distance=scale, step=axis.step, support=n / 2)


def _seconds_per_bin(A: TiltedBeam) -> float:
    """Mean of A and Aᵀ over a few bins, with every ray and every voxel."""
    image = A.constant_image(1, CHANNELS)
    A.rows([0]) @ image, A.rows([0]).T @ A.rows([0]).constant_sinogram(1, CHANNELS)  # compile
    began = time.process_time()
    sinogram = A @ image
    A.T @ sinogram
    return (time.process_time() - began) / CORES / 2 / CHANNELS

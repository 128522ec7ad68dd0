"""Reconstruction at full size: speed per channel against ASTRA in the same run, memory, and exactness.

On a machine with a GPU that has only numpy, scipy, numba, torch and astra:
``python -m xrdct.bench.reconstruction --gpu-only`` prints the rows of the GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import astra
import numba
import numpy as np

from ..geometry import lateral_position, pixel_centres
from ..reconstruction.arrays import squared_norm
from ..reconstruction.astra_cuda import AstraBeam, cuda_available
from ..reconstruction.backend import reconstruct
from ..reconstruction.fbp import fbp
from ..reconstruction.operator import ParallelBeam
from ..reconstruction.sirt import sirt
from .marks import Mark, at_least, at_most, not_measured, reported, table

DEVICE = "CPU, 2 threads, and the GPU that the rows name"
N, N_ANGLES, N_CHANNELS, THREADS = 637, 400, 128, 2
"""Size of the real scans; channels of the comparison on the CPU."""
GPU_CHANNELS = 1000
CENTRED = (N - 1) / 2
ANGLES = np.arange(N_ANGLES) * 180 / N_ANGLES
ROUNDS = 4
"""Repetitions; each takes its turn with what it is compared to, and the fastest counts: others use the machine too."""


def measure() -> list[Mark]:
    """All marks; about three minutes."""
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    return [*exactness(), *speed(), *streaming(), *gpu()]


def disc(n_channels: int) -> np.ndarray:
    """Sinogram of a disc of value 1 at (40, −25) with radius 200 pixels, in closed form; all channels are the same."""
    distance = np.arange(N) - CENTRED - lateral_position(40, -25, ANGLES)[:, None]
    chords = 2 * np.sqrt(np.clip(200.0**2 - distance**2, 0, None)).astype(np.float32)
    return np.repeat(chords[..., None], n_channels, axis=-1)


def inside_disc() -> np.ndarray:
    """Pixels of the disc at least 5 from its edge, where its ringing has died away."""
    axis = pixel_centres(N, 1.0)
    return np.hypot(axis[None, :] - 40, axis[::-1, None] + 25) < 195


def rms(values: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values, dtype=float))))


def exactness() -> list[Mark]:
    """The transpose, a flat disc, and the disc as ASTRA and scikit-image reconstruct it."""
    from skimage.transform import iradon

    A, b, inside = ParallelBeam(ANGLES, N, CENTRED), disc(1), inside_disc()
    found = fbp(A, b)[..., 0][inside]
    with AstraSlice() as peer:
        theirs = peer.reconstruct("FBP", b[..., 0])[inside]
    other = iradon(b[..., 0].T, ANGLES, filter_name="ramp", circle=True)[inside]
    return [
        at_most("transpose: |<Ax, y> − <x, Aᵀy>| / <Ax, y>", 1e-6, transpose_error(A)),
        at_most("FBP of a uniform disc: rms deviation from 1, away from the edge", 0.01, rms(found - 1)),
        reported("the same by ASTRA's CPU FBP", rms(theirs - 1)),
        at_most("FBP, rms difference to ASTRA's, away from the edge", 0.01, rms(found - theirs)),
        at_most("FBP, rms difference to scikit-image's iradon, away from the edge", 0.02, rms(found - other)),
    ]


def transpose_error(A: ParallelBeam) -> float:
    """Relative difference of <Ax, y> and <x, Aᵀy> for random positive x and y, summed in float64."""
    rng = np.random.default_rng(0)
    x, y = (rng.random(shape, dtype=np.float32) for shape in (A.shape[1], A.shape[0]))
    left = np.vdot((A @ x).astype(float), y.astype(float))
    return abs(left - np.vdot(x.astype(float), (A.T @ y).astype(float))) / left


class AstraSlice:
    """ASTRA on the CPU for one channel of the full size; a context that frees its memory."""

    def __enter__(self):
        rays = astra.create_proj_geom("parallel", 1.0, N, np.radians(ANGLES))
        volume = astra.create_vol_geom(N, N)
        self._projector = astra.create_projector("linear", rays, volume)
        self._ids = astra.data2d.create("-sino", rays), astra.data2d.create("-vol", volume)
        return self

    def __exit__(self, *_):
        astra.data2d.delete(list(self._ids))
        astra.projector.delete(self._projector)

    def reconstruct(self, algorithm: str, sinogram: np.ndarray, iterations: int = 1) -> np.ndarray:
        """Run one of ASTRA's CPU algorithms from zeros."""
        settings = astra.astra_dict(algorithm)
        settings["ProjectorId"] = self._projector
        settings["ProjectionDataId"], settings["ReconstructionDataId"] = self._ids
        astra.data2d.store(self._ids[0], sinogram)
        astra.data2d.store(self._ids[1], 0.0)
        handle = astra.algorithm.create(settings)
        astra.algorithm.run(handle, iterations)
        astra.algorithm.delete(handle)
        return astra.data2d.get(self._ids[1])


def seconds(run: Callable[[], object]) -> np.ndarray:
    """Wall time and processor time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def speed() -> list[Mark]:
    """FBP and one iteration of SIRT per channel, ours on 128 channels and ASTRA's on one, in turn."""
    A, b = ParallelBeam(ANGLES, N, CENTRED), disc(N_CHANNELS)
    A @ (A.T @ b[..., :1])  # compiled, or read from disk
    ours, theirs, back = [], [], []
    with AstraSlice() as peer:
        for _ in range(ROUNDS):
            ours.append(seconds(lambda: fbp(A, b)) / N_CHANNELS)
            theirs.append(seconds(lambda: peer.reconstruct("FBP", b[..., 0])))
            back.append(seconds(lambda: A.T @ b) / N_CHANNELS)
        marks = ratios("FBP", "per channel", np.min(ours, axis=0), np.min(theirs, axis=0))
        ours = per_iteration(lambda iterations: sirt(A, b, iterations=iterations)) / N_CHANNELS
        theirs = per_iteration(lambda iterations: peer.reconstruct("SIRT", b[..., 0], iterations))
    marks += ratios("SIRT", "per iteration and channel", ours, theirs)
    return [*marks, *floor(np.min(back, axis=0)[1]), compile_time()]


def per_iteration(run: Callable[[int], object]) -> np.ndarray:
    """Wall time and processor time of one iteration, without what comes before the first."""
    one, three = ([seconds(lambda n=n: run(n)) for _ in range(2)] for n in (1, 3))
    return (np.min(three, axis=0) - np.min(one, axis=0)) / 2


def ratios(method: str, unit: str, ours: np.ndarray, theirs: np.ndarray) -> list[Mark]:
    """How many times faster, by the clock and per core, and the times behind it."""
    return [
        at_least(f"{method} {unit}, ASTRA's CPU (1 channel) / ours ({N_CHANNELS}), wall", 20, theirs[0] / ours[0]),
        at_least(f"{method} {unit}, the same, processor time (per core)", 10, theirs[1] / ours[1]),
        reported(f"{method} {unit}, ours, wall", 1e3 * ours[0], "ms"),
        reported(f"{method} {unit}, ours, processor time", 1e3 * ours[1], "ms"),
        reported(f"{method} {unit}, ours, processor time over wall (threads that had a core)", ours[1] / ours[0]),
        reported(f"{method} {unit}, ASTRA, wall", 1e3 * theirs[0], "ms"),
    ]


def floor(back_projection: float) -> list[Mark]:
    """How fast the back-projection multiplies and adds, against the same loop on data in the nearest cache."""
    data, weights, repeats = np.ones((9, N_CHANNELS), np.float32), np.ones(8, np.float32), 2_000_000
    _add_eight(data, weights, 1)
    _, cpu = seconds(lambda: _add_eight(data, weights, repeats))
    limit = repeats * 8 * N_CHANNELS / cpu / 1e9
    reached = 2 * N * N * N_ANGLES / back_projection / 1e9
    return [
        reported("back-projection, multiply-adds per second and core", reached, "1e9/s"),
        reported("the same loop on data in the nearest cache (the floor)", limit, "1e9/s"),
        reported("back-projection, share of that floor", reached / limit),
    ]


@numba.njit(error_model="numpy", fastmath={"contract"})
def _add_eight(data, weights, repeats):
    w0, w1, w2, w3, w4, w5, w6, w7 = weights
    for _ in range(repeats):
        for m in range(data.shape[1]):
            data[0, m] += (
                w0 * data[1, m]
                + w1 * data[2, m]
                + w2 * data[3, m]
                + w3 * data[4, m]
                + w4 * data[5, m]
                + w5 * data[6, m]
                + w6 * data[7, m]
                + w7 * data[8, m]
            )


def compile_time() -> Mark:
    """Seconds that the first call of projector and back-projector takes on a machine that never ran them."""
    code = (
        "import time, numpy as np; from xrdct.reconstruction.operator import ParallelBeam as P; A = P([0.0], 4, 1.0);"
        "s = time.perf_counter(); A.T @ (A @ np.ones((4, 4))); print(time.perf_counter() - s)"
    )
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as folder:
        return reported("first call of the projectors, compiling", float(_python(code, NUMBA_CACHE_DIR=folder)), "s")


def streaming() -> list[Mark]:
    """Peak memory and time of the workflow's script from store to store at the full size."""
    from . import full_size  # here, so that a bare GPU machine without xarray can measure

    shape = f"{full_size.N_ANGLES} × {full_size.N} × {full_size.N_BINS}"
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as folder:
        memory, seconds = full_size.cost_of_reconstruction(Path(folder))
    return [
        at_most(f"store to store, {shape}, FBP: peak memory", 12, memory, "GiB"),
        reported("the same, wall", seconds, "s"),
    ]


def _python(code: str, **environment) -> str:
    """What a fresh interpreter prints on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return done.stdout.split()[-1]


def gpu() -> list[Mark]:
    """1000 channels on the GPU: FBP, an iteration of SIRT, and agreement with the CPU."""
    goal = f"FBP, {GPU_CHANNELS} channels, arrays on the host to volume on the host"
    if not cuda_available():
        return [not_measured(f"GPU: {goal}", "≤ 5", "no CUDA device")]
    import torch

    name, b = torch.cuda.get_device_name(), disc(GPU_CHANNELS)
    settings = {"cor": CENTRED, "support": "none"}
    first = seconds(lambda: reconstruct(b, ANGLES, device="cuda", **settings))[0]
    best = min(seconds(lambda: reconstruct(b, ANGLES, device="cuda", **settings))[0] for _ in range(ROUNDS))
    A, few, inside = ParallelBeam(ANGLES, N, CENTRED), b[..., :64], inside_disc()
    found, expected = reconstruct(few, ANGLES, device="cuda", **settings), fbp(A, few)
    beam = AstraBeam(A)
    on_device = beam.to_device(b)
    one, three = (seconds(lambda k=k: _finished(sirt(beam, on_device, iterations=k)))[0] for k in (1, 3))
    image = np.random.default_rng(0).random((N, N, 1), dtype=np.float32)
    x, y = beam.to_device(image), on_device[..., :1]
    left, right = float(((beam @ x) * y).double().sum()), float((x * (beam.T @ y)).double().sum())
    smooth = np.repeat(expected[..., :1], 2, axis=-1)
    projected = beam.to_host(beam @ beam.to_device(smooth)) - A @ smooth
    return [
        at_most(f"{name}: {goal}", 5, best, "s"),
        reported(f"{name}: the same, first call", first, "s"),
        reported(f"{name}: channels at a time", beam.channels_at_a_time),
        at_most(f"{name}: FBP, rms difference to the CPU, in the disc", 0.01, rms((found - expected)[inside])),
        reported(f"{name}: projection, rms difference to the CPU", rms(projected) / rms(A @ smooth)),
        reported(f"{name}: transpose, relative mismatch of ASTRA's pair", abs(left - right) / abs(left)),
        reported(f"{name}: SIRT per iteration, {GPU_CHANNELS} channels", (three - one) / 2, "s"),
        reported(f"{name}: FBP of {64} channels on the CPU, {numba.get_num_threads()} threads", _cpu_time(A, few), "s"),
    ]


def _finished(tensor) -> None:
    float(squared_norm(tensor[..., :1]).sum())  # asks for a value, and so waits for the GPU


def _cpu_time(A: ParallelBeam, b: np.ndarray) -> float:
    return float(seconds(lambda: fbp(A, b))[0])


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu-only", action="store_true", help="only the rows of the GPU")
    options = parser.parse_args(argv)
    marks = {mark.name: asdict(mark) for mark in (gpu() if options.gpu_only else measure())}
    print(table({"marks": marks}))
    print(json.dumps(marks, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())

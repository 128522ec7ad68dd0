"""The trimmed mean of a full-size frame: equal to a float64 sort, and how much faster than pyFAI in the same run.

The frame is the CeO2 frame of `XRDCT_REAL_DATA`, resampled to three count levels; without it, a synthetic one of the
same detector. Speeds are CPU times of one thread, contenders alternating, median of the repetitions.
"""

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fabio
import h5py
import hdf5plugin
import numba
import numpy as np
import pyFAI
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from ..config.images import Integrate
from ..integration import Integrator
from ..io.frames import open_frames
from ..io.poni import write_poni
from ..kernels import TrimmedMean, cuda, native, portable, reference
from ..pixel_bins import bin_pixels
from . import integration_gpu
from .marks import Mark, at_least, at_most, not_measured, reported

DEVICE = "one CPU thread"
N_BINS, TRIM, POLARIZATION = 1000, 0.2, 0.95
TRIMS = (0.0, 0.1, 0.2, 0.4)
SCALES = {"370 counts": 1.0, "12 counts": 1 / 30, "1 count": 1 / 300}
"""Share of the measured counts (median 373 per pixel) that a Poisson resample keeps."""
GOALS = {"native": {"no": 10, "full": 20}, "numba": {"no": 4.5, "full": 9}}
"""How many times faster than pyFAI without and with pixel splitting (its default) each kernel should be."""
AS_A_JOB = "chunk to pattern as a job does it"
REPETITIONS = 7
FRAMES_PER_READ = 8
LINES, N_POSITIONS, WORKERS = (2, 6), 320, 2
"""Lengths of the scans whose peak memory is compared, frames per line, threads."""
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@dataclass(frozen=True)
class Setup:
    """A detector with its geometry, mask, pixel table, and a frame with realistic counts."""

    geometry: AzimuthalIntegrator
    mask: np.ndarray
    counts: np.ndarray
    q_range: tuple[float, float]
    table: tuple[np.ndarray, np.ndarray, np.ndarray]

    def frame(self, scale: float, seed: int = 0) -> np.ndarray:
        """Poisson resample to `scale` times the counts, int32; masked pixels are -1."""
        counts = np.random.default_rng(seed).poisson(np.maximum(self.counts, 0) * scale)
        return np.where(self.mask, -1, counts if scale != 1 else self.counts).astype(np.int32)

    def pyfai(self, frame: np.ndarray, split: str, *, trimmed: bool = True):
        """The pattern as pyFAI makes it."""
        options = {
            "unit": "q_A^-1",
            "mask": self.mask,
            "polarization_factor": POLARIZATION,
            "radial_range": self.q_range,
        }
        if not trimmed:
            return self.geometry.integrate1d_ng(frame, N_BINS, method=(split, "csr", "cython"), **options)
        percentile = 50 * TRIM, 100 - 50 * TRIM
        method = (split, "csr", "cython")
        return self.geometry.medfilt1d_ng(frame, N_BINS, method=method, percentile=percentile, **options)


def measure() -> list[Mark]:
    """All marks of the integration step."""
    logging.getLogger("pyFAI").setLevel(logging.ERROR)
    setup = load_setup()
    fast = [mark for level in SCALES for mark in speed(setup, level)]
    return [*accuracy(setup), *fast, *end_to_end(setup), *memory(setup), *on_gpu()]


def on_gpu() -> list[Mark]:
    """Frames per second on a GPU with frames in memory, and agreement with the CPU; only where there is one."""
    name = "frames/s on a GPU, frames in host memory, 12 counts"
    if not cuda.is_available():
        return [not_measured(name, "≥ 2000", "no CUDA device")]
    found = integration_gpu.measure_device()
    row = found["12 counts, int32"]
    deviation = max(part["largest deviation"] for part in found.values() if isinstance(part, dict))
    return [
        at_least(f"{name}, {found['device']}", 2000, row["frames/s, host memory"], "frames/s"),
        reported(f"the same, frames on the device, {found['device']}", row["frames/s, device memory"], "frames/s"),
        at_most(f"largest deviation from the CPU, {found['device']}", 1e-5, deviation),
    ]


def load_setup() -> Setup:
    """The real frame where there is one, else a synthetic frame of the same detector."""
    folder = os.environ.get("XRDCT_REAL_DATA")
    if folder:
        own = Path(folder) / "ndtomo_ceo2"
        geometry = pyFAI.load(str(own / "CeO2.poni"))
        counts = fabio.open(str(own / "CeO2.cbf")).data
        mask = (fabio.open(str(own / "mask.edf.gz")).data > 0) | (counts < 0)
    else:
        geometry = AzimuthalIntegrator(
            dist=0.544, poni1=0.144, poni2=0.127, detector="Pilatus CdTe 2M", wavelength=1.746e-11
        )
        mask = geometry.detector.mask.astype(bool)
        q = geometry.center_array(mask.shape, unit="q_A^-1", scale=True)
        counts = 300 + 2000 * np.exp(-q) + 5000 * (np.cos(2 * np.pi * q) > 0.995)
    q = geometry.center_array(mask.shape, unit="q_A^-1", scale=True)[~mask]
    q_range = float(q.min()), float(q.max())
    bins = bin_pixels(geometry, mask, q_min=q_range[0], q_max=q_range[1], n_bins=N_BINS, polarization=POLARIZATION)
    return Setup(geometry, mask.astype(np.int8), counts, q_range, (bins.indices, bins.indptr, np.float32(bins.weights)))


def accuracy(setup: Setup) -> list[Mark]:
    """Largest |kernel - reference| / max(|reference|, 1e-3) over all bins and trims, per count level."""
    marks = []
    for level, scale in SCALES.items():
        frame = setup.frame(scale)[None]
        worst = {backend: 0.0 for backend in backends()}
        for trim in TRIMS:
            expected = reference.trimmed_mean(frame, *setup.table, trim=trim).intensity
            for backend in worst:
                found = TrimmedMean(*setup.table, trim=trim, backend=backend)(frame).intensity
                error = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-3)
                worst[backend] = max(worst[backend], np.nanmax(np.where(np.isnan(expected), 0, error)))
        for backend, value in worst.items():
            marks.append(at_most(f"{backend} against a float64 sort, {level}, trims 0–0.4", 1e-6, value, "relative"))
    return marks


def backends() -> list[str]:
    """The kernels of this machine."""
    return ["native", "numba"] if native.library() else ["numba"]


def speed(setup: Setup, level: str) -> list[Mark]:
    """CPU ms per frame at a count level, and ratios to pyFAI."""
    frame = setup.frame(SCALES[level])
    contenders = {
        "pyFAI medfilt1d_ng, no splitting": lambda: setup.pyfai(frame, "no"),
        "pyFAI medfilt1d_ng, full splitting": lambda: setup.pyfai(frame, "full"),
        "pyFAI plain mean, no splitting": lambda: setup.pyfai(frame, "no", trimmed=False),
    }
    for backend in backends():
        kernel = TrimmedMean(*setup.table, trim=TRIM, backend=backend)
        contenders[backend] = lambda kernel=kernel: kernel(frame[None])
    seconds = alternating(contenders, REPETITIONS)
    marks = [
        reported(f"{name}, {level}, CPU", 1e3 * float(np.median(value)), "ms/frame") for name, value in seconds.items()
    ]
    for backend, by_split in GOALS.items():
        for split, goal in by_split.items():
            name = f"{backend} against pyFAI medfilt1d_ng, {split} splitting, {level}"
            if backend not in seconds:
                marks.append(not_measured(name, f"≥ {goal:g}", "no C compiler"))
                continue
            pyfai = seconds[f"pyFAI medfilt1d_ng, {split} splitting"]
            marks.append(at_least(name, goal, float(np.median(pyfai / seconds[backend])), "×"))
    return marks


def end_to_end(setup: Setup) -> list[Mark]:
    """Frames per second of one core from bitshuffle-LZ4 chunks to patterns, its parts, and the floor under them.

    Frames are read as the job reads them, through `open_frames`, with all its checks.
    """
    kernels = {name: TrimmedMean(*setup.table, trim=TRIM, backend=name) for name in backends()}
    indices = np.append(setup.table[0], np.zeros(portable.LOOK_AHEAD, np.int32))
    stack = np.array([setup.frame(SCALES["12 counts"], seed) for seed in range(FRAMES_PER_READ)])
    frames = range(FRAMES_PER_READ)
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as folder:
        path = Path(folder) / "frames.h5"
        write_frames(path, stack)
        with h5py.File(path, "r") as file, open_frames(path) as source:
            dataset = file["frames"]
            contenders = {
                "read by h5py": lambda: [dataset[i] for i in frames],
                "read by open_frames": lambda: [source.read(i, i + 1) for i in frames],
                "gather in the order of the bins": lambda: [gather(frame.ravel(), indices) for frame in stack],
            }
            for name, kernel in kernels.items():
                contenders[f"chunk to pattern, {name}"] = lambda kernel=kernel: [
                    kernel(source.read(i, i + 1)) for i in frames
                ]
            for name, integrator in as_jobs(setup).items():
                contenders[f"{AS_A_JOB}, {name}"] = lambda integrator=integrator: integrator(
                    source.read(0, len(frames))
                )
            seconds = alternating(contenders, REPETITIONS)
    per_frame = {name: float(np.median(values)) / FRAMES_PER_READ for name, values in seconds.items()}
    floor = per_frame["read by open_frames"] + per_frame["gather in the order of the bins"]
    marks = [reported(f"{name}, CPU", 1e3 * value, "ms/frame") for name, value in per_frame.items()]
    marks.append(reported("floor: chunk decoded and gathered, CPU", 1e3 * floor, "ms/frame"))
    for name in kernels:
        value = per_frame[f"chunk to pattern, {name}"]
        goal = {"native": 40, "numba": 15}[name]
        marks.append(at_least(f"end to end from bitshuffle-LZ4, {name}", goal, 1 / value, "frames/s/core"))
        marks.append(reported(f"end to end over the floor, {name}", value / floor, "×"))
    name = f"{AS_A_JOB}, whole bins from half ones"
    return [*marks, at_least(f"{name}, kernel of this machine", 40, 1 / per_frame[name], "frames/s/core")]


def as_jobs(setup: Setup) -> dict[str, Integrator]:
    """What a job integrates with, with bins as its default makes them and with plain ones."""
    low, high = setup.q_range
    options = {"q_min": low, "q_max": high, "n_bins": N_BINS, "polarization": POLARIZATION, "trim": TRIM}
    kinds = {"whole bins from half ones": True, "bins as their pixels are": False}
    return {name: Integrator(setup.geometry, setup.mask, **options, centred=centred) for name, centred in kinds.items()}


@numba.njit(nogil=True)
def gather(frame, indices):
    """Sum of the listed pixels in the order of the bins, memory asked for ahead: what no kernel can do without."""
    total = np.int64(0)
    for i in range(len(indices) - portable.LOOK_AHEAD):
        portable.prefetch(frame, indices[i + portable.LOOK_AHEAD])
        total += frame[indices[i]]
    return total


def write_frames(path: Path, stack: np.ndarray) -> None:
    """A stack as detectors write it: bitshuffle-LZ4, one frame per chunk."""
    with h5py.File(path, "w") as file:
        compression = hdf5plugin.Bitshuffle(cname="lz4")
        file.create_dataset("frames", data=stack, chunks=(1, *stack.shape[1:]), **compression)


def memory(setup: Setup) -> list[Mark]:
    """Peak memory of a whole integration job on full-size frames, for two lengths of the scan."""
    stack = np.array([setup.frame(SCALES["12 counts"], seed) for seed in range(FRAMES_PER_READ)])
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        folder = Path(name)
        write_frames(folder / "frames.h5", stack)
        write_poni(folder / "geometry.poni", setup.geometry)
        np.save(folder / "mask.npy", setup.mask)
        for n_lines in LINES:
            layout = h5py.VirtualLayout((n_lines * N_POSITIONS, *stack.shape[1:]), stack.dtype)
            for start in range(0, n_lines * N_POSITIONS, FRAMES_PER_READ):
                stop = min(start + FRAMES_PER_READ, n_lines * N_POSITIONS)
                source = h5py.VirtualSource("frames.h5", "frames", stack.shape)
                layout[start:stop] = source[: stop - start]
            with h5py.File(folder / f"scan{n_lines}.h5", "w") as file:
                file.create_virtual_dataset("frames", layout)
            peaks[n_lines] = peak_of_job(folder, n_lines, setup.q_range)
    limit = 2048 + 50 * WORKERS
    return [
        at_most(f"peak memory, {n * N_POSITIONS} frames of 2.5 Mpx, 4 groups, {WORKERS} workers", limit, peak, "MiB")
        for n, peak in peaks.items()
    ]


def peak_of_job(folder: Path, n_lines: int, q_range: tuple[float, float]) -> float:
    """Largest resident memory in MiB of the workflow's own script, run in a process of its own."""
    settings = Integrate(q_min=q_range[0], q_max=q_range[1], n_bins=N_BINS, trim=TRIM, groups=4, max_bad_frames=0)
    code = f"""
import resource, sys
sys.path.insert(0, {str(SCRIPTS)!r})
import integrate
integrate.main("geometry.poni", "mask.npy", "p{n_lines}.zarr", "p{n_lines}.json", file="scan{n_lines}.h5",
    dataset="frames", n_projections={n_lines}, n_positions={N_POSITIONS}, workers={WORKERS}, polarization=0.95,
    counters=dict(monitor=None, omega=None, translation=None), settings={settings.model_dump(mode="json")!r})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def alternating(contenders: dict[str, Callable[[], object]], repetitions: int) -> dict[str, np.ndarray]:
    """CPU seconds of every call, contenders taking turns so that a busy machine slows all alike; one warm-up each."""
    seconds = {name: np.empty(repetitions) for name in contenders}
    for run in contenders.values():
        run()
    for i in range(repetitions):
        for name, run in contenders.items():
            started = time.process_time()
            run()
            seconds[name][i] = time.process_time() - started
    return seconds

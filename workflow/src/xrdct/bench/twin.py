"""The digital twin: how fast it writes each size, in how much memory, and how far it is from closed forms."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from ..twin.detector import wavelength
from ..twin.parallax import depth_nodes, shifted_patterns
from ..twin.patterns import pseudo_voigt, q_grid
from ..twin.rays import line_paths, matter_of
from ..twin.scattering import radial_tables
from .marks import Mark, at_least, at_most, reported

DEVICE = "CPU"
LIMITS = {"tiny": (10, 50), "demo": (60, 300)}
"""Seconds within which a preset has to be written, and megabytes that it may take."""
SHORT, LONG = 40, 440
"""Frames of full size written by two runs; the difference of their processor times is that of the frames alone."""
PAPER = {"base": "paper", "scan": {"n_subsets": 1}}


def measure() -> list[Mark]:
    """Write every size in a temporary folder and measure; compute attenuation and parallax of known bodies."""
    with tempfile.TemporaryDirectory(prefix="xrdct-bench-") as name:
        return [*presets(Path(name)), *paper(Path(name)), *closed_forms()]


def presets(folder: Path) -> list[Mark]:
    """Time, memory and size of the small presets, and whether one seed gives the same bytes twice."""
    marks, digests = [], []
    for k, preset in enumerate([*LIMITS, "tiny"]):
        out = folder / f"{preset}-{k}"
        seconds, _, memory = simulate([preset, "--workers", str(os.cpu_count())], out)
        digests.append(digest(out))
        if k < len(LIMITS):
            longest, largest = LIMITS[preset]
            marks.append(at_most(f"{preset}: time", longest, seconds, "s"))
            marks.append(reported(f"{preset}: peak memory", memory, "GiB"))
            marks.append(at_most(f"{preset}: size", largest, size_of(out) / 1e6, "MB"))
    same = sum(digests[-1].get(name) == content for name, content in digests[0].items()) / len(digests[0])
    return [*marks, at_least("tiny: share of files that a second run writes byte for byte", 1, same)]


def paper(folder: Path) -> list[Mark]:
    """Frames per second of one core at full detector size, and the memory that it takes."""
    processor, memory = {}, 0.0
    for n_frames in (SHORT, LONG):
        settings = folder / f"paper-{n_frames}.yaml"
        broken_off = [{"scan": "v4p20", "subset": 1, "frames": n_frames}]
        settings.write_text(yaml.safe_dump(PAPER | {"artefacts": {"truncated": broken_off}}), encoding="utf-8")
        out = folder / f"paper-{n_frames}"
        call = [settings, "--scan", "v4p20", "--lines", "1", "--workers", "1"]
        _, processor[n_frames], memory = simulate(call, out)
    per_frame = size_of(out / "raw") / LONG / 1e6
    rate = (LONG - SHORT) / (processor[LONG] - processor[SHORT])
    return [
        at_least("paper: frames of 2.5 megapixels, with noise and compression", 10, rate, "frames/s/core"),
        at_most("paper: peak memory", 4, memory, "GiB"),
        reported("paper: size of a frame", per_frame, "MB"),
        reported("paper: until the first frame", processor[SHORT] - SHORT / rate, "s of one core"),
    ]


def simulate(arguments: list, out: Path) -> tuple[float, float, float]:
    """Run ``xrdct simulate`` on one core per worker; seconds, seconds of processor time, peak memory in GiB."""
    command = [sys.executable, "-m", "xrdct", "simulate", *arguments, "--out", out]
    # The frame that is written, the one that is made and the kernels share the cores that --workers names.
    alone = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    started = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), env=os.environ | alone, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def digest(folder: Path) -> dict[str, str]:
    """Hash of every file in a folder, by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def closed_forms() -> list[Mark]:
    """Largest errors of attenuation and parallax where the answer is known."""
    return [
        at_most("attenuation of a uniform disc: error of L exp(−µL)", 0.005, disc_error()),
        at_most("parallax of a grain over 0–180°: error of 2x/πL, share of it", 0.01, grain_shift(180)),
        at_most("parallax of a grain over 0–360°: shift in ln tan 2θ", 1e-4, grain_shift(360)),
    ]


def disc_error(radius: float = 2.5, mu: float = 0.4) -> float:
    """Largest relative error of the forward-scattered path × transmission of a disc, for chords above 2 mm."""
    n, voxel = 240, 0.025
    axis = (np.arange(n) - (n - 1) / 2) * voxel
    disc = np.clip((radius - np.hypot(axis[None, :], axis[:, None])) / voxel + 0.5, 0, 1)
    matter = matter_of(disc[:, :, None], np.array([mu]), voxel)
    settings = {"cor": 29.5, "n_positions": 60, "step": 0.1, "n_materials": 1}
    found = line_paths(matter, 30.0, depths=np.zeros(1), exits=np.zeros(1), **settings)[:, 0, 0, 0]
    chord = 2 * np.sqrt(np.clip(radius**2 - ((np.arange(60) - 29.5) * 0.1) ** 2, 0, None))
    found, chord = found[chord > 2], chord[chord > 2]
    return float(np.abs(found / (chord * np.exp(-mu * chord)) - 1).max())


def grain_shift(span: float, x: float = 8.0, distance: float = 1000.0) -> float:
    """Error of the mean shift of an isolated grain's line in ln tan 2θ: relative over a half turn, else absolute."""
    q = q_grid(4.5)
    line, near = pseudo_voigt(q - 3.0, 0.02, 0.0), (q > 2.8) & (q < 3.2)
    y = np.log(np.tan(2 * np.arcsin(q[near] * wavelength(95) / (4 * np.pi))))
    axis = (np.arange(400) - 199.5) * 0.05
    grain = (np.hypot(axis[None, :] - x, axis[:, None]) < 0.1).astype(float)
    matter = matter_of(grain[:, :, None], np.zeros(1), 0.05)
    depths = depth_nodes(9.5, distance=distance, relative_width=0.02 / 3)
    shifted = shifted_patterns(line[None], q, depths, distance=distance, wavelength=wavelength(95)).astype(np.float32)
    settings = {"cor": 99.5, "n_positions": 200, "step": 0.1, "n_materials": 1, "depths": depths, "exits": np.zeros(1)}
    total = sum(
        radial_tables(line_paths(matter, omega, **settings), shifted)[:, 0].sum(axis=0)
        for omega in np.arange(2, span, 4.0)
    )
    shift = (total[near] @ y) / total[near].sum() - (line[near] @ y) / line[near].sum()
    expected = 2 / np.pi * x / distance
    return float(abs(shift / expected - 1) if span == 180 else abs(shift))

"""Scans of the full size (400 projections × 637 positions × 1000 bins) in stores, and what the scripts need for them.

The sinogram is noise: how long its reconstruction takes does not depend on what it shows. The patterns are of a disc
in air, because assembly looks at what it is given.
"""

import runpy
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr

from ..config import Assemble, Reconstruct
from ..geometry import lateral_position
from ..io.store import write_store

N, N_ANGLES, N_BINS, N_SUBSETS = 637, 400, 1000, 4
COR, STEP_MM = 316.4, 0.03
DISC = 40.0, -25.0, 200.0
"""x, y and radius of the sample in pixels."""
AIR, DRIFT, PLAY = 20.0, 0.01, 0.6
"""Counts of the air; share by which each subset is stronger than the one before; backlash in pixels."""
SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


def write_random_sinogram(folder: Path) -> list[str]:
    """A sinogram store of noise; paths of store and manifest."""
    b = np.random.default_rng(0).random((N_ANGLES, N, N_BINS), dtype=np.float32)
    dims = ("angle", "position", "q")
    line, frame = np.zeros(N_ANGLES, np.float32), np.zeros((N_ANGLES, N), np.float32)
    dataset = xr.Dataset(
        {
            "intensity": (dims, b, {"units": "counts"}),
            "variance": (dims, np.broadcast_to(np.float32(1), b.shape), {"units": "counts^2"}),
            "air": (("angle", "q"), np.zeros((N_ANGLES, N_BINS), np.float32), {"units": "counts"}),
            **{name: (dims[:2], frame, {"units": "1"}) for name in ("repaired", "bad_frame", "zingers")},
            **{name: (dims[:1], line, {"units": "1"}) for name in ("subset", "direction")},
            "offset": (dims[:1], line, {"units": "pixel"}),
        },
        coords={
            "angle": ("angle", np.arange(N_ANGLES) * 180 / N_ANGLES, {"units": "degree"}),
            "q": ("q", np.linspace(0.5, 3.85, N_BINS), {"units": "1/angstrom"}),
        },
        attrs={"cor": COR, "step_mm": STEP_MM},
    )
    paths = [str(folder / name) for name in ("sinogram.zarr", "sinogram.json")]
    write_store(dataset, *paths, kind="sinogram", settings={}, inputs={})
    return paths


def write_patterns(folder: Path) -> tuple[list[str], list[str]]:
    """Pattern stores of the interlaced subsets of a disc, zigzag with play; paths of stores and manifests."""
    paths = [[str(folder / f"{k}.zarr"), str(folder / f"{k}.json")] for k in range(N_SUBSETS)]
    for k, (store, manifest) in enumerate(paths):
        write_store(patterns(k), store, manifest, kind="patterns", settings={}, inputs={})
    return [store for store, _ in paths], [manifest for _, manifest in paths]


def patterns(subset: int) -> xr.Dataset:
    """The patterns of one subset (0, 1, …) in the order of acquisition, with noise, (line, point, q)."""
    rng = np.random.default_rng(subset)
    n_lines = N_ANGLES // N_SUBSETS
    angles = (np.arange(n_lines) * N_SUBSETS + subset) * 180 / N_ANGLES
    columns = np.tile(np.arange(N), (n_lines, 1))
    columns[1::2] = columns[1::2, ::-1]
    axis = COR + PLAY / 2 * np.where(np.arange(n_lines) % 2, -1, 1)
    x, y, radius = DISC
    along = columns - axis[:, None] - lateral_position(x, y, angles)[:, None]
    q = np.linspace(0.5, 3.85, N_BINS)
    peaks = np.exp(-0.5 * ((q[:, None] - np.linspace(1, 3.5, 12)) / 0.01) ** 2).sum(axis=1) + 0.1
    clean = 2 * np.sqrt(np.clip(radius**2 - along**2, 0, None))[..., None].astype(np.float32) * peaks.astype(np.float32)
    clean += np.float32(AIR)
    clean *= np.float32((1 + DRIFT) ** subset)
    sem = np.sqrt(clean) / 10
    clean += sem * rng.standard_normal(clean.shape, dtype=np.float32)
    dims, counts = ("line", "point", "q"), {"units": "counts"}
    frame = np.ones((n_lines, N))
    return xr.Dataset(
        {
            "intensity": (dims, clean, counts),
            "sem": (dims, sem, counts),
            "spottiness": (dims, np.broadcast_to(np.float32(0), clean.shape), counts),
            "kept": (dims, np.broadcast_to(np.int32(100), clean.shape), {"units": "1"}),
            "valid": (dims[:2], frame.astype(bool), {"units": "1"}),
            "monitor": (dims[:2], frame, {"units": "arbitrary"}),
            "omega": (dims[:2], angles[:, None] * frame, {"units": "degree"}),
            "translation": (dims[:2], columns * STEP_MM, {"units": "mm"}),
        },
        coords={"q": ("q", q, {"units": "1/angstrom"})},
    )


def cost_of_reconstruction(folder: Path) -> tuple[float, float]:
    """Peak memory (GiB) and seconds from a sinogram store to a volume store, by filtered back-projection."""
    paths = [*write_random_sinogram(folder), str(folder / "volume.zarr"), str(folder / "volume.json")]
    return cost_of_script("reconstruct", *paths, settings=Reconstruct().model_dump(mode="json"))


def cost_of_assembly(folder: Path) -> tuple[float, float]:
    """Peak memory (GiB) and seconds from the subsets' pattern stores to a sinogram store."""
    made = [str(folder / name) for name in ("sinogram.zarr", "sinogram.json", "quality.json")]
    step = 180 * N_SUBSETS / N_ANGLES
    rows = [
        {"angle_start_deg": k * step / N_SUBSETS, "angle_step_deg": step, "step_mm": STEP_MM, "zigzag": "yes"}
        for k in range(N_SUBSETS)
    ]
    settings = Assemble().model_dump(mode="json")
    return cost_of_script("assemble", *write_patterns(folder), *made, subsets=rows, settings=settings)


def run_script(name: str, *paths, **arguments) -> None:
    """The `main` of a script of the workflow."""
    runpy.run_path(str(SCRIPTS / f"{name}.py"))["main"](*paths, **arguments)


def cost_of_script(name: str, *paths, **arguments) -> tuple[float, float]:
    """Peak memory (GiB) and seconds of a script in a fresh interpreter, imports and compilation included."""
    call = f"f.run_script({name!r}, *{paths!r}, **{arguments!r})"
    code = f"from xrdct.bench import full_size as f; {call}; print(f.peak())"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1]), time.monotonic() - started


def peak() -> float:
    """Most memory that this process has had, GiB.

    Of its own address space: what `getrusage` says is never less than what the process that started it had.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return int(kib) / 2**20

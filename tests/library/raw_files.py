"""Small raw files in the layouts of beamlines, for the tests of the readers."""

from pathlib import Path

import fabio
import h5py
import hdf5plugin
import numpy as np
import yaml

from xrdct.scans import Subset, write_scans

SHAPE = (6, 7)
DATA = "/entry_0000/measurement/data"
"""Where `write_stack` puts frames."""
N_PROJECTIONS, N_POSITIONS = 3, 8
IMAGES = {
    "cbf": fabio.cbfimage.CbfImage,
    "edf": fabio.edfimage.EdfImage,
    "tif": fabio.tifimage.TifImage,
}


def some_frames(n: int, shape: tuple[int, int] = SHAPE, *, seed: int = 0) -> np.ndarray:
    """Counts that differ from frame to frame, none of them zero (what HDF5 fills holes with)."""
    return np.random.default_rng(seed).poisson(20, (n, *shape)).astype(np.int32) + 1


def write_images(folder, frames, suffix, *, prefix="frame_"):
    """One file per frame, numbered without leading zeros."""
    for number, frame in enumerate(frames):
        IMAGES[suffix](data=frame).write(str(folder / f"{prefix}{number}.{suffix}"))


def write_stack(path: Path, frames: np.ndarray, dataset: str = DATA) -> Path:
    """A stack as a detector's own software writes it: bitshuffle-LZ4, one chunk per frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compression = hdf5plugin.Bitshuffle(cname="lz4")
    with h5py.File(path, "w") as file:
        file.create_dataset(dataset, data=frames, chunks=(1, *frames.shape[1:]), **compression)
    return path


def write_virtual(
    path: Path, dataset: str, sources: list[tuple[str, str, int]], shape: tuple[int, int] = SHAPE
) -> Path:
    """A virtual dataset of whole frames from `sources`: file as linked, dataset, number of frames."""
    layout = h5py.VirtualLayout((sum(n for *_, n in sources), *shape), np.int32)
    start = 0
    for file_name, name, n in sources:
        layout[start : start + n] = h5py.VirtualSource(file_name, name, shape=(n, *shape))
        start += n
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset(dataset, layout)
    return path


def grid_positions(*, zigzag: bool = True, start: float = 0.0, step: float = 0.03, angle_step: float = 60.0):
    """Translation and rotation of every frame, as the motors' encoders would give them."""
    lines = np.tile(np.arange(N_POSITIONS) * step - 0.1, (N_PROJECTIONS, 1))
    if zigzag:
        lines[1::2] = lines[1::2, ::-1]
    omega = start + np.repeat(np.arange(N_PROJECTIONS) * angle_step, N_POSITIONS)
    return lines.ravel(), omega


def write_master(path: Path, *, scan: str = "1.1", start: float = 0.0, zigzag: bool = True, seed: int = 0) -> Path:
    """A BLISS master's scan: counters, motors, frames as a virtual dataset onto the detector's file."""
    frames = some_frames(N_PROJECTIONS * N_POSITIONS, seed=seed)
    folder = f"{path.stem}_{scan[0]}"
    write_stack(path.parent / folder / "pilatus_0000.h5", frames)
    source = (f"{folder}/pilatus_0000.h5", DATA, len(frames))
    write_virtual(path, f"/{scan}/measurement/pilatus", [source])
    translation, omega = grid_positions(zigzag=zigzag, start=start)
    with h5py.File(path, "a") as file:
        file[f"{scan}/title"] = f"fscan2d rot {start} 60 {N_PROJECTIONS} ty -0.1 0.03 {N_POSITIONS} 0.01"
        file[f"{scan}/measurement/mon"] = np.full(len(frames), 1e5)
        file[f"{scan}/measurement/ty"] = translation
        file[f"{scan}/measurement/rot"] = omega
        file[f"{scan}/measurement/elapsed_time"] = np.arange(len(frames)) * 0.01
        file[f"{scan}/instrument/positioners/diffz"] = 3.5
        file[f"{scan}/instrument/positioners/rot"] = h5py.SoftLink(f"/{scan}/measurement/rot")
    return path


def subset_row(number: int, **changes) -> Subset:
    """A row of the table that fits `write_master`."""
    row = {
        "scan": "cell1_4p2V",
        "subset": number,
        "file": f"cell1_4p2V_s{number}.h5",
        "dataset": "/1.1/measurement/pilatus",
        "n_projections": N_PROJECTIONS,
        "n_positions": N_POSITIONS,
        "angle_start_deg": 30.0 * (number - 1),
        "angle_step_deg": 60.0,
        "step_mm": 0.03,
        "zigzag": "yes",
    }
    return Subset(**(row | changes))


def write_beamtime(folder: Path, *, rows: list[Subset] | None = None, **sections) -> Path:
    """Configuration, table, calibrant and two interlaced subsets; returns the configuration's path."""
    raw = folder / "raw"
    raw.mkdir()
    for number in (1, 2):
        write_master(raw / f"cell1_4p2V_s{number}.h5", start=30.0 * (number - 1), seed=number)
    np.save(raw / "CeO2.npy", some_frames(1)[0])
    np.save(raw / "mask.npy", np.zeros(SHAPE, np.uint8))
    settings = {
        "raw": {"root": str(raw), "monitor": "mon", "omega": "rot", "translation": "ty"},
        "detector": {"shape": list(SHAPE), "pixel_size_um": 172, "mask": "mask.npy"},
        "beam": {"energy_kev": 71},
        "calibrate": {"frame": "CeO2.npy"},
    }
    settings = {key: settings.get(key, {}) | sections.get(key, {}) for key in settings | sections}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    write_scans(folder / "scans.tsv", rows or [subset_row(1), subset_row(2)])
    return folder / "config.yaml"


def damage(path, dataset, frame):
    """Overwrite the compressed bytes of one frame."""
    with h5py.File(path) as file:
        chunk = file[dataset].id.get_chunk_info_by_coord((frame, 0, 0))
    with open(path, "r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)

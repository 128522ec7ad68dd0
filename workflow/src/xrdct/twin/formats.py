"""The layouts of raw files that the twin can write: BLISS masters, plain HDF5 stacks, CBF series."""

from collections.abc import Iterable
from pathlib import Path

import fabio.cbfimage
import h5py
import hdf5plugin
import numpy as np

from . import files
from .detector import wavelength
from .parameters import Parameters

STACK = "/entry/data/data"
"""Where a plain HDF5 file holds the frames; its counters lie beside them."""
STAMP_FILE = "beamtime.txt"
"""In the folder of a series: which parameters made it."""


def raw_path(out: Path, parameters: Parameters, scan: str, subset: int) -> Path:
    """File of one subset, or folder of its series."""
    suffix = "" if parameters.files.format == "cbf" else ".h5"
    return out / "raw" / f"{scan}_s{subset}{suffix}"


def table_columns(parameters: Parameters, scan: str, subset: int) -> dict[str, str | None]:
    """`file` and `dataset` of one subset in the scan table."""
    name, kind = f"{scan}_s{subset}", parameters.files.format
    if kind == "cbf":
        return {"file": f"{name}/*.cbf", "dataset": None}
    return {"file": f"{name}.h5", "dataset": files.DATASET if kind == "bliss" else STACK}


def stands(out: Path, parameters: Parameters, scan: str, subset: int, stamp: str) -> bool:
    """Whether the raw files of one subset stand, made from the parameters of this stamp."""
    path, kind = raw_path(out, parameters, scan, subset), parameters.files.format
    if kind == "bliss":
        return files.has_subset(path, stamp)
    if kind == "cbf":
        note = path / STAMP_FILE
        return note.is_file() and note.read_text(encoding="utf-8").strip() == stamp
    if not path.is_file():
        return False
    with h5py.File(path) as file:
        return file.attrs.get(files.STAMP) == stamp


def write_raw(
    out: Path,
    parameters: Parameters,
    scan: str,
    subset: int,
    blocks: Iterable[np.ndarray],
    *,
    shape: tuple[int, int, int],
    counters: dict[str, np.ndarray],
    title: str,
    start_time: str,
    sample: str,
    stamp: str,
) -> None:
    """Write one subset in the format that the parameters name; arguments as for `files.write_subset`."""
    path = raw_path(out, parameters, scan, subset)
    if parameters.files.format == "bliss":
        texts = {"title": title, "start_time": start_time, "sample": sample}
        files.write_subset(path, blocks, shape=shape, counters=counters, stamp=stamp, **texts)
    elif parameters.files.format == "hdf5":
        _write_stack(path, blocks, shape=shape, counters=counters, stamp=stamp)
    else:
        _write_series(path, blocks, parameters, counters=counters, start_time=start_time, stamp=stamp)


def _write_stack(
    path: Path,
    blocks: Iterable[np.ndarray],
    *,
    shape: tuple[int, int, int],
    counters: dict[str, np.ndarray],
    stamp: str,
) -> None:
    """One HDF5 file: the frames, a chunk each, bitshuffle-LZ4, and the counters beside them."""
    with files.whole(path) as part, h5py.File(part, "w", libver="v110") as file:
        file.attrs[files.STAMP] = stamp
        frames = file.create_dataset(
            STACK, shape, "int32", chunks=(1, *shape[1:]), **hdf5plugin.Bitshuffle(cname="lz4")
        )
        start = 0
        for block in blocks:
            frames[start : start + len(block)] = block
            start += len(block)
        for name, values in counters.items():
            frames.parent[name] = values


def _write_series(
    folder: Path,
    blocks: Iterable[np.ndarray],
    parameters: Parameters,
    *,
    counters: dict[str, np.ndarray],
    start_time: str,
    stamp: str,
) -> None:
    """A folder of CBF files with the header of a Pilatus at PETRA III; counters are comment lines of each."""
    with files.whole(folder) as part:
        part.mkdir()
        number = 0
        for block in blocks:
            for counts in block:
                readings = {name: values[number] for name, values in counters.items()}
                number += 1
                name = part / f"{folder.name}_{number:06d}.cbf"
                _write_cbf(name, counts, _header(parameters, start_time, readings))
        (part / STAMP_FILE).write_text(stamp + "\n", encoding="utf-8")


def _write_cbf(path: Path, counts: np.ndarray, header: list[str]) -> None:
    image = fabio.cbfimage.CbfImage(data=counts)
    image.header["_array_data.header_convention"] = "PILATUS_1.2"
    image.header["_array_data.header_contents"] = "\n".join(f"# {line}" for line in header)
    image.write(str(path))


def _header(parameters: Parameters, start_time: str, readings: dict[str, float]) -> list[str]:
    """Lines of a Pilatus header: what the detector knows, then what the beamline adds."""
    detector, edge = parameters.detector, parameters.detector.pixel_um * 1e-6
    row, column = detector.beam_centre
    return [
        "Detector: PILATUS3 X CdTe, simulated",
        start_time,
        f"Pixel_size {edge:.6g} m x {edge:.6g} m",
        "CdTe sensor, thickness 0.001000 m",
        "Exposure_time 0.0100000 s",
        f"Count_cutoff {parameters.artefacts.saturation or 2**20 - 1} counts",
        f"Wavelength {wavelength(parameters.beam.energy_kev):.6f} A",
        f"Detector_distance {detector.distance_mm / 1000:.6f} m",
        f"Beam_xy ({column:.2f}, {row:.2f}) pixels",
        *(f"{name} {value:.9g}" for name, value in readings.items()),
    ]

"""The layouts of raw files that the twin can write: BLISS masters, plain HDF5 stacks, CBF series."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from . import bliss, files
from .detector import wavelength
from .files import FramesFrom
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
    return {"file": f"{name}.h5", "dataset": bliss.DATASET if kind == "bliss" else STACK}


def stands(out: Path, parameters: Parameters, scan: str, subset: int, stamp: str) -> bool:
    """Whether the raw files of one subset stand, made from the parameters of this stamp."""
    path, kind = raw_path(out, parameters, scan, subset), parameters.files.format
    if kind == "bliss":
        return bliss.has_subset(path, stamp)
    if kind == "cbf":
        note = path / STAMP_FILE
        return note.is_file() and note.read_text(encoding="utf-8").strip() == stamp
    return files.has_stamp(path, stamp)


def write_raw(
    out: Path,
    parameters: Parameters,
    scan: str,
    subset: int,
    frames_from: FramesFrom,
    *,
    shape: tuple[int, int, int],
    counters: dict[str, np.ndarray],
    title: str,
    start_time: str,
    sample: str,
    stamp: str,
) -> None:
    """Write one subset in the format that the parameters name; arguments as for `bliss.write_subset`.

    What an interrupted run left whole is kept: files of frames under a BLISS master, images of a series. A plain stack
    is one file and begins anew.
    """
    path = raw_path(out, parameters, scan, subset)
    settings = parameters.files
    if settings.format == "bliss":
        texts = {"title": title, "start_time": start_time, "sample": sample}
        per_file = settings.frames_per_file
        bliss.write_subset(
            path, frames_from, shape=shape, frames_per_file=per_file, counters=counters, stamp=stamp, **texts
        )
    elif settings.format == "hdf5":
        files.write_frames(path, STACK, frames_from(0), shape=shape, stamp=stamp, beside=counters)
    else:
        _write_series(path, frames_from, parameters, shape[0], counters=counters, start_time=start_time, stamp=stamp)


def _write_series(
    folder: Path,
    frames_from: FramesFrom,
    parameters: Parameters,
    n_frames: int,
    *,
    counters: dict[str, np.ndarray],
    start_time: str,
    stamp: str,
) -> None:
    """A folder of CBF files with the header of a Pilatus at PETRA III; counters are comment lines of each.

    The folder has a temporary name until it is whole, and so has the image that is being written: the next run takes
    up the series after the last whole image.
    """
    part = folder.with_name(f".{folder.name}.part")
    if (part / STAMP_FILE).is_file() and (part / STAMP_FILE).read_text(encoding="utf-8").strip() != stamp:
        shutil.rmtree(part)
    part.mkdir(parents=True, exist_ok=True)
    with files.whole(part / STAMP_FILE) as note:
        note.write_text(stamp + "\n", encoding="utf-8")
    names = [part / f"{folder.name}_{number + 1:06d}.cbf" for number in range(n_frames)]
    number = next((k for k, name in enumerate(names) if not name.is_file()), n_frames)
    for block in frames_from(number) if number < n_frames else ():
        for counts in block:
            readings = {name: values[number] for name, values in counters.items()}
            files.write_frame(names[number], counts, _header(parameters, start_time, readings))
            number += 1
    files.take_place(part, folder)


def _moment(epoch: float) -> str:
    """A moment (s since 1970) as a Pilatus writes it, in UTC."""
    return datetime.fromtimestamp(round(float(epoch), 3), UTC).isoformat(timespec="milliseconds")[:23]


def _header(parameters: Parameters, start_time: str, readings: dict[str, float]) -> list[str]:
    """Lines of a Pilatus header: what the detector knows, then what the beamline adds."""
    detector, edge = parameters.detector, parameters.detector.pixel_um * 1e-6
    row, column = detector.beam_centre
    return [
        "Detector: PILATUS3 X CdTe, simulated",
        _moment(readings["epoch"]) if "epoch" in readings else start_time,
        f"Pixel_size {edge:.6g} m x {edge:.6g} m",
        "CdTe sensor, thickness 0.001000 m",
        "Exposure_time 0.0100000 s",
        f"Count_cutoff {parameters.artefacts.saturation or 2**20 - 1} counts",
        f"Wavelength {wavelength(parameters.beam.energy_kev):.6f} A",
        f"Detector_distance {detector.distance_mm / 1000:.6f} m",
        f"Beam_xy ({column:.2f}, {row:.2f}) pixels",
        *(f"{name} {value:.9g}" for name, value in readings.items()),
    ]

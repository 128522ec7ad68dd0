"""A whole simulated beamtime: raw files, calibrant, mask, scan table and truth in one folder."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from tqdm import tqdm

from ..scans import Subset, write_scans
from . import files
from .acquisition import beam_intensity, frame_columns, line_angles, motor_positions
from .cell import SUB_VOXELS, box_mean, material_maps, material_names
from .detector import Defects, Pixels, draw_defects, place_pixels, wavelength
from .frames import air_image, expected_counts, material_images, record
from .parameters import Parameters, State
from .patterns import crystal_pattern, lattice_of, material_patterns, q_grid
from .projector import project
from .structures import STRUCTURES, read_crystal

CALIBRANT_FRAME, MASK, TABLE = "CeO2.cbf", "mask.edf", "scans.tsv"


@dataclass(frozen=True)
class Station:
    """What all scans of a beamtime share."""

    pixels: Pixels
    defects: Defects
    q: np.ndarray
    """Grid of the patterns, 1/Å."""
    names: list[str]
    """Materials."""


@dataclass(frozen=True)
class Sample:
    """The cell in one state, and what the beam meets of it."""

    maps: np.ndarray
    """Volume fractions on the phantom's grid, [y, x, material]."""
    path_lengths: np.ndarray
    """mm, shape (n_subsets, n_projections, n_positions, n_materials), columns in order of position."""
    patterns: np.ndarray
    """e²/Å³, shape (n_materials, n_q)."""


def simulate(parameters: Parameters, out: Path, *, workers: int | None = None, quiet: bool = False) -> bool:
    """Write a beamtime into the folder `out`; what stands there already from the same parameters is kept.

    Parameters
    ----------
    parameters
        The beamtime.
    out
        Gets ``raw/`` (frames, calibrant, mask), ``truth/<scan>.zarr`` and ``scans.tsv``.
    workers
        Threads; null takes one per core. The result does not depend on it.
    quiet
        Without a progress bar.

    Returns
    -------
    bool
        Whether anything had to be made.
    """
    stamp = parameters_stamp(parameters)
    missing = [
        (state, subset)
        for state in parameters.states
        for subset in range(1, parameters.scan.n_subsets + 1)
        if not files.has_subset(master_path(out, state, subset), stamp)
    ]
    untold = [state for state in parameters.states if not files.has_truth(truth_path(out, state), stamp)]
    small = [out / "raw" / CALIBRANT_FRAME, out / "raw" / MASK, out / TABLE]
    if not missing and not untold and all(path.is_file() for path in small):
        return False
    station = _station(parameters)
    _write_small_files(parameters, station, out)
    workers = workers or os.cpu_count() or 1
    total = len(missing) * parameters.scan.n_projections * parameters.scan.n_positions
    with ThreadPoolExecutor(workers) as pool, tqdm(total=total, unit="frame", disable=quiet) as bar:
        for state in parameters.states:
            subsets = [subset for other, subset in missing if other is state]
            if not subsets and state not in untold:
                continue
            bar.set_description(state.scan)
            sample = _sample(parameters, station, state)
            for subset in subsets:
                lines = _lines(parameters, station, state, sample, subset, pool, bar)
                files.write_subset(
                    master_path(out, state, subset),
                    lines,
                    stamp=stamp,
                    **_metadata(parameters, state, subset),
                )
            files.write_truth(truth_path(out, state), _truth(parameters, station, state, sample, stamp))
    return True


def parameters_stamp(parameters: Parameters) -> str:
    """Hash of everything that a frame depends on: the parameters, the structures, the twin's own code."""
    digest = hashlib.sha256(json.dumps(parameters.model_dump(mode="json"), sort_keys=True).encode())
    for path in sorted([*Path(__file__).parent.glob("*.py"), *STRUCTURES.glob("*.cif")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def master_path(out: Path, state: State, subset: int) -> Path:
    """Master file of one subset."""
    return out / "raw" / f"{state.scan}_s{subset}.h5"


def truth_path(out: Path, state: State) -> Path:
    """Truth of one scan."""
    return out / "truth" / f"{state.scan}.zarr"


def scan_rows(parameters: Parameters) -> list[Subset]:
    """The scan table of the beamtime."""
    scan, angles = parameters.scan, line_angles(parameters.scan)
    return [
        Subset(
            scan=state.scan,
            subset=k + 1,
            sample=parameters.sample,
            state=state.state,
            voltage_V=state.voltage_V,
            file=f"{state.scan}_s{k + 1}.h5",
            dataset=files.DATASET,
            n_projections=scan.n_projections,
            n_positions=scan.n_positions,
            angle_start_deg=float(angles[k, 0]),
            angle_step_deg=scan.span_deg / scan.n_projections,
            step_mm=scan.step_mm,
            zigzag="yes" if scan.zigzag else "no",
        )
        for state in parameters.states
        for k in range(scan.n_subsets)
    ]


def _station(parameters: Parameters) -> Station:
    pixels = place_pixels(parameters.detector, parameters.beam, beamstop_px=parameters.artefacts.beamstop_px)
    defects = draw_defects(parameters.detector, parameters.artefacts.bad_pixels, seed=parameters.seed)
    names = material_names(parameters.cell, parameters.states)
    return Station(pixels, defects, q_grid(float(pixels.q.max())), names)


def _sample(parameters: Parameters, station: Station, state: State) -> Sample:
    scan = parameters.scan
    maps = material_maps(parameters.cell, state, station.names, n=scan.n_positions, step=scan.step_mm)
    angles = line_angles(scan)
    paths = project(
        maps,
        voxel=scan.step_mm / SUB_VOXELS,
        angles=angles.ravel(),
        cor=parameters.cor,
        n_positions=scan.n_positions,
        step=scan.step_mm,
    )
    patterns = material_patterns(
        station.names,
        station.q,
        instrument=parameters.instrument,
        amorphous=parameters.amorphous,
        lattice=state.lattice,
    )
    return Sample(maps, paths.reshape(*angles.shape, *paths.shape[1:]), patterns)


def _lines(
    parameters: Parameters,
    station: Station,
    state: State,
    sample: Sample,
    subset: int,
    pool: ThreadPoolExecutor,
    bar: tqdm,
) -> Iterator[np.ndarray]:
    """Frames of one subset, line by line in acquisition order, made by the pool ahead of being written."""
    images = material_images(sample.patterns, station.q, station.pixels)
    air = air_image(parameters.artefacts.air, station.pixels)
    intensity = beam_intensity(parameters.scan, parameters.beam)[subset - 1]
    columns = frame_columns(parameters.scan)

    def one_line(line: int) -> np.ndarray:
        paths = sample.path_lengths[subset - 1, line, columns[line]]
        mean = expected_counts(paths, images, air, monitor=intensity[line], dose=parameters.beam.dose)
        counts = record(
            mean,
            station.defects,
            seed=parameters.seed,
            scan=state.scan,
            subset=subset,
            first_frame=line * parameters.scan.n_positions,
            poisson=parameters.artefacts.poisson,
        )
        return counts.reshape(-1, *parameters.detector.shape)

    for counts in pool.map(one_line, range(parameters.scan.n_projections)):
        yield counts
        bar.update(len(counts))


def _metadata(parameters: Parameters, state: State, subset: int) -> dict:
    scan = parameters.scan
    angles = line_angles(scan)[subset - 1]
    rot = np.repeat(angles, scan.n_positions)
    ty = motor_positions(scan).ravel()
    mon = (parameters.beam.monitor * beam_intensity(scan, parameters.beam)[subset - 1]).ravel()
    number = parameters.states.index(state) * scan.n_subsets + subset - 1
    return {
        "shape": (scan.n_projections, scan.n_positions, *parameters.detector.shape),
        "counters": {"mon": mon, "rot": rot, "ty": ty},
        "title": f"fscan2d rot {angles[0]:g} {scan.span_deg / scan.n_projections:g} {scan.n_projections} "
        f"ty {scan.first_position_mm:g} {scan.step_mm:g} {scan.n_positions} 0.01",
        # A simulated clock, so that the same parameters give the same file.
        "start_time": f"2000-01-01T{number % 24:02d}:00:00+00:00",
        "sample": parameters.sample,
    }


def _write_small_files(parameters: Parameters, station: Station, out: Path) -> None:
    """Calibrant frame, mask and scan table."""
    calibrant = parameters.calibrant
    crystal = read_crystal(calibrant.phase)
    instrument = parameters.instrument
    size = instrument.sizes_nm.get(calibrant.phase, instrument.size_nm)
    pattern = crystal_pattern(crystal, station.q, instrument=instrument, size_nm=size)
    mean = calibrant.exposures * expected_counts(
        np.array([[calibrant.thickness_mm]]),
        material_images(pattern[None], station.q, station.pixels),
        air_image(parameters.artefacts.air, station.pixels),
        monitor=np.ones(1),
        dose=parameters.beam.dose,
    )
    counts = record(
        mean,
        station.defects,
        seed=parameters.seed,
        scan="calibrant",
        subset=0,
        first_frame=0,
        poisson=parameters.artefacts.poisson,
    )
    files.write_frame(out / "raw" / CALIBRANT_FRAME, counts.reshape(parameters.detector.shape))
    files.write_mask(out / "raw" / MASK, bad_pixel_mask(parameters, station.defects))
    with files.whole(out / TABLE) as part:
        write_scans(part, scan_rows(parameters))


def bad_pixel_mask(parameters: Parameters, defects: Defects) -> np.ndarray:
    """The mask that a beamline would hand out: gaps and pixels known to be dead; hot ones are left to be found."""
    mask = np.zeros(parameters.detector.shape, dtype=bool)
    mask.ravel()[np.concatenate([defects.missing, defects.dead, defects.flagged])] = True
    return mask


def _truth(parameters: Parameters, station: Station, state: State, sample: Sample, stamp: str) -> xr.Dataset:
    """Everything that the pipeline is to find again; axes and signs are those of `xrdct.geometry`."""
    scan, shape = parameters.scan, parameters.detector.shape
    n, angles = scan.n_positions, line_angles(parameters.scan)
    order = np.argsort(angles.ravel(), kind="stable")
    paths = sample.path_lengths.reshape(-1, *sample.path_lengths.shape[2:])[order]
    counts_per_mm = parameters.beam.dose * sample.patterns
    crystals = [name for name in station.names if name not in parameters.amorphous]
    lattice = np.array(
        [lattice_of(name, state.lattice) if name in crystals else [np.nan] * 6 for name in station.names]
    )
    hot = np.zeros(shape, dtype=bool)
    hot.ravel()[station.defects.hot] = True
    flickering = np.zeros(shape, dtype=bool)
    flickering.ravel()[station.defects.flickering] = True
    air = parameters.artefacts.air
    air_pattern = air.level + air.rise * np.exp(-station.q / air.q_decay) if air else np.zeros_like(station.q)
    along = (np.arange(n) - (n - 1) / 2) * scan.step_mm
    pixel_area_voxel = np.moveaxis(box_mean(sample.maps, SUB_VOXELS), -1, 0)
    quantities = {
        "volume_fraction": (("phase", "y", "x"), pixel_area_voxel.astype(np.float32), "1"),
        "path_length": (("phase", "angle", "position"), np.moveaxis(paths, -1, 0).astype(np.float32), "mm"),
        "phase_pattern": (("phase", "q"), counts_per_mm.astype(np.float32), "counts per pixel and mm"),
        "pattern": (("q",), paths.mean(axis=(0, 1)) @ counts_per_mm, "counts per pixel"),
        "air": (("q",), air_pattern, "counts per pixel"),
        "lattice": (("phase", "constant"), lattice, "a, b, c in Å; alpha, beta, gamma in degrees"),
        "cor": ((), parameters.cor, "pixels from the centre of the first column"),
        "monitor": (
            ("subset", "line", "point"),
            beam_intensity(scan, parameters.beam),
            "1, relative to full beam",
        ),
        "column": (("line", "point"), frame_columns(scan), "pixels, column of the sinogram"),
        "line_angle": (("subset", "line"), angles, "degrees"),
        "mask": (("row", "column_px"), bad_pixel_mask(parameters, station.defects), "1: gap or dead pixel"),
        "hot": (("row", "column_px"), hot, "1: hot in every frame"),
        "flickering": (("row", "column_px"), flickering, "1: hot in some frames"),
    }
    coordinates = {
        "phase": (("phase",), np.array(station.names, dtype=object), ""),
        "angle": (("angle",), angles.ravel()[order], "degrees"),
        "subset": (("subset",), np.arange(1, scan.n_subsets + 1), ""),
        "x": (("x",), along, "mm"),
        "y": (("y",), along[::-1], "mm"),
        "q": (("q",), station.q, "1/Å"),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in quantities.items()},
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in coordinates.items()},
        {
            files.STAMP: stamp,
            "scan": state.scan,
            "state": state.state,
            "voltage_V": state.voltage_V,
            "energy_kev": parameters.beam.energy_kev,
            "wavelength": wavelength(parameters.beam.energy_kev),
            "distance_mm": parameters.detector.distance_mm,
            "beam_centre": list(parameters.detector.beam_centre),
            "tilt_deg": parameters.detector.tilt_deg,
            "tilt_plane_deg": parameters.detector.tilt_plane_deg,
            "parameters": json.dumps(parameters.model_dump(mode="json"), sort_keys=True),
        },
    )

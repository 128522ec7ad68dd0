"""A whole simulated beamtime: raw files, calibrant, mask, scan table and truth in one folder."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..logbook import progress
from ..phases import read_structure, structure_path
from ..scans import Subset, write_scans
from . import files
from .acquisition import beam_intensity, frame_columns, line_angles, motor_positions
from .cell import SUB_VOXELS, material_maps, material_names
from .detector import draw_defects, place_pixels
from .frames import air_image, expected_counts, material_images, record
from .parameters import Parameters, State
from .patterns import crystal_pattern, material_patterns, q_grid
from .projector import project
from .structures import read_crystal
from .truth import Sample, Station, bad_pixel_mask, truth_of

CALIBRANT_FRAME, MASK, TABLE, RECORD = "CeO2.cbf", "mask.edf", "scans.tsv", "beamtime.json"
PIXELS_AT_ONCE = 2**22
"""Frames are made in blocks of about this many pixels (48 MB with the expected counts), two blocks per thread."""


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

    Raises
    ------
    ConfigError
        When the parameters name a structure that there is not, or settings for a phase that does not occur.
    """
    station = _station(parameters)
    stamp = parameters_stamp(parameters, station.names)
    missing = {
        state.scan: [k for k in subset_numbers(parameters) if not files.has_subset(master_path(out, state, k), stamp)]
        for state in parameters.states
    }
    untold = {state.scan for state in parameters.states if not files.has_truth(truth_path(out, state), stamp)}
    small = [out / "raw" / CALIBRANT_FRAME, out / "raw" / MASK, out / TABLE]
    finished = out / "truth" / RECORD
    complete = not any(missing.values()) and not untold and all(path.is_file() for path in small)
    if complete and files.has_record(finished, stamp):
        return False
    finished.unlink(missing_ok=True)
    _write_small_files(parameters, station, out)
    workers = workers or os.cpu_count() or 1
    total = sum(map(len, missing.values())) * frames_per_subset(parameters)
    with ThreadPoolExecutor(workers) as pool, progress("simulate", "frame")(total=total, disable=quiet) as bar:
        for state in parameters.states:
            if not missing[state.scan] and state.scan not in untold:
                continue
            sample = _sample(parameters, station, state)
            for subset in missing[state.scan]:
                make_block = _block_maker(parameters, station, state, sample, subset)
                blocks = in_order(pool, make_block, _block_starts(parameters), ahead=2 * workers)
                files.write_subset(
                    master_path(out, state, subset),
                    _counted(blocks, bar),
                    stamp=stamp,
                    **_metadata(parameters, state, subset),
                )
            files.write_truth(truth_path(out, state), truth_of(parameters, station, state, sample, stamp))
    files.write_record(finished, parameters.model_dump(mode="json"), stamp)
    return True


def parameters_stamp(parameters: Parameters, names: list[str]) -> str:
    """Hash of everything that a frame depends on: the parameters, the structures of `names`, the twin's own code."""
    # Not sorted: the order of the materials is that of the file, and sums depend on it in the last digit.
    digest = hashlib.sha256(json.dumps(parameters.model_dump(mode="json")).encode())
    phases = {*names, parameters.calibrant.phase} - set(parameters.amorphous)
    for path in [*sorted(Path(__file__).parent.glob("*.py")), *map(structure_path, sorted(phases))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def subset_numbers(parameters: Parameters) -> range:
    """1, 2, … as the subsets of a scan are numbered."""
    return range(1, parameters.scan.n_subsets + 1)


def frames_per_subset(parameters: Parameters) -> int:
    """Lines times positions."""
    return parameters.scan.n_projections * parameters.scan.n_positions


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
            subset=k,
            sample=parameters.sample,
            state=state.state,
            voltage_V=state.voltage_V,
            file=f"{state.scan}_s{k}.h5",
            dataset=files.DATASET,
            n_projections=scan.n_projections,
            n_positions=scan.n_positions,
            angle_start_deg=float(angles[k - 1, 0]),
            angle_step_deg=scan.span_deg / scan.n_projections,
            step_mm=scan.step_mm,
            zigzag="yes" if scan.zigzag else "no",
        )
        for state in parameters.states
        for k in subset_numbers(parameters)
    ]


def in_order(pool: Executor, function: Callable, items: Iterable, *, ahead: int) -> Iterator:
    """Results of `function` for each item, in order, with at most `ahead` of them waiting in memory."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _station(parameters: Parameters) -> Station:
    pixels = place_pixels(parameters.detector, parameters.beam, beamstop_px=parameters.artefacts.beamstop_px)
    defects = draw_defects(parameters.detector, parameters.artefacts.bad_pixels, seed=parameters.seed)
    names = material_names(parameters.cell, parameters.states)
    known = {*names, parameters.calibrant.phase}
    for phase in sorted(known - set(parameters.amorphous)):
        read_structure(phase)
    for where, phases in [
        ("instrument.sizes_nm", parameters.instrument.sizes_nm),
        *((f"states.{state.scan}.lattice", state.lattice) for state in parameters.states),
    ]:
        strange = sorted(set(phases) - known)
        if strange:
            raise ConfigError(f"{where}: {', '.join(strange)} occurs nowhere in this cell ({', '.join(sorted(known))})")
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


def _block_length(parameters: Parameters) -> int:
    rows, columns = parameters.detector.shape
    return max(1, PIXELS_AT_ONCE // (rows * columns))


def _block_starts(parameters: Parameters) -> range:
    """First frame of every block of a subset."""
    return range(0, frames_per_subset(parameters), _block_length(parameters))


def _block_maker(
    parameters: Parameters, station: Station, state: State, sample: Sample, subset: int
) -> Callable[[int], np.ndarray]:
    """A function from the number of a block's first frame to the block, (n, n_rows, n_columns) int32."""
    images = material_images(sample.patterns, station.q, station.pixels)
    air = air_image(parameters.artefacts.air, station.pixels)
    columns = frame_columns(parameters.scan)
    paths = np.take_along_axis(sample.path_lengths[subset - 1], columns[:, :, None], axis=1)
    paths = paths.reshape(-1, paths.shape[-1])
    intensity = beam_intensity(parameters.scan, parameters.beam)[subset - 1].ravel()

    def make_block(first: int) -> np.ndarray:
        part = slice(first, first + _block_length(parameters))
        counts = record(
            expected_counts(paths[part], images, air, monitor=intensity[part], dose=parameters.beam.dose),
            station.defects,
            seed=parameters.seed,
            scan=state.scan,
            subset=subset,
            first_frame=first,
            poisson=parameters.artefacts.poisson,
        )
        return counts.reshape(-1, *parameters.detector.shape)

    return make_block


def _counted(blocks: Iterator[np.ndarray], bar) -> Iterator[np.ndarray]:
    """The same blocks, their frames counted on the progress bar."""
    for block in blocks:
        yield block
        bar.update(len(block))


def _metadata(parameters: Parameters, state: State, subset: int) -> dict:
    scan = parameters.scan
    angles = line_angles(scan)[subset - 1]
    number = parameters.states.index(state) * scan.n_subsets + subset - 1
    return {
        "shape": (frames_per_subset(parameters), *parameters.detector.shape),
        "counters": {
            "mon": (parameters.beam.monitor * beam_intensity(scan, parameters.beam)[subset - 1]).ravel(),
            "rot": np.repeat(angles, scan.n_positions),
            "ty": motor_positions(scan).ravel(),
        },
        "title": f"fscan2d rot {angles[0]:g} {scan.span_deg / scan.n_projections:g} {scan.n_projections} "
        f"ty {scan.first_position_mm:g} {scan.step_mm:g} {scan.n_positions} 0.01",
        # A simulated clock, so that the same parameters give the same file.
        "start_time": f"2000-01-01T{number % 24:02d}:00:00+00:00",
        "sample": parameters.sample,
    }


def _write_small_files(parameters: Parameters, station: Station, out: Path) -> None:
    """Calibrant frame, mask and scan table."""
    calibrant, instrument = parameters.calibrant, parameters.instrument
    size = instrument.sizes_nm.get(calibrant.phase, instrument.size_nm)
    pattern = crystal_pattern(read_crystal(calibrant.phase), station.q, instrument=instrument, size_nm=size)
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
    files.write_mask(out / "raw" / MASK, bad_pixel_mask(parameters.detector, station.defects))
    with files.whole(out / TABLE) as part:
        write_scans(part, scan_rows(parameters))

"""A whole simulated beamtime: raw files, calibrant, mask, scan table and truth in one folder."""

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..logbook import progress
from ..phases import read_structure, structure_path
from ..scans import Subset, write_scans
from . import files
from .acquisition import axis_columns, beam_intensity, frame_columns, line_angles, motor_positions
from .cell import SUB_VOXELS, material_maps, material_names
from .detector import draw_defects, place_pixels
from .formats import stands, table_columns, write_raw
from .frames import air_image, record, weaken
from .grains import sector_brightness
from .parameters import Parameters, State
from .patterns import crystal_pattern, material_patterns, q_grid, size_of
from .projector import project
from .scattering import paths_of_line, radial_tables, state_scatterer
from .shine import add_spots, addresses, shine
from .structures import read_crystal, structure_of
from .truth import Sample, Station, Straight, bad_pixel_mask, truth_of
from .upsets import frames_written, lose, lost_frames, monitor_reading, overflow

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
        state.scan: [k for k in subset_numbers(parameters) if not stands(out, parameters, state.scan, k, stamp)]
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
            samples = _samples(parameters, station, state)
            for subset in missing[state.scan]:
                sample = samples[subset - 1]
                make_block = _block_maker(parameters, station, state, sample, subset)
                blocks = in_order(pool, make_block, _blocks(parameters, sample, subset), ahead=2 * workers)
                write_raw(
                    out,
                    parameters,
                    state.scan,
                    subset,
                    _counted(blocks, bar, frames_written(parameters, state, subset)),
                    stamp=stamp,
                    **_metadata(parameters, sample, state, subset),
                )
            files.write_truth(truth_path(out, state), truth_of(parameters, station, state, samples, stamp))
    files.write_record(finished, parameters.model_dump(mode="json"), stamp)
    return True


def parameters_stamp(parameters: Parameters, names: list[str]) -> str:
    """Hash of everything that a frame depends on: the parameters, the structures of `names`, the twin's own code."""
    # Not sorted: the order of the materials is that of the file, and sums depend on it in the last digit.
    digest = hashlib.sha256(json.dumps(parameters.model_dump(mode="json")).encode())
    phases = {*names, parameters.calibrant.phase} - set(parameters.amorphous)
    for path in [
        *sorted(Path(__file__).parent.rglob("*.py")),
        *map(structure_path, sorted(set(map(structure_of, phases)))),
    ]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def subset_numbers(parameters: Parameters) -> range:
    """1, 2, … as the subsets of a scan are numbered."""
    return range(1, parameters.scan.n_subsets + 1)


def frames_per_subset(parameters: Parameters) -> int:
    """Lines times positions."""
    return parameters.scan.n_projections * parameters.scan.n_positions


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
            **table_columns(parameters, state.scan, k),
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
    known = {*names, *map(structure_of, names), parameters.calibrant.phase}
    for phase in sorted(known - set(parameters.amorphous)):
        read_structure(structure_of(phase))
    for where, phases in [
        ("instrument.sizes_nm", parameters.instrument.sizes_nm),
        ("artefacts.spots", parameters.artefacts.spots),
        *((f"states.{state.scan}.lattice", state.lattice) for state in parameters.states),
        *(
            (f"states.{state.scan}.later", change.lattice or {})
            for state in parameters.states
            for change in state.later
        ),
    ]:
        strange = sorted(set(phases) - known)
        if strange:
            raise ConfigError(f"{where}: {', '.join(strange)} occurs nowhere in this cell ({', '.join(sorted(known))})")
    return Station(pixels, defects, q_grid(float(pixels.q.max())), names)


def _samples(parameters: Parameters, station: Station, state: State) -> list[Sample]:
    """The cell as each subset meets it; one object for subsets between which nothing changes."""
    stages = [state.at(subset) for subset in subset_numbers(parameters)]
    samples = [_sample(parameters, station, stages[0])]
    for before, stage in pairwise(stages):
        samples.append(samples[-1] if stage == before else _sample(parameters, station, stage))
    return samples


def _sample(parameters: Parameters, station: Station, stage: State) -> Sample:
    scan = parameters.scan
    maps = material_maps(parameters.cell, stage, station.names, n=scan.n_positions, step=scan.step_mm)
    scatterer = state_scatterer(parameters, stage, maps, names=station.names, q=station.q, pixels=station.pixels)
    axes = axis_columns(scan, parameters.cor)
    nominal = _straight(parameters, maps, scatterer.mu, np.full_like(axes, parameters.cor))
    driven = nominal if (axes == parameters.cor).all() else _straight(parameters, maps, scatterer.mu, axes)
    patterns = material_patterns(
        station.names,
        station.q,
        instrument=parameters.instrument,
        amorphous=parameters.amorphous,
        lattice=stage.lattice,
    )
    return Sample(maps, nominal, driven, patterns, scatterer)


def _straight(parameters: Parameters, maps: np.ndarray, mu: np.ndarray, axes: np.ndarray) -> Straight:
    """What the direct beam meets on every line, the axis lying at `axes` (positions, (n_subsets, n_projections))."""
    scan, angles = parameters.scan, line_angles(parameters.scan)
    parts = SUB_VOXELS if mu.any() else 1
    paths = np.empty((*axes.shape, scan.n_positions, parts, len(mu)))
    for axis in np.unique(axes):
        found = project(
            maps,
            voxel=scan.step_mm / SUB_VOXELS,
            angles=angles[axes == axis],
            cor=parts * axis + (parts - 1) / 2,
            n_positions=parts * scan.n_positions,
            step=scan.step_mm / parts,
        )
        paths[axes == axis] = found.reshape(len(found), *paths.shape[2:])
    return Straight(paths.mean(axis=3), np.exp(-paths @ mu).mean(axis=3))


@dataclass(frozen=True)
class Block:
    """Some frames of one line, in acquisition order."""

    first: int
    """Number of the first frame in its subset."""
    paths: np.ndarray
    """Effective path lengths, from `paths_of_line`."""
    straight: np.ndarray
    """Path lengths of the direct beam, mm, shape (n_frames, n_materials)."""
    transmission: np.ndarray
    """Of the direct beam, shape (n_frames,)."""
    intensity: np.ndarray
    """Of the beam, relative to full, shape (n_frames,)."""


def _blocks(parameters: Parameters, sample: Sample, subset: int) -> Iterator[Block]:
    """The frames of a subset, line by line; a line that needs more than one block is projected once."""
    scan = parameters.scan
    rows, columns = parameters.detector.shape
    length = max(1, PIXELS_AT_ONCE // (rows * columns))
    order, angles = frame_columns(scan), line_angles(scan)[subset - 1]
    axes = axis_columns(scan, parameters.cor)[subset - 1]
    intensity = (1 + parameters.beam.unseen_drift) ** (subset - 1) * beam_intensity(scan, parameters.beam)[subset - 1]
    for line, omega in enumerate(angles):
        paths = paths_of_line(parameters, sample.scatterer, omega, axes[line])[order[line]]
        straight = sample.driven.path_lengths[subset - 1, line, order[line]]
        transmission = sample.driven.transmission[subset - 1, line, order[line]]
        for first in range(0, scan.n_positions, length):
            part = slice(first, first + length)
            yield Block(
                line * scan.n_positions + first,
                paths[part],
                straight[part],
                transmission[part],
                intensity[line, part],
            )


def _block_maker(
    parameters: Parameters, station: Station, state: State, sample: Sample, subset: int
) -> Callable[[Block], np.ndarray]:
    """A function from a block to its frames, (n, n_rows, n_columns) int32."""
    scatterer, artefacts = sample.scatterer, parameters.artefacts
    lost = lost_frames(parameters, state, subset)
    where = addresses(station.pixels, station.q, scatterer.exits)
    air = air_image(artefacts.air, station.pixels)
    stream = {"seed": parameters.seed, "scan": state.scan, "subset": subset}

    def make_block(block: Block) -> np.ndarray:
        images = shine(radial_tables(block.paths, scatterer.patterns), where)
        for spots in scatterer.spots:
            factors = sector_brightness(
                block.straight[:, spots.material],
                spots.grains,
                n_rings=int(spots.ring_of_q.max()) + 1,
                first_frame=block.first,
                material=spots.name,
                **stream,
            )
            lines = radial_tables(block.paths[:, :, [spots.material]], spots.patterns[None])
            add_spots(images, lines, where, factors, spots.ring_of_q)
        weaken(images, air, block.intensity, block.transmission)
        counts = record(images, station.defects, first_frame=block.first, poisson=artefacts.poisson, **stream)
        overflow(counts, artefacts.saturation)
        lose(counts, lost[block.first : block.first + len(counts)], artefacts.lost)
        return counts.reshape(-1, *parameters.detector.shape)

    return make_block


def _counted(blocks: Iterator[np.ndarray], bar, n_frames: int) -> Iterator[np.ndarray]:
    """The first `n_frames` of the same frames, counted on the progress bar."""
    left = n_frames
    for block in blocks:
        yield block[:left]
        left -= len(block[:left])
        bar.update(len(block))
        if not left:
            return


def _metadata(parameters: Parameters, sample: Sample, state: State, subset: int) -> dict:
    scan = parameters.scan
    angles = line_angles(scan)[subset - 1]
    monitor = parameters.beam.monitor * beam_intensity(scan, parameters.beam)[subset - 1]
    transmission = np.take_along_axis(sample.driven.transmission[subset - 1], frame_columns(scan), axis=1)
    n_frames = frames_written(parameters, state, subset)
    counters = {
        "mon": monitor_reading(monitor.ravel(), lost_frames(parameters, state, subset), parameters.artefacts.lost),
        "diode": (monitor * transmission).ravel(),
        "rot": np.repeat(angles, scan.n_positions),
        "ty": motor_positions(scan).ravel(),
    }
    number = parameters.states.index(state) * scan.n_subsets + subset - 1
    return {
        "shape": (n_frames, *parameters.detector.shape),
        "counters": {name: values[:n_frames] for name, values in counters.items()},
        "title": f"fscan2d rot {angles[0]:g} {scan.span_deg / scan.n_projections:g} {scan.n_projections} "
        f"ty {scan.first_position_mm:g} {scan.step_mm:g} {scan.n_positions} 0.01",
        # A simulated clock, so that the same parameters give the same file.
        "start_time": f"2000-01-01T{number % 24:02d}:00:00+00:00",
        "sample": parameters.sample,
    }


def _write_small_files(parameters: Parameters, station: Station, out: Path) -> None:
    """Calibrant frame, mask and scan table."""
    calibrant, instrument = parameters.calibrant, parameters.instrument
    size = size_of(calibrant.phase, instrument)
    pattern = crystal_pattern(read_crystal(calibrant.phase), station.q, instrument=instrument, size_nm=size)
    table = (parameters.beam.dose * calibrant.thickness_mm * pattern).astype(np.float32)
    mean = shine(table[None, None], addresses(station.pixels, station.q, np.zeros(1)))
    weaken(mean, air_image(parameters.artefacts.air, station.pixels), np.ones(1), np.ones(1))
    mean *= np.float32(calibrant.exposures)
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

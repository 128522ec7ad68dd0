"""A whole simulated beamtime: raw files, calibrant, mask, scan table and truth in one folder."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..logbook import progress
from ..phases import structure_path
from . import files
from .acquisition import beam_intensity, frame_columns, line_angles, motor_positions
from .blocks import Block, blocks_of_subset, counted, frame_maker, in_order
from .formats import stands, write_raw
from .parameters import Parameters, Series, State
from .sample import Sample, Station, prepare_samples, prepare_station
from .series import met_by_beam, series_frames, series_metadata, series_truth
from .small_files import small_paths, write_small_files
from .structures import structure_of
from .truth import truth_of
from .upsets import frames_written, lost_frames, monitor_reading

RECORD = "beamtime.json"


def simulate(parameters: Parameters, out: Path, *, workers: int | None = None, quiet: bool = False) -> bool:
    """Write a beamtime into the folder `out`; what stands there already from the same parameters is kept.

    Parameters
    ----------
    parameters
        The beamtime.
    out
        Gets ``raw/`` (frames, calibrant, mask, the cycler's log), ``truth/<scan>.zarr``, ``scans.tsv`` and
        ``series.tsv``.
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
    station = prepare_station(parameters)
    stamp = parameters_stamp(parameters, station.names)
    missing = {
        name: [k for k in range(1, n_subsets + 1) if not stands(out, parameters, name, k, stamp)]
        for name, n_subsets, _ in measurements(parameters)
    }
    untold = {name for name in missing if not files.has_truth(truth_path(out, name), stamp)}
    finished = out / "truth" / RECORD
    complete = not any(missing.values()) and not untold and all(p.is_file() for p in small_paths(parameters, out))
    if complete and files.has_record(finished, stamp):
        return False
    finished.unlink(missing_ok=True)
    write_small_files(parameters, station, out)
    workers = workers or os.cpu_count() or 1
    total = sum(len(missing[name]) * n_frames for name, _, n_frames in measurements(parameters))
    with ThreadPoolExecutor(workers) as pool, progress("simulate", "frame")(total=total, disable=quiet) as bar:
        factory = Factory(parameters, station, stamp, pool, 2 * workers, bar)
        for state in parameters.scans:
            if missing[state.scan] or state.scan in untold:
                factory.write_scan(out, state, missing[state.scan])
        for series in parameters.series:
            if missing[series.name] or series.name in untold:
                factory.write_series(out, series, wanted=bool(missing[series.name]))
    files.write_record(finished, parameters.model_dump(mode="json"), stamp)
    return True


def measurements(parameters: Parameters) -> list[tuple[str, int, int]]:
    """Name, number of subsets and frames in each, of all scans and series."""
    scan = parameters.scan
    scans = [(state.scan, scan.n_subsets, scan.n_projections * scan.n_positions) for state in parameters.scans]
    return scans + [(series.name, 1, series.n_repeats * series.n_positions) for series in parameters.series]


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


def truth_path(out: Path, name: str) -> Path:
    """Truth of one scan or series."""
    return out / "truth" / f"{name}.zarr"


@dataclass(frozen=True)
class Factory:
    """What writes the frames and the truth of scans and series."""

    parameters: Parameters
    station: Station
    stamp: str
    pool: ThreadPoolExecutor
    ahead: int
    """Blocks that may wait in memory."""
    bar: object
    """Progress bar."""

    def write_scan(self, out: Path, state: State, missing: list[int]) -> None:
        """Write the missing subsets of a scan, and its truth."""
        samples = prepare_samples(self.parameters, self.station, state)
        for subset in missing:
            self._write_subset(out, state, subset, samples[subset - 1])
        truth = truth_of(self.parameters, self.station, state, samples, self.stamp)
        files.write_truth(truth_path(out, state.scan), truth)

    def write_series(self, out: Path, series: Series, *, wanted: bool) -> None:
        """Write the frames of a series where they are wanted, and its truth."""
        met = met_by_beam(self.parameters, self.station, series)
        if wanted:
            metadata = series_metadata(self.parameters, series, met)
            n_frames = len(metadata["counters"]["mon"])

            def frames_from(first: int) -> Iterator[np.ndarray]:
                frames = series_frames(self.parameters, self.station, series, first)
                return self._made(frames, lambda job: job(), first, n_frames)

            self._write(out, series.name, 1, frames_from, metadata)
        truth = series_truth(self.parameters, self.station, series, met, self.stamp)
        files.write_truth(truth_path(out, series.name), truth)

    def _write_subset(self, out: Path, state: State, subset: int, sample: Sample) -> None:
        metadata = _metadata(self.parameters, sample, state, subset)
        scan = self.parameters.scan
        lost = lost_frames(self.parameters, state.scan, subset, scan.n_projections * scan.n_positions)
        make_block = frame_maker(
            self.parameters, self.station, sample.scatterer, scan=state.scan, subset=subset, lost=lost
        )

        def frames_from(first: int) -> Iterator[np.ndarray]:
            blocks = blocks_of_subset(self.parameters, sample, subset, first)
            return self._made(blocks, make_block, first, metadata["shape"][0])

        self._write(out, state.scan, subset, frames_from, metadata)

    def _made(self, items: Iterator, make: Callable[[Block], np.ndarray], first: int, n: int) -> Iterator[np.ndarray]:
        self.bar.update(first)
        return counted(in_order(self.pool, make, items, ahead=self.ahead), self.bar, n - first)

    def _write(self, out: Path, name: str, subset: int, frames_from: files.FramesFrom, metadata: dict) -> None:
        write_raw(out, self.parameters, name, subset, frames_from, stamp=self.stamp, **metadata)


def _metadata(parameters: Parameters, sample: Sample, state: State, subset: int) -> dict:
    scan = parameters.scan
    angles = line_angles(scan)[subset - 1]
    monitor = parameters.beam.monitor * beam_intensity(scan, parameters.beam)[subset - 1]
    transmission = np.take_along_axis(sample.driven.transmission[subset - 1], frame_columns(scan), axis=1)
    n_frames = frames_written(parameters, state.scan, subset, monitor.size)
    lost = lost_frames(parameters, state.scan, subset, monitor.size)
    counters = {
        "mon": monitor_reading(monitor.ravel(), lost, parameters.artefacts.lost),
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

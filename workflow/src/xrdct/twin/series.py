"""Points and lines against time: what the beam meets at every moment while the cycler changes the cell."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import xarray as xr

from .acquisition import decayed_intensity
from .blocks import blocks_of_line, frame_maker
from .cell import material_maps
from .composition import lattice_parameters, phase_densities, weight_fractions
from .cycler import CLOCK, charge_at, course_states, neighbours, state_at, voltage_at
from .files import STAMP
from .parameters import Parameters, Series, State
from .sample import Station, Straight, straight_lines
from .scattering import paths_of_line, state_mu, state_scatterer
from .upsets import frames_written, lost_frames, monitor_reading

Frames = Callable[[], np.ndarray]


def start_times(series: Series) -> np.ndarray:
    """Start of every repetition, in s after that of the cycler, shape (n_repeats,)."""
    return series.start_s + series.every_s * np.arange(series.n_repeats)


def frame_times(series: Series) -> np.ndarray:
    """Start of every frame in s after that of the cycler, shape (n_repeats, n_positions)."""
    return start_times(series)[:, None] + series.frame_s * np.arange(series.n_positions)


def middle_times(series: Series) -> np.ndarray:
    """Moments whose state a repetition shows: the middle of each, for a cell is slow beside a line; in s."""
    return start_times(series) + series.frame_s * series.n_positions / 2


def series_axis(parameters: Parameters, series: Series) -> float:
    """Rotation axis in positions from the first of the series; the motor reads as in a scan."""
    scan = parameters.scan
    return parameters.cor + (scan.first_position_mm - series.ty_mm) / scan.step_mm


class Course:
    """The cell along the cycler's course. Phantoms of two neighbouring anchors are kept, for they take a while."""

    def __init__(self, parameters: Parameters, station: Station):
        self._parameters, self._names = parameters, station.names
        self._states = course_states(parameters)
        self._maps = {}

    def maps_at(self, seconds: float) -> np.ndarray:
        """Phantom [y, x, material] at a moment."""
        first, share = neighbours(self._parameters.cycler, seconds)
        kept = {k: self._maps[k] for k in (first, first + 1) if k in self._maps}
        self._maps = {k: kept[k] if k in kept else self._phantom(self._states[k]) for k in (first, first + 1)}
        mixed = self._maps[first + 1] - self._maps[first]  # in place: a large cell takes most of a gigabyte
        mixed *= share
        mixed += self._maps[first]
        return mixed

    def _phantom(self, state: State) -> np.ndarray:
        scan = self._parameters.scan
        return material_maps(self._parameters.cell, state, self._names, n=scan.n_positions, step=scan.step_mm)


def met_by_beam(parameters: Parameters, station: Station, series: Series) -> Straight:
    """What the direct beam meets, shapes (n_repeats, n_positions, …)."""
    course, axis = Course(parameters, station), series_axis(parameters, series)
    met = []
    for seconds in middle_times(series):
        mu = state_mu(parameters, station.names, state_at(parameters, seconds))
        met.append(_direct(parameters, series, course.maps_at(seconds), mu, axis))
    return Straight(
        np.concatenate([one.path_lengths for one in met]), np.concatenate([one.transmission for one in met])
    )


def series_frames(parameters: Parameters, station: Station, series: Series, first: int = 0) -> Iterator[Frames]:
    """Functions that make the frames from number `first` on, (n, n_rows, n_columns) int32, in order."""
    course, axis, n = Course(parameters, station), series_axis(parameters, series), series.n_positions
    intensity = decayed_intensity(np.arange(series.n_repeats * n), parameters.beam).reshape(-1, n)
    lost = lost_frames(parameters, series.name, 1, series.n_repeats * n)
    seconds = middle_times(series)
    for line in range(first // n, series.n_repeats):
        state, maps = state_at(parameters, seconds[line]), course.maps_at(seconds[line])
        scatterer = state_scatterer(parameters, state, maps, names=station.names, q=station.q, pixels=station.pixels)
        straight = _direct(parameters, series, maps, scatterer.mu, axis)
        make_block = frame_maker(parameters, station, scatterer, scan=series.name, subset=1, lost=lost)
        begin = max(0, first - line * n)
        for block in blocks_of_line(
            parameters,
            line * n + begin,
            paths=paths_of_line(parameters, scatterer, series.angle_deg, axis, n_positions=n)[begin:],
            straight=straight.path_lengths[0, begin:],
            transmission=straight.transmission[0, begin:],
            intensity=intensity[line, begin:],
        ):
            yield partial(make_block, block)


def _direct(parameters: Parameters, series: Series, maps: np.ndarray, mu: np.ndarray, axis: float) -> Straight:
    angles, step = np.array([series.angle_deg]), parameters.scan.step_mm
    return straight_lines(maps, mu, angles, cor=axis, n_positions=series.n_positions, step=step)


def series_metadata(parameters: Parameters, series: Series, met: Straight) -> dict:
    """Arguments of `formats.write_raw`: counters with a time for every frame, texts; `met` is from `met_by_beam`."""
    seconds = frame_times(series).ravel()
    n_frames = frames_written(parameters, series.name, 1, seconds.size)
    lost = lost_frames(parameters, series.name, 1, seconds.size)
    monitor = parameters.beam.monitor * decayed_intensity(np.arange(seconds.size), parameters.beam)
    along = series.ty_mm + parameters.scan.step_mm * np.arange(series.n_positions)
    counters = {
        "mon": monitor_reading(monitor, lost, parameters.artefacts.lost),
        "diode": monitor * met.transmission.ravel(),
        "rot": np.full(seconds.size, float(series.angle_deg)),
        "ty": np.tile(along, series.n_repeats),
        "epoch": CLOCK.timestamp() + seconds,
        "elapsed_time": seconds - seconds[0],
    }
    return {
        "shape": (n_frames, *parameters.detector.shape),
        "counters": {name: values[:n_frames] for name, values in counters.items()},
        "title": f"timescan {series.n_repeats} {series.every_s:g} rot {series.angle_deg:g} ty {series.ty_mm:g} "
        f"{parameters.scan.step_mm:g} {series.n_positions} {series.frame_s:g}",
        "start_time": CLOCK.isoformat(),
        "sample": parameters.sample,
    }


def series_truth(parameters: Parameters, station: Station, series: Series, met: Straight, stamp: str) -> xr.Dataset:
    """Time, voltage, path lengths, shares and cells of every repetition; `met` is from `met_by_beam`."""
    seconds = middle_times(series)
    lattice = np.stack([lattice_parameters(parameters, station.names, state_at(parameters, t)) for t in seconds])
    density = np.stack([phase_densities(parameters, station.names, cells) for cells in lattice])
    total = met.path_lengths.sum(axis=2, keepdims=True)
    place = ("line", "position", "phase")
    quantities = {
        "path_length": (place, met.path_lengths, "mm"),
        "volume_fraction": (place, _ratio(met.path_lengths, total), "1, share of the matter in the beam"),
        "weight_fraction": (
            place,
            weight_fractions(met.path_lengths, density[:, None]),
            "1, share of the crystalline mass in the beam",
        ),
        "transmission": (("line", "position"), met.transmission, "1"),
        "lattice": (("line", "phase", "constant"), lattice, "a, b, c in Å; alpha, beta, gamma in degrees"),
        "a": (("line", "phase"), lattice[..., 0], "Å"),
        "c": (("line", "phase"), lattice[..., 2], "Å"),
        "frame_time": (("line", "position"), frame_times(series), "s after the start of the cycler"),
        "voltage": (("line",), voltage_at(parameters, seconds), "V"),
        "charge": (("line",), charge_at(parameters.cycler, seconds), "1, share of the capacity"),
        "lost": (("line", "position"), _lost(parameters, series), "1: frame lost"),
    }
    along = series.ty_mm + parameters.scan.step_mm * np.arange(series.n_positions)
    coordinates = {
        "time": (("line",), seconds, "s after the start of the cycler"),
        "ty": (("position",), along, "mm"),
        "phase": (("phase",), np.array(station.names, dtype=object), ""),
    }
    return xr.Dataset(
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in quantities.items()},
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in coordinates.items()},
        {STAMP: stamp, "series": series.name, "angle_deg": series.angle_deg, "epoch_of_start": CLOCK.timestamp()},
    )


def _lost(parameters: Parameters, series: Series) -> np.ndarray:
    n_frames = series.n_repeats * series.n_positions
    return lost_frames(parameters, series.name, 1, n_frames).reshape(series.n_repeats, series.n_positions)


def _ratio(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """part / total, 0 where there is nothing."""
    return np.divide(part, total, out=np.zeros_like(part), where=total > 0)

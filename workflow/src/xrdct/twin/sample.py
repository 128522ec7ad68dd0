"""The cell in one state, prepared for being measured, and what all scans of a beamtime share."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import ConfigError
from ..phases import read_structure
from .acquisition import axis_columns, line_angles
from .cell import SUB_VOXELS, material_maps, material_names
from .detector import Defects, Pixels, draw_defects, place_pixels
from .parameters import Parameters, State
from .patterns import material_patterns, q_grid
from .projector import project
from .scattering import Scatterer, state_scatterer
from .structures import structure_of


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
class Straight:
    """What the direct beam meets, shape (n_subsets, n_projections, n_positions, …), columns in order of position."""

    path_lengths: np.ndarray
    """mm of each material."""
    transmission: np.ndarray
    """Averaged over the width of the beam, which the rim of the cell fills in part."""


def straight_lines(
    maps: np.ndarray, mu: np.ndarray, angles: np.ndarray, *, cor: float, n_positions: int, step: float
) -> Straight:
    """What the direct beam meets on lines at `angles` (degrees), the axis at `cor` positions from their first.

    `maps` is the phantom, [y, x, material]; `mu` its coefficients, 1/mm. Shapes begin with (n_angles, n_positions).
    """
    parts = SUB_VOXELS if mu.any() else 1
    paths = project(
        maps,
        voxel=step / SUB_VOXELS,
        angles=angles,
        cor=parts * cor + (parts - 1) / 2,
        n_positions=parts * n_positions,
        step=step / parts,
    ).reshape(len(angles), n_positions, parts, len(mu))
    return Straight(paths.mean(axis=2), np.exp(-paths @ mu).mean(axis=2))


@dataclass(frozen=True)
class Sample:
    """The cell in one state, and what the beam meets of it."""

    maps: np.ndarray
    """Volume fractions on the phantom's grid, [y, x, material]."""
    nominal: Straight
    """Where the motors say: what the truth holds."""
    driven: Straight
    """Where the beam really was."""
    patterns: np.ndarray
    """e²/Å³, shape (n_materials, n_q)."""
    scatterer: Scatterer
    """What the frames are made from."""


def prepare_station(parameters: Parameters) -> Station:
    """Detector, bad pixels, grid and materials of a beamtime.

    Raises
    ------
    ConfigError
        When the parameters name a structure that there is not, or settings for a phase that does not occur.
    """
    pixels = place_pixels(parameters.detector, parameters.beam, beamstop_px=parameters.artefacts.beamstop_px)
    defects = draw_defects(parameters.detector, parameters.artefacts.bad_pixels, seed=parameters.seed)
    names = material_names(parameters.cell, parameters.states)
    known = {*names, *map(structure_of, names), parameters.calibrant.phase}
    for phase in sorted(known - set(parameters.amorphous)):
        read_structure(structure_of(phase))
    for where, phases in [
        ("instrument.sizes_nm", parameters.instrument.sizes_nm),
        ("artefacts.spots", parameters.artefacts.spots),
        ("artefacts.texture", parameters.artefacts.texture),
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
    both = sorted(set(parameters.artefacts.spots) & set(parameters.artefacts.texture))
    if both:
        raise ConfigError(f"artefacts: {', '.join(both)} cannot have `spots` and `texture` at once")
    return Station(pixels, defects, q_grid(float(pixels.q.max())), names)


def prepare_samples(parameters: Parameters, station: Station, state: State) -> list[Sample]:
    """The cell as each subset meets it; one object for subsets between which nothing changes."""
    stages = [state.at(subset) for subset in range(1, parameters.scan.n_subsets + 1)]
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
    paths = np.empty((*axes.shape, scan.n_positions, len(mu)))
    transmission = np.empty((*axes.shape, scan.n_positions))
    for axis in np.unique(axes):
        here = axes == axis
        found = straight_lines(maps, mu, angles[here], cor=axis, n_positions=scan.n_positions, step=scan.step_mm)
        paths[here], transmission[here] = found.path_lengths, found.transmission
    return Straight(paths, transmission)

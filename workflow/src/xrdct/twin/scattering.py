"""One state of the cell as the beam sees it: what scatters where, weakened how much, shifted how far."""

from dataclasses import dataclass

import numpy as np

from .attenuation import NODES, material_mu
from .cell import SUB_VOXELS
from .detector import Pixels, wavelength
from .grains import rings
from .parallax import depth_nodes, shifted_patterns
from .parameters import Parameters, State
from .patterns import bragg_pattern, lattice_of, material_patterns, size_of
from .rays import Matter, line_paths, matter_of
from .structures import read_crystal


@dataclass(frozen=True)
class Spots:
    """The lines of a material of few grains, which are not the same all along a ring."""

    name: str
    material: int
    """Its number among the materials."""
    grains: float
    """Crystallites per mm of path and degree of a ring."""
    patterns: np.ndarray
    """Counts per mm, shape (n_depths, n_q), float32."""
    ring_of_q: np.ndarray
    """Line that each point of the q grid belongs to."""


@dataclass(frozen=True)
class Scatterer:
    """All that the frames of one state are made from."""

    matter: Matter
    mu: np.ndarray
    """Attenuation coefficient of every material, 1/mm; zeros when the sample is transparent."""
    depths: np.ndarray
    """Depths along the beam at which patterns are known, mm; [0] without parallax."""
    exits: np.ndarray
    """Directions of the scattered ray at which transmission is known, radians; [0] when it is not weakened."""
    patterns: np.ndarray
    """What 1 mm of each material gives, without spotty lines: counts, shape (n_materials, n_depths, n_q), float32."""
    spots: tuple[Spots, ...]


def state_mu(parameters: Parameters, names: list[str], state: State) -> np.ndarray:
    """Attenuation coefficients of the materials in one state, 1/mm; zeros when attenuation is switched off."""
    setting = parameters.artefacts.attenuation
    if setting is None:
        return np.zeros(len(names))
    cells = {name: lattice_of(name, state.lattice) for name in names if name not in parameters.amorphous}
    return setting.strength * material_mu(names, parameters.amorphous, cells, parameters.beam.energy_kev)


def state_scatterer(
    parameters: Parameters, state: State, maps: np.ndarray, *, names: list[str], q: np.ndarray, pixels: Pixels
) -> Scatterer:
    """Prepare one state: attenuation map, and patterns at every depth.

    Parameters
    ----------
    parameters, state
        The beamtime and the state.
    maps
        From `cell.material_maps`.
    names
        Materials, in the order of the maps.
    q
        Grid of the patterns, 1/Å.
    pixels
        From `place_pixels`.
    """
    mu = state_mu(parameters, names, state)
    matter = matter_of(maps, mu, parameters.scan.step_mm / SUB_VOXELS)
    depths = _depths(parameters, matter, q[-1])
    attenuation = parameters.artefacts.attenuation
    exits = np.zeros(1)
    if attenuation is not None and attenuation.scattered_ray:
        exits = np.linspace(pixels.exit.min(), pixels.exit.max(), NODES)
    instrument = parameters.instrument
    smooth = material_patterns(names, q, instrument=instrument, amorphous=parameters.amorphous, lattice=state.lattice)
    spots = []
    for name, grains in parameters.artefacts.spots.items():
        row = names.index(name)
        crystal = read_crystal(name, lattice_of(name, state.lattice))
        size = size_of(name, instrument)
        lines = bragg_pattern(crystal, q, instrument=instrument, size_nm=size)
        smooth[row] -= lines
        spots.append(Spots(name, row, grains, _at_depths(parameters, lines[None], q, depths)[0], rings(crystal, q)))
    return Scatterer(matter, mu, depths, exits, _at_depths(parameters, smooth, q, depths), tuple(spots))


def _depths(parameters: Parameters, matter: Matter, q_max: float) -> np.ndarray:
    if parameters.artefacts.parallax is None:
        return np.zeros(1)
    instrument = parameters.instrument
    rows, columns = np.divmod(matter.places, matter.shape[1])
    centre = (np.array(matter.shape) - 1) / 2
    radius = matter.voxel * np.hypot(rows - centre[0], columns - centre[1]).max()
    width = np.hypot(instrument.fwhm, instrument.fwhm_slope * q_max)
    return depth_nodes(radius, distance=parameters.detector.distance_mm, relative_width=width / q_max)


def _at_depths(parameters: Parameters, patterns: np.ndarray, q: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Counts per mm of patterns in e²/Å³, shape (n, n_depths, n_q), float32."""
    counts = parameters.beam.dose * patterns
    parallax = parameters.artefacts.parallax
    if parallax is None:
        return counts[:, None].astype(np.float32)
    return shifted_patterns(
        counts,
        q,
        parallax.strength * depths,
        distance=parameters.detector.distance_mm,
        wavelength=wavelength(parameters.beam.energy_kev),
    ).astype(np.float32)


def paths_of_line(parameters: Parameters, scatterer: Scatterer, omega: float, cor: float) -> np.ndarray:
    """Effective path lengths at `omega` degrees and axis `cor`, mm, (n_positions, n_exits, n_materials, n_depths)."""
    attenuation = parameters.artefacts.attenuation
    return line_paths(
        scatterer.matter,
        omega,
        cor=cor,
        n_positions=parameters.scan.n_positions,
        step=parameters.scan.step_mm,
        n_materials=len(scatterer.mu),
        depths=scatterer.depths,
        exits=scatterer.exits,
        scattered_ray=attenuation is not None and attenuation.scattered_ray,
    )


def radial_tables(paths: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Counts per pixel over exit directions and q.

    Parameters
    ----------
    paths
        From `paths_of_line`, shape (n_frames, n_exits, n_materials, n_depths).
    patterns
        Shape (n_materials, n_depths, n_q), float32.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_frames, n_exits, n_q).
    """
    n_frames, n_exits, n_materials, n_depths = paths.shape
    met = paths.reshape(n_frames, n_exits, -1).any(axis=(0, 1))
    # Frame by frame, so that a sum does not depend on which other frames are made with it.
    rows = patterns.reshape(n_materials * n_depths, -1)[met]
    weights = paths.reshape(n_frames, n_exits, -1)[:, :, met].astype(np.float32)
    return np.stack([weight @ rows for weight in weights])

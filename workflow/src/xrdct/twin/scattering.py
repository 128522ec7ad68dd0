"""One state of the cell as the beam sees it: what scatters where, weakened how much, shifted how far."""

from dataclasses import dataclass

import numpy as np

from .attenuation import NODES, material_mu
from .cell import SUB_VOXELS, foil_normal
from .detector import Pixels, wavelength
from .grains import rings
from .parallax import depth_nodes, shifted_patterns
from .parameters import Parameters, State
from .patterns import BEYOND, bragg_pattern, broaden, lattice_of, material_patterns, size_of
from .rays import Matter, line_paths, matter_of
from .structures import read_crystal
from .texture import flake_lines, power_weights


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
class Arcs:
    """The lines of a material whose flakes lie in the plane of the foil."""

    columns: tuple[int, ...]
    """Where the path lengths weighted with cos²ᵖ(ψ − ω), p = 0, 1, …, stand among those of all materials."""
    patterns: np.ndarray
    """Counts per mm for every p, shape (n_powers, n_depths, n_q), float32."""


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
    arcs: tuple[Arcs, ...]


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
    scan, textures = parameters.scan, parameters.artefacts.texture
    turned = tuple((names.index(name), p) for name in textures for p in range(1, len(power_weights(textures[name]))))
    normal = foil_normal(parameters.cell, n=scan.n_positions, step=scan.step_mm) if turned else None
    matter = matter_of(maps, mu, scan.step_mm / SUB_VOXELS, turned=turned, normal=normal)
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
    arcs = []
    for name, r in textures.items():
        row, weights = names.index(name), power_weights(r)
        by_degree = _lines_by_degree(parameters, state, name, q, len(weights))
        smooth[row] -= by_degree[0]
        columns = (row, *(len(names) + k for k, (material, _) in enumerate(turned) if material == row))
        arcs.append(Arcs(columns, _at_depths(parameters, weights.T @ by_degree, q, depths)))
    return Scatterer(matter, mu, depths, exits, _at_depths(parameters, smooth, q, depths), tuple(spots), tuple(arcs))


def _lines_by_degree(parameters: Parameters, state: State, name: str, q: np.ndarray, n_degrees: int) -> np.ndarray:
    """Lines of a phase weighted with P_l(cos φ), l = 0, 2, …: e²/Å³, shape (n_degrees, n_q), the first of a powder."""
    crystal, instrument = read_crystal(name, lattice_of(name, state.lattice)), parameters.instrument
    lines = flake_lines(crystal, q[-1] + BEYOND, n_degrees)
    return 2 * np.pi**2 * broaden(lines, q, instrument=instrument, size_nm=size_of(name, instrument))


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


def paths_of_line(
    parameters: Parameters, scatterer: Scatterer, omega: float, cor: float, *, n_positions: int | None = None
) -> np.ndarray:
    """Effective path lengths at `omega` degrees and axis `cor`, mm, (n_positions, n_exits, n_columns, n_depths).

    There is a column for every material, then those that `Arcs` names. Null: as many positions as the scan has.
    """
    attenuation = parameters.artefacts.attenuation
    return line_paths(
        scatterer.matter,
        omega,
        cor=cor,
        n_positions=n_positions or parameters.scan.n_positions,
        step=parameters.scan.step_mm,
        n_materials=len(scatterer.mu) + sum(len(arc.columns) - 1 for arc in scatterer.arcs),
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


def arc_tables(paths: np.ndarray, arcs: tuple[Arcs, ...]) -> np.ndarray:
    """Counts per pixel of all textured materials for every power p of cos² η.

    Parameters
    ----------
    paths
        From `paths_of_line`, shape (n_frames, n_exits, n_columns, n_depths).
    arcs
        The textured materials.

    Returns
    -------
    numpy.ndarray
        Float32, shape (n_frames, n_powers, n_exits, n_q).
    """
    n_frames, n_exits = paths.shape[:2]
    most = max(len(arc.columns) for arc in arcs)
    tables = np.zeros((n_frames, most, n_exits, arcs[0].patterns.shape[-1]), dtype=np.float32)
    for arc in arcs:
        for p, column in enumerate(arc.columns):
            for table, weights in zip(tables[:, p], paths[:, :, column].astype(np.float32), strict=True):
                table += weights @ arc.patterns[p]
    return tables

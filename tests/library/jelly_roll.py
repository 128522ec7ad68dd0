"""The twin's 18650 cell at a size for tests: truth, and sinograms of one line per phase with the exact rays."""

from dataclasses import dataclass

import numpy as np

from xrdct.twin.cell import SUB_VOXELS, box_mean, material_maps, material_names
from xrdct.twin.parameters import load_parameters
from xrdct.twin.projector import project
from xrdct.twin.rays import line_paths, matter_of
from xrdct.twin.scattering import state_mu

TWO_THETA = np.radians(4.0)
"""q = 3.4 1/Å at 95 keV, near the end of the paper's patterns."""


@dataclass(frozen=True)
class Roll:
    """What the twin knows of one scan."""

    names: list[str]
    fractions: np.ndarray
    """Volume fractions, (material, y, x)."""
    mu: np.ndarray
    """1/mm, (y, x)."""
    pure: np.ndarray
    """1/mm, (material,)."""
    angles: np.ndarray
    step: float
    sinogram: np.ndarray
    """One line per material: mm × transmission in and out, (angle, position, material)."""
    free: np.ndarray
    """The same without attenuation."""
    transmission: np.ndarray
    """Of the direct beam, (angle, position)."""
    energy: float


def jelly_roll(n: int = 100, n_angles: int = 100) -> Roll:
    """The charged or discharged cell of the NCA 18650 paper, `n` positions across; seconds."""
    parameters = load_parameters("nca18650")
    state = parameters.states[0]
    names = material_names(parameters.cell, parameters.states)
    step = 1.04 * parameters.cell.diameter_mm / n
    maps = material_maps(parameters.cell, state, names, n=n, step=step)
    pure = state_mu(parameters, names, state)
    angles = np.arange(n_angles) * 180 / n_angles
    matter = matter_of(maps, pure, step / SUB_VOXELS)
    exits = np.array([-TWO_THETA, 0.0, TWO_THETA])
    common = {"cor": (n - 1) / 2, "n_positions": n, "step": step}
    lines = [
        line_paths(matter, a, **common, n_materials=len(names), depths=np.zeros(1), exits=exits)[..., 0] for a in angles
    ]
    # Four azimuths of a full ring: towards growing t, towards falling t, and twice out of the slice.
    sinogram = np.einsum("apem,e->apm", np.stack(lines), [0.25, 0.5, 0.25])
    fine = project(
        maps,
        voxel=step / SUB_VOXELS,
        angles=angles,
        cor=SUB_VOXELS * (n - 1) / 2 + (SUB_VOXELS - 1) / 2,
        n_positions=SUB_VOXELS * n,
        step=step / SUB_VOXELS,
    ).reshape(n_angles, n, SUB_VOXELS, len(names))
    fractions = np.stack([box_mean(maps[..., k], SUB_VOXELS) for k in range(len(names))])
    return Roll(
        names,
        fractions,
        np.tensordot(pure, fractions, axes=1),
        pure,
        angles,
        step,
        sinogram,
        fine.mean(axis=2),
        np.exp(-fine @ pure).mean(axis=2),
        parameters.beam.energy_kev,
    )

"""What a line of the scan meets: effective path lengths by material, depth and direction of the scattered ray."""

from dataclasses import dataclass

import numba
import numpy as np

from .attenuation import optical_depth
from .projector import shadow


@dataclass(frozen=True)
class Matter:
    """The voxels of the phantom that hold anything, as the kernels want them."""

    shape: tuple[int, int]
    """Rows and columns of the phantom's grid."""
    voxel: float
    """mm."""
    places: np.ndarray
    """Flat index of each voxel that is not empty, shape (n,)."""
    first: np.ndarray
    """Where the contents of each voxel begin in the next two, shape (n + 1,)."""
    material: np.ndarray
    """Material of each content."""
    amount: np.ndarray
    """Its area in mm²."""
    mu: np.ndarray
    """Attenuation map, 1/mm, [row, column]; zero everywhere when there is no attenuation."""


def matter_of(maps: np.ndarray, mu: np.ndarray, voxel: float) -> Matter:
    """Voxels of the maps [y, x, material]; `mu` (1/mm, shape (n_materials,)) gives the attenuation map."""
    ny, nx, n_materials = maps.shape
    flat = maps.reshape(-1, n_materials)
    where, material = np.nonzero(flat)
    places, first = np.unique(where, return_index=True)
    return Matter(
        (ny, nx),
        voxel,
        places,
        np.append(first, where.size),
        material,
        flat[where, material] * voxel**2,
        maps @ mu,
    )


def line_paths(
    matter: Matter,
    omega: float,
    *,
    cor: float,
    n_positions: int,
    step: float,
    n_materials: int,
    depths: np.ndarray,
    exits: np.ndarray,
    scattered_ray: bool = True,
) -> np.ndarray:
    """Effective path lengths of one line: path × transmission, shared out over depths.

    Parameters
    ----------
    matter
        From `matter_of`.
    omega
        Rotation in degrees.
    cor, n_positions, step
        As for `projector.project`.
    n_materials
        How many materials there are.
    depths
        Nodes in mm along the beam, equidistant; a voxel is shared linearly between its two neighbours. One node: no
        resolution in depth.
    exits
        Directions of the scattered ray within the slice, radians (`attenuation.exit_angle`).
    scattered_ray
        Whether the scattered ray is attenuated, or only the incoming one.

    Returns
    -------
    numpy.ndarray
        mm, shape (n_positions, n_exits, n_materials, n_depths).
    """
    survives = np.ones((exits.size, matter.places.size))
    if matter.mu.any():
        incoming = optical_depth(matter.mu, voxel=matter.voxel, omega=omega, angle=np.pi).ravel()[matter.places]
        for k, angle in enumerate(exits):
            outgoing = 0
            if scattered_ray:
                outgoing = optical_depth(matter.mu, voxel=matter.voxel, omega=omega, angle=angle).ravel()[matter.places]
            survives[k] = np.exp(-incoming - outgoing)
    rows, columns = np.divmod(matter.places, matter.shape[1])
    x = (columns - (matter.shape[1] - 1) / 2) * matter.voxel
    y = ((matter.shape[0] - 1) / 2 - rows) * matter.voxel
    paths = np.zeros((n_positions, exits.size, n_materials, depths.size))
    _deposit(
        x,
        y,
        matter.voxel,
        matter.first,
        matter.material,
        matter.amount,
        survives,
        np.radians(omega),
        cor,
        step,
        depths,
        paths,
    )
    return paths


@numba.njit(cache=True, nogil=True)
def _deposit(x, y, voxel, first, material, amount, survives, omega, cor, step, depths, paths):
    n_positions, n_exits = paths.shape[:2]
    cosine, sine = np.cos(omega), np.sin(omega)
    wide, narrow = voxel * max(abs(cosine), abs(sine)), voxel * min(abs(cosine), abs(sine))
    reach = (wide + narrow) / 2
    spacing = depths[1] - depths[0] if depths.size > 1 else 1.0
    for i in range(x.size):
        t, u = x[i] * cosine + y[i] * sine, -x[i] * sine + y[i] * cosine
        node, beyond = 0, 0.0
        if depths.size > 1:
            node = min(max(int((u - depths[0]) / spacing), 0), depths.size - 2)
            beyond = (u - depths[node]) / spacing
        left_column = max(0, int(np.ceil((t - reach) / step + cor - 0.5)))
        right_column = min(n_positions - 1, int(np.floor((t + reach) / step + cor + 0.5)))
        for j in range(left_column, right_column + 1):
            left = (j - cor - 0.5) * step - t
            share = (shadow(left + step, wide, narrow) - shadow(left, wide, narrow)) / step
            for k in range(n_exits):
                for c in range(first[i], first[i + 1]):
                    part = amount[c] * share * survives[k, i]
                    paths[j, k, material[c], node] += part * (1 - beyond)
                    if beyond != 0.0:
                        paths[j, k, material[c], node + 1] += part * beyond

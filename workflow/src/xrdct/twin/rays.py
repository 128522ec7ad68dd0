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
    power: np.ndarray
    """Each content's amount is weighted with cos²ᵖ(ψ − ω): p, 0 but for further contents of textured materials."""
    normal: np.ndarray
    """ψ, direction of the foil's normal where each content lies, radians."""


def matter_of(
    maps: np.ndarray,
    mu: np.ndarray,
    voxel: float,
    *,
    turned: tuple[tuple[int, int], ...] = (),
    normal: np.ndarray | None = None,
) -> Matter:
    """Voxels of the phantom.

    Parameters
    ----------
    maps
        Volume fractions, [y, x, material].
    mu
        Attenuation coefficient of every material, 1/mm, shape (n_materials,).
    voxel
        mm.
    turned
        Further materials (material, p): the same one once more, weighted with cos²ᵖ(ψ − ω).
    normal
        ψ, direction of the foil's normal, radians, [y, x]; for `turned`.
    """
    ny, nx, n_materials = maps.shape
    flat = maps.reshape(-1, n_materials)
    powers = np.array([0] * n_materials + [p for _, p in turned])
    if turned:
        flat = np.concatenate([flat, flat[:, [material for material, _ in turned]]], axis=1)
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
        powers[material],
        np.zeros(where.size) if normal is None else normal.ravel()[where],
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
        How many materials there are, those of `turned` included.
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
    amount = matter.amount
    if matter.power.any():
        amount = amount * np.cos(matter.normal - np.radians(omega)) ** (2 * matter.power)
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
        amount,
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

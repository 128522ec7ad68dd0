"""Unit cells as parameters: what symmetry leaves free, and where the lines are."""

import gemmi
import numpy as np

CELLS = {
    "cubic": ("a", "a", "a", 90.0, 90.0, 90.0),
    "tetragonal": ("a", "a", "c", 90.0, 90.0, 90.0),
    "hexagonal": ("a", "a", "c", 90.0, 90.0, 120.0),
    "rhombohedral": ("a", "a", "a", "alpha", "alpha", "alpha"),
    "orthorhombic": ("a", "b", "c", 90.0, 90.0, 90.0),
    "monoclinic-a": ("a", "b", "c", "alpha", 90.0, 90.0),
    "monoclinic-b": ("a", "b", "c", 90.0, "beta", 90.0),
    "monoclinic-c": ("a", "b", "c", 90.0, 90.0, "gamma"),
    "triclinic": ("a", "b", "c", "alpha", "beta", "gamma"),
}
"""For each system the edges (Å) and angles (degrees) of the cell: a name is a parameter, a number is fixed."""
EDGES_AND_ANGLES = CELLS["triclinic"]


def cell_system(group: gemmi.SpaceGroup) -> str:
    """Key of `CELLS` for a space group; trigonal groups are hexagonal, or rhombohedral when set on those axes."""
    system = group.crystal_system_str()
    if system == "trigonal":
        return "rhombohedral" if group.ext == "R" else "hexagonal"
    return f"monoclinic-{group.monoclinic_unique_axis()}" if system == "monoclinic" else system


def independent_parameters(system: str) -> tuple[str, ...]:
    """Names of the parameters that describe a cell of this system, a before c, edges before angles."""
    return tuple(dict.fromkeys(entry for entry in CELLS[system] if isinstance(entry, str)))


def full_cell(system: str, values: dict[str, float]) -> tuple[float, ...]:
    """a, b, c (Å), alpha, beta, gamma (degrees) from the independent parameters."""
    return tuple(values[entry] if isinstance(entry, str) else entry for entry in CELLS[system])


def metric(cell: tuple[float, ...]) -> np.ndarray:
    """Metric tensor G_ij = a_i · a_j in Å², shape (3, 3)."""
    edges, cosines = _edges_and_cosines(cell)
    return np.outer(edges, edges) * cosines


def line_positions(hkl: np.ndarray, system: str, values: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Positions of lines and how they move with the cell.

    .. math:: q = 2\\pi \\sqrt{h^T G^{-1} h}, \\quad
        \\frac{dq}{dp} = -\\frac{2\\pi^2}{q} h^T G^{-1} \\frac{dG}{dp} G^{-1} h

    Parameters
    ----------
    hkl
        Shape (n, 3).
    system, values
        Key of `CELLS`, and its independent parameters (Å, degrees).

    Returns
    -------
    q in 1/Å, shape (n,), and its derivatives by the independent parameters, in their order, shape (n_parameters, n).
    """
    cell = full_cell(system, values)
    g_inverse = np.linalg.inv(metric(cell))
    normal = hkl @ g_inverse
    q = 2 * np.pi * np.sqrt(np.einsum("ni,ni->n", normal, hkl))
    slopes = [
        -2 * np.pi**2 / q * np.einsum("ni,ij,nj->n", normal, _metric_slope(cell, system, name), normal)
        for name in independent_parameters(system)
    ]
    return q, np.array(slopes)


def stretch(cell: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float]:
    """Smallest and largest factor by which q of any line changes from one cell to another."""
    relative = np.linalg.eigvals(np.linalg.inv(metric(other)) @ metric(cell)).real
    return float(np.sqrt(relative.min())), float(np.sqrt(relative.max()))


def _edges_and_cosines(cell: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    # Exact zeros for right angles: cos(90°) in floating point would tilt every cell by 1e-16.
    ca, cb, cg = (0.0 if angle == 90 else np.cos(np.radians(angle)) for angle in cell[3:])
    return np.array(cell[:3]), np.array([[1, cg, cb], [cg, 1, ca], [cb, ca, 1]])


def _metric_slope(cell: tuple[float, ...], system: str, name: str) -> np.ndarray:
    """dG/dp: the sum over all edges and angles that are this parameter."""
    edges, cosines = _edges_and_cosines(cell)
    slope = np.zeros((3, 3))
    for place, entry in enumerate(CELLS[system]):
        if entry != name:
            continue
        axis = np.eye(3)[place % 3]
        if place < 3:
            slope += cosines * (np.outer(axis, edges) + np.outer(edges, axis))
        else:  # the angle between the two other axes
            between = np.outer(1 - axis, 1 - axis) - np.diag(1 - axis)
            slope -= np.outer(edges, edges) * between * np.sin(np.radians(cell[place])) * np.pi / 180
    return slope

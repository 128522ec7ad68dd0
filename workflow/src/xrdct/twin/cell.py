"""The phantom: how much of every voxel each material fills."""

import numpy as np

from .parameters import ELECTROLYTE, SEPARATOR, Cell, Region, State

CASING, ANODE_TAB, COPPER, ALUMINIUM = "Fe", "tab_NiCu", "Cu", "Al"
SUB_VOXELS = 4
"""Voxels of the phantom along an edge of a voxel of the truth."""
POINTS = 4
"""Points along an edge of a voxel of the phantom: a foil of 8 µm is met by several."""


def material_names(cell: Cell, states: tuple[State, ...]) -> list[str]:
    """All materials of a beamtime, in one order for all scans: metals, anode, cathode, grains, amorphous."""
    names = [CASING, COPPER, ALUMINIUM] + ([ANODE_TAB] if cell.anode_tab else [])
    seen = [state.at(subset) for state in states for subset in (1, *(change.from_subset for change in state.later))]
    names += [phase for state in seen for region in state.anode for phase in region.phases]
    names += [state.cathode for state in seen] + [grain.phase for grain in cell.grains]
    return list(dict.fromkeys([*names, SEPARATOR, ELECTROLYTE]))


def material_maps(cell: Cell, state: State, names: list[str], *, n: int, step: float) -> np.ndarray:
    """Volume fraction of every material on the phantom's grid.

    Parameters
    ----------
    cell, state
        What the cell is made of.
    names
        Materials, as `material_names` lists them.
    n, step
        Voxels along an edge of the truth, and their size in mm.

    Returns
    -------
    numpy.ndarray
        Shape (n·SUB_VOXELS, n·SUB_VOXELS, n_materials), [y, x, material], row 0 at the largest y, the rotation axis in
        the middle; 0 to 1, summing to at most 1 (the rest is void).
    """
    n_points = n * SUB_VOXELS * POINTS
    along = ((np.arange(n_points) + 0.5) / n_points - 0.5) * n * step
    x, y = along[None, :] - cell.axis_x_mm, along[::-1][:, None] - cell.axis_y_mm
    radius, azimuth = np.hypot(x, y), np.degrees(np.arctan2(y, x)) % 360
    place, contents = _wind(cell, state, radius, azimuth)
    _put(
        place,
        contents,
        (radius <= cell.diameter_mm / 2) & (radius > cell.diameter_mm / 2 - cell.casing_mm),
        {CASING: 1},
    )
    for grain in cell.grains:
        inside = np.hypot(along[None, :] - grain.x_mm, along[::-1][:, None] - grain.y_mm) <= grain.radius_mm
        _put(place, contents, inside, {grain.phase: 1})
    maps = np.zeros((n * SUB_VOXELS, n * SUB_VOXELS, len(names)))
    for label, content in enumerate(contents):
        share = box_mean(place == label, POINTS)
        for name, fraction in content.items():
            maps[:, :, names.index(name)] += fraction * share
    return maps


def box_mean(image: np.ndarray, block: int) -> np.ndarray:
    """Mean over blocks of `block` × `block` pixels of an image [y, x, ...]."""
    ny, nx = image.shape[0] // block, image.shape[1] // block
    return image.reshape(ny, block, nx, block, *image.shape[2:]).mean(axis=(1, 3))


def _put(place: np.ndarray, contents: list[dict], where: np.ndarray, content: dict[str, float]) -> None:
    """Give the points `where` a new content."""
    place[where] = len(contents)
    contents.append(content)


def _wind(cell: Cell, state: State, radius: np.ndarray, azimuth: np.ndarray) -> tuple[np.ndarray, list[dict]]:
    """Number of the content of every point (0 is void), and the contents, of the wound layers."""
    place, contents = np.zeros(radius.shape, dtype=np.uint8), [{}]
    # Archimedean spiral: a winding further out, or a full turn on, is one pitch.
    windings = (radius - cell.hole_radius_mm) / cell.pitch_mm - azimuth / 360
    turns = np.floor(windings) + azimuth / 360
    depth_um = (windings - np.floor(windings)) * cell.pitch_mm * 1000
    wound = (turns >= 0) & (turns < cell.turns)

    def layer(first: int, last: int) -> np.ndarray:
        return wound & (depth_um >= edges[first]) & (depth_um < edges[last])

    def along(stretch) -> np.ndarray:
        return (turns >= stretch.turns[0]) & (turns < stretch.turns[1])

    thickness = [cell.separator_um, cell.anode_um, cell.copper_um, cell.anode_um]
    thickness += [cell.separator_um, cell.cathode_um, cell.aluminium_um, cell.cathode_um]
    edges = np.concatenate([[0], np.cumsum(thickness)])
    _put(place, contents, layer(0, 1) | layer(4, 5), {SEPARATOR: 1})
    anode = layer(1, 4)
    for region in state.anode:
        active = {phase: share * cell.anode_active for phase, share in region.phases.items()}
        inside = anode & _region(region, turns, azimuth)
        _put(place, contents, inside, active | {ELECTROLYTE: 1 - cell.anode_active})
    _put(place, contents, layer(2, 3), {COPPER: 1})
    cathode = {state.cathode: cell.cathode_active, ELECTROLYTE: 1 - cell.cathode_active}
    _put(place, contents, layer(5, 8), cathode)
    if cell.bare_cathode:
        _put(place, contents, layer(5, 8) & along(cell.bare_cathode), {ELECTROLYTE: 1})
    _put(place, contents, layer(6, 7), {ALUMINIUM: 1})
    if cell.aluminium_tab:
        _put(place, contents, layer(5, 6) & along(cell.aluminium_tab), {ALUMINIUM: 1})
    if cell.anode_tab:
        _put(place, contents, layer(1, 2) & along(cell.anode_tab), {ANODE_TAB: 1})
    return place, contents


def _region(region: Region, turns: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Points that lie in a region of the anode."""
    inside = np.ones(turns.shape, dtype=bool)
    if region.turns:
        inside &= (turns >= region.turns[0]) & (turns < region.turns[1])
    if region.azimuth_deg:
        start, stop = (angle % 360 for angle in region.azimuth_deg)
        within = (azimuth >= start) & (azimuth < stop)
        inside &= within if start <= stop else (azimuth >= start) | (azimuth < stop)
    return inside

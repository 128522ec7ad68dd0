"""The phantom: how much of every voxel each material fills."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .parameters import ELECTROLYTE, SEPARATOR, Cell, Region, State

CASING, ANODE_TAB, COPPER, ALUMINIUM, PIN = "Fe", "tab_NiCu", "Cu", "Al", "pin_austenite"
SUB_VOXELS = 4
"""Voxels of the phantom along an edge of a voxel of the truth."""
POINTS = 4
"""Points along an edge of a voxel of the phantom: a foil of 8 µm is met by several."""


def material_names(cell: Cell, states: tuple[State, ...]) -> list[str]:
    """All materials of a beamtime, in one order for all scans: metals, anode, cathode, grains, amorphous."""
    names = [CASING, COPPER, ALUMINIUM] + ([ANODE_TAB] if cell.anode_tab else []) + ([PIN] if cell.pin else [])
    seen = [state.at(subset) for state in states for subset in (1, *(change.from_subset for change in state.later))]
    names += [phase for state in seen for region in (*state.anode, *state.cathode_regions) for phase in region.phases]
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
    phantom = _phantom(cell, state, n=n, step=step)
    maps = np.zeros((n * SUB_VOXELS, n * SUB_VOXELS, len(names)), dtype=np.float32)
    for rows, content, share in phantom:
        for name, fraction in content.fractions.items():
            maps[rows, :, names.index(name)] += fraction * share
    return maps


def foil_normal(cell: Cell, *, n: int, step: float) -> np.ndarray:
    """Direction of the foil's normal, outwards, on the phantom's grid: radians counter-clockwise from +x, [y, x].

    A layer of the spiral is r − pitch · azimuth / 2π = const; its gradient is the normal.
    """
    n_voxels = n * SUB_VOXELS
    along = ((np.arange(n_voxels) + 0.5) / n_voxels - 0.5) * n * step
    x, y = along[None, :] - cell.axis_x_mm, along[::-1, None] - cell.axis_y_mm
    return np.arctan2(y, x) - np.arctan2(cell.pitch_mm / (2 * np.pi), np.hypot(x, y))


def region_names(states: tuple[State, ...]) -> list[str]:
    """All named regions of a beamtime, in one order for all scans."""
    found = [region.name for state in states for region in (*state.anode, *state.cathode_regions)]
    return list(dict.fromkeys(name for name in found if name is not None))


def region_maps(cell: Cell, state: State, names: list[str], *, n: int, step: float) -> np.ndarray:
    """Share of every voxel of the truth that lies in each named region, shape (n_regions, n, n), [region, y, x]."""
    maps = np.zeros((len(names), n * SUB_VOXELS, n * SUB_VOXELS))
    for rows, content, share in _phantom(cell, state, n=n, step=step):
        if content.region is not None:
            maps[names.index(content.region), rows] += share
    return np.stack([box_mean(image, SUB_VOXELS) for image in maps]) if names else np.zeros((0, n, n))


@dataclass(frozen=True)
class Content:
    """What a part of the cell is filled with."""

    fractions: dict[str, float]
    """Volume fraction of each material."""
    region: str | None = None
    """Name of the electrode region that it belongs to."""


def _phantom(cell: Cell, state: State, *, n: int, step: float) -> Iterator[tuple[slice, Content, np.ndarray]]:
    """Strip by strip of the phantom's grid, every content and the share of each voxel that it fills.

    A strip is a row of voxels of the truth: a cell of 637 voxels has 10⁸ points, too many to hold at once.
    """
    n_points = n * SUB_VOXELS * POINTS
    along = ((np.arange(n_points) + 0.5) / n_points - 0.5) * n * step
    deep = SUB_VOXELS * POINTS
    for strip in range(n):
        y = along[::-1][strip * deep : (strip + 1) * deep, None]
        rows = slice(strip * SUB_VOXELS, (strip + 1) * SUB_VOXELS)
        place, contents = _fill(cell, state, along[None, :], y)
        for label in np.unique(place):
            if contents[label].fractions:
                yield rows, contents[label], box_mean(place == label, POINTS)


def _fill(cell: Cell, state: State, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[Content]]:
    """Number of the content of every point x [1, column], y [row, 1] (mm from the rotation axis), and the contents."""
    radius = np.hypot(x - cell.axis_x_mm, y - cell.axis_y_mm)
    azimuth = np.degrees(np.arctan2(y - cell.axis_y_mm, x - cell.axis_x_mm)) % 360
    place, contents = _wind(cell, state, radius, azimuth)
    outer = cell.diameter_mm / 2
    _put(place, contents, (radius <= outer) & (radius > outer - cell.casing_mm), {CASING: 1})
    if cell.pin is not None:
        pin = cell.pin.diameter_mm / 2
        _put(place, contents, (radius <= pin) & (radius > pin - cell.pin.wall_mm), {PIN: 1})
    for grain in cell.grains:
        inside = np.hypot(x - grain.x_mm, y - grain.y_mm) <= grain.radius_mm
        _put(place, contents, inside, {grain.phase: 1})
    return place, contents


def box_mean(image: np.ndarray, block: int) -> np.ndarray:
    """Mean over blocks of `block` × `block` pixels of an image [y, x, ...]."""
    ny, nx = image.shape[0] // block, image.shape[1] // block
    return image.reshape(ny, block, nx, block, *image.shape[2:]).mean(axis=(1, 3))


def _put(
    place: np.ndarray,
    contents: list[Content],
    where: np.ndarray,
    fractions: dict[str, float],
    region: str | None = None,
) -> None:
    """Give the points `where` a new content."""
    place[where] = len(contents)
    contents.append(Content(fractions, region))


def _wind(cell: Cell, state: State, radius: np.ndarray, azimuth: np.ndarray) -> tuple[np.ndarray, list[Content]]:
    """Number of the content of every point (0 is void), and the contents, of the wound layers."""
    place, contents = np.zeros(radius.shape, dtype=np.uint8), [Content({})]
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
        inside = anode & _region(region, turns, azimuth)
        _put(place, contents, inside, _coating(region.phases, cell.anode_active), region.name)
    _put(place, contents, layer(2, 3), {COPPER: 1})
    cathode = layer(5, 8)
    _put(place, contents, cathode, _coating({state.cathode: 1}, cell.cathode_active))
    for region in state.cathode_regions:
        inside = cathode & _region(region, turns, azimuth)
        _put(place, contents, inside, _coating(region.phases, cell.cathode_active), region.name)
    if cell.bare_cathode:
        _put(place, contents, layer(5, 8) & along(cell.bare_cathode), {ELECTROLYTE: 1})
    _put(place, contents, layer(6, 7), {ALUMINIUM: 1})
    if cell.aluminium_tab:
        _put(place, contents, layer(5, 6) & along(cell.aluminium_tab), {ALUMINIUM: 1})
    if cell.anode_tab:
        _put(place, contents, layer(1, 2) & along(cell.anode_tab), {ANODE_TAB: 1})
    for electrode, layers in ((cell.anode_along, (1, 4)), (cell.cathode_along, (5, 8))):
        if electrode is not None:
            _put(place, contents, layer(*layers) & ~along(electrode), {ELECTROLYTE: 1})
    return place, contents


def _coating(phases: dict[str, float], active: float) -> dict[str, float]:
    """Volume fractions of a coating whose active material is made of `phases`."""
    return {phase: share * active for phase, share in phases.items()} | {ELECTROLYTE: 1 - active}


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

"""A round casing of one pure, dense phase: where it is, what it weakens, and the absolute factor that it tells.

What its voxels diffract is known to be of full density. They are seen through the sample from most sides, so that the
factor settles with the correction, in a few passes. Drawn metal is spotty, and a trimmed mean leaves spots out: then
a factor from a casing is some per cent too large, and one from a measured transmission is better.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import AttenuationError
from ..geometry import pixel_centres
from .factor import AbsoluteFactor

BRIGHT = 0.5
"""A voxel belongs to a casing from this share of the casing's brightest voxels on."""


FINE = 8
"""Points along the edge of a voxel that a wall is drawn with."""


@dataclass(frozen=True)
class Wall:
    """A ring of one dense material."""

    x_mm: float
    y_mm: float
    """Centre, from the rotation axis."""
    radius_mm: float
    """Outer radius."""
    thickness_mm: float

    @property
    def inner_mm(self) -> float:
        """Inner radius."""
        return self.radius_mm - self.thickness_mm

    def share(self, n: int, step_mm: float) -> np.ndarray:
        """Share of each of n × n voxels inside the wall, (y, x), the rotation axis in the middle."""
        return self._disc(self.radius_mm, n, step_mm) - self.inside(n, step_mm)

    def inside(self, n: int, step_mm: float) -> np.ndarray:
        """Share of each voxel within the inner radius, (y, x)."""
        return self._disc(self.inner_mm, n, step_mm)

    def _disc(self, radius, n, step_mm):
        axis = pixel_centres(FINE * n, step_mm / FINE)
        filled = np.hypot(axis - self.x_mm, axis[::-1, None] - self.y_mm) <= radius
        return filled.reshape(n, FINE, n, FINE).mean(axis=(1, 3))


def find_wall(scale: np.ndarray, *, thickness_mm: float, step_mm: float) -> Wall:
    """The circle that the casing's brightest voxels lie on, by least squares (Kåsa, IEEE Trans. Instrum. Meas. 25, 8,
    1976: linear, and unbiased for a full circle).

    Seen through the sample the inner side of a thick wall is the weaker one, and its brightest voxels lie too far out;
    where the mean over rings falls to half then says more. Blur does the opposite to a thin wall: the smaller counts.

    Parameters
    ----------
    scale
        Map of the casing's phase, (y, x), rotation axis in the middle; negative values count as 0.
    thickness_mm
        Of the wall.
    step_mm
        Edge of a voxel.

    Raises
    ------
    AttenuationError
        When the phase is nowhere.
    """
    scale = np.clip(scale, 0, None)
    on_wall = _casing(scale).astype(bool)
    axis = pixel_centres(len(scale), step_mm)
    rows, columns = np.nonzero(on_wall)
    x, y, weight = axis[columns], axis[::-1][rows], np.sqrt(scale[on_wall])
    equations = np.stack([2 * x, 2 * y, np.ones_like(x)], axis=1) * weight[:, None]
    (x0, y0, rest), *_ = np.linalg.lstsq(equations, (x**2 + y**2) * weight, rcond=None)
    middle = float(np.sqrt(rest + x0**2 + y0**2))
    edge = _outer_edge(scale, float(x0), float(y0), step_mm)
    return Wall(float(x0), float(y0), min(middle + thickness_mm / 2, edge), thickness_mm)


def _outer_edge(scale, x0, y0, step_mm):
    """Where the mean over rings about a point falls to half of its highest value, mm, from outside."""
    axis = pixel_centres(len(scale), step_mm)
    radius = np.hypot(axis - x0, axis[::-1, None] - y0)
    ring = np.floor(radius / step_mm).astype(int).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, weights=scale.ravel()) / np.maximum(count, 1)
    centre = np.bincount(ring, weights=radius.ravel()) / np.maximum(count, 1)
    half = mean.max() / 2
    last = int(np.flatnonzero(mean >= half)[-1])
    if last + 1 == len(mean):
        return float(centre[last])
    share = (mean[last] - half) / (mean[last] - mean[last + 1])
    return float(centre[last] + share * (centre[last + 1] - centre[last]))


def factor_from_wall(scale: np.ndarray, *, thickness_mm: float, step_mm: float, radius_mm: float) -> AbsoluteFactor:
    """K from a round casing: the area of its wall over the sum of its scale.

    What the edge of the wall takes from one voxel it gives to the next, so partial volumes and blur cancel in the sum.

    Parameters
    ----------
    scale
        Map of the casing's phase, (y, x), rotation axis in the middle.
    thickness_mm, radius_mm
        Of the wall; the radius is the outer one.
    step_mm
        Edge of a voxel.

    Raises
    ------
    AttenuationError
        When the phase is nowhere near that radius.
    """
    scale = np.asarray(scale, dtype=float)
    occupied = _casing(scale)
    row, column = np.indices(scale.shape)
    y, x = (
        (row - np.average(row, weights=occupied)) * step_mm,
        (column - np.average(column, weights=occupied)) * step_mm,
    )
    margin = 3 * step_mm
    distance = np.hypot(x, y)
    wall = (distance > radius_mm - thickness_mm - margin) & (distance < radius_mm + margin)
    area = np.pi * (radius_mm**2 - (radius_mm - thickness_mm) ** 2)
    amount = scale[wall].sum() * step_mm**2
    if amount <= 0:
        raise AttenuationError(f"the casing's phase is nowhere near its radius of {radius_mm:g} mm")
    sectors = _sector_sums(np.arctan2(y, x)[wall], scale[wall])
    spread = sectors.std(ddof=1) / sectors.mean()
    value = area / amount
    error = value * spread / np.sqrt(sectors.size)
    return AbsoluteFactor(float(value), float(error), "casing", float(spread), int(np.count_nonzero(wall)))


def _sector_sums(azimuth: np.ndarray, values: np.ndarray, n: int = 16) -> np.ndarray:
    sector = ((azimuth + np.pi) / (2 * np.pi) * n).astype(int) % n
    return np.bincount(sector, weights=values, minlength=n)


def _casing(scale: np.ndarray) -> np.ndarray:
    """Voxels at least half as bright as the phase's brightest ones, 0 or 1."""
    scale = np.asarray(scale, dtype=float)
    occupied = scale[scale > BRIGHT * scale.max()] if scale.max() > 0 else scale[:0]
    if not occupied.size:
        raise AttenuationError("the casing's phase is nowhere in the maps, so that no absolute factor can be told")
    return (scale >= BRIGHT * np.median(occupied)).astype(np.uint8)

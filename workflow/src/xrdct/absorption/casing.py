"""A round casing of one pure, dense phase: where it is, what it weakens, and the transmission that it tells.

Steel of a known thickness is in every beam that crosses a cell. What it diffracts is what of the beam gets through: the
casing's own rings, divided by the length of wall on the ray, are a measured transmission, up to one factor for all rays.
Without such a measurement the self-absorption of a round sample is not unique where −ln T goes beyond 1: x·exp(−x) has
the same value for two x, and iterating from scales to attenuation runs away from the larger one.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import minimum_filter

from ..errors import AttenuationError
from ..geometry import lateral_position, pixel_centres
from .factor import FEWEST, AbsoluteFactor

BRIGHT = 0.5
"""A voxel belongs to a casing from this share of the casing's brightest voxels on."""


FINE = 8
"""Points along the edge of a voxel, and across a beam, that a wall is drawn with."""


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

    def paths(self, angles: np.ndarray, cor: np.ndarray, n_positions: int, step_mm: float) -> np.ndarray:
        """Length of wall on `FINE` rays side by side in every beam, mm, (angle, position, ray)."""
        places = self.distances(angles, cor, n_positions, step_mm)
        places = places[..., None] + pixel_centres(FINE, step_mm / FINE)
        return _chord(places, self.radius_mm) - _chord(places, self.inner_mm)

    def distances(self, angles: np.ndarray, cor: np.ndarray, n_positions: int, step_mm: float) -> np.ndarray:
        """How far from the wall's centre every beam passes, mm, signed, (angle, position)."""
        centres = lateral_position(self.x_mm, self.y_mm, np.asarray(angles, dtype=float))
        return (np.arange(n_positions) - np.reshape(cor, (-1, 1))) * step_mm - centres[:, None]

    def _disc(self, radius, n, step_mm):
        axis = pixel_centres(FINE * n, step_mm / FINE)
        filled = np.hypot(axis - self.x_mm, axis[::-1, None] - self.y_mm) <= radius
        return filled.reshape(n, FINE, n, FINE).mean(axis=(1, 3))


def _chord(t, radius):
    return 2 * np.sqrt(np.clip(radius**2 - t**2, 0, None))


def find_wall(scale: np.ndarray, *, thickness_mm: float, step_mm: float) -> Wall:
    """The circle that the casing's brightest voxels lie on, by least squares (Kåsa, IEEE Trans. Instrum. Meas. 25, 8,
    1976: linear, and unbiased for a full circle).

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
    return Wall(float(x0), float(y0), float(np.sqrt(rest + x0**2 + y0**2) + thickness_mm / 2), thickness_mm)


def wall_transmission(
    signal: np.ndarray, wall: Wall, *, mu: float, angles: np.ndarray, cor: np.ndarray, step_mm: float
) -> np.ndarray:
    """Transmission of every ray, up to one factor, from what the casing diffracts: (angle, position).

    The median over all rays that pass the centre at one distance stands for each of them: single rays are noisy, and
    the grains of a drawn steel differ. Rays beyond the inner radius cross the wall alone, whose µ is known; they set
    the common factor, roughly, since the edge of the wall falls into a few positions.

    Parameters
    ----------
    signal
        Scale of the casing's phase in the measured patterns, (angle, position).
    mu
        Of the casing's phase, 1/mm.
    angles, cor, step_mm
        As for `correction.transmission`.

    Raises
    ------
    AttenuationError
        When the casing diffracts nothing into half of the rays that cross it.
    """
    paths = wall.paths(angles, cor, signal.shape[1], step_mm)
    distance = np.abs(wall.distances(angles, cor, signal.shape[1], step_mm))
    alone = np.where(distance < wall.radius_mm + step_mm, np.exp(-mu * paths).mean(axis=2), 1.0)
    within = distance < wall.inner_mm - step_mm
    edge = (distance >= wall.inner_mm) & (distance < wall.radius_mm)
    if not within.any() or not edge.any():
        raise AttenuationError(f"no beam passes inside the casing, whose outer radius is {wall.radius_mm:.3f} mm")
    unit = np.median(signal[edge]) / np.median((paths * np.exp(-mu * paths)).mean(axis=2)[edge])
    found = alone.copy()
    ring = np.floor(distance / step_mm).astype(int)
    for k in np.unique(ring[within]):
        own = within & (ring == k)
        found[own] = np.median(signal[own] / paths.mean(axis=2)[own]) / unit
    if not (found > 0).all():
        raise AttenuationError("the casing's phase is not seen in the rays that cross it; is it the right phase?")
    return found


def factor_from_casing(scale: np.ndarray, *, pure_amount: float = 1.0) -> AbsoluteFactor:
    """K from the voxels that one phase fills: a casing, a pin.

    A voxel is inside when all eight around it belong to the casing too (half as bright as the brightest hundredth of
    the map's occupied voxels): one that the edge cuts is never inside. K = volume fraction / median scale inside. Along
    a casing thinner than three voxels no voxel is inside; then `factor_from_wall` needs its thickness.

    Parameters
    ----------
    scale
        Map of the phase, (y, x).
    pure_amount
        Volume fraction of the phase in a voxel that it fills.

    Raises
    ------
    AttenuationError
        When the phase is nowhere, or fewer than 20 voxels are inside.
    """
    casing = _casing(scale)
    inside = minimum_filter(casing, size=3, mode="constant", cval=0).astype(bool)
    values = np.asarray(scale, dtype=float)[inside]
    if values.size < FEWEST:
        raise AttenuationError(
            f"{values.size} voxels lie inside the casing, {FEWEST} are needed: it is thinner than about three voxels; "
            "give its thickness, or measure the transmitted intensity"
        )
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle)) / middle
    value = pure_amount / middle
    # The median of n values varies by 1.25 of what their mean does.
    return AbsoluteFactor(
        float(value), float(1.25 * value * spread / np.sqrt(values.size)), "casing", float(spread), values.size
    )


def factor_from_wall(scale: np.ndarray, *, thickness_mm: float, step_mm: float, radius_mm: float) -> AbsoluteFactor:
    """K from a round casing too thin for full voxels: the area of its wall over the sum of its scale.

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

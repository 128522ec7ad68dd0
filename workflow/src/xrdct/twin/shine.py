"""From radial tables to images: what every pixel is to count."""

from dataclasses import dataclass

import numba
import numpy as np

from .detector import Pixels

SECTORS = 360
"""Azimuthal cells of a ring in which spots are drawn."""


@dataclass(frozen=True)
class Addresses:
    """Where each pixel reads in a radial table; flat arrays over the detector."""

    q: np.ndarray
    """Position on the grid of q, float32."""
    exit: np.ndarray
    """Position on the list of exit directions, float32."""
    weight: np.ndarray
    """Efficiency; 0 behind the beamstop. float32."""
    sector: np.ndarray
    """Azimuthal cell, int16."""
    cos2: np.ndarray
    """Square of the cosine of the azimuth, counted from the direction of increasing t; float32."""


def addresses(pixels: Pixels, q: np.ndarray, exits: np.ndarray) -> Addresses:
    """Addresses of all pixels in tables over `exits` (radians, equidistant) and `q` (1/Å, equidistant from 0)."""
    spacing = exits[1] - exits[0] if exits.size > 1 else 1.0
    at = np.clip((pixels.exit.ravel() - exits[0]) / spacing, 0, exits.size - 1)
    sector = np.floor(pixels.azimuth.ravel() / (2 * np.pi) * SECTORS).astype(np.int16) % SECTORS
    weight = np.where(pixels.shadow, 0, pixels.efficiency).ravel()
    cos2 = np.cos(pixels.azimuth.ravel()) ** 2
    place = (pixels.q.ravel() / q[1]).astype(np.float32)
    return Addresses(place, at.astype(np.float32), weight.astype(np.float32), sector, cos2.astype(np.float32))


def shine(tables: np.ndarray, where: Addresses) -> np.ndarray:
    """Expected counts of frames from their radial tables, interpolated linearly in q and exit direction.

    Parameters
    ----------
    tables
        Counts per pixel of full efficiency, float32, shape (n_frames, n_exits, n_q).
    where
        From `addresses`.

    Returns
    -------
    numpy.ndarray
        float32, shape (n_frames, n_pixels).
    """
    images = np.empty((len(tables), where.q.size), dtype=np.float32)
    _shine(tables, where.q, where.exit, where.weight, images)
    return images


def add_spots(
    images: np.ndarray, tables: np.ndarray, where: Addresses, factors: np.ndarray, ring_of_q: np.ndarray
) -> None:
    """Add the rings of a material of few grains: each sector of each ring has a brightness of its own.

    Parameters
    ----------
    images
        From `shine`; changed in place.
    tables
        The material's lines alone, as for `shine`.
    factors
        Brightness of each sector relative to a fine powder, float32, shape (n_frames, n_rings, SECTORS).
    ring_of_q
        Which ring each point of the q grid belongs to, int, shape (n_q,).
    """
    _add_spots(tables, where.q, where.exit, where.weight, where.sector, factors, ring_of_q, images)


def add_arcs(images: np.ndarray, tables: np.ndarray, where: Addresses) -> None:
    """Add the rings of textured materials: brightness Σ_p cos²ᵖ η · table_p at azimuth η.

    Parameters
    ----------
    images
        From `shine`; changed in place.
    tables
        Float32, shape (n_frames, n_powers, n_exits, n_q).
    """
    _add_arcs(tables, where.q, where.exit, where.weight, where.cos2, images)


@numba.njit(cache=True, nogil=True, inline="always")
def _read(table, q, exit_):
    i = int(q)
    right = q - np.float32(i)
    k = int(exit_)
    up = exit_ - np.float32(k)
    value = table[k, i] + right * (table[k, i + 1] - table[k, i])
    if up > 0:
        value += up * (table[k + 1, i] + right * (table[k + 1, i + 1] - table[k + 1, i]) - value)
    return value


@numba.njit(cache=True, nogil=True)
def _shine(tables, q, exit_, weight, images):
    for f in range(tables.shape[0]):
        for p in range(q.size):
            images[f, p] = weight[p] * _read(tables[f], q[p], exit_[p])


@numba.njit(cache=True, nogil=True)
def _add_arcs(tables, q, exit_, weight, cos2, images):
    for f in range(tables.shape[0]):
        if not tables[f].any():  # the beam misses the material
            continue
        for p in range(q.size):
            value = np.float32(0)
            for k in range(tables.shape[1] - 1, -1, -1):
                value = value * cos2[p] + _read(tables[f, k], q[p], exit_[p])
            images[f, p] += weight[p] * max(value, np.float32(0))  # a series cut short may end below zero


@numba.njit(cache=True, nogil=True)
def _add_spots(tables, q, exit_, weight, sector, factors, ring_of_q, images):
    for f in range(tables.shape[0]):
        if not factors[f].any():  # the beam misses the material
            continue
        for p in range(q.size):
            factor = factors[f, ring_of_q[int(q[p])], sector[p]]
            if factor > 0:
                images[f, p] += factor * weight[p] * _read(tables[f], q[p], exit_[p])

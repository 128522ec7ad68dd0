"""The circle of a casing in an image: a start by Hough's transform, then refined by the wall itself."""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.feature import canny
from skimage.transform import hough_circle, hough_circle_peaks

from .errors import GeometryError

LARGEST_START = 256
"""Images are shrunk to this many pixels for the start: Hough's transform is slow, and a start need not be sharp."""
THICKEST = 0.05
"""Half the thickness of a wall is at most this share of its radius."""
AZIMUTHS = 720
STEPS = 6
"""Of the refinement; the wall is a sharp ring only about its own centre, so its width is looked for anew in each."""


class Circle(NamedTuple):
    """A circle in pixels, counted from the centre of the first pixel."""

    row: float
    column: float
    radius: float


def find_casing(image: np.ndarray) -> Circle:
    """Where the outer wall of a cell lies: the middle of the wall, or of what is seen of it.

    Hough's transform sees edges, and of two rings (a wall with an inner companion) the stronger one. From there the
    outermost strong ring is taken, and its centroid at every azimuth; a circle goes through these by least squares,
    without the azimuths where something else is bright (a tab on the wall).

    Parameters
    ----------
    image
        Map in which the casing is bright, shape (y, x); NaN counts as 0.

    Raises
    ------
    GeometryError
        When no circle is found.
    """
    image = np.nan_to_num(np.asarray(image, dtype=float))
    circle = _start(image)
    for _ in range(STEPS):
        circle = _refine(image, circle, _outermost(image, circle))
    return circle


def _start(image):
    shrink = max(1, -(-max(image.shape) // LARGEST_START))
    small = gaussian_filter(image, 1.0 * shrink)[::shrink, ::shrink]
    top = np.percentile(small, 99.5)
    edges = canny(np.clip(small / top, 0, 1) if top > 0 else small, 1.0)
    half = min(small.shape) / 2
    radii = np.arange(int(0.4 * half), int(half) + 1)
    # Short circles have fewer points: a whole large one beats a whole small one.
    found = hough_circle(edges, radii, normalize=False)
    _, columns, rows, sizes = hough_circle_peaks(found, radii, total_num_peaks=1)
    if not len(sizes) or not edges.any():
        raise GeometryError("no casing is found in the image: choose the phase of the wall")
    return Circle(float(rows[0] * shrink), float(columns[0] * shrink), float(sizes[0] * shrink))


def _around(image, circle, radii):
    """The image at radii × azimuths about a circle's centre, and the azimuths (counter-clockwise from +x)."""
    azimuth = np.arange(AZIMUTHS) * 2 * np.pi / AZIMUTHS
    rows = circle.row - radii[:, None] * np.sin(azimuth)
    columns = circle.column + radii[:, None] * np.cos(azimuth)
    return map_coordinates(image, [rows, columns], order=1, mode="constant"), azimuth


def _outermost(image, circle):
    """Inner and outer radius of the outermost ring at least half as bright as the brightest: where it falls to half,
    but not farther than the thickest wall; what is wound inside may touch it."""
    radii = np.arange(0.5 * circle.radius, 1.15 * circle.radius, 0.5)
    profile = np.mean(_around(image, circle, radii)[0], axis=1)
    peaks = np.flatnonzero((profile >= np.roll(profile, 1)) & (profile >= np.roll(profile, -1)))
    peak = peaks[profile[peaks] >= 0.5 * profile.max()][-1]
    low = np.flatnonzero(profile[:peak] < 0.5 * profile[peak])
    high = np.flatnonzero(profile[peak:] < 0.5 * profile[peak])
    thickest = THICKEST * radii[peak]
    inner = max(radii[low[-1]] if low.size else 0.0, radii[peak] - thickest)
    return inner, min(radii[peak + high[0]] if high.size else np.inf, radii[peak] + thickest)


def _refine(image, circle, wall_radii):
    inner, outer = wall_radii
    margin = max(1.0, 0.2 * (outer - inner))
    radii = np.arange(inner - margin, outer + margin, 0.25)
    wall, azimuth = _around(image, circle, radii)
    wall = np.clip(wall - np.percentile(wall, 50, axis=0), 0, None)
    weight = wall.sum(axis=0)
    centroid = (wall * radii[:, None]).sum(axis=0) / np.maximum(weight, np.finfo(float).tiny)
    rows, columns = circle.row - centroid * np.sin(azimuth), circle.column + centroid * np.cos(azimuth)
    used = weight > 0.2 * np.median(weight)
    for _ in range(3):
        equations = np.stack([2 * rows, 2 * columns, np.ones_like(rows)], axis=1)[used]
        row, column, rest = np.linalg.lstsq(equations, (rows**2 + columns**2)[used], rcond=None)[0]
        radius = np.sqrt(rest + row**2 + column**2)
        off = np.abs(np.hypot(rows - row, columns - column) - radius)
        used = (weight > 0.2 * np.median(weight)) & (off <= max(3 * np.median(off[used]), 1e-6))
    return Circle(float(row), float(column), float(radius))

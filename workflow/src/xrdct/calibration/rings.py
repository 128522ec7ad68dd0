"""Where the rings are on the frame: one point for each ring and azimuthal sector.

pyFAI's own extraction picks single bright pixels (about 0.4 px off each, and hot pixels are picked first). Here the
pixels of a short arc are put into radial bins by trimmed mean and the peak of that small profile is located, which
is good to some hundredths of a pixel, leaves hot pixels out, and says where a ring is bent.
"""

from dataclasses import dataclass

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator
from scipy.ndimage import convolve

from .calibrants import Calibrant
from .plane import move_to_angle, pixel_step

ARC_PX = (8, 16)
"""Length of a sector along the ring: some eight pixels in each radial bin; on narrow strips a sixth of their width."""
CELL_PX = 0.5
"""Radial width of a bin: the sharpest lines are 1.3 px wide."""
SECTORS = (24, 360)
"""Fewest and most sectors of a whole ring."""
SHARE_OF_GAP = 0.4
"""A ring is looked for within this share of the distance to the next ring."""
TRIM = 0.2
"""Share of the pixels of a bin dropped at either end."""
SIGNIFICANCE = 8.0
"""Height of a sector's peak in units of its standard error below which it is no point."""


@dataclass(frozen=True)
class RingPoints:
    """Points on rings, one for each ring and sector that shows a peak; all arrays have shape (n_points,).

    Attributes
    ----------
    ring
        Index of the ring in the calibrant's list.
    row, column
        Position in pixels, 0 at the centre of the first pixel (pyFAI's d1, d2).
    chi
        Azimuth as pyFAI defines it, rad.
    fwhm
        Width of each ring, averaged along it, rad; shape (n_rings,), NaN for rings without points.
    tried
        Number of sectors looked at, shape (n_rings,).
    """

    ring: np.ndarray
    row: np.ndarray
    column: np.ndarray
    chi: np.ndarray
    fwhm: np.ndarray
    tried: np.ndarray

    def __len__(self) -> int:
        return len(self.ring)

    def count(self) -> np.ndarray:
        """Points on each ring, shape (n_rings,)."""
        return np.bincount(self.ring, minlength=len(self.fwhm))


@dataclass(frozen=True)
class PixelAngles:
    """Scattering angles of the valid pixels in increasing order, with what belongs to them (shape (n_valid,))."""

    two_theta: np.ndarray
    chi: np.ndarray
    row: np.ndarray
    column: np.ndarray
    counts: np.ndarray


def pixel_angles(frame: np.ndarray, valid: np.ndarray, geometry: AzimuthalIntegrator) -> PixelAngles:
    """Sort the valid pixels of a frame by two_theta (rad)."""
    two_theta = geometry.center_array(frame.shape, unit="2th_rad", scale=False)[valid]
    chi = geometry.center_array(frame.shape, unit="chi_rad", scale=False)[valid]
    row, column = np.nonzero(valid)
    order = np.argsort(two_theta, kind="stable")
    counts = frame[valid].astype(np.float64)
    return PixelAngles(two_theta[order], chi[order], row[order], column[order], counts[order])


def measure_rings(
    pixels: PixelAngles,
    geometry: AzimuthalIntegrator,
    calibrant: Calibrant,
    *,
    half_width: np.ndarray,
    fwhm: np.ndarray,
    max_rings: int | None = None,
) -> RingPoints:
    """Locate every ring in every sector.

    Parameters
    ----------
    pixels
        From `pixel_angles`, made with the same `geometry`.
    half_width
        How far from its expected angle each ring is looked for, rad, shape (n_rings,); cut to `SHARE_OF_GAP` of the
        distance to the next ring.
    fwhm
        Expected width of each ring, rad, shape (n_rings,).
    max_rings
        Only the innermost rings that are on the frame.
    """
    step = pixel_step(geometry)
    half_width = np.minimum(half_width, SHARE_OF_GAP * calibrant.separation())
    low = np.searchsorted(pixels.two_theta, calibrant.two_theta - half_width)
    high = np.searchsorted(pixels.two_theta, calibrant.two_theta + half_width)
    arc = float(np.clip(min(np.ptp(pixels.row), np.ptp(pixels.column)) / 6, *ARC_PX))
    # A window must hold the peak and some background, and a ring enough pixels for a sector or two.
    usable = (half_width > np.maximum(1.5 * fwhm, 3 * step)) & (high - low > 10 * arc)
    found = {"ring": [], "row": [], "column": [], "chi": []}
    measured, tried = np.full(len(calibrant.q), np.nan), np.zeros(len(calibrant.q), dtype=int)
    for k in np.flatnonzero(usable)[:max_rings]:
        window = slice(low[k], high[k])
        radius = np.tan(calibrant.two_theta[k]) / np.tan(step)
        n_sectors = int(np.clip(round(2 * np.pi * radius / arc), *SECTORS))
        sector = ((pixels.chi[window] + np.pi) / (2 * np.pi) * n_sectors).astype(int) % n_sectors
        offset = pixels.two_theta[window] - calibrant.two_theta[k]
        n_bins = int(np.ceil(2 * half_width[k] / (CELL_PX * step)))
        x, y = _sector_profiles(
            offset + half_width[k], sector, pixels.counts[window], CELL_PX * step, n_sectors, n_bins
        )
        x -= half_width[k]
        tried[k] = np.count_nonzero(np.isfinite(y).any(axis=1))
        shift, good, measured[k] = _locate_peaks(x, y, max(fwhm[k], 1.5 * step))
        share = np.bincount(sector, minlength=n_sectors)[good]
        row, column = (
            np.bincount(sector, weights=p[window], minlength=n_sectors)[good] / share
            for p in (pixels.row, pixels.column)
        )
        row, column = move_to_angle(geometry, row, column, calibrant.two_theta[k] + shift[good])
        found["ring"].append(np.full(len(row), k))
        found["row"].append(row)
        found["column"].append(column)
        found["chi"].append(geometry.chi(row, column))
    joined = {key: np.concatenate(parts) if parts else np.array([]) for key, parts in found.items()}
    joined["ring"] = joined["ring"].astype(int)
    return RingPoints(**joined, fwhm=measured, tried=tried)


def _sector_profiles(position, sector, counts, step, n_sectors, n_bins):
    """Trimmed mean of counts, and mean position, in cells of `step` rad by one sector; NaN where a cell has < 3 pixels.

    `position` is in rad from the lower end of the window. Returns two arrays of shape (n_sectors, n_bins).
    """
    cell = sector * n_bins + np.clip((position / step).astype(int), 0, n_bins - 1)
    size = n_sectors * n_bins
    order = np.lexsort((counts, cell))
    count = np.bincount(cell, minlength=size)
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
    held = cell[order]
    drop = np.floor(TRIM * count + 0.5).astype(int)[held]
    kept = (rank >= drop) & (rank < count[held] - drop)
    n_kept = np.bincount(held[kept], minlength=size)
    enough = (count >= 3) & (n_kept > 0)
    mean = np.bincount(held[kept], weights=counts[order][kept], minlength=size) / np.maximum(n_kept, 1)
    centre = np.bincount(cell, weights=position, minlength=size) / np.maximum(count, 1)
    shape = (n_sectors, n_bins)
    return np.where(enough, centre, np.nan).reshape(shape), np.where(enough, mean, np.nan).reshape(shape)


def _locate_peaks(x: np.ndarray, y: np.ndarray, fwhm: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Position of the peak in each row of y(x), which rows have one, and the mean width of the peaks.

    A Gaussian of known width is fitted to every row at once. Linearised about the present position it is the sum of
    itself and its derivative; the ratio of the two coefficients says how far to move (Gauss–Newton).
    """
    sigma = fwhm / 2.3548
    y, sided = _subtract_line(x, y)
    known = np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    centre = _highest(x, y, known, fwhm)
    for _ in range(10):
        u = (x - centre[:, None]) / sigma
        line = np.where(known, np.exp(-0.5 * u * u), 0)
        slope = line * u
        aa, ab, bb = (line * line).sum(1), (line * slope).sum(1), (slope * slope).sum(1)
        ya, yb = (line * y).sum(1), (slope * y).sum(1)
        determinant = aa * bb - ab * ab
        solvable = determinant > 1e-6 * aa * bb
        height = np.where(solvable, ya * bb - yb * ab, 0) / np.where(solvable, determinant, 1)
        along = np.where(solvable, yb * aa - ya * ab, 0) / np.where(solvable, determinant, 1)
        centre = centre + sigma * np.clip(along / np.where(height > 0, height, np.inf), -0.7, 0.7)
    # Beyond the line the scatter is that of the background.
    rest = y[known & (np.abs(x - centre[:, None]) > 1.25 * fwhm)]
    noise = 1.4826 * np.median(np.abs(rest)) if rest.size else np.inf
    significant = height * np.sqrt(aa) > SIGNIFICANCE * max(noise, 1e-12)
    # No gap under the peak, and the peak is not the rim of something outside the window.
    full = aa > 0.6 * np.median(aa[sided]) if sided.any() else sided
    inside = np.abs(centre) < np.abs(x).max(initial=0) - 0.5 * sigma
    good = sided & full & inside & significant
    within = known & good[:, None]
    safe = np.where(good, height, 1)[:, None]
    width = _mean_width((x - centre[:, None])[within], (y / safe)[within], fwhm) if good.any() else np.nan
    return centre, good, width


def _highest(x: np.ndarray, y: np.ndarray, known: np.ndarray, fwhm: float) -> np.ndarray:
    """Where the mean of y over half a line width is highest in each row."""
    half = max(1, round(0.25 * fwhm / np.median(np.diff(x[known.all(axis=1)][0])))) if known.all(axis=1).any() else 1
    kernel = np.ones((1, 2 * half + 1))
    mean = convolve(y, kernel, mode="constant") / np.maximum(convolve(known.astype(float), kernel, mode="constant"), 1)
    best = np.argmax(np.where(known, mean, -np.inf), axis=1)
    return np.take_along_axis(x, best[:, None], axis=1)[:, 0]


def _subtract_line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the straight line through the outer fifths of each row away; second result: rows that have both ends."""
    n = x.shape[1]
    edge = max(1, n // 5)
    ends, sided = [], np.ones(len(x), dtype=bool)
    for part in (slice(0, edge), slice(n - edge, n)):
        known = np.isfinite(y[:, part])
        count = known.sum(axis=1)
        sided &= count > 0
        ends.append([np.where(known, a[:, part], 0).sum(axis=1) / np.maximum(count, 1) for a in (x, y)])
    (x0, y0), (x1, y1) = ends
    slope = np.where(sided, y1 - y0, 0) / np.where(sided, x1 - x0, 1)
    return y - (y0[:, None] + (x - x0[:, None]) * slope[:, None]), sided


def _mean_width(x: np.ndarray, y: np.ndarray, fwhm: float) -> float:
    """FWHM of the mean of aligned peaks y(x) of height 1: twice the distance at which it falls to half.

    `fwhm` is the expected width; the mean is taken in steps of an eighth of it.
    """
    step = fwhm / 8
    bins = np.round(np.abs(x) / step).astype(int)
    near = bins < 24
    count = np.bincount(bins[near], minlength=24)
    known = np.flatnonzero(count)
    mean = np.bincount(bins[near], weights=y[near], minlength=24)[known] / count[known]
    below = np.flatnonzero(mean < 0.5 * mean[0])
    if not below.size or below[0] == 0:
        return np.nan
    k = below[0]
    at = np.interp(0.5 * mean[0], [mean[k], mean[k - 1]], [known[k], known[k - 1]])
    return float(2 * at * step)

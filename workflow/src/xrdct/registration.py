"""Rigid co-registration of maps of one cell: a rotation and a shift, to a fraction of a pixel, and what is left over.

Between two voltages a cell is taken out, charged, and put back: it comes back turned and shifted. Maps [y, x] are
compared by least squares, with a factor and an offset free, from coarse to fine (Gauss-Newton; Lucas & Kanade, IJCAI
1981). The map to compare is one that the charge does not change: the metals, or the sum of all phases.

A motion takes a point of the fixed image to where the moving image shows it:
``p' = R (p − m) + m + s``, p = (row, column), m the middle of the image, R a turn that is counter-clockwise on the
screen where the angle is positive.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter
from scipy.signal import fftconvolve

from .errors import GeometryError

BLURS = (4.0, 2.0, 1.0)
"""Widths (pixels) of the Gaussian filters of the stages from coarse to fine; noise of single voxels has no say."""
COARSE = 128.0
"""Larger images are shrunk to about this many pixels for the search over rotations."""
REACH = 6
"""Differences farther apart than this (pixels) are independent of each other: the narrowest blur, twice."""
TILES = 3
"""The residual is looked for in TILES × TILES parts of the image."""


@dataclass(frozen=True)
class Motion:
    """From the fixed image to the moving one."""

    rotation_deg: float = 0.0
    shift_y_px: float = 0.0
    """Towards higher rows."""
    shift_x_px: float = 0.0
    """Towards higher columns."""

    def places(self, shape: tuple[int, int]) -> np.ndarray:
        """Row and column in the moving image of every pixel of the fixed one, shape (2, y, x)."""
        cos, sin = np.cos(np.radians(self.rotation_deg)), np.sin(np.radians(self.rotation_deg))
        row, column = _from_middle(shape)
        middle = (np.array(shape) - 1) / 2
        return np.stack(
            [
                cos * row - sin * column + middle[0] + self.shift_y_px,
                sin * row + cos * column + middle[1] + self.shift_x_px,
            ]
        )


@dataclass(frozen=True)
class Registration:
    """A motion, and how well it is known."""

    motion: Motion
    error_px: float
    """Standard error of a place at the mean radius of what moved, from the scatter of what is left, pixels."""
    residual_px: float
    """Shifts that remain in single parts of the image, root mean square, pixels: noise, and what was not rigid."""


def register(moving: np.ndarray, fixed: np.ndarray, *, max_rotation_deg: float = 20.0) -> Registration:
    """The motion that makes `moving`, sampled at its places, agree best with `fixed`.

    Parameters
    ----------
    moving, fixed
        Maps of one quantity, shape (y, x); NaN counts as 0.
    max_rotation_deg
        Rotations within ± this are tried; any shift is.

    Raises
    ------
    GeometryError
        When the maps have different shapes, or one of them is empty.
    """
    if moving.shape != fixed.shape:
        raise GeometryError(f"maps of one shape are registered, found {moving.shape} and {fixed.shape}")
    moving, fixed = (_normalised(image) for image in (moving, fixed))
    factor = max(1.0, max(fixed.shape) / COARSE)
    small_moving, small_fixed = (_shrunk(image, factor) for image in (moving, fixed))
    motion = _coarse(small_moving, small_fixed, max_rotation_deg)
    if factor > 1:
        for blur in BLURS:
            motion, _ = _refine(gaussian_filter(small_moving, blur), gaussian_filter(small_fixed, blur), motion)
        motion = Motion(motion.rotation_deg, motion.shift_y_px * factor, motion.shift_x_px * factor)
    for blur in BLURS:
        motion, error = _refine(gaussian_filter(moving, blur), gaussian_filter(fixed, blur), motion)
    return Registration(motion, error, _residual(gaussian_filter(moving, 1.0), gaussian_filter(fixed, 1.0), motion))


def resample(image: np.ndarray, motion: Motion) -> np.ndarray:
    """An image (y, x) as the fixed one's pixels see it, linear between pixels.

    What is not finite takes no part; NaN where less than half of the weight is left. A motion of nothing changes
    nothing.
    """
    if motion == Motion():
        return image
    known = np.isfinite(image)
    places = motion.places(image.shape)
    weight = map_coordinates(known.astype(float), places, order=1, cval=0.0)
    total = map_coordinates(np.where(known, image, 0.0).astype(float), places, order=1, cval=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(weight >= 0.5, total / weight, np.nan).astype(image.dtype)


def _normalised(image):
    image = np.nan_to_num(np.asarray(image, dtype=float))
    spread = image.std()
    if spread == 0:
        raise GeometryError("a map without any contrast cannot be registered; choose other phases")
    return (image - image.mean()) / spread


def _shrunk(image, factor):
    """The image with fewer, larger pixels about the same middle."""
    if factor == 1:
        return image
    axes = [(np.arange(n // factor) - (n // factor - 1) / 2) * factor + (n - 1) / 2 for n in image.shape]
    return map_coordinates(gaussian_filter(image, factor / 2), np.meshgrid(*axes, indexing="ij"), order=1)


def _from_middle(shape):
    row, column = np.indices(shape, dtype=float)
    return row - (shape[0] - 1) / 2, column - (shape[1] - 1) / 2


def _coarse(moving, fixed, max_rotation_deg):
    """The best of a fan of rotations, each with its best whole-pixel shift (cross-correlation), on blurred images.

    Neighbours differ by less than two pixels at the rim, which the widest blur of the refinement reaches over.
    """
    coarse_moving, coarse_fixed = (gaussian_filter(image, BLURS[1]) for image in (moving, fixed))
    step = np.degrees(2 * 2.0 / max(fixed.shape))
    count = int(np.ceil(max_rotation_deg / step))
    best = (-np.inf, Motion())
    for angle in np.arange(-count, count + 1) * step:
        turned = map_coordinates(coarse_moving, Motion(angle).places(fixed.shape), order=1)
        score = fftconvolve(coarse_fixed, turned[::-1, ::-1], mode="same")
        peak = np.unravel_index(score.argmax(), score.shape)
        back = [place - (n - 1 - (n - 1) // 2) for place, n in zip(peak, fixed.shape, strict=True)]
        if score.max() > best[0]:
            best = (score.max(), _with_shift(angle, back))
    return best[1]


def _with_shift(angle, back):
    """Turned images that must be moved by `back` (rows, columns) show their points at R(p − back)."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return Motion(float(angle), float(-cos * back[0] + sin * back[1]), float(-sin * back[0] - cos * back[1]))


def _refine(moving, fixed, motion, steps=40):
    """Gauss-Newton in rotation, shift, factor and offset; the motion and the standard error of a place in pixels.

    The slopes are the mean of those of both images. A slope's own noise looks like information; the product of the
    slopes of one image with those of the other has none of it, and that is what the error is told from.
    """
    coefficients = spline_filter(moving, order=3)
    row, column = _from_middle(fixed.shape)
    radius = np.sqrt(np.average(row**2 + column**2, weights=np.abs(fixed)))
    own = np.gradient(fixed)
    for _ in range(steps):
        seen, *slopes, inside = _sample(coefficients, motion, fixed.shape)
        moved = _jacobian(seen, *slopes, motion, row, column)[inside]
        still = _jacobian(seen, *_turned(*own, motion), motion, row, column)[inside]
        factor = (seen[inside] @ fixed[inside]) / (seen[inside] @ seen[inside])
        moved[:, :3] *= factor
        jacobian = (moved + still) / 2
        rest = (fixed - factor * seen)[inside]
        answer, *_ = np.linalg.lstsq(jacobian, rest, rcond=None)
        turn, down, right = answer[:3]
        motion = Motion(
            motion.rotation_deg + float(np.degrees(turn)),
            motion.shift_y_px + float(down),
            motion.shift_x_px + float(right),
        )
        if np.hypot(np.hypot(down, right), turn * radius) < 1e-4:
            break
    scatter = _scatter(rest - jacobian @ answer, jacobian, inside)
    return motion, _error((moved.T @ still + still.T @ moved) / 2, scatter, radius)


def _scatter(rest, jacobian, inside):
    """Variance of the slopes' products with what is left, whose values are alike within `REACH` pixels, (5, 5)."""
    image = np.zeros(inside.shape)
    image[inside] = rest
    whole = fftconvolve(image, image[::-1, ::-1]) / rest.size
    middle = [n - 1 for n in inside.shape]
    close = whole[tuple(slice(m - REACH, m + REACH + 1) for m in middle)]
    columns = np.zeros((*inside.shape, jacobian.shape[1]))
    columns[inside] = jacobian
    spread = np.stack([fftconvolve(column, close, mode="same")[inside] for column in np.moveaxis(columns, -1, 0)])
    product = spread @ jacobian
    return (product + product.T) / 2


def _error(information, scatter, radius):
    """Standard error of a place at a radius, pixels; infinite where one of the motions leaves no trace."""
    if np.linalg.eigvalsh(information).min() <= 0:
        return float("inf")
    inverse = np.linalg.inv(information)
    covariance = inverse @ scatter @ inverse
    place = covariance[1, 1] + covariance[2, 2] + radius**2 * covariance[0, 0]
    return float(np.sqrt(max(place, 0.0)))


def _turned(slope_y, slope_x, motion):
    """Slopes of the fixed image along the axes of the moving one."""
    cos, sin = np.cos(np.radians(motion.rotation_deg)), np.sin(np.radians(motion.rotation_deg))
    return cos * slope_y - sin * slope_x, sin * slope_y + cos * slope_x


def _sample(coefficients, motion, shape):
    """The moving image at the motion's places, its slopes there, and which places lie inside."""
    places = motion.places(shape)
    half = 0.5

    def at(dy, dx):
        return map_coordinates(coefficients, [places[0] + dy, places[1] + dx], order=3, prefilter=False, mode="nearest")

    inside = np.ones(shape, dtype=bool)
    for place, n in zip(places, shape, strict=True):
        inside &= (place >= 1) & (place <= n - 2)
    return at(0, 0), at(half, 0) - at(-half, 0), at(0, half) - at(0, -half), inside


def _jacobian(seen, slope_y, slope_x, motion, row, column):
    """Change of the sampled image with turn (radians), shifts, factor and offset, shape (y, x, 5)."""
    cos, sin = np.cos(np.radians(motion.rotation_deg)), np.sin(np.radians(motion.rotation_deg))
    turn = slope_y * (-sin * row - cos * column) + slope_x * (cos * row - sin * column)
    return np.stack([turn, slope_y, slope_x, seen, np.ones_like(seen)], axis=-1)


def _residual(moving, fixed, motion):
    """Root mean square of the shifts that single tiles would still like, weighted by how much a tile can tell."""
    seen, slope_y, slope_x, inside = _sample(spline_filter(moving, order=3), motion, fixed.shape)
    squares, weights = [], []
    for rows in np.array_split(np.arange(fixed.shape[0]), TILES):
        for columns in np.array_split(np.arange(fixed.shape[1]), TILES):
            tile = np.ix_(rows, columns)
            used = inside[tile]
            parts = [image[tile][used] for image in (slope_y, slope_x, seen)]
            equations = np.stack([*parts, np.ones(parts[0].size)], axis=1)
            if np.linalg.matrix_rank(equations) < 4:
                continue
            factor = (parts[2] @ fixed[tile][used]) / (parts[2] @ parts[2])
            down, right = np.linalg.lstsq(equations, fixed[tile][used] - factor * parts[2], rcond=None)[0][:2] / factor
            squares.append(down**2 + right**2)
            weights.append(float(np.linalg.eigvalsh(equations[:, :2].T @ equations[:, :2])[0]))
    return float(np.sqrt(np.average(squares, weights=weights))) if squares else float("nan")

"""The projection of a thick sample with parallax: parallel rays that are tilted along the channels.

On an axis of Y = ln tan 2θ (`lntan`) a voxel at depth u shows its pattern shifted by ln(1 − u/L), the same for every
reflection, and brighter by (1 − u/L)⁻². Seen with Y as third dimension, each projection is one along rays that climb
by (pixel/L)/step bins per pixel: XRD-CT with parallax is a 3-D parallel-beam tomography, and its operator that of
`operator` with a shift of the channels inside. Shifts by a part of a bin are cubic convolution (Keys, IEEE Trans.
Acoust. Speech Signal Process. 29, 1153, 1981, doi:10.1109/TASSP.1981.1163711), whose four weights keep the sum, the
position and the width of a line.
"""

import math
from dataclasses import dataclass

import numba
import numpy as np

from ..errors import GeometryError
from .operator import GROUP, TILE, ParallelBeam, _jit, _parallel, _shares, _with_channels

TAPS = 2
"""Bins beyond the shift that cubic convolution reaches."""
DEEPEST = 0.2
"""Largest depth over distance: beyond it the sample would stand in the detector, or the distance is wrong."""


@dataclass(frozen=True)
class DepthWeights:
    """How much matter counts in a ray by how deep it lies: from `low` to `high` along a ramp over the channels."""

    low: np.ndarray
    """Weights where the ramp is 0, (angle, position, depth); depths of `cell` pixels each, upstream first, the middle
    one on the axis."""
    high: np.ndarray
    """Where it is 1, same shape."""
    ramp: np.ndarray
    """(channel of the projection,)."""
    cell: float
    """Pixels."""


class TiltedBeam(ParallelBeam):
    """`ParallelBeam` with parallax: ``A @ image`` projects, ``A.T @ sinogram`` projects back, exact transposes.

    Channels are bins of Y. An image has `padding` channels more at either end than its projection: what is shifted in.
    Its channel c, of depth 0, is seen in channel c − padding of the projection.

    Parameters
    ----------
    angles, n_positions, cor, n_pixels, support
        As for `ParallelBeam`. Angles and centre must be those of `geometry`: counted the other way round, depth
        changes its sign, and parallax is doubled instead of removed.
    pixel_over_distance
        Edge of a pixel over the distance from axis to detector; 0 for no parallax.
    step
        Width of a bin of Y.

    Raises
    ------
    GeometryError
        As `ParallelBeam`, or if the field is too deep for the distance.
    """

    couples_channels = True

    def __init__(self, angles, n_positions, cor, n_pixels=None, *, pixel_over_distance, step, support=None):
        super().__init__(angles, n_positions, cor, n_pixels, support=support)
        self.pixel_over_distance, self.step = float(pixel_over_distance), float(step)
        half = (self.n_pixels - 1) / 2
        deepest = self.pixel_over_distance * min(half * 2**0.5, support if support is not None else np.inf)
        if not (0 <= deepest < DEEPEST and self.step > 0):
            raise GeometryError(
                f"depths up to {100 * deepest:.3g} % of the distance between sample and detector; a sample fits in "
                f"{100 * DEEPEST:g} %: is the distance (m in a .poni) or the step (mm) wrong?"
            )
        self.padding = math.ceil(-math.log(1 - deepest) / self.step) + TAPS

    @property
    def tilt(self) -> float:
        """Bins by which a ray climbs per pixel."""
        return self.pixel_over_distance / self.step

    def rows(self, chosen) -> "TiltedBeam":
        """The operator of some of the projections."""
        return TiltedBeam(
            self.angles[chosen],
            self.n_positions,
            self.cor[chosen],
            self.n_pixels,
            support=self.support,
            pixel_over_distance=self.pixel_over_distance,
            step=self.step,
        )

    def constant_image(self, value: float, n_channels: int) -> np.ndarray:
        """An image of one value, whose projection has `n_channels` channels."""
        return super().constant_image(value, n_channels + 2 * self.padding)

    def __matmul__(self, image: np.ndarray) -> np.ndarray:
        """Project: (y, x, channel + 2 padding) to (angle, position, channel), float32."""
        channels = _with_channels(image, self.shape[1], "image [y, x]")
        n_channels = channels.shape[2] - 2 * self.padding
        if n_channels < 1:
            raise GeometryError(f"an image needs more than {2 * self.padding} channels, found {channels.shape[2]}")
        sinogram = np.zeros((*self.shape[0], n_channels), dtype=np.float32)
        group = max(1, min(GROUP, self.angles.size // numba.get_num_threads()))
        _project(channels, *self._geometry(), group, sinogram)
        return sinogram

    def weighted(self, image: np.ndarray, weights: DepthWeights) -> np.ndarray:
        """A projection in which matter counts by its depth: (y, x, channel + 2 padding) to (angle, position, channel).

        Raises
        ------
        GeometryError
            If the weights are not those of its rays and channels.
        """
        channels = _with_channels(image, self.shape[1], "image [y, x]")
        n_channels = channels.shape[2] - 2 * self.padding
        deep = math.ceil(2**0.5 * self.n_pixels / weights.cell)
        expected = (*self.shape[0], weights.low.shape[-1])
        if weights.low.shape != expected or weights.high.shape != expected or expected[2] < deep:
            raise GeometryError(
                f"weights {weights.low.shape} and {weights.high.shape}: expected (angle, position, depth) = "
                f"{self.shape[0]} and at least {deep} depths"
            )
        if weights.ramp.shape != (n_channels,):
            raise GeometryError(f"weights for {weights.ramp.size} channels, an image of {n_channels}")
        sinogram = np.zeros((*self.shape[0], n_channels), dtype=np.float32)
        low, high, ramp = (np.asarray(a, dtype=np.float32) for a in (weights.low, weights.high, weights.ramp))
        _project_weighted(channels, *self._geometry(), low, high - low, ramp, float(weights.cell), sinogram)
        return sinogram

    def back(self, sinogram: np.ndarray) -> np.ndarray:
        """Project back: (angle, position, channel) to (y, x, channel + 2 padding), float32."""
        channels = _with_channels(sinogram, self.shape[0], "sinogram [angle, position]")
        image = self.constant_image(0, channels.shape[2])
        _project_back(channels, *self._geometry(), image)
        return image

    def _geometry(self) -> tuple:
        depth = self.pixel_over_distance, self.step, self.padding
        return self._cos, self._sin, self._width, self.cor, self._first, self._last, *depth


@_jit
def _taps(u, pixel_over_distance, step, padding):
    """First of the four channels of an image that show in channel 0, and their weights, at a depth of u pixels."""
    near = 1.0 - u * pixel_over_distance
    place = padding - math.log(near) / step
    base = math.floor(place)
    f = place - base
    gain = 1.0 / (near * near)
    w0 = np.float32(gain * ((1.0 - 0.5 * f) * f - 0.5) * f)
    w1 = np.float32(gain * ((1.5 * f - 2.5) * f * f + 1.0))
    w2 = np.float32(gain * ((2.0 - 1.5 * f) * f + 0.5) * f)
    w3 = np.float32(gain * (0.5 * f - 0.5) * f * f)
    return np.uint64(base - 1), w0, w1, w2, w3


@_parallel
def _project(image, cos, sin, width, cor, first, last, pixel_over_distance, step, padding, group, sinogram):
    n_angles, n_positions, n_channels = sinogram.shape
    n = image.shape[0]
    centre = (n - 1) / 2
    for g in numba.prange((n_angles + group - 1) // group):
        for top in range(0, n, TILE):
            for left_edge in range(0, n, TILE):
                for a in range(g * group, min(n_angles, (g + 1) * group)):
                    for i in range(top, min(n, top + TILE)):
                        y = centre - i
                        for j in range(max(left_edge, first[i]), min(left_edge + TILE, last[i])):
                            x = j - centre
                            k, left, right = _shares(x * cos[a] + y * sin[a] + cor[a], width[a], n_positions)
                            u = y * cos[a] - x * sin[a]
                            c, w0, w1, w2, w3 = _taps(u, pixel_over_distance, step, padding)
                            line = image[i, j, c:]
                            for m in range(n_channels):
                                value = w0 * line[m] + w1 * line[m + 1] + w2 * line[m + 2] + w3 * line[m + 3]
                                sinogram[a, k, m] += left * value
                                sinogram[a, k + 1, m] += right * value


@_parallel
def _project_weighted(
    image, cos, sin, width, cor, first, last, pixel_over_distance, step, padding, low, rise, ramp, cell, sinogram
):
    n_angles, n_positions, n_channels = sinogram.shape
    n = image.shape[0]
    centre, middle = (n - 1) / 2, low.shape[2] / 2
    for a in numba.prange(n_angles):
        for i in range(n):
            y = centre - i
            for j in range(first[i], last[i]):
                x = j - centre
                k, left, right = _shares(x * cos[a] + y * sin[a] + cor[a], width[a], n_positions)
                u = y * cos[a] - x * sin[a]
                c, w0, w1, w2, w3 = _taps(u, pixel_over_distance, step, padding)
                d = int(u / cell + middle)
                left_low, left_rise = left * low[a, k, d], left * rise[a, k, d]
                right_low, right_rise = right * low[a, k + 1, d], right * rise[a, k + 1, d]
                line = image[i, j, c:]
                for m in range(n_channels):
                    value = w0 * line[m] + w1 * line[m + 1] + w2 * line[m + 2] + w3 * line[m + 3]
                    sinogram[a, k, m] += (left_low + left_rise * ramp[m]) * value
                    sinogram[a, k + 1, m] += (right_low + right_rise * ramp[m]) * value


@_parallel
def _project_back(sinogram, cos, sin, width, cor, first, last, pixel_over_distance, step, padding, image):
    n_angles, n_positions, n_channels = sinogram.shape
    n = image.shape[0]
    centre = (n - 1) / 2
    for band in numba.prange((n + TILE - 1) // TILE):
        seen = np.zeros(n_channels + 6, dtype=np.float32)  # what reaches a pixel, with zeros where the taps reach out
        for left_edge in range(0, n, TILE):
            for a in range(n_angles):
                for i in range(band * TILE, min(n, (band + 1) * TILE)):
                    y = centre - i
                    for j in range(max(left_edge, first[i]), min(left_edge + TILE, last[i])):
                        x = j - centre
                        k, left, right = _shares(x * cos[a] + y * sin[a] + cor[a], width[a], n_positions)
                        u = y * cos[a] - x * sin[a]
                        c, w0, w1, w2, w3 = _taps(u, pixel_over_distance, step, padding)
                        for m in range(n_channels):
                            seen[m + 3] = left * sinogram[a, k, m] + right * sinogram[a, k + 1, m]
                        line = image[i, j, c:]
                        for m in range(n_channels + 3):
                            line[m] += w0 * seen[m + 3] + w1 * seen[m + 2] + w2 * seen[m + 1] + w3 * seen[m]

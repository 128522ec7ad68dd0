"""The tilted operator on tensors: the CPU operator's own weights as sparse matrices, on whatever device PyTorch has.

What a voxel adds to a projection is 2 positions × 4 channels of `tilted`. With the shift of the channels taken as part
of the row, a projection is one sparse matrix, of (position, shift) by voxel, times the image, and the shifts are undone
by a sum along diagonals. Both products take the same matrix: exact transposes, and equal to the CPU's to rounding.
ASTRA's `parallel3d_vec` could tilt the rays as well, but its two products differ from one another, brightness by depth
would take two more projections, and it has no CPU on which the signs could be tested.
"""

import math

import numpy as np

from ..errors import GeometryError
from ..gpu_memory import cuda_available
from .tilted import TiltedBeam


class TiltedTensors:
    """A `TiltedBeam` for tensors of float32 on one device; same products, shapes and conventions.

    Parameters
    ----------
    beam
        The operator.
    device
        Of PyTorch: 'cuda' or 'cpu'.

    Raises
    ------
    GeometryError
        If there is no such device.
    """

    couples_channels = True

    def __init__(self, beam: TiltedBeam, device: str = "cuda"):
        if device == "cuda" and not cuda_available():
            raise GeometryError("PyTorch finds no CUDA device; take device 'cpu'")
        import torch

        self._torch, self._beam, self._device = torch, beam, device
        self.angles, self.shape, self.padding = beam.angles, beam.shape, beam.padding
        n = beam.n_pixels
        y, x = np.mgrid[(n - 1) / 2 : -n / 2 : -1, -(n - 1) / 2 : n / 2]
        inside = np.ones((n, n), dtype=bool) if beam.support is None else np.hypot(x, y) <= beam.support
        self._places = torch.as_tensor(np.flatnonzero(inside), device=device)
        self._x, self._y = (torch.as_tensor(axis[inside], device=device) for axis in (x, y))

    @property
    def T(self) -> "TiltedTensorsTransposed":
        """The transpose: sinogram to image."""
        return TiltedTensorsTransposed(self)

    @property
    def device_name(self) -> str:
        """What the log calls the device."""
        return self._torch.cuda.get_device_name() if self._device == "cuda" else "the CPU, through PyTorch"

    def rows(self, chosen) -> "TiltedTensors":
        """The operator of some of the projections."""
        return TiltedTensors(self._beam.rows(chosen), self._device)

    def to_device(self, array: np.ndarray):
        """A tensor of an array."""
        return self._torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32), device=self._device)

    def constant_image(self, value: float, n_channels: int):
        """An image of one value, whose projection has `n_channels` channels."""
        shape = (*self.shape[1], n_channels + 2 * self.padding)
        return self._torch.full(shape, float(value), device=self._device)

    def constant_sinogram(self, value: float, n_channels: int):
        """A sinogram of one value."""
        return self._torch.full((*self.shape[0], n_channels), float(value), device=self._device)

    def __matmul__(self, image):
        """Project: (y, x, channel + 2 padding) to (angle, position, channel)."""
        n_channels = image.shape[2] - 2 * self.padding
        voxels = image.reshape(-1, image.shape[2])[self._places]
        sinogram = self._torch.empty((*self.shape[0], n_channels), device=self._device)
        for a in range(self.angles.size):
            matrix, first = self._matrix(a)
            shifted = self._torch.sparse.mm(matrix, voxels).contiguous()
            sinogram[a] = self._diagonals(shifted, first, n_channels).sum(dim=1)
        return sinogram

    def back(self, sinogram):
        """Project back: (angle, position, channel) to (y, x, channel + 2 padding)."""
        n_channels = sinogram.shape[2]
        image = self.constant_image(0, n_channels)
        voxels = self._torch.zeros((self._places.numel(), image.shape[2]), device=self._device)
        for a in range(self.angles.size):
            matrix, first = self._matrix(a)
            shifted = self._torch.zeros((matrix.shape[0], image.shape[2]), device=self._device)
            self._diagonals(shifted, first, n_channels)[:] = sinogram[a][:, None]
            voxels += self._torch.sparse.mm(matrix.t(), shifted)
        image.reshape(-1, image.shape[2])[self._places] = voxels
        return image

    def _diagonals(self, shifted, first: int, n_channels: int):
        """View [position, shift, channel] of [position and shift, channel]: each shift begins one channel later."""
        n_positions, width = self.shape[0][1], shifted.shape[1]
        shifts = shifted.shape[0] // n_positions
        return shifted.as_strided((n_positions, shifts, n_channels), (shifts * width, width + 1, 1), first)

    def _matrix(self, a: int):
        """Weights of one projection, (positions × shifts, voxels), and the channel at which the first shift begins."""
        torch, beam, n = self._torch, self._beam, self.shape[0][1]
        turn = math.radians(float(self.angles[a]))
        cos, sin = math.cos(turn), math.sin(turn)
        t = self._x * cos + self._y * sin + float(beam.cor[a])
        k = t.floor()
        right = ((t - k - 0.5) / max(abs(cos), abs(sin)) + 0.5).clip(0, 1)
        near = 1 - (self._y * cos - self._x * sin) * beam.pixel_over_distance
        place = self.padding - near.log() / beam.step
        base = place.floor()
        f, gain = place - base, near**-2
        taps = [
            ((1 - 0.5 * f) * f - 0.5) * f,
            (1.5 * f - 2.5) * f * f + 1,
            ((2 - 1.5 * f) * f + 0.5) * f,
            (0.5 * f - 0.5) * f * f,
        ]
        channel = base.long() - 1
        first = int(channel.min())
        shifts = int(channel.max()) - first + 4
        voxel, rows, columns, values = torch.arange(t.numel(), device=self._device), [], [], []
        for step, share in ((0, 1 - right), (1, right)):
            position = k.long() + step
            seen = (position >= 0) & (position < n)
            for tap, weight in enumerate(taps):
                rows.append((position * shifts + channel - first + tap)[seen])
                columns.append(voxel[seen])
                values.append((share * gain * weight)[seen])
        index = torch.stack([torch.cat(rows), torch.cat(columns)])
        size = (n * shifts, t.numel())
        return torch.sparse_coo_tensor(index, torch.cat(values).float(), size, check_invariants=False), first


class TiltedTensorsTransposed:
    """The transpose of `TiltedTensors`."""

    def __init__(self, operator: TiltedTensors):
        self.T = operator

    def __matmul__(self, sinogram):
        return self.T.back(sinogram)

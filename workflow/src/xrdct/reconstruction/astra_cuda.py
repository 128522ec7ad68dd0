"""The projection operator on a GPU: ASTRA projects, PyTorch holds the arrays, and neither copies the other's.

ASTRA sees the channels as slices of a 3-D parallel geometry, so that one call projects them all. Arrays are PyTorch
tensors [y, x, channel] and [angle, position, channel] as on the CPU, with the channel slowest in memory, as ASTRA wants
it. Its projector (Joseph) and back-projector (linear interpolation) are not exact transposes: they differ by about 1 %.
"""

import contextlib

import astra
import numpy as np
from astra.log import AstraError

from .. import gpu_memory
from ..errors import GeometryError
from .fbp import angular_weights, filter_response
from .operator import ParallelBeam

MEMORY_SHARE = 0.8
"""Share of the GPU's free memory that a block of channels may take."""
FILTERED = 32
"""Channels filtered at a time: the filter needs five times the memory of what it filters."""
IMAGES, SINOGRAMS = 12, 8
"""Arrays of either kind that the hungriest method (total variation) and ASTRA's own copies hold at once."""


def cuda_available() -> bool:
    """Whether ASTRA and PyTorch both find a GPU."""
    return astra.use_cuda() and gpu_memory.cuda_available()


def slice_vectors(A: ParallelBeam) -> np.ndarray:
    """ASTRA's `parallel3d_vec` vectors: ray, detector centre, step along positions, step along channels.

    Shape (n_angles, 12), pixels. In ASTRA's volumes y grows with the row, in our images it falls: y is turned round.
    """
    cos, sin = np.cos(np.radians(A.angles)), np.sin(np.radians(A.angles))
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    centre = (A.n_positions - 1) / 2 - A.cor  # the detector's centre, seen from the axis along the translation
    ray, along = [sin, cos, zero], [cos, -sin, zero]
    return np.stack([*ray, centre * cos, -centre * sin, zero, *along, zero, zero, one], axis=1)


def geometries(A: ParallelBeam, n_channels: int) -> tuple[dict, dict]:
    """ASTRA's projection and volume geometry of `n_channels` slices."""
    rays = astra.create_proj_geom("parallel3d_vec", n_channels, A.n_positions, slice_vectors(A))
    return rays, astra.create_vol_geom(A.n_pixels, A.n_pixels, n_channels)


class AstraBeam:
    """A `ParallelBeam` on the GPU: the same products, for tensors of float32 on the current CUDA device.

    Raises
    ------
    GeometryError
        If there is no GPU that ASTRA and PyTorch both can use.
    """

    couples_channels = False

    def __init__(self, beam: ParallelBeam):
        if not cuda_available():
            raise GeometryError("no CUDA device that both ASTRA and PyTorch can use; take device 'cpu'")
        import torch

        self._torch, self._beam = torch, beam
        self.angles, self.shape = beam.angles, beam.shape
        axis = torch.arange(beam.n_pixels, device="cuda") - (beam.n_pixels - 1) / 2
        self._inside = None
        if beam.support is not None:
            self._inside = (axis[:, None] ** 2 + axis**2 <= beam.support**2)[..., None]

    @property
    def T(self) -> "AstraBeamTransposed":
        """The back-projector: sinogram to image."""
        return AstraBeamTransposed(self)

    @property
    def device_name(self) -> str:
        """What the log calls the GPU."""
        return self._torch.cuda.get_device_name()

    @property
    def channels_at_a_time(self) -> int:
        """Channels that fit into the GPU's free memory."""
        per_channel = 4 * (IMAGES * self._beam.n_pixels**2 + SINOGRAMS * self.angles.size * self._beam.n_positions)
        return max(1, int(MEMORY_SHARE * self._torch.cuda.mem_get_info()[0] / per_channel))

    def rows(self, chosen) -> "AstraBeam":
        """The operator of some of the projections."""
        return AstraBeam(self._beam.rows(chosen))

    def constant_image(self, value: float, n_channels: int):
        """An image of one value, shape (n_pixels, n_pixels, n_channels)."""
        return self._full(self.shape[1], value, n_channels)

    def constant_sinogram(self, value: float, n_channels: int):
        """A sinogram of one value, shape (n_angles, n_positions, n_channels)."""
        return self._full(self.shape[0], value, n_channels)

    def to_device(self, array: np.ndarray):
        """A NumPy array [·, ·, channel] as a tensor on the GPU, the channel slowest in memory."""
        tensor = self._torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).cuda()
        return tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)

    def to_host(self, tensor) -> np.ndarray:
        """A tensor as a NumPy array, the channel fastest in memory."""
        return tensor.contiguous().cpu().numpy()

    def __matmul__(self, image):
        """Project: (y, x, channel) to (angle, position, channel)."""
        sinogram = self.constant_sinogram(0, image.shape[2])
        self._run("FP3D_CUDA", "VolumeDataId", image=self.seen(image), sinogram=sinogram)
        return sinogram

    def seen(self, image):
        """The image with 0 outside the support."""
        return image if self._inside is None else image * self._inside

    def back(self, sinogram):
        """Project back: (angle, position, channel) to (y, x, channel)."""
        image = self.constant_image(0, sinogram.shape[2])
        self._run("BP3D_CUDA", "ReconstructionDataId", image=image, sinogram=sinogram)
        return self.seen(image)

    def _full(self, shape, value, n_channels):
        tensor = self._torch.full((n_channels, *shape), float(value), device="cuda")
        return tensor.permute(1, 2, 0)

    def _run(self, algorithm: str, volume_key: str, *, image, sinogram) -> None:
        """Run one of ASTRA's algorithms on tensors that it reads and writes in place."""
        slices = [tensor.permute(2, 0, 1).contiguous() for tensor in (sinogram, image)]  # no copy of a new tensor
        self._torch.cuda.synchronize()  # ASTRA works on a CUDA stream of its own
        with contextlib.ExitStack() as stack:
            ids = []
            for kind, geometry, tensor in zip(
                ("-sino", "-vol"), geometries(self._beam, len(slices[0])), slices, strict=True
            ):
                ids.append(astra.data3d.link(kind, geometry, tensor))
                stack.callback(astra.data3d.delete, ids[-1])
            settings = astra.astra_dict(algorithm)
            settings["ProjectionDataId"], settings[volume_key] = ids
            handle = astra.algorithm.create(settings)
            stack.callback(astra.algorithm.delete, handle)
            try:
                astra.algorithm.run(handle)
            except AstraError as error:  # a RuntimeError, as of all that works on a GPU (`gpu_memory`)
                raise RuntimeError(f"ASTRA, {algorithm}: {error}") from error


class AstraBeamTransposed:
    """The back-projector of an `AstraBeam`."""

    def __init__(self, operator: AstraBeam):
        self.T = operator

    def __matmul__(self, sinogram):
        return self.T.back(sinogram)


def fbp_cuda(A: AstraBeam, sinogram, *, filter: str = "ram-lak"):
    """`fbp.fbp` on the GPU."""
    return A.T @ filter_tensor(sinogram, A.angles, filter)


def filter_tensor(sinogram, angles: np.ndarray, filter: str):
    """`fbp.filter_projections` times the angular weights, for a tensor [angle, position, channel] on any device."""
    import torch

    n = sinogram.shape[1]
    padded, response = filter_response(n, filter)
    response = torch.as_tensor(response, dtype=torch.float32, device=sinogram.device)
    weights = torch.as_tensor(angular_weights(angles), dtype=torch.float32, device=sinogram.device)
    filtered = torch.empty_like(sinogram)  # keeps the order of the axes in memory
    for start in range(0, sinogram.shape[2], FILTERED):
        part = sinogram[..., start : start + FILTERED].permute(2, 0, 1)
        spectrum = torch.fft.rfft(part, padded) * response
        part = torch.fft.irfft(spectrum, padded)[..., :n] * weights[:, None]
        filtered[..., start : start + FILTERED] = part.permute(1, 2, 0)
    return filtered

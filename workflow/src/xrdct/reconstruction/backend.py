"""One function for every method and device: the GPU through ASTRA where there is one, else all channels on the CPU."""

import logging
from collections.abc import Callable, Iterator
from functools import cache, partial

import numba
import numpy as np

from ..errors import GeometryError
from ..geometry import missing_angles
from ..gpu_memory import FittingParts
from .arrays import Progress, without_progress
from .astra_cuda import AstraBeam, cuda_available, fbp_cuda
from .cgls import cgls
from .fbp import fbp
from .filtered import refined_fbp
from .operator import ParallelBeam
from .sart import sart
from .sirt import sirt
from .tv import tv

log = logging.getLogger(__name__)

ON_CPU = {"fbp": fbp, "refined_fbp": refined_fbp, "sirt": sirt, "sart": sart, "cgls": cgls, "tv": tv}
ON_GPU = ON_CPU | {"fbp": fbp_cuda, "refined_fbp": partial(refined_fbp, project_back=fbp_cuda)}
OPTIONS = {
    "fbp": ("filter",),
    "refined_fbp": ("iterations", "nonnegative"),
    "sirt": ("iterations", "nonnegative"),
    "sart": ("iterations", "nonnegative"),
    "cgls": ("iterations",),
    "tv": ("iterations", "nonnegative", "weight"),
}
"""Methods, and the options that each takes."""
CPU_BLOCK = 64
"""Channels reconstructed at a time on the CPU: the fewest with which the projector is at its fastest."""


def reconstruct(sinogram: np.ndarray, angles: np.ndarray, **settings) -> np.ndarray:
    """Reconstruct every channel of a sinogram: `reconstruct_blocks`, put together.

    Returns
    -------
    numpy.ndarray
        Shape (n_positions, n_positions, n_channels), float32, rotation axis at the centre.
    """
    _, n_positions, n_channels = sinogram.shape
    volume = np.empty((n_positions, n_positions, n_channels), dtype=np.float32)
    for channels, block in reconstruct_blocks(sinogram, angles, **settings):
        volume[..., channels] = block
    return volume


def reconstruct_blocks(
    sinogram,
    angles: np.ndarray,
    *,
    cor: float | np.ndarray,
    method: str = "fbp",
    support: str = "circle",
    device: str = "auto",
    progress: Progress = without_progress,
    **options,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Reconstruct a sinogram block by block of channels, as many at a time as the device likes.

    A voxel's value is what this voxel adds to a ray that crosses it fully, in the sinogram's unit per voxel. Channels
    with a NaN come out as NaN and do not touch the others.

    Parameters
    ----------
    sinogram
        Shape (n_angles, n_positions, n_channels), any unit. Only ``sinogram[..., start:stop]`` is asked for, so that an
        array that stays on disk will do.
    angles
        Degrees, shape (n_angles,), any order; 0–180 or 0–360.
    cor
        Column of the rotation axis, pixels from the centre of the first column; one, or one for each angle.
    method
        A key of `OPTIONS`.
    support
        'circle': voxels outside the circle inscribed in the image are 0, and the object is taken to lie inside; 'none'.
    device
        'cuda', 'cpu', or 'auto': the GPU where PyTorch and ASTRA both find one.
    progress
        Wraps the blocks and, inside each, the iterations.
    options
        Those of the method, see `OPTIONS` and the method's own function.

    Yields
    ------
    slice, numpy.ndarray
        Which channels, and their image, shape (n_positions, n_positions, channels of the block), float32.

    Raises
    ------
    GeometryError
        If shapes differ, the centre lies outside the field, or (methods 'fbp', 'refined_fbp') the angles leave a gap.
    """
    if method not in OPTIONS or support not in ("circle", "none"):
        raise ValueError(f"unknown method {method!r} or support {support!r}")
    n_angles, n_positions, n_channels = sinogram.shape
    if len(angles) != n_angles:
        raise GeometryError(f"{len(angles)} angles for a sinogram of {n_angles} projections")
    _warn_of_odd_angles(np.asarray(angles, dtype=float))
    A = ParallelBeam(angles, n_positions, cor, support=n_positions / 2 if support == "circle" else None)
    if method != "fbp":
        options["progress"] = progress
    solve, size = _in_fitting_parts(A, method, device)
    bad = 0
    for start in progress(range(0, n_channels, size)):
        channels = slice(start, min(n_channels, start + size))
        part = np.asarray(sinogram[..., channels], dtype=np.float32)
        finite = np.isfinite(part).all(axis=(0, 1))
        bad += np.count_nonzero(~finite)
        yield channels, solve(part, **options) if finite.all() else _solve_some(solve, part, finite, A, options)
    if bad:
        log.warning("%d of %d channels hold NaN in the sinogram and are NaN in the volume", bad, n_channels)


def _in_fitting_parts(A: ParallelBeam, method: str, device: str) -> tuple[Callable, int]:
    """As `_solver`, with fewer channels at a time, or on the CPU, where a GPU's memory runs out after all."""
    solve, size = _solver(A, method, device)

    def to_cpu():
        nonlocal solve
        solve, _ = _solver(A, method, "cpu")

    parts = FittingParts(f"{method}, channels", size, to_cpu, most_on_cpu=CPU_BLOCK)

    def solve_all(block, **options):
        images = parts.run(lambda part: solve(block[..., part], **options), block.shape[-1])
        return images[0] if len(images) == 1 else np.concatenate(images, axis=-1)

    return solve_all, size


def _solver(A: ParallelBeam, method: str, device: str) -> tuple[Callable, int]:
    """A function from a sinogram to an image, NumPy arrays both, and the number of channels to give it at a time."""
    if device == "cpu" or (device == "auto" and not cuda_available()):
        _say_once(f"{method} on the CPU, {numba.get_num_threads()} threads")
        return partial(ON_CPU[method], A), CPU_BLOCK
    beam = AstraBeam(A)
    _say_once(f"{method} on {beam.device_name}")
    solve = partial(ON_GPU[method], beam)
    return (lambda b, **options: beam.to_host(solve(beam.to_device(b), **options))), beam.channels_at_a_time


@cache
def _say_once(where: str) -> None:
    """A scan may be reconstructed in thousands of calls, all on the same device."""
    log.info(where)


def _solve_some(solve: Callable, part: np.ndarray, finite: np.ndarray, A: ParallelBeam, options: dict) -> np.ndarray:
    """The image of the channels that are `finite`, NaN in the others."""
    image = np.full((*A.shape[1], len(finite)), np.nan, dtype=np.float32)
    if finite.any():
        image[..., finite] = solve(part[..., finite], **options)
    return image


def _warn_of_odd_angles(angles: np.ndarray) -> None:
    """Say what is missing or double; only the filtered back-projection cannot do without a covered half turn."""
    hole = missing_angles(angles)
    if hole is not None:
        log.warning("no projection between %.2f° and %.2f° (modulo 180°)", *hole)
    doubled = len(angles) - len(np.unique(np.round(angles % 360.0, 6)))
    if doubled:
        log.warning("%d projections have the angle of another one; they share its weight", doubled)

"""Linear reconstruction of thick samples: patterns without parallax in every voxel, block by block of ln tan 2θ."""

import logging
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numba
import numpy as np

from ..errors import GeometryError
from ..gpu_memory import FittingParts
from .arrays import Progress, without_progress
from .cgls import cgls
from .filtered import refined_fbp
from .lntan import LnTanAxis, lntan_axis
from .operator import GROUP, ParallelBeam
from .sirt import sirt
from .tilted import TiltedBeam
from .tilted_torch import TiltedTensors, cuda_available

log = logging.getLogger(__name__)

METHODS = {"fbp": (refined_fbp, 20), "sirt": (sirt, 60), "cgls": (cgls, 15)}
"""Methods that take an operator which couples the channels, and how often they iterate when not told."""
BLOCK = 256
"""Bins of Y that are reconstructed at a time and kept; those around them that are needed too are thrown away."""
SAME_WAVELENGTH = 1e-3
"""Share by which the wavelengths of one calibration may differ: its files are rounded."""
NEGLIGIBLE = 1e-7
"""Weights of the resampling below this share of the largest are left out; they fall by a factor of 4 per bin."""


def reconstruct_with_parallax(
    sinogram,
    angles: np.ndarray,
    *,
    q: np.ndarray,
    wavelength: float,
    distance_mm: float,
    step_mm: float,
    cor: float | np.ndarray,
    method: str = "sirt",
    support: str = "circle",
    iterations: int | None = None,
    nonnegative: bool = False,
    block: int = BLOCK,
    device: str = "auto",
    progress: Progress = without_progress,
) -> np.ndarray:
    """Reconstruct every voxel's pattern as it would be measured on the rotation axis.

    The sinogram is resampled to Y = ln tan 2θ (`lntan`), solved with the operator that knows of the tilt
    (`TiltedBeam`), and the volume resampled back to q.

    Parameters
    ----------
    sinogram
        Shape (n_angles, n_positions, n_q), any unit. Only ``sinogram[..., start:stop]`` is asked for.
    angles
        Degrees, shape (n_angles,), 0–180 or 0–360.
    q
        Bin centres, 1/Å, evenly spaced, shape (n_q,).
    wavelength
        Å.
    distance_mm
        From the rotation axis to the detector along the beam.
    step_mm
        Between positions.
    cor, support
        As for `backend.reconstruct_blocks`.
    method
        A key of `METHODS`.
    iterations
        None: the method's usual number.
    nonnegative
        fbp, sirt: negative values are set to 0 after every step. Rays that all climb do not tell how the sharpest
        lines are spread over the largest distances (frequencies |k_xy| < κ k_Y); that nothing is negative does.
    block
        Bins of Y at a time: larger takes more memory and a little less time.
    device
        'cpu'; 'cuda', or 'torch' for its code on the CPU; 'auto': the GPU where PyTorch finds one.
    progress
        Wraps the blocks and, inside each, the iterations.

    Returns
    -------
    numpy.ndarray
        Shape (n_positions, n_positions, n_q), float32, in the sinogram's unit per voxel. Channels with a NaN are
        bridged for their neighbours' sake and come out as NaN.

    Raises
    ------
    GeometryError
        If shapes differ, the centre lies outside the field, the distance is not a positive number, or the field is too
        deep for it.
    """
    if method not in METHODS or support not in ("circle", "none") or (nonnegative and method == "cgls"):
        raise ValueError(f"unknown method {method!r} or support {support!r}, or one that cannot be nonnegative")
    n_angles, n_positions, n_q = sinogram.shape
    if len(angles) != n_angles or len(q) != n_q:
        raise GeometryError(f"{len(angles)} angles and {len(q)} bins for a sinogram of {sinogram.shape}")
    check_distance(distance_mm)
    axis = lntan_axis(q, wavelength=wavelength)
    A = TiltedBeam(
        angles,
        n_positions,
        cor,
        pixel_over_distance=step_mm / distance_mm,
        step=axis.step,
        support=n_positions / 2 if support == "circle" else None,
    )
    solve, usual = METHODS[method]
    options = {"iterations": iterations or usual, "progress": progress} | ({"nonnegative": True} if nonnegative else {})
    solver = _Solver(partial(solve, **options), A, "cpu" if method == "fbp" else device, block)
    _tell(A, axis, method, options["iterations"], block)
    there, back = axis.from_q().astype(np.float32), axis.to_q().astype(np.float32)
    volume = np.zeros((n_positions, n_positions, n_q), dtype=np.float32)
    holes = np.zeros(n_q, dtype=bool)
    margin = 2 * A.padding  # voxels of its bins are seen by all of their rays
    for kept in progress(blocks(axis.n_bins, block)):
        wanted = slice(max(0, kept.start - margin), min(axis.n_bins, kept.stop + margin))
        data, missing = resampled(sinogram, there[wanted])
        holes |= missing
        part = solver.solve(data, slice(kept.start - wanted.start, kept.stop - wanted.start), margin)
        channels = touched(back[:, kept].T)
        volume[..., channels] += part @ back[channels, kept].T
    if holes.any():
        log.warning("%d of %d channels hold NaN in the sinogram and are NaN in the volume", holes.sum(), n_q)
        volume[..., holes] = np.nan
    return volume


class _Solver:
    """`method(A, data)` for arrays, on a GPU in parts that fit into its memory, or on the CPU."""

    def __init__(self, method: Callable, A: TiltedBeam, device: str, block: int):
        self._method, self._A = method, A
        self._parts = FittingParts("parallax, bins of ln tan 2theta", block, self._to_cpu)
        if device == "cpu" or (device == "auto" and not cuda_available()):
            self._to_cpu()
        else:
            tensors = TiltedTensors(A, "cpu" if device == "torch" else "cuda")
            log.info("on %s", tensors.device_name)
            self._run = lambda data: method(tensors, tensors.to_device(data)).cpu().numpy()

    def _to_cpu(self) -> None:
        log.info("on the CPU, %d threads", numba.get_num_threads())
        self._run = partial(self._method, self._A)

    def solve(self, data: np.ndarray, kept: slice, margin: int) -> np.ndarray:
        """Images of the bins `kept` of a sinogram (angle, position, bin); each needs `margin` bins around it too."""
        n = data.shape[-1]

        def images(part):
            start, stop = kept.start + part.start, kept.start + part.stop
            around = slice(max(0, start - margin), min(n, stop + margin))
            first = self._A.padding + start - around.start
            return self._run(data[..., around])[..., first : first + stop - start]

        found = self._parts.run(images, kept.stop - kept.start)
        return found[0] if len(found) == 1 else np.concatenate(found, axis=-1)


def distance_and_wavelength(geometry, *, profile_wavelength: float | None = None) -> dict[str, float]:
    """``distance_mm`` along the beam and ``wavelength`` in Å of a pyFAI geometry (`io.poni.read_poni`).

    A detector that is tilted by rot1 and rot2 meets the beam at dist / (cos rot1 cos rot2).

    Parameters
    ----------
    profile_wavelength
        That of the instrument profile, Å: geometry and profile must come from one calibration, or the distance is not
        that of the data. None: there is none to compare with.

    Raises
    ------
    GeometryError
        If distance or wavelength is missing, or the profile is of another calibration.
    """
    if not geometry.wavelength:
        raise GeometryError("parallax needs the wavelength, which the geometry (.poni) does not hold; calibrate again")
    distance = 1e3 * geometry.dist / (np.cos(geometry.rot1) * np.cos(geometry.rot2))
    check_distance(distance)
    wavelength = float(1e10 * geometry.wavelength)
    if profile_wavelength is not None and abs(wavelength / profile_wavelength - 1) > SAME_WAVELENGTH:
        raise GeometryError(
            f"the geometry (.poni) is for {wavelength:.5f} Å, the instrument profile for {profile_wavelength:.5f} Å: "
            "they are not of one calibration, and the distance may be wrong; calibrate again"
        )
    return {"distance_mm": float(distance), "wavelength": wavelength}


def check_distance(distance_mm: float | None) -> None:
    """Refuse a distance that is none.

    Raises
    ------
    GeometryError
        If it is missing, not finite or not positive.
    """
    if distance_mm is None or not np.isfinite(distance_mm) or distance_mm <= 0:
        raise GeometryError(
            f"parallax needs the distance from sample to detector, found {distance_mm}; it is in the geometry (.poni) "
            "that calibration wrote"
        )


def blocks(n: int, size: int) -> list[slice]:
    """Slices that cover `n` bins in equal parts of at most `size`."""
    edges = np.linspace(0, n, -(-n // size) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def resampled(sinogram, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins of Y of a sinogram, (angle, position, bin), float32; which of the bins of q that went in hold a NaN."""
    channels = touched(weights)
    part = np.array(sinogram[..., channels], dtype=np.float32)
    missing = np.zeros(weights.shape[1], dtype=bool)
    bad = ~np.isfinite(part).all(axis=(0, 1))
    if bad.any():
        part[..., bad] = _bridged(part, bad)
        missing[channels] = bad
    return part @ weights[:, channels].T, missing


def strongest_bins(sinogram, weights: np.ndarray, size: int) -> slice:
    """The `size` neighbouring bins of Y between which the mean pattern changes most, from some of the projections.

    Parameters
    ----------
    sinogram
        Shape (n_angles, n_positions, n_q).
    weights
        `LnTanAxis.from_q`, shape (n_bins, n_q).
    """
    mean = np.asarray(sinogram[:: max(1, sinogram.shape[0] // 32)]).mean(axis=(0, 1))
    good = np.isfinite(mean)
    mean = weights @ np.interp(np.arange(mean.size), np.flatnonzero(good), mean[good]) if good.any() else weights[:, 0]
    size = min(size, mean.size)
    contrast = np.convolve(np.diff(mean, append=mean[-1]) ** 2, np.ones(size), mode="valid")
    return slice(int(contrast.argmax()), int(contrast.argmax()) + size)


def _bridged(part: np.ndarray, bad: np.ndarray) -> np.ndarray:
    """Channels that are `bad`, as a straight line between the nearest good ones; 0 where there are none."""
    good = np.flatnonzero(~bad)
    if not good.size:
        return np.zeros((*part.shape[:2], bad.sum()), dtype=np.float32)
    wanted = np.flatnonzero(bad)
    right = np.searchsorted(good, wanted).clip(1, good.size - 1) if good.size > 1 else np.zeros(wanted.size, int)
    low, high = good[right - (good.size > 1)], good[right]
    share = ((wanted - low) / np.maximum(high - low, 1)).clip(0, 1).astype(np.float32)
    return part[..., low] * (1 - share) + part[..., high] * share


def touched(weights: np.ndarray) -> slice:
    """Columns between the first and last that weigh anything."""
    heavy = np.flatnonzero(np.abs(weights).max(axis=0) > NEGLIGIBLE * np.abs(weights).max())
    return slice(int(heavy[0]), int(heavy[-1]) + 1)


def _tell(A: TiltedBeam, axis: LnTanAxis, method: str, iterations: int, block: int) -> None:
    """What will be done, and about how long it will take, from the time of a few projections."""
    log.info(
        "%s with parallax: %d bins of ln tan 2theta, a ray climbs %.3g of them per pixel and %d over half the field",
        method,
        axis.n_bins,
        A.tilt,
        A.padding - 2,
    )
    n_blocks = len(blocks(axis.n_bins, block))
    bins = axis.n_bins + n_blocks * 4 * A.padding
    seconds = 2 * iterations * seconds_per_projection(A) * bins
    log.info(
        "about %.3g minutes for %d iterations on the CPU; %.2g GB of memory",
        seconds / 60,
        iterations,
        memory(A, axis, block),
    )


def seconds_per_projection(A: TiltedBeam, channels: int = 64) -> float:
    """Time of one A or Aᵀ per bin of Y, from some of the angles; the least of three, for others may work here too."""
    some = A.rows(slice(None, None, max(1, A.angles.size // (GROUP * numba.get_num_threads()))))
    image, taken = some.constant_image(1, channels), []
    for _ in range(4):  # the first compiles
        started = time.perf_counter()
        some @ image
        taken.append(time.perf_counter() - started)
    return min(taken[1:]) * A.angles.size / some.angles.size / channels


def memory(A: ParallelBeam, axis: LnTanAxis, block: int) -> float:
    """GB held at the most: the volume in q, and a block of images and sinograms of SIRT."""
    bins = min(block, axis.n_bins) + 4 * A.padding
    images, sinograms = A.n_pixels**2 * (bins + 2 * A.padding), A.angles.size * A.n_positions * bins
    return 4e-9 * (A.n_pixels**2 * axis.q.size + 3 * images + 4 * sinograms)

"""Frames to patterns: the azimuthal trimmed mean, without pixel splitting.

Per q bin the pixels are sorted by signal/weight (weight = solid angle × polarisation), the lowest and highest
`trim`/2 of the cumulated weight are dropped, and sum(signal)/sum(weight) of the rest is the intensity; a pixel that
straddles a cut counts in part. No splitting: neighbouring bins stay independent and the standard errors honest. The
hot loop is `kernels.TrimmedMean`; frames are worked on side by side, each by one thread, so that the result is the
same to the bit for any number of workers. What the pixels of half bins show becomes what whole bins would.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from .errors import GeometryError, RawDataError
from .kernels import TrimmedMean, azimuthal_groups
from .kernels.patterns import valid_range
from .pixel_bins import bin_pixels

log = logging.getLogger(__name__)

SAFE_MEAN_COUNT = 10
"""Below this many counts per pixel a trimmed mean of Poisson counts lies more than 1 % under the mean (measured:
0.953 at 2 counts, 0.990 at 10, 0.995 at 20, for 10–90 percentiles)."""
BYTES_PER_TASK = 40e6
"""Raw frames that one worker holds at a time."""
CLIP = {"thres": 5, "max_iter": 5, "error_model": "azimuthal"}
"""Settings of pyFAI's sigma_clip_ng: five cuts at five standard deviations of the ring."""

Estimator = Literal["trimmed_mean", "mean", "sigma_clip"]


@dataclass(frozen=True)
class Patterns:
    """Patterns of consecutive frames; a bin without a usable pixel is NaN, and its `kept` is 0."""

    q: np.ndarray
    """Bin centres in 1/Å, shape (n_bins,)."""
    intensity: np.ndarray
    """Counts per pixel (solid angle and polarisation corrected), shape (n_frames, n_bins), float32."""
    sem: np.ndarray
    """Its standard error from the scatter of the pixels (Winsorised variance), same shape and unit."""
    spottiness: np.ndarray
    """Mean minus intensity: what hot pixels and single grains add, same shape and unit."""
    kept: np.ndarray
    """Number of pixels that make the intensity, shape (n_frames, n_bins), int32."""
    groups: np.ndarray | None
    """Intensities of disjoint, azimuth-balanced pixel groups, shape (n_frames, n_groups, n_bins); None without."""

    @property
    def valid(self) -> np.ndarray:
        """Whether the frame had any usable bin, shape (n_frames,), bool."""
        return (self.kept > 0).any(axis=1)


class Integrator:
    """Turns frames of one geometry into patterns; safe to call from several threads.

    Parameters
    ----------
    geometry
        pyFAI geometry with wavelength.
    mask
        Pixels never used, shape (rows, columns), non-zero is masked.
    q_min, q_max, n_bins
        The q axis, 1/Å.
    polarization
        Polarisation factor of the beam.
    estimator
        "trimmed_mean", "mean", or "sigma_clip" (pyFAI's, `CLIP`; several times slower).
    trim
        Share of the weight dropped, half from either tail; for the trimmed mean.
    saturation
        Counts at or above this are invalid; None: only what the detector marks.
    groups
        Number of disjoint pixel groups that get patterns of their own; 1: none.
    centred
        Whether a bin shows what all of it would, wherever its pixels lie in it: by way of half bins (`bin_centres`).
    gaps
        Pixels that the frames themselves mark as none, same shape as the mask: they have no part in that mean.

    Raises
    ------
    GeometryError
        If mask and detector differ in shape, the mask leaves nothing, or the q range lies outside.
    """

    def __init__(
        self,
        geometry: AzimuthalIntegrator,
        mask: np.ndarray,
        *,
        q_min: float,
        q_max: float,
        n_bins: int,
        polarization: float,
        estimator: Estimator = "trimmed_mean",
        trim: float = 0.2,
        saturation: float | None = None,
        groups: int = 1,
        centred: bool = True,
        gaps: np.ndarray | None = None,
    ):
        shape = tuple(geometry.detector.max_shape or geometry.detector.shape)
        if mask.shape != shape:
            raise GeometryError(f"the mask has shape {mask.shape}, the detector {shape} (rows, columns)")
        self.shape, self.saturation = shape, saturation
        if gaps is not None:
            self._refuse_other_shape(gaps.shape)
        n_parts = n_bins * (2 if centred else 1)
        self.bins = bin_pixels(geometry, mask, q_min=q_min, q_max=q_max, n_bins=n_parts, polarization=polarization)
        self.q = self.bins.q.reshape(n_bins, -1).mean(axis=1)
        self.trim = trim if estimator == "trimmed_mean" else 0.0
        table = self.bins.indices, self.bins.indptr, self.bins.weights
        group = None
        if groups > 1:
            azimuth = geometry.center_array(shape, unit="chi_rad", scale=False).ravel()[self.bins.indices]
            group = azimuthal_groups(self.bins.indptr, azimuth, groups)
        self._centring = self.bins.centring(gaps) if centred else None
        self._group_centring = self.bins.centring(gaps, group, groups) if centred and groups > 1 else None
        self._kernel = TrimmedMean(*table, trim=self.trim, groups=group)
        self._clip = None
        if estimator == "sigma_clip":
            self._clip = _SigmaClip(geometry, self.bins, shape, (q_min, q_max), polarization)
        where = "GPU" if self._kernel.backend == "cuda" and not self._clip else "CPU"
        self.description = f"{estimator} on the {where} ({'pyFAI' if self._clip else self._kernel.backend + ' kernel'})"

    def __call__(self, frames: np.ndarray) -> Patterns:
        """Integrate a block of frames, shape (n_frames, rows, columns), counts.

        Raises
        ------
        GeometryError
            If the frames are not of the detector's shape.
        """
        self._refuse_other_shape(frames.shape[1:])
        found = self._kernel(frames, self.saturation)
        intensity, sem, kept = found.intensity, found.sem, found.kept
        if self._clip:
            intensity, sem, kept = self._clip(frames, self.saturation)
        spottiness, groups = found.mean - intensity, found.groups
        if self._centring is not None:
            intensity, sem = self._centring.whole(intensity), np.sqrt(self._centring.variance(sem**2))
            spottiness = self._centring.mean(spottiness)
            kept = kept.reshape(len(kept), -1, 2).sum(axis=-1)
        if self._group_centring is not None:
            groups = self._group_centring.whole(groups)
        return Patterns(
            q=self.q,
            intensity=intensity.astype(np.float32),
            sem=sem.astype(np.float32),
            spottiness=spottiness.astype(np.float32),
            kept=kept.astype(np.int32),
            groups=None if groups is None else groups.astype(np.float32),
        )

    def _refuse_other_shape(self, shape):
        if shape != self.shape:
            raise GeometryError(
                f"frames have shape {shape}, the detector {self.shape} (rows, columns)"
                + ("; they look transposed" if shape == self.shape[::-1] else "")
            )


class _SigmaClip:
    """pyFAI's sigma clipping on the same pixels and bins."""

    def __init__(self, geometry, bins, shape, q_range, polarization):
        self._integrate, self._shape = geometry.sigma_clip_ng, shape
        # pyFAI counts pixels up to one bin below `radial_range` into the first bin (it truncates towards zero), so
        # what lies outside the range is masked.
        self._outside = np.ones(shape, dtype=bool)
        self._outside.ravel()[bins.indices] = False
        self._options = {
            "npt": bins.q.size,
            "unit": "q_A^-1",
            "method": ("no", "csr", "cython"),
            "radial_range": q_range,
            "polarization_factor": polarization,
            **CLIP,
        }

    def __call__(self, frames, saturation):
        rows = [self._clip(frame, saturation) for frame in frames]
        return tuple(np.array(part) for part in zip(*rows, strict=True))

    def _clip(self, frame, saturation):
        lowest, highest = valid_range(frame.dtype, saturation)
        # A mask that differs from the last frame's makes pyFAI build its table again: right, but slow.
        mask = self._outside | ~((frame >= lowest) & (frame <= highest))
        if mask.all():
            nothing = np.full(self._options["npt"], np.nan)
            return nothing, nothing, np.zeros(nothing.size)
        found = self._integrate(frame, mask=mask.astype(np.int8), **self._options)
        empty = found.count == 0
        return (*(np.where(empty, np.nan, part) for part in (found.intensity, found.sem)), found.count)


def integrate_series(
    read: Callable[[int, int], np.ndarray],
    spans: list[tuple[int, int]],
    integrator: Integrator,
    *,
    dtype: np.dtype,
    workers: int = 1,
) -> Iterator[Patterns]:
    """Integrate spans of a series of frames, several at a time, and give their patterns back in order.

    A frame that cannot be read becomes a pattern of NaN, said in the log; the rest goes on.

    Parameters
    ----------
    read
        Called with (start, stop), returns these frames, shape (stop − start, rows, columns); thread-safe.
    spans
        (start, stop) of each piece of work, see `spans_of`.
    integrator
        What to apply.
    dtype
        Type of the frames.
    workers
        Threads. At most two spans per worker are under way, which bounds the memory whatever the length.
    """

    blank = np.full((1, *integrator.shape), _invalid_value(dtype), dtype=dtype)

    def work(span):
        return integrator(_read_what_can_be(read, *span, blank))

    with ThreadPoolExecutor(workers) as pool:
        waiting = deque()
        for span in spans:
            waiting.append(pool.submit(work, span))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def spans_of(start: int, stop: int, frame_bytes: int) -> list[tuple[int, int]]:
    """Cut frames `start` to `stop` into spans of at most `BYTES_PER_TASK`, and at least one frame."""
    step = max(1, int(BYTES_PER_TASK // frame_bytes))
    return [(a, min(a + step, stop)) for a in range(start, stop, step)]


def check_bad_share(valid: np.ndarray, *, max_bad_share: float) -> None:
    """Refuse a series with too many bad frames, mention a few.

    Parameters
    ----------
    valid
        Shape (n_frames,), bool.
    max_bad_share
        integrate.max_bad_frames.

    Raises
    ------
    RawDataError
        If more than `max_bad_share` of the frames are bad.
    """
    n_bad = int(valid.size - np.count_nonzero(valid))
    if n_bad > max_bad_share * valid.size:
        raise RawDataError(
            f"{n_bad} of {valid.size} frames cannot be read or have no usable pixel (first: frame "
            f"{int(np.argmin(valid))}), more than integrate.max_bad_frames = {max_bad_share}"
        )
    if n_bad:
        log.warning("%d of %d frames have no usable pixel and are marked invalid", n_bad, valid.size)


def low_count_share(mean: np.ndarray) -> float:
    """Share of the bins whose mean (counts per pixel) lies below `SAFE_MEAN_COUNT`, where trimming lowers it."""
    finite = np.isfinite(mean)
    return float(np.count_nonzero(mean[finite] < SAFE_MEAN_COUNT) / max(1, np.count_nonzero(finite)))


def _read_what_can_be(read, start, stop, blank):
    try:
        return read(start, stop)
    except RawDataError as error:
        if stop - start == 1:
            log.warning("%s; this frame is marked invalid", error)
            return blank
        return np.concatenate([_read_what_can_be(read, k, k + 1, blank) for k in range(start, stop)])


def _invalid_value(dtype):
    """What marks a pixel as invalid in frames of this type (`kernels.patterns.valid_range`)."""
    if dtype.kind == "f":
        return np.nan
    return np.iinfo(dtype).max if dtype.kind == "u" else -1

"""Frames to patterns: the azimuthal trimmed mean, without pixel splitting.

Per q bin the pixels are sorted by signal/weight (weight = solid angle × polarisation), the lowest and highest
`trim`/2 of the cumulated weight are dropped, and sum(signal)/sum(weight) of the rest is the intensity. No splitting:
neighbouring bins stay independent and the standard errors honest. The sorting is pyFAI's `medfilt1d_ng`.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

from .errors import GeometryError, RawDataError

log = logging.getLogger(__name__)

METHOD = ("no", "csr", "cython")
SAFE_MEAN_COUNT = 10
"""Below this many counts per pixel a trimmed mean of Poisson counts lies more than 1 % under the mean (measured:
0.953 at 2 counts, 0.990 at 10, 0.995 at 20, for 10–90 percentiles)."""


@dataclass(frozen=True)
class Patterns:
    """Patterns of consecutive frames; a bin without a usable pixel is NaN."""

    q: np.ndarray
    """Bin centres in 1/Å, shape (n_bins,)."""
    intensity: np.ndarray
    """Trimmed mean in counts per pixel (solid angle and polarisation corrected), shape (n_frames, n_bins), float32."""
    sem: np.ndarray
    """Its standard error from Poisson statistics, same shape and unit."""
    spottiness: np.ndarray
    """Mean minus trimmed mean: what hot pixels and single grains add, same shape and unit."""
    valid: np.ndarray
    """Whether the frame had any usable bin, shape (n_frames,), bool."""


@dataclass(frozen=True)
class PixelBins:
    """Which detector pixels belong to which q bin, sorted by bin."""

    q: np.ndarray
    """Bin centres in 1/Å, shape (n_bins,)."""
    indices: np.ndarray
    """Flat pixel numbers, bin after bin, ascending inside a bin, int64."""
    indptr: np.ndarray
    """`indices[indptr[k]:indptr[k + 1]]` are the pixels of bin k, shape (n_bins + 1,)."""
    weights: np.ndarray
    """Solid angle × polarisation of each listed pixel, relative to the beam centre."""

    @property
    def bin_of(self) -> np.ndarray:
        """Bin number of each listed pixel."""
        return np.repeat(np.arange(self.q.size), np.diff(self.indptr))


def invalid_pixels(frame: np.ndarray, saturation: float | None = None) -> np.ndarray:
    """Pixels that hold no count: negative codes (gaps −1, bad −2), the largest value of an unsigned type, NaN,
    and counts at or above `saturation`. Same shape as the frame, bool."""
    if np.issubdtype(frame.dtype, np.floating):
        invalid = ~np.isfinite(frame) | (frame < 0)
    elif np.issubdtype(frame.dtype, np.unsignedinteger):
        invalid = frame == np.iinfo(frame.dtype).max
    else:
        invalid = frame < 0
    return invalid if saturation is None else invalid | (frame >= saturation)


def bin_pixels(
    geometry: AzimuthalIntegrator,
    mask: np.ndarray,
    *,
    q_min: float,
    q_max: float,
    n_bins: int,
    polarization: float,
) -> PixelBins:
    """Sort the unmasked pixels of a detector into equal q bins between `q_min` and `q_max` (1/Å).

    Raises
    ------
    GeometryError
        If the mask leaves nothing, or the range reaches outside what the unmasked detector sees.
    """
    shape = mask.shape
    q = geometry.center_array(shape, unit="q_A^-1", scale=True)
    usable = ~mask.astype(bool)
    if not usable.any():
        raise GeometryError(f"the mask leaves none of the {mask.size} pixels of the detector")
    seen = float(q[usable].min()), float(q[usable].max())
    if q_min < seen[0] or q_max > seen[1]:
        raise GeometryError(
            f"integrate.q_min–q_max is {q_min}–{q_max} 1/Å, but the unmasked detector sees only "
            f"{seen[0]:.3f}–{seen[1]:.3f} 1/Å; narrow the range or check beam.energy_kev and the geometry"
        )
    number = np.floor((q - q_min) / (q_max - q_min) * n_bins).astype(np.int64)
    inside = np.flatnonzero((usable & (number >= 0) & (number < n_bins)).ravel())
    inside = inside[np.argsort(number.ravel()[inside], kind="stable")]
    weights = geometry.solidAngleArray(shape) * geometry.polarization(shape, polarization)
    counts = np.bincount(number.ravel()[inside], minlength=n_bins)
    return PixelBins(
        q=q_min + (np.arange(n_bins) + 0.5) * (q_max - q_min) / n_bins,
        indices=inside,
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        weights=weights.ravel()[inside],
    )


def trimmed_mean(signal: np.ndarray, weight: np.ndarray, *, trim: float) -> tuple[float, float]:
    """Trimmed mean of one bin and its Poisson standard error; NaN where no pixel is kept.

    A pixel is kept when the cumulated weight before it is at least `trim`/2 and with it at most 1 − `trim`/2 of the
    total, as pyFAI does.
    """
    order = np.argsort(signal / weight, kind="stable")
    signal, weight = signal[order].astype(float), weight[order].astype(float)
    total = np.cumsum(weight)
    tail = trim / 2 * total[-1] if total.size else 0.0
    kept = (total - weight >= tail * (1 - 1e-7)) & (total <= total[-1] * (1 + 1e-7) - tail) if total.size else []
    if not np.any(kept):
        return np.nan, np.nan
    kept_weight = weight[kept].sum()
    return signal[kept].sum() / kept_weight, _full_bin_error(signal[kept].sum(), kept_weight, trim)


def _full_bin_error(kept_signal, kept_weight, trim):
    """Standard error of a trimmed mean of Poisson counts.

    sqrt(sum kept)/sum(weight kept) treats the kept pixels as the sample; but the tails did their part in fixing the
    centre, and the error is that of all n pixels: smaller by sqrt(1 − trim). Measured against repeated Poisson
    frames: within 8 % from 5 counts per pixel on.
    """
    return np.sqrt(kept_signal) / kept_weight * np.sqrt(1 - trim)


class Integrator:
    """Turns frames of one geometry into patterns.

    Parameters
    ----------
    geometry
        pyFAI geometry with wavelength.
    mask
        Pixels never used, shape (rows, columns), non-zero is masked.
    q_min, q_max, n_bins
        The q axis, 1/Å.
    trim
        Share of the weight dropped, half from either tail.
    polarization
        Polarisation factor of the beam.
    saturation
        Counts at or above this are invalid; None: only what the detector marks.

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
        trim: float,
        polarization: float,
        saturation: float | None = None,
    ):
        shape = tuple(geometry.detector.max_shape or geometry.detector.shape)
        if mask.shape != shape:
            raise GeometryError(f"the mask has shape {mask.shape}, the detector {shape} (rows, columns)")
        self.geometry, self.shape = geometry, shape
        self.trim, self.saturation = trim, saturation
        self.bins = bin_pixels(geometry, mask, q_min=q_min, q_max=q_max, n_bins=n_bins, polarization=polarization)
        # pyFAI counts pixels up to one bin below `radial_range` into the first bin (it truncates towards zero), so what
        # lies outside the range is masked.
        outside = np.ones(shape, dtype=np.int8)
        outside.ravel()[self.bins.indices] = 0
        self._options = {
            "npt": n_bins,
            "unit": "q_A^-1",
            "method": METHOD,
            "mask": outside,
            "radial_range": (q_min, q_max),
            "percentile": (50 * trim, 100 - 50 * trim),
            "polarization_factor": polarization,
            "error_model": "poisson",
        }

    def __call__(self, frames: np.ndarray) -> Patterns:
        """Integrate a block of frames, shape (n_frames, rows, columns), counts.

        Raises
        ------
        GeometryError
            If the frames are not of the detector's shape.
        """
        if frames.shape[1:] != self.shape:
            raise GeometryError(
                f"frames have shape {frames.shape[1:]}, the detector {self.shape} (rows, columns)"
                + ("; they look transposed" if frames.shape[1:] == self.shape[::-1] else "")
            )
        rows = [self._integrate(frame) for frame in frames]
        intensity, sem, mean = (np.array(part, dtype=np.float32) for part in zip(*rows, strict=True))
        return Patterns(
            q=self.bins.q,
            intensity=intensity,
            sem=sem,
            spottiness=mean - intensity,
            valid=np.isfinite(intensity).any(axis=1),
        )

    def _integrate(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        invalid = invalid_pixels(frame, self.saturation).ravel()[self.bins.indices]
        if invalid.all():
            nothing = np.full(self.bins.q.size, np.nan)
            return nothing, nothing, nothing
        result = self.geometry.medfilt1d_ng(frame, **self._options)
        kept_weight = result.sum_normalization
        with np.errstate(invalid="ignore", divide="ignore"):
            intensity = np.where(kept_weight > 0, result.sum_signal / kept_weight, np.nan)
            sem = _full_bin_error(np.where(kept_weight > 0, result.sum_signal, np.nan), kept_weight, self.trim)
        signal = frame.ravel()[self.bins.indices].astype(float)
        if invalid.any():
            self._redo_bins(signal, invalid, intensity, sem)
        return intensity, sem, self._mean(signal, invalid)

    def _redo_bins(self, signal, invalid, intensity, sem):
        """Bins with pixels that are invalid in this frame only, again without these pixels.

        medfilt1d_ng cannot leave a pixel out of one frame: its `dummy` turns into NaN inside the sort.
        """
        for k in np.unique(self.bins.bin_of[invalid]):
            part = slice(self.bins.indptr[k], self.bins.indptr[k + 1])
            good = ~invalid[part]
            intensity[k], sem[k] = trimmed_mean(signal[part][good], self.bins.weights[part][good], trim=self.trim)

    def _mean(self, signal, invalid):
        use = ~invalid
        n_bins, number = self.bins.q.size, self.bins.bin_of[use]
        total = np.bincount(number, weights=signal[use], minlength=n_bins)
        weight = np.bincount(number, weights=self.bins.weights[use], minlength=n_bins)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(weight > 0, total / weight, np.nan)


def integrate_frames(
    read: Callable[[int, int], np.ndarray],
    n_frames: int,
    integrator: Integrator,
    *,
    max_bad_share: float = 0.02,
    block: int = 32,
    progress: Callable[[Iterable], Iterable] = lambda steps: steps,
) -> Patterns:
    """Integrate a whole series of frames in blocks.

    Parameters
    ----------
    read
        Called with (start, stop), returns these frames, shape (stop − start, rows, columns).
    n_frames
        Length of the series.
    integrator
        What to apply to each block.
    max_bad_share
        Fail when more than this share of the frames has no usable pixel.
    block
        Frames held in memory at a time.
    progress
        Wraps the iteration over blocks, for a progress bar.

    Raises
    ------
    RawDataError
        If too many frames are bad.
    """
    n_bins = integrator.bins.q.size
    intensity, sem, spottiness = (np.empty((n_frames, n_bins), dtype=np.float32) for _ in range(3))
    valid = np.empty(n_frames, dtype=bool)
    for start in progress(range(0, n_frames, block)):
        part = slice(start, min(start + block, n_frames))
        done = integrator(read(part.start, part.stop))
        intensity[part], sem[part], spottiness[part], valid[part] = (
            done.intensity,
            done.sem,
            done.spottiness,
            done.valid,
        )
    n_bad = int(n_frames - valid.sum())
    if n_bad > max_bad_share * n_frames:
        raise RawDataError(
            f"{n_bad} of {n_frames} frames have no usable pixel (first: frame {int(np.argmin(valid))}), "
            f"more than integrate.max_bad_frames = {max_bad_share}"
        )
    if n_bad:
        log.warning("%d of %d frames have no usable pixel and are marked invalid", n_bad, n_frames)
    _warn_of_bias(intensity, spottiness)
    return Patterns(integrator.bins.q, intensity, sem, spottiness, valid)


def _warn_of_bias(intensity, spottiness):
    """Say in how many bins the counts are so low that trimming shifts the mean."""
    mean = intensity + spottiness
    finite = np.isfinite(mean)
    share = np.count_nonzero(mean[finite] < SAFE_MEAN_COUNT) / max(1, np.count_nonzero(finite))
    if share > 0.01:
        log.warning(
            "%.0f %% of all bins have fewer than %d counts per pixel: there a trimmed mean of Poisson counts lies more "
            "than 1 %% below the mean; consider a smaller integrate.trim",
            100 * share,
            SAFE_MEAN_COUNT,
        )

"""What a denoiser must not do, tried on the scan at hand: erase a rare phase, or bend a local peak position.

Neither shows in a mean error. Something known is planted into the parts, the method runs again, and the difference
says what became of it: no truth is needed.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from .guard import HALO, put_back
from .low_rank import project_leave_one_out
from .planting import Planted, Trials, plan_trials, plant_grain, plant_shift
from .scaling import Scales
from .selection import denoise_best
from .unet import UNet

SMALLEST_INTENSITY, SMALLEST_PEAK, SMALLEST_SHIFT = 0.5, 0.7, 0.85
"""Shares of a planted grain's intensity and peak height, and of a planted shift, that must be left."""
FOOT = 0.05
"""Channels below this share of the planted peak are not counted as its intensity."""
Method = Callable[[np.ndarray], np.ndarray]
"""From parts [channel, part, y, x] to a volume [channel, y, x]."""


@dataclass(frozen=True)
class Left:
    """Shares of what was planted that are left."""

    intensity: float
    """Of grains of three voxels."""
    peak: float
    """Of their peaks' height."""
    shift: float
    """Of a local shift along q: 1 is right."""

    @property
    def passed(self) -> bool:
        """Whether all three are enough."""
        return passes_grain((self.intensity, self.peak)) and self.shift >= SMALLEST_SHIFT


def try_on_scan(
    parts,
    volume: np.ndarray,
    scales: Scales,
    inside: np.ndarray,
    *,
    network: UNet | None = None,
    joint: bool = False,
    without: Collection[str] = (),
    out=None,
) -> Left | None:
    """Plant grains and a shift into a scan, denoise the channels around, and compare with what came of it before.

    A network is used as it is: one that never saw the planted in its training has the harder task. The joint method
    looks for its patterns anew.

    Parameters
    ----------
    parts
        Shape (n_channels, K, n, n).
    volume
        What `denoise_best` with the same methods, and then the guard, made of the parts, shape (n_channels, n, n).
    network, without
        As for `denoise_best`.
    joint
        Whether the joint method takes part.
    out
        For the projections of the joint method, shape of `parts`; None: a new array.

    Returns
    -------
    Left or None
        None where the scan has no room for a trial.
    """
    trials = plan_trials(parts, volume, scales, inside)
    if trials is None:
        return None
    planted = Planted(parts, trials.changes)
    projected = project_leave_one_out(planted, scales, inside, out=out) if joint else None
    given = {"network": network, "projected": projected, "without": without}
    after = np.empty_like(volume)
    for window in trials.around(HALO, len(parts)):
        channels = range(window.start, window.stop)
        found = [own.image for own in denoise_best(planted, scales, inside, channels=channels, **given)]
        after[window] = put_back(np.stack(found), planted[window])[0]
    return what_is_left(volume, after, trials)


def what_is_left(before: np.ndarray, after: np.ndarray, trials: Trials) -> Left:
    """Compare volumes (n_channels, n, n) that a method made without the planted and with it."""
    shares = []
    for grain in trials.grains:
        pattern = grain.added[:, 0, 0]
        there = _at(after, grain) - _at(before, grain)
        shares.append(shares_of(there.mean(axis=1), pattern))
    expected = trials.shift.added.mean(axis=(1, 2))
    found = (_at(after, trials.shift) - _at(before, trials.shift)).mean(axis=1)
    intensity, peak = np.mean(shares, axis=0)
    return Left(float(intensity), float(peak), float(found @ expected / (expected @ expected)))


def _at(volume, change):
    return volume[change.channels][:, change.voxels[0], change.voxels[1]]


def grain_left(
    method: Method, parts: np.ndarray, voxels: tuple[np.ndarray, np.ndarray], pattern: np.ndarray
) -> tuple[float, float]:
    """Shares of the intensity and of the peak height that a method leaves of a grain it was not told of.

    Parameters
    ----------
    method
        Run with the grain and without it.
    parts
        Shape (n_channels, K, n_y, n_x).
    voxels
        Rows and columns of the grain.
    pattern
        What the grain adds, shape (n_channels,), non-negative.
    """
    added = method(plant_grain(parts, voxels, pattern)) - method(parts)
    return shares_of(added[:, voxels[0], voxels[1]].mean(axis=1), pattern)


def shares_of(there: np.ndarray, pattern: np.ndarray) -> tuple[float, float]:
    """Shares of a pattern's intensity and peak height that are there, both of shape (n_channels,)."""
    peaks = pattern > FOOT * pattern.max()
    return float(there[peaks].sum() / pattern[peaks].sum()), float(there[pattern.argmax()] / pattern.max())


def shift_left(method: Method, parts: np.ndarray, patch: np.ndarray, shift: float) -> float:
    """Share of a local shift of all peaks along q that is left after a method: 1 is right, 0 is the common position.

    The change of the patch's mean pattern is compared with the change of the same pattern in the parts themselves.
    """
    planted = plant_shift(parts, patch, shift)
    expected = (planted - parts)[:, :, patch].mean(axis=(1, 2))
    found = (method(planted) - method(parts))[:, patch].mean(axis=1)
    return float(found @ expected / (expected @ expected))


def passes_grain(left: tuple[float, float]) -> bool:
    """Whether enough of the planted grain is left."""
    return left[0] >= SMALLEST_INTENSITY and left[1] >= SMALLEST_PEAK

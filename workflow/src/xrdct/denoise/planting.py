"""Something known, planted into the parts of a scan where it has room: what the gates look for afterwards."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter1d

from .guard import PEAK, SPOT
from .scaling import Scales, noise_map

STRENGTH = 8.0
"""Standard deviations by which a planted grain stands out, taken over its voxels and channels: plain to the eye."""
GRAINS = 3
"""Grains planted, each in channels of its own: the mean of their shares is judged."""
SHIFT, RADIUS, LINE = 0.5, 6, 6
"""Channels that a disc of so many pixels is shifted by, in the channels to this side and that of one line."""


@dataclass(frozen=True)
class Change:
    """What is planted at a few voxels."""

    voxels: tuple[np.ndarray, np.ndarray]
    """Rows and columns."""
    channels: slice
    added: np.ndarray
    """To every part, shape (channels, K, voxels)."""


class Planted:
    """Parts with something planted, read like an array; the planted alone is in memory."""

    def __init__(self, parts, changes: list[Change]):
        self.parts, self.changes, self.shape = parts, changes, parts.shape

    def __len__(self) -> int:
        return len(self.parts)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self[:], dtype=dtype)

    def __getitem__(self, key) -> np.ndarray:
        """One channel, or slices of channels and, third, of rows."""
        if isinstance(key, tuple):
            chosen, rows = key[0], key[2]
        else:
            chosen, rows = key, slice(None)
        channels = slice(chosen, chosen + 1) if isinstance(chosen, (int, np.integer)) else chosen
        start, stop, _ = channels.indices(len(self))
        first, last, _ = rows.indices(self.shape[2])
        values = np.array(self.parts[start:stop, :, first:last])
        for change in self.changes:
            low, high = max(start, change.channels.start), min(stop, change.channels.stop)
            here = (change.voxels[0] >= first) & (change.voxels[0] < last)
            if low < high and here.any():
                added = change.added[low - change.channels.start : high - change.channels.start][:, :, here]
                values[low - start : high - start, :, change.voxels[0][here] - first, change.voxels[1][here]] += added
        return values if channels is chosen else values[0]


@dataclass(frozen=True)
class Trials:
    """Grains and a shift, planted where the scan has room for them."""

    grains: tuple[Change, ...]
    shift: Change

    @property
    def changes(self) -> list[Change]:
        return [*self.grains, self.shift]

    def around(self, margin: int, n_channels: int) -> list[slice]:
        """Windows of channels that a method must denoise: what is planted, and `margin` on either side."""
        windows: list[slice] = []
        for change in sorted(self.changes, key=lambda change: change.channels.start):
            start, stop = max(0, change.channels.start - margin), min(n_channels, change.channels.stop + margin)
            if windows and start <= windows[-1].stop:
                windows[-1] = slice(windows[-1].start, max(stop, windows[-1].stop))
            else:
                windows.append(slice(start, stop))
        return windows


def plan_trials(parts, volume: np.ndarray, scales: Scales, inside: np.ndarray) -> Trials | None:
    """Where to plant on a scan, and what.

    Grains go where their channels are emptiest, to either side of the middle; the shift goes to a disc where
    the slopes of the denoised patterns are stronger than in three quarters of the voxels, at the line that has the most
    of them.

    Parameters
    ----------
    parts
        Shape (n_channels, K, n, n).
    volume
        Denoised, shape (n_channels, n, n).

    Returns
    -------
    Trials or None
        None for a scan of too few channels to have an empty one.
    """
    half = PEAK.size // 2
    noise = np.where(np.isfinite(scales.noise) & (scales.noise > 0), scales.noise, np.nan)
    contrast = np.array([np.std(image[inside]) for image in volume]) / noise
    room = np.convolve(contrast, np.ones(PEAK.size) / PEAK.size, mode="same")  # NaN only around NaN
    room[:half], room[-half:] = np.nan, np.nan
    if np.isfinite(room).sum() < GRAINS * PEAK.size:
        return None
    slopes = np.gradient(volume, axis=0) / noise[:, None, None]
    shift = _plan_shift(parts, np.nan_to_num(slopes), inside)
    n, grains = volume.shape[1], []
    for k in range(GRAINS):
        if not np.isfinite(room).any():
            break
        centre = int(np.nanargmin(room))
        room[max(0, centre - 2 * half) : centre + 2 * half + 1] = np.nan
        angle = 2 * np.pi * (k + 0.1) / GRAINS
        row, column = int(n / 2 + 0.22 * n * np.sin(angle)), int(n / 2 + 0.22 * n * np.cos(angle))
        voxels = np.array([row, row, row + 1]), np.array([column, column + 1, column + 1])
        channels = slice(centre - half, centre + half + 1)
        pattern = _height(np.asarray(parts[channels]), voxels) * PEAK
        added = np.broadcast_to(pattern[:, None, None], (PEAK.size, parts.shape[1], 3)).astype(np.float32)
        grains.append(Change(voxels, channels, added))
    return Trials(tuple(grains), shift)


def _height(parts, voxels):
    """Of a grain's peak, from the noise of the channels around and of an average over its voxels."""
    shape = np.zeros(parts.shape[2:])
    shape[voxels] = 1
    middle = voxels[0][1], voxels[1][1]
    noise = np.array([noise_map(gaussian_filter(values, SPOT, axes=(1, 2)))[middle] for values in parts])
    return STRENGTH / (gaussian_filter(shape, SPOT)[middle] * np.sqrt(((PEAK / noise) ** 2).sum()))


def _plan_shift(parts, slopes, inside):
    energy = gaussian_filter((slopes**2).sum(axis=0), RADIUS / 2)
    n = energy.shape[0]
    y, x = np.mgrid[:n, :n]
    deep = inside & (np.hypot(y - (n - 1) / 2, x - (n - 1) / 2) < n / 2 - RADIUS - 1)
    level = np.percentile(energy[deep], 75)
    row, column = np.unravel_index(np.where(deep, np.abs(energy - level), np.inf).argmin(), energy.shape)
    patch = np.hypot(y - row, x - column) <= RADIUS
    strong = uniform_filter1d((slopes[:, patch] ** 2).sum(axis=1), 2 * LINE + 1, mode="constant")
    centre = int(np.clip(strong.argmax(), LINE, max(LINE, len(slopes) - LINE - 1)))
    channels = slice(max(0, centre - LINE), min(len(slopes), centre + LINE + 1))
    own = np.asarray(parts[channels])
    return Change(np.nonzero(patch), channels, np.nan_to_num((plant_shift(own, patch, SHIFT) - own)[:, :, patch]))


def plant_grain(parts: np.ndarray, voxels: tuple[np.ndarray, np.ndarray], pattern: np.ndarray) -> np.ndarray:
    """Parts with a pattern (n_channels,) added at a few voxels (rows, columns), in all parts alike."""
    planted = np.array(parts)
    planted[:, :, voxels[0], voxels[1]] += pattern[:, None, None].astype(planted.dtype)
    return planted


def plant_shift(parts: np.ndarray, patch: np.ndarray, shift: float) -> np.ndarray:
    """Parts whose patterns in `patch` (n_y, n_x, bool) are moved by `shift` channels, linearly interpolated."""
    planted = np.array(parts)
    here = np.arange(len(parts)) - shift
    low = np.clip(np.floor(here).astype(int), 0, len(parts) - 2)
    weight = np.clip(here - low, 0, 1)[:, None, None]
    values = np.asarray(parts)[:, :, patch]
    planted[:, :, patch] = (1 - weight) * values[low] + weight * values[low + 1]
    return planted

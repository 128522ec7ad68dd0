"""A wound cell, unrolled: not circle by circle, but along its spiral, so that position along the tape is an axis.

A tape of even thickness, wound up, is an Archimedean spiral: in polar coordinates (azimuth φ counter-clockwise from +x,
radius r) a layer lies at ``r = r₀ + p·(hφ/2π + n)``, with the pitch p, the sense h = ±1 and the number n of the turn.
Real cells are out of round, and dented where tabs lie. So the spiral is found in three steps: pitch and sense as the
strongest wave along r; how far out it lies at each azimuth as that wave's phase; and then the layer itself,
followed turn after turn as the brightest path that bends little (dynamic programming).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, gaussian_filter1d, label, map_coordinates

from .circle import Circle
from .errors import GeometryError

STEP = 0.25
"""Radial sampling, pixels."""
AZIMUTHS = 720
HARMONICS = (1, 2, 3)
"""A thin foil is a sharp wave: its overtones tell one pitch from its half."""
BEND = 0.5
"""Price of a step of one sample (`STEP`) from azimuth to azimuth, in units of the layer's contrast."""
REACH = 2
"""Samples that a path may step from azimuth to azimuth."""


@dataclass(frozen=True)
class Spiral:
    """A layer from its inner to its outer end."""

    circle: Circle
    """Centre of the azimuths."""
    sense: int
    """+1: outwards counter-clockwise; −1: outwards clockwise."""
    turns: np.ndarray
    """2π × number of turns since the azimuth 0, ascending evenly; the azimuth is sense · turns."""
    radius: np.ndarray
    """Pixels, of each."""
    pitch: float
    """Mean distance of two turns, pixels."""

    @property
    def rows(self) -> np.ndarray:
        return self.circle.row - self.radius * np.sin(self.sense * self.turns)

    @property
    def columns(self) -> np.ndarray:
        return self.circle.column + self.radius * np.cos(self.turns)

    @property
    def along(self) -> np.ndarray:
        """Length of the tape from its inner end, pixels."""
        return np.r_[0.0, np.cumsum(np.hypot(np.diff(self.rows), np.diff(self.columns)))]

    def outwards(self) -> np.ndarray:
        """Distance to the next turn at every point; where there is none, as at the last point that has one."""
        beyond = np.interp(self.turns + 2 * np.pi, self.turns, self.radius, right=np.nan) - self.radius
        known = np.isfinite(beyond)
        return (
            np.interp(self.turns, self.turns[known], beyond[known]) if known.any() else np.full_like(beyond, self.pitch)
        )


def polar(image: np.ndarray, circle: Circle, radii: np.ndarray) -> np.ndarray:
    """An image at radii (pixels) × evenly spaced azimuths, shape (AZIMUTHS, radii); NaN outside the image."""
    azimuth = np.arange(AZIMUTHS)[:, None] * 2 * np.pi / AZIMUTHS
    return _sample(image, circle.row - radii * np.sin(azimuth), circle.column + radii * np.cos(azimuth))


def find_spiral(
    image: np.ndarray, circle: Circle, *, pitch_px: tuple[float, float], radius_px: tuple[float, float]
) -> Spiral:
    """Follow the bright layer of an image from its inner to its outer end.

    Parameters
    ----------
    image
        Map in which the layer is bright, (y, x); NaN counts as 0.
    circle
        Its centre is the cell's, within a few pixels.
    pitch_px
        Between which values the pitch lies; pixels.
    radius_px
        Between which radii the layer is looked for; pixels.

    Raises
    ------
    GeometryError
        When the range holds less than a turn.
    """
    if radius_px[1] - radius_px[0] < 1.5 * pitch_px[0]:
        raise GeometryError(
            f"a spiral needs more than a turn: radii {radius_px[0]:.1f}–{radius_px[1]:.1f} px, "
            f"pitch {pitch_px[0]:.1f} px"
        )
    radii = np.arange(*radius_px, STEP)
    wound = polar(np.nan_to_num(np.asarray(image, dtype=float)), circle, radii)
    wound = np.nan_to_num(wound)
    wave = wound - gaussian_filter1d(wound, 0.5 * pitch_px[1] / STEP, axis=1)
    pitch, sense = _pitch_and_sense(wave, radii, pitch_px)
    wave = wave[(sense * np.arange(AZIMUTHS)) % AZIMUTHS]  # from here on azimuths ascend with the turns
    turns, guess = _round_spiral(wave, radii, pitch)
    contrast = wave / max(np.percentile(wave, 95), np.finfo(float).tiny)
    for _ in range(3):
        path, brightness = _follow(contrast, radii, guess, turns, pitch)
        guess = gaussian_filter1d(path, AZIMUTHS / 40)
    path = gaussian_filter1d(path, AZIMUTHS / 120)
    used = _between_ends(brightness, turns)
    turns, path = turns[used], path[used]
    beyond = path[AZIMUTHS:] - path[:-AZIMUTHS]
    return Spiral(circle, sense, turns, path, float(np.mean(beyond)) if beyond.size else pitch)


def straighten(image: np.ndarray, spiral: Spiral, *, depth: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """An image (y, x) along the tape.

    Parameters
    ----------
    image
        Any map on the grid in which the spiral was found.
    spiral
        From `find_spiral`.
    depth
        Rows of the result; None: two per pixel of the pitch.

    Returns
    -------
    tuple
        The image (depth, along), from the layer (row 0) outwards to its next turn, one column per pixel of the tape;
        and the position along the tape of every column, pixels. NaN outside the image.
    """
    rows = depth or int(np.ceil(2 * spiral.pitch))
    length = spiral.along
    along = np.arange(0, length[-1], 1.0)
    turns = np.interp(along, length, spiral.turns)
    radius = np.interp(turns, spiral.turns, spiral.radius)
    share = (np.arange(rows) + 0.5)[:, None] / rows
    place = radius + share * np.interp(turns, spiral.turns, spiral.outwards())
    azimuth = spiral.sense * turns
    return _sample(
        image, spiral.circle.row - place * np.sin(azimuth), spiral.circle.column + place * np.cos(azimuth)
    ), along


def _sample(image, rows, columns):
    return map_coordinates(np.asarray(image, dtype=float), [rows, columns], order=1, cval=np.nan)


def _pitch_and_sense(wave, radii, pitch_px):
    """The pitch whose wave along r is strongest over all azimuths, overtones counted, and the sense of its winding.

    Azimuths are not added up: out of round, they would not be in phase. Once around the cell the phase of a spiral's
    wave turns once, whatever its shape; a half pitch turns twice, and rings do not turn.
    """
    # Two pitches are told apart when their waves differ by a part of a turn over the whole range.
    count = int(np.ceil(16 * np.ptp(radii) * (1 / pitch_px[0] - 1 / pitch_px[1]))) + 2
    pitches = 1 / np.linspace(1 / pitch_px[0], 1 / pitch_px[1], count)
    power = [sum(np.abs(_wave_at(wave, radii, pitch / k)).mean() for k in HARMONICS) for pitch in pitches]
    for k in np.argsort(power)[::-1]:
        around = np.diff(np.unwrap(np.angle(_wave_at(wave, radii, pitches[k])[np.r_[:AZIMUTHS, 0]])))
        winding = int(np.round(around.sum() / (2 * np.pi)))
        if abs(winding) == 1:
            return float(pitches[k]), -winding
    raise GeometryError(
        f"no spiral of a pitch of {pitch_px[0]:.1f}–{pitch_px[1]:.1f} px is in the image: choose another range or layer"
    )


def _wave_at(wave, radii, pitch):
    """Strength and phase of a wave along r at every azimuth, smooth over a few degrees, complex (azimuth,)."""
    found = wave @ np.exp(-2j * np.pi * radii / pitch)
    width = AZIMUTHS / 72
    return gaussian_filter1d(found.real, width, mode="wrap") + 1j * gaussian_filter1d(found.imag, width, mode="wrap")


def _round_spiral(wave, radii, pitch):
    """Turns and radii of the spiral, out of round as the phase of its wave says."""
    one_turn = -np.unwrap(np.angle(_wave_at(wave, radii, pitch))) * pitch / (2 * np.pi)
    first = int(np.floor((radii[0] - one_turn.max()) / pitch))
    last = int(np.ceil((radii[-1] - one_turn.min()) / pitch)) + 1
    turns = np.arange((last - first) * AZIMUTHS) * 2 * np.pi / AZIMUTHS
    radius = np.concatenate([one_turn + pitch * k for k in range(first, last)])
    start, stop = np.flatnonzero((radius >= radii[0]) & (radius <= radii[-1]))[[0, -1]]
    return turns[start : stop + 1], radius[start : stop + 1]


def _follow(contrast, radii, guess, turns, pitch):
    """The brightest path within half a pitch of a guess that bends little, and the layer's contrast along it.

    Viterbi's algorithm: every point takes the cheapest way from the points before it that are at most `REACH` away.
    """
    half = int(0.5 * pitch / STEP)
    offsets = np.arange(-half, half + 1) * STEP
    rows = np.round(turns * AZIMUTHS / (2 * np.pi)).astype(int) % AZIMUTHS
    places = (guess[:, None] + offsets - radii[0]) / STEP
    seen = map_coordinates(contrast, [np.broadcast_to(rows[:, None], places.shape), places], order=1, cval=0.0)
    price = np.concatenate([[np.inf] * REACH, np.zeros(offsets.size), [np.inf] * REACH])
    steps = np.arange(-REACH, REACH + 1)
    came = np.zeros(seen.shape, dtype=int)
    for k, row in enumerate(seen):
        ways = np.stack([price[REACH + d : REACH + d + offsets.size] + BEND * d**2 for d in steps])
        came[k] = steps[ways.argmin(axis=0)]
        price[REACH:-REACH] = ways.min(axis=0) - row
    chosen = np.empty(len(seen), dtype=int)
    chosen[-1] = price[REACH:-REACH].argmin()
    for k in range(len(seen) - 1, 0, -1):
        chosen[k - 1] = chosen[k] + came[k][chosen[k]]
    return guess + offsets[chosen] + _peak(seen, chosen) * STEP, seen[np.arange(len(seen)), chosen]


def _peak(seen, chosen):
    """Where, in samples from the chosen one, the parabola through it and its neighbours is highest."""
    inner = np.clip(chosen, 1, seen.shape[1] - 2)
    row = np.arange(len(seen))
    before, at, after = (seen[row, inner + d] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((bend < 0) & (inner == chosen), np.clip((before - after) / (2 * bend), -1, 1), 0.0)


def _between_ends(brightness, turns):
    """The longest stretch where the layer is seen, over gaps of up to a quarter of a turn (a tab, a patch)."""
    smooth = gaussian_filter1d(brightness, AZIMUTHS / 60)
    gap = AZIMUTHS // 8
    there = binary_closing(np.pad(smooth > 0.35 * np.median(smooth), gap), np.ones(2 * gap))[gap:-gap]
    parts, count = label(there)
    if not count:
        raise GeometryError("no spiral can be followed: choose another layer, or other radii")
    longest = np.bincount(parts)[1:].argmax() + 1
    start, stop = np.flatnonzero(parts == longest)[[0, -1]]
    return slice(start, stop + 1)

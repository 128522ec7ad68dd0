"""A casing and a spiral that were drawn, and real cells: centre, sense, ends, and the layer's own line."""

import gzip
import io

import numpy as np
import pytest
import tifffile

from xrdct.circle import find_casing
from xrdct.errors import GeometryError
from xrdct.figures import colour, new_figure, save_figure
from xrdct.unroll import find_spiral, straighten

CENTRE, INNER, PITCH, TURNS = (112.3, 107.1), 18.0, 11.0, 6.3


def layer_radius(turns):
    """A spiral out of round by 2 px, as function of 2π × turns."""
    return INNER + PITCH * turns / (2 * np.pi) + 2.0 * np.cos(2 * turns + 0.4)


CASING = float(layer_radius(2 * np.pi * TURNS)) + 12


def drawn(sense, *, noise=0.15, companion=False):
    """A layer of 2.8 px (FWHM), along which a mark rises, inside a casing."""
    row, column = np.indices((220, 220), dtype=float)
    y, x = CENTRE[0] - row, column - CENTRE[1]
    radius, turn = np.hypot(x, y), (sense * np.arctan2(y, x)) % (2 * np.pi)
    image = np.zeros(row.shape)
    for k in range(int(TURNS) + 1):
        turns = turn + 2 * np.pi * k
        image += np.exp(-(((radius - layer_radius(turns)) / 1.2) ** 2) / 2) * (turns <= 2 * np.pi * TURNS)
    rings = [CASING, CASING - 5] if companion else [CASING]
    image += sum(3 * np.exp(-(((radius - one) / 1.3) ** 2) / 2) for one in rings)
    return image + np.random.default_rng(0).normal(0, noise, image.shape)


def off_the_line(spiral, sense):
    """Distance in radius of every point found from the planted line, about the planted centre; pixels."""
    y, x = CENTRE[0] - spiral.rows, spiral.columns - CENTRE[1]
    radius, turn = np.hypot(x, y), (sense * np.arctan2(y, x)) % (2 * np.pi)
    return np.min([np.abs(radius - layer_radius(turn + 2 * np.pi * k)) for k in range(int(TURNS) + 1)], axis=0)


def test_the_casing_is_found_to_a_fraction_of_a_pixel():
    row, column, radius = find_casing(drawn(1))
    # 720 azimuths of a wall with a signal-to-noise ratio of 20 leave hundredths of a pixel.
    assert np.hypot(row - CENTRE[0], column - CENTRE[1]) < 0.05
    assert radius == pytest.approx(CASING, abs=0.05)


def test_of_two_rings_the_outer_one_is_the_casing():
    row, column, radius = find_casing(drawn(1, companion=True))
    assert np.hypot(row - CENTRE[0], column - CENTRE[1]) < 0.1
    assert radius == pytest.approx(CASING, abs=0.3)  # the companion, 5 px farther in, is a sixth of the valley


@pytest.mark.parametrize("sense", [1, -1])
def test_the_layer_is_followed_within_half_a_pixel_over_all_its_turns(sense):
    image = drawn(sense)
    spiral = find_spiral(image, find_casing(image), pitch_px=(7, 20), radius_px=(12, CASING - 6))
    assert spiral.sense == sense
    assert np.ptp(spiral.turns) / (2 * np.pi) == pytest.approx(TURNS, abs=0.05)
    assert spiral.pitch == pytest.approx(PITCH, abs=0.1)
    off = off_the_line(spiral, sense)
    assert np.percentile(off, 98) < 0.5  # the mark; within a degree or two of its ends a layer has no line
    assert np.sqrt(np.mean(off[20:-20] ** 2)) < 0.2


def test_the_tape_is_as_long_as_the_planted_spiral():
    image = drawn(1)
    spiral = find_spiral(image, find_casing(image), pitch_px=(7, 20), radius_px=(12, CASING - 6))
    turns = np.linspace(0, 2 * np.pi * TURNS, 20000)
    line = layer_radius(turns) * np.exp(1j * turns)
    assert spiral.along[-1] == pytest.approx(np.abs(np.diff(line)).sum(), rel=0.01)


def test_what_is_planted_along_the_tape_comes_out_along_it():
    image = drawn(1, noise=0.02)
    spiral = find_spiral(image, find_casing(image), pitch_px=(7, 20), radius_px=(12, CASING - 6))
    row, column = np.indices(image.shape, dtype=float)
    azimuth = np.degrees(np.arctan2(CENTRE[0] - row, column - CENTRE[1])) % 360
    strips, along = straighten(((azimuth > 80) & (azimuth < 100)).astype(float), spiral, depth=8)
    starts = np.flatnonzero(np.diff((strips[0] > 0.5).astype(int)) == 1)
    # One mark per turn; their distances along the tape are the lengths of the turns in between.
    assert len(starts) in (6, 7)
    turn = np.interp(along[starts], spiral.along, spiral.turns) / (2 * np.pi)
    assert np.diff(turn) == pytest.approx(1.0, abs=0.03)
    layer, _ = straighten(image, spiral, depth=22)
    assert np.nanmean(layer[0]) > 0.8 * np.nanmax(np.nanmean(layer, axis=1))
    assert np.nanmean(layer[8:14]) < 0.1  # between the turns there is nothing: the layers are straight


def test_a_range_without_a_spiral_is_refused():
    with pytest.raises(GeometryError, match="more than a turn"):
        find_spiral(np.zeros((50, 50)), find_casing(drawn(1)), pitch_px=(10, 20), radius_px=(10, 12))


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["im_1", "im_2"])
def test_real_cells_unroll(real_data, name, pictures):
    packed = (real_data / "battery_cylindrical_xct" / f"{name}.tif.gz").read_bytes()
    image = tifffile.imread(io.BytesIO(gzip.decompress(packed))).astype(float)
    casing = find_casing(image)
    edge = image[round(casing.row), round(casing.column + casing.radius)]
    assert edge > np.percentile(image, 90)  # the circle runs in the bright wall
    spiral = find_spiral(image, casing, pitch_px=(8, 20), radius_px=(0.25 * casing.radius, 0.95 * casing.radius))
    assert np.ptp(spiral.turns) / (2 * np.pi) > 15
    strips, _ = straighten(image, spiral, depth=20)
    # Straight layers: row by row the same brightness along the tape, and bright rows beside dark ones.
    rows = np.nanmean(strips, axis=1)
    assert np.ptp(rows) > 3 * np.median(np.abs(strips - rows[:, None]))
    save_figure(picture(image, spiral, strips), pictures / f"unrolled_{name}.png")


def picture(image, spiral, strips):
    """A slice with the layer that was followed, and the slice along it, in pieces of one length."""
    pieces = np.array_split(np.arange(strips.shape[1]), 6)
    figure, axes = new_figure(11, 15, rows=1 + len(pieces), heights=[8] + [1] * len(pieces))
    limits = dict(zip(("vmin", "vmax"), np.percentile(image, (1, 99)), strict=True))
    axes[0].imshow(image, cmap="gray", interpolation="nearest", **limits)
    axes[0].plot(spiral.columns, spiral.rows, color=colour(1), lw=0.7)
    axes[0].set_title(
        f"{np.ptp(spiral.turns) / (2 * np.pi):.1f} turns, pitch {spiral.pitch:.2f} px, sense {spiral.sense:+d}"
    )
    for axis, piece in zip(axes[1:], pieces, strict=True):
        extent = [piece[0], piece[-1] + 1, 1, 0]
        axis.imshow(strips[:, piece], extent=extent, aspect="auto", cmap="gray", interpolation="nearest", **limits)
        axis.set(ylabel="turn", yticks=[0, 1])
    axes[-1].set_xlabel("along the layer from its inner end (pixels)")
    return figure


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["im010", "im050"])
def test_casings_of_real_cells_beyond_the_roll_are_found(real_data, name):
    packed = (real_data / "battery_cylindrical_xct" / f"{name}.tif.gz").read_bytes()
    image = tifffile.imread(io.BytesIO(gzip.decompress(packed))).astype(float)
    casing = find_casing(image)
    rows, columns = np.nonzero(image > 0.3 * image.max())
    middle = (np.ptp(rows) / 2 + rows.min(), np.ptp(columns) / 2 + columns.min())
    # These slices cut the crimped rim: wall thickness varies around, and with it the middle of the wall.
    assert np.hypot(casing.row - middle[0], casing.column - middle[1]) < 5

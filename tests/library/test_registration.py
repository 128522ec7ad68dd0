"""Two maps of one cell, one of them turned and shifted: the motion that was planted, and an honest error."""

import numpy as np
import pytest

from xrdct.errors import GeometryError
from xrdct.registration import Motion, register, resample


def roll(n, motion=(0.0, 0.0, 0.0), *, charge=0.0, noise=0.1, seed=0):
    """A jelly roll with casing and tab, drawn (not interpolated) as the moving image of a motion shows it.

    `charge` makes the layers brighter and darker around the cell, which a rigid motion cannot explain.
    """
    angle, middle = np.radians(motion[0]), (n - 1) / 2
    row, column = np.indices((n, n), dtype=float)
    row, column = row - middle - motion[1], column - middle - motion[2]
    x = (-np.sin(angle) * row + np.cos(angle) * column) / (n / 2) - 0.03
    y = -(np.cos(angle) * row + np.sin(angle) * column) / (n / 2) + 0.02
    radius, azimuth = np.hypot(x, y), np.arctan2(y, x)
    winding = (radius - 0.1) / 0.2 - azimuth / (2 * np.pi)
    layers = 1.5 * np.exp(-(((winding - np.floor(winding) - 0.5) / 0.15) ** 2)) * (radius < 0.8) * (radius > 0.15)
    image = layers * (1 + charge * np.sin(3 * azimuth)) + 2 * np.exp(-(((radius - 0.9) / 0.03) ** 2))
    image += 3 * np.exp(-((x - 0.3) ** 2 + (y - 0.5) ** 2) / 0.002)
    return image + np.random.default_rng(seed).normal(0, noise, (n, n))


def worst_place(found, planted, n):
    """How far any pixel inside the cell is put from where it belongs, pixels."""
    row, column = np.indices((n, n)) - (n - 1) / 2
    off = np.hypot(*(found.places((n, n)) - Motion(*planted).places((n, n))))
    return off[np.hypot(row, column) < 0.45 * n].max()


@pytest.mark.parametrize("motion", [(3.3, 1.7, -2.4), (-7.1, -4.2, 3.9), (0.2, 0.3, -0.4), (15.0, 6.0, 5.0)])
def test_planted_rotations_and_shifts_come_back_within_a_fifth_of_a_pixel(motion):
    n = 120
    found = register(roll(n, motion, charge=0.05, seed=1), roll(n))
    assert worst_place(found.motion, motion, n) < 0.2  # the mark
    assert found.residual_px < 0.2


def test_large_images_are_found_as_well_as_small_ones():
    n, motion = 400, (-8.0, -21.0, 13.5)
    found = register(roll(n, motion, seed=1), roll(n))
    assert worst_place(found.motion, motion, n) < 0.2


def test_the_stated_error_is_that_of_repeated_measurements():
    n, motion = 64, (2.0, 0.6, -1.3)
    found = [register(roll(n, motion, noise=0.5, seed=k), roll(n, noise=0.0), max_rotation_deg=3) for k in range(1, 17)]
    row, column = np.indices((n, n)) - (n - 1) / 2
    at_radius = np.abs(np.hypot(row, column) - 0.4 * n) < 1
    off = [np.hypot(*(f.motion.places((n, n)) - Motion(*motion).places((n, n))))[at_radius] for f in found]
    scatter = np.sqrt(np.mean(np.square(off)))
    stated = np.median([f.error_px for f in found])
    # 16 repetitions know a scatter to 18 %; the noise here is a third of the layers' height, and turns are barely seen.
    assert 0.5 < stated / scatter < 2


def test_what_does_not_move_rigidly_shows_in_the_residual():
    n = 96
    fixed, moving = roll(n, noise=0.02), roll(n, noise=0.02, seed=1)
    moving[:, n // 2 :] = roll(n, (0.0, 1.5, 0.0), noise=0.02, seed=1)[:, n // 2 :]
    # Halves that lie 1.5 px apart are each 0.75 px from the best common place.
    assert register(moving, fixed).residual_px == pytest.approx(0.75, abs=0.25)
    assert register(roll(n, noise=0.02, seed=1), fixed).residual_px < 0.05


def test_resampling_undoes_the_motion_and_leaves_holes_open():
    n, motion = 120, (5.0, 2.3, -1.4)
    image = roll(n, motion, noise=0.0)
    image[50:60, 50:60] = np.nan
    seen = resample(image, Motion(*motion))
    fixed = roll(n, noise=0.0)
    inside = np.isfinite(seen)
    # Linear interpolation takes up to about a tenth off foils of 2 px width.
    assert np.sqrt(np.mean((seen - fixed)[inside] ** 2)) < 0.06 * fixed.max()
    assert np.isnan(seen[55, 50:58]).any()
    assert np.isnan(seen[0, 0]) or np.isnan(seen[-1, 0])


def test_a_motion_of_nothing_changes_nothing():
    image = roll(32).astype(np.float32)
    assert resample(image, Motion()) is image


def test_maps_that_cannot_be_compared_are_refused():
    with pytest.raises(GeometryError, match="one shape"):
        register(np.ones((4, 4)), np.ones((5, 5)))
    with pytest.raises(GeometryError, match="contrast"):
        register(np.ones((8, 8)), roll(8))

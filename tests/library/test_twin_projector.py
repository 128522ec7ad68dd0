"""The twin's projector against closed forms."""

import numpy as np
import pytest

from xrdct.geometry import lateral_position
from xrdct.twin.cell import box_mean
from xrdct.twin.projector import project

ANGLES = np.array([0, 13, 45, 90, 127.5, 180, 301])


def disc(n, voxel, *, radius, x, y, points=8):
    """Share of each voxel that a disc covers, [y, x, 1]."""
    along = ((np.arange(n * points) + 0.5) / (n * points) - 0.5) * n * voxel
    inside = np.hypot(along[None, :] - x, along[::-1][:, None] - y) <= radius
    return box_mean(inside, points)[:, :, None]


def chord_mean(t, step, radius):
    """Mean of 2 sqrt(R² − t²) over columns of width `step` centred on t: difference of the antiderivative."""

    def antiderivative(t):
        t = np.clip(t, -radius, radius)
        return t * np.sqrt(radius**2 - t**2) + radius**2 * np.arcsin(t / radius)

    return (antiderivative(t + step / 2) - antiderivative(t - step / 2)) / step


def test_a_disc_projects_to_its_chords():
    n, step, voxel, cor, radius, x, y = 40, 0.1, 0.01, 21.3, 1.1, 0.3, -0.2
    maps = disc(400, voxel, radius=radius, x=x, y=y)
    found = project(maps, voxel=voxel, angles=ANGLES, cor=cor, n_positions=n, step=step)[:, :, 0]
    for angle, row in zip(ANGLES, found, strict=True):
        t = (np.arange(n) - cor) * step - lateral_position(x, y, angle)
        # Voxels of 0.01 mm blur the rim: up to 0.004 of 2.2 mm in the outermost column.
        np.testing.assert_allclose(row, chord_mean(t, step, radius), atol=0.004)


def test_a_voxel_follows_its_sinusoid():
    step, cor, n = 0.05, 30.6, 64
    maps = np.zeros((21, 21, 1))
    maps[4, 17] = 1
    x, y = (17 - 10) * 0.1, (10 - 4) * 0.1  # row 0 is the largest y
    angles = np.arange(0, 360, 7.0)
    found = project(maps, voxel=0.1, angles=angles, cor=cor, n_positions=n, step=step)[:, :, 0]
    centroid = (found @ np.arange(n)) / found.sum(axis=1)
    # Columns half a voxel wide sample the shadow's edges; its centroid is off by less than 0.03 of a column.
    np.testing.assert_allclose(centroid, cor + lateral_position(x, y, angles) / step, atol=0.03)


def test_no_matter_is_lost_at_any_angle():
    rng = np.random.default_rng(1)
    maps = rng.random((12, 15, 3))
    found = project(maps, voxel=0.07, angles=np.arange(0, 360, 11.0), cor=19.2, n_positions=40, step=0.05)
    total = np.broadcast_to(maps.sum(axis=(0, 1)) * 0.07**2, (found.shape[0], 3))
    np.testing.assert_allclose(found.sum(axis=1) * 0.05, total, rtol=1e-12)


def test_at_right_angles_the_projection_is_a_sum_along_rows_or_columns():
    maps = np.random.default_rng(2).random((9, 9, 2))
    found = project(maps, voxel=0.1, angles=np.array([0, 90, 180]), cor=4, n_positions=9, step=0.1)
    along_y, along_x = maps.sum(axis=0) * 0.1, maps.sum(axis=1) * 0.1
    np.testing.assert_allclose(found[0], along_y, rtol=1e-9)
    np.testing.assert_allclose(found[1], along_x[::-1], rtol=1e-9)  # t = y, and y falls with the row
    np.testing.assert_allclose(found[2], along_y[::-1], rtol=1e-9)


def test_moving_the_axis_by_one_column_moves_the_sinogram_by_one_column():
    maps = np.random.default_rng(3).random((8, 8, 1))
    here, there = (project(maps, voxel=0.1, angles=ANGLES, cor=cor, n_positions=24, step=0.1) for cor in (10.3, 11.3))
    np.testing.assert_allclose(there[:, 1:], here[:, :-1], atol=1e-12)


def test_what_lies_outside_the_lines_is_not_measured():
    maps = np.random.default_rng(4).random((30, 30, 1))
    wide = project(maps, voxel=0.1, angles=ANGLES, cor=30, n_positions=61, step=0.1)
    narrow = project(maps, voxel=0.1, angles=ANGLES, cor=5, n_positions=11, step=0.1)
    np.testing.assert_allclose(narrow, wide[:, 25:36], atol=1e-12)


@pytest.mark.parametrize("angle", [1e-9, 90 - 1e-9, 45])
def test_shadows_are_whole_where_the_trapezoid_degenerates(angle):
    maps = np.ones((1, 1, 1))
    found = project(maps, voxel=1.0, angles=np.array([angle]), cor=3, n_positions=7, step=0.5)
    assert found.sum() * 0.5 == pytest.approx(1, rel=1e-9)
    assert found.max() == pytest.approx(1 if angle != 45 else 2**0.5 - 0.25, rel=1e-6)  # mean of the triangle's top

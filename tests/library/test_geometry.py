"""The axes and signs of `geometry` against ASTRA, against turned images, and against what the words say."""

import astra
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from xrdct import geometry

N = 65
ROW, COLUMN = 14, 47  # right of the axis (x = +15) and above it (y = +18)
OMEGAS = [0.0, 30.0, 90.0, 137.0, 180.0, 251.0]


def blob_map():
    """A small Gaussian at [ROW, COLUMN]."""
    rows, columns = np.mgrid[:N, :N]
    return np.exp(-((rows - ROW) ** 2 + (columns - COLUMN) ** 2) / (2 * 1.5**2))


def blob_position():
    """x and y in pixels of that Gaussian, by the words of `geometry`: columns along +x, rows against +y."""
    axis = geometry.pixel_centres(N, 1.0)
    return axis[COLUMN], axis[::-1][ROW]


def centre_of_mass(projection):
    return projection @ geometry.pixel_centres(projection.size, 1.0) / projection.sum()


@pytest.mark.parametrize("omega", OMEGAS)
def test_a_point_projects_where_astras_projector_puts_it(omega):
    volume = astra.create_vol_geom(N, N)
    rays = astra.create_proj_geom("parallel", 1.0, N, np.radians([omega]))
    projector = astra.create_projector("linear", rays, volume)
    identifier, sinogram = astra.create_sino(blob_map(), projector)
    astra.data2d.delete(identifier)
    astra.projector.delete(projector)
    # The grid of ASTRA's linear interpolation moves a centre of mass by some 1e-3 pixels.
    assert centre_of_mass(sinogram[0]) == pytest.approx(geometry.lateral_position(*blob_position(), omega), abs=0.01)


def test_image_rotation_by_scipy_is_counter_clockwise_as_numpy_documents_rot90():
    """The ground on which the next two tests stand."""
    np.testing.assert_allclose(ndimage.rotate(blob_map(), 90, reshape=False, order=1), np.rot90(blob_map()), atol=1e-9)


@pytest.mark.parametrize("omega", OMEGAS)
def test_a_point_projects_where_turning_the_image_against_the_beam_puts_it(omega):
    # The beam frame turns counter-clockwise by omega: the same as the sample turning clockwise in front of a beam
    # that climbs the image's columns.
    turned = ndimage.rotate(blob_map(), -omega, reshape=False, order=3)
    # Splines keep the centre of mass of a Gaussian of 1.5 pixels to 1e-3 pixels.
    assert centre_of_mass(turned.sum(axis=0)) == pytest.approx(
        geometry.lateral_position(*blob_position(), omega), abs=0.01
    )


@pytest.mark.parametrize("omega", OMEGAS)
def test_depth_is_how_far_up_the_turned_image_a_point_lies(omega):
    turned = ndimage.rotate(blob_map(), -omega, reshape=False, order=3)
    climbed = centre_of_mass(turned.sum(axis=1)[::-1])  # the beam travels towards row 0
    assert climbed == pytest.approx(geometry.depth(*blob_position(), omega), abs=0.01)


def test_the_beam_runs_along_plus_y_at_zero_and_along_minus_x_a_quarter_turn_later():
    assert geometry.depth(0.0, 1.0, 0.0) == pytest.approx(1.0)
    assert geometry.depth(-1.0, 0.0, 90.0) == pytest.approx(1.0)
    assert geometry.lateral_position(1.0, 0.0, 0.0) == pytest.approx(1.0)
    assert geometry.lateral_position(0.0, 1.0, 90.0) == pytest.approx(1.0)


@given(*[st.floats(-10, 10)] * 2, st.floats(-720, 720))
def test_lateral_position_and_depth_are_a_rotation_and_opposite_projections_mirror_each_other(x, y, omega):
    t, u = geometry.lateral_position(x, y, omega), geometry.depth(x, y, omega)
    # Rounding of sine and cosine times 10 mm.
    assert np.hypot(t, u) == pytest.approx(np.hypot(x, y), abs=1e-12)
    assert geometry.lateral_position(x, y, omega + 180) == pytest.approx(-t, abs=1e-12)
    assert geometry.depth(x, y, omega + 180) == pytest.approx(-u, abs=1e-12)


def test_the_first_row_of_a_map_is_the_largest_y():
    assert blob_position() == (15.0, 18.0)


@pytest.mark.parametrize("n", [1, 4, 7])
def test_pixel_centres_are_one_step_apart_and_centred_on_the_axis(n):
    axis = geometry.pixel_centres(n, 0.02)
    np.testing.assert_allclose(np.diff(axis), 0.02, rtol=1e-12)
    np.testing.assert_allclose(axis, -axis[::-1], atol=1e-15)


def test_zigzag_drives_every_second_line_backwards():
    assert geometry.nominal_positions(3, 4, zigzag=True).tolist() == [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 2, 3]]
    assert geometry.nominal_positions(2, 3, zigzag=False).tolist() == [[0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize(
    ("angles", "hole"),
    [
        (np.arange(0, 180, 0.45), None),
        (np.arange(0, 360, 3.6), None),
        (np.arange(16) * 11.25, None),  # coarse but even: one subset of a scan
        (np.arange(0, 150, 1.0), (149.0, 180.0)),
        (np.r_[np.arange(0, 60, 1.0), np.arange(72, 180, 1.0)], (59.0, 72.0)),
        (np.arange(5) * 36.0, (0.0, 36.0)),
        ([12.0], (12.0, 192.0)),
    ],
)
def test_holes_in_a_half_turn_are_found_and_coarse_even_steps_are_none(angles, hole):
    assert geometry.missing_angles(np.asarray(angles)) == (None if hole is None else pytest.approx(hole))

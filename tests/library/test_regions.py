"""Rules that make regions, and what is said about a region."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xrdct.errors import GeometryError
from xrdct.regions import clusters, near, ring, sector, strong, summarise

AXIS = np.linspace(-2, 2, 81)


def test_rings_and_sectors_are_where_their_names_say():
    x, y = AXIS, AXIS[::-1]
    inner = ring(x, y, centre=(0.5, 0.0), radius_mm=(0.0, 1.0))
    assert inner.sum() * 0.05**2 == pytest.approx(np.pi, rel=0.03)  # the area of a disc, in voxels
    quarter = sector(x, y, centre=(0, 0), azimuth_deg=(80, 100))
    assert quarter[5, 40]  # straight up: row 5 is at the largest y
    assert not quarter[75, 40]
    across = sector(x, y, centre=(0, 0), azimuth_deg=(350, 10))
    assert across[40, 75]
    assert not across[40, 5]


def test_thresholds_are_shares_of_the_top_and_holes_are_outside():
    values = np.repeat([2.0, 6.0, 12.0, 20.0], 25).reshape(10, 10)
    values[9, 9] = np.nan
    assert strong(values, above=0.5).sum() == 49
    assert strong(values, above=0.2, below=0.5).sum() == 25
    assert not strong(values, above=0.5)[9, 9]


def test_distance_is_from_the_largest_part():
    what = np.zeros((40, 40), bool)
    what[10:14, 10:14] = True
    what[30, 30] = True
    close = near(what, distance_mm=(0.0, 0.2), voxel_mm=0.1)
    assert close[10, 14]
    assert not close[30, 30]
    with pytest.raises(GeometryError, match="nowhere"):
        near(np.zeros((4, 4), bool), distance_mm=(0, 1), voxel_mm=1)


def test_clusters_find_three_planted_cells_in_order_of_c():
    rng = np.random.default_rng(0)
    planted = rng.integers(0, 3, (30, 40))
    c = np.array([14.23, 14.29, 14.48])[planted] + rng.normal(0, 0.006, planted.shape)
    a = np.array([2.861, 2.851, 2.819])[planted] + rng.normal(0, 0.001, planted.shape)
    c[0, :5] = np.nan
    found = clusters(np.stack([a, c]), count=3)
    assert (found[0, :5] == -1).all()
    # 0.060 Å apart with an error of 0.006 Å: five deviations to the border, none strays.
    assert (found == planted)[np.isfinite(c)].all()
    with pytest.raises(GeometryError, match="clusters need"):
        clusters(np.full((2, 3, 3), np.nan), count=2)


def test_the_standard_error_is_that_of_repeated_measurements_also_where_neighbours_share_noise():
    rng = np.random.default_rng(0)
    region = np.hypot(*(np.indices((40, 40)) - 19.5)) < 16
    for blur in (0.0, 1.0):
        noise = rng.normal(0, 1, (300, 40, 40))
        maps = [gaussian_filter(image, blur) if blur else image for image in noise]
        found = [summarise(image, region) for image in maps]
        scatter = np.std([one.mean for one in found])
        stated = np.sqrt(np.mean([one.se**2 for one in found]))
        # 300 repetitions know a scatter to 4 %; covariances about the region's own mean come out a few per cent small.
        assert stated == pytest.approx(scatter, rel=0.2)
    plain = found[0].sd / np.sqrt(found[0].n)
    assert scatter > 2.5 * plain  # what the plain formula would have missed


def test_a_summary_counts_what_is_there():
    values = np.array([[1.0, 3.0], [np.nan, 9.0]])
    found = summarise(values, np.array([[True, True], [True, False]]))
    assert (found.mean, found.n) == (2.0, 2)
    assert found.sd == pytest.approx(np.sqrt(2))
    nothing = summarise(values, np.zeros((2, 2), bool))
    assert nothing.n == 0
    assert np.isnan(nothing.mean)

"""Spotty rings: how much they fluctuate, that they stay as bright on average, and that they are the same every time."""

import numpy as np
import pytest
from small_beamtime import IDEAL, one_subset, small

from xrdct.twin.grains import rings, sector_brightness
from xrdct.twin.patterns import q_grid
from xrdct.twin.structures import read_crystal

STREAM = {"n_rings": 4, "seed": 3, "scan": "s", "subset": 1, "first_frame": 0, "material": "Fe"}


@pytest.mark.parametrize(("path", "grains"), [(0.2, 10), (1.5, 10), (0.5, 400)])
def test_a_sector_fluctuates_by_one_over_the_number_of_its_grains(path, grains):
    factors = sector_brightness(np.full(50, path), grains, **STREAM).astype(float)
    n, mean = factors.size, path * grains
    assert factors.mean() == pytest.approx(1, abs=5 / np.sqrt(mean * n))
    # Relative variance 1/mean; its own standard deviation is about sqrt((2 + 1/mean)/n) of it.
    assert factors.var() * mean == pytest.approx(1, abs=5 * np.sqrt((2 + 1 / mean) / n))


def test_every_frame_and_ring_has_spots_of_its_own_and_the_same_every_time():
    factors = sector_brightness(np.full(6, 1.0), 5, **STREAM)
    rows = factors.reshape(-1, factors.shape[-1])
    assert len(np.unique(rows, axis=0)) == len(rows)
    later = sector_brightness(np.full(4, 1.0), 5, **(STREAM | {"first_frame": 2}))
    np.testing.assert_array_equal(later, factors[2:])
    assert (sector_brightness(np.zeros(2), 5, **STREAM) == 0).all()


def test_a_point_belongs_to_the_nearest_ring():
    q = q_grid(7)
    lines = 2 * np.pi * np.sqrt([2, 4, 6, 8]) / 2.866  # iron, cubic body-centred
    ring = rings(read_crystal("Fe"), q)
    for k, line in enumerate(lines):
        assert (ring[np.abs(q - line) < 0.2] == k).all()


SPOTS = {"beam": {"dose": 400}, "artefacts": {"beamstop_px": 0}}
TALL = {"detector": {"shape": [110, 110], "beam_centre": [55.2, 55.2], "row_gaps": [], "column_gaps": []}}


def test_only_the_lines_of_the_spotty_material_scintillate_along_the_ring(tmp_path):
    fine, _ = one_subset(small(IDEAL, TALL, SPOTS), tmp_path / "fine")
    spotty, _ = one_subset(small(IDEAL, TALL, SPOTS, {"artefacts": {"spots": {"Fe": 40}}}), tmp_path / "spotty")
    many, _ = one_subset(small(IDEAL, TALL, SPOTS, {"artefacts": {"spots": {"Fe": 1e9}}}), tmp_path / "many")
    np.testing.assert_allclose(many, fine, atol=3, rtol=1e-3)
    row, column = np.mgrid[:110, :110] + 0.5
    q = 0.0664 * np.hypot(row - 55.2, column - 55.2)  # 1/Å: a pixel of 1.376 mm at 1 m
    ring, between = np.abs(q - 3.10) < 0.06, np.abs(q - 2.0) < 0.06
    frame = fine[1, 1]
    scatter = (spotty - fine)[1, 1] / frame
    assert scatter[ring].std() > 0.1
    assert scatter[between].std() < scatter[ring].std() / 4  # the tails of iron's lines
    # The mean over ~150 sectors of a relative scatter of 1/√(40 × path of 0.5 mm) and over 36 frames.
    assert spotty[..., ring].sum() == pytest.approx(fine[..., ring].sum(), rel=0.02)
    again, _ = one_subset(small(IDEAL, TALL, SPOTS, {"artefacts": {"spots": {"Fe": 40}}}), tmp_path / "again")
    np.testing.assert_array_equal(again, spotty)

"""The demo's results against the simulator's truth: the phases are where they are, and move as they should."""

import numpy as np
import pytest

from xrdct.bench.first_way import phase_correlations, read_truth
from xrdct.io.store import read_store

MAJOR = {
    "discharged_2p65V": ["graphite", "NCA-003", "Fe-110"],
    "charged_4p2V": ["LiC6", "LiC12", "NCA-003", "Fe-110"],
}


@pytest.mark.parametrize("scan", MAJOR)
def test_every_major_phase_is_where_the_truth_has_it(demo, scan):
    found = phase_correlations(demo.folder, scan, read_truth(demo.folder, scan))
    for phase in MAJOR[scan]:
        assert found[phase][0] > 0.9, found  # the mark of the first way through


@pytest.mark.parametrize("scan", MAJOR)
def test_the_centre_of_rotation_is_found_within_a_tenth_of_a_pixel(demo, scan):
    found = read_store(demo.folder / "results" / scan / "assemble" / "sinogram.zarr", "sinogram").attrs["cor"]
    assert abs(found - read_truth(demo.folder, scan).cor.item()) < 0.1


def test_nca_003_moves_to_smaller_q_on_charging_as_its_c_axis_grows(demo):
    centre = {scan: nca_peak(demo, scan) for scan in MAJOR}
    shift = centre["charged_4p2V"] - centre["discharged_2p65V"]
    expected = 6 * np.pi * (1 / 14.481 - 1 / 14.2315)  # q(003) = 6π/c
    assert expected < 0
    # The first moment of a five-bin peak on a residual background pulls the shift towards zero by a few percent.
    assert shift == pytest.approx(expected, rel=0.15)


def nca_peak(demo, scan):
    """Mean centre of the NCA 003 window over the voxels that the truth gives mostly to the cathode coating."""
    maps = read_store(demo.folder / "results" / scan / "windows" / "maps.zarr", "maps")
    truth = read_truth(demo.folder, scan)
    cathode = [name for name in truth.phase.values if str(name).startswith("NCA")]
    inside = truth.volume_fraction.sel(phase=cathode).sum("phase").values > 0.4
    return float(maps.q_centre.sel(phase="NCA-003").values[inside].mean())


@pytest.mark.parametrize("scan", MAJOR)
def test_nothing_stands_outside_the_cell(demo, scan):
    maps = read_store(demo.folder / "results" / scan / "windows" / "maps.zarr", "maps")
    radius = np.hypot(maps.x.values[None, :], maps.y.values[:, None])
    outside = maps.area.values[:, (radius > 1.7) & (radius < 1.75)]
    inside = maps.area.values[:, radius < 1.6]
    # Streaks and noise only: a few percent of the strongest voxels of the same map.
    assert (np.abs(outside.mean(axis=1)) < 0.05 * inside.max(axis=1)).all()

"""The demo's results against the simulator's truth: the phases are where they are, and move as they should."""

import numpy as np
import pytest

from xrdct.bench.first_way import phase_correlations, read_truth
from xrdct.io.store import read_store
from xrdct.metrics import correlation

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
    # Streaks and noise only: a few percent of the strongest voxels of the same map, unless all of it is noise, as that
    # of a phase which this state of charge does not have.
    strongest = np.maximum(inside.max(axis=1), 1e-3 * inside.max())
    assert (np.abs(outside.mean(axis=1)) < 0.05 * strongest).all()


CATHODE = {"discharged_2p65V": ("NCA", 2.8616, 14.2315), "charged_4p2V": ("NCA_charged", 2.819, 14.481)}


def fitted(demo, scan, stage):
    return read_store(demo.folder / "results" / scan / "fit" / stage / "maps.zarr", "fit")


@pytest.mark.parametrize("scan", MAJOR)
def test_the_fit_of_every_voxel_finds_phases_and_the_cathodes_cell(demo, scan):
    maps, truth = fitted(demo, scan, "denoised"), read_truth(demo.folder, scan)
    name, a, c = CATHODE[scan]
    for phase, planted in {"NCA": name, "LiC12": "LiC12", "Fe": "Fe"}.items():
        scale = np.nan_to_num(maps.scale.sel(phase=phase).values)
        assert correlation(scale, truth.volume_fraction.sel(phase=planted).values) > 0.95
    inside = truth.volume_fraction.sel(phase=name).values > 0.3
    # Parallax of a cell of 3.2 mm at 1 m moves a line by up to 0.16 % at the rim, and by nothing on average: the marks
    # without it are 0.001 and 0.002 Å.
    assert np.nanmean(maps.a.sel(phase="NCA").values[inside]) == pytest.approx(a, abs=0.001)
    assert np.nanmean(maps.c.sel(phase="NCA").values[inside]) == pytest.approx(c, abs=0.003)


@pytest.mark.parametrize("scan", MAJOR)
def test_the_attenuation_is_that_of_the_cell_and_the_phases_come_out_even(demo, scan):
    truth = read_truth(demo.folder, scan)
    found = read_store(demo.folder / "results" / scan / "absorption" / "attenuation.zarr", "attenuation")
    radius = np.hypot(found.x.values - 0.02, found.y.values[:, None] + 0.015)
    for low, high in ((0.35, 1.4), (1.4, 1.75)):
        ring = (radius >= low) & (radius < high)
        assert found.mu.values[ring].mean() == pytest.approx(truth.mu.values[ring].mean(), rel=0.03)  # the mark
    through = truth.transmission.values[np.argsort(truth.angle.values)]
    assert np.sqrt(np.mean((found.transmission.values / through - 1) ** 2)) < 0.02  # the mark
    known = truth.volume_fraction.sel(phase=CATHODE[scan][0]).values
    even = {}
    for name in ("scale_before", "scale_after"):
        rings = [(radius >= low) & (radius < low + 0.4) for low in (0.25, 0.65, 1.05)]
        values = np.array([found[name].sel(phase="NCA").values[ring].sum() / known[ring].sum() for ring in rings])
        even[name] = np.abs(values / values.mean() - 1).max()
    assert even["scale_after"] < 0.03 < even["scale_before"]

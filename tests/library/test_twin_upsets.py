"""What goes wrong in a simulated scan, each on its own: the size and the sign that the parameter gives it."""

import h5py
import numpy as np
import pytest
import xarray as xr
from small_beamtime import IDEAL, master_path, one_subset, small

from xrdct.io.frames import open_frames
from xrdct.scans import read_scans
from xrdct.twin import bliss
from xrdct.twin.acquisition import axis_columns, line_angles
from xrdct.twin.simulate import simulate


@pytest.fixture(scope="module")
def ideal(tmp_path_factory):
    """Frames and counters without any artefact."""
    return one_subset(small(IDEAL), tmp_path_factory.mktemp("ideal"))


def truth_of(folder, scan="discharged_2p65V"):
    return xr.open_zarr(folder / "truth" / f"{scan}.zarr", consolidated=False, chunks=None)


def test_counts_end_at_the_largest_that_the_detector_writes(ideal, tmp_path):
    frames, _ = one_subset(small(IDEAL, {"artefacts": {"saturation": 150}}), tmp_path)
    assert (ideal[0] > 150).any()
    np.testing.assert_array_equal(frames, np.minimum(ideal[0], 150))


def test_lines_driven_backwards_and_forwards_show_columns_that_differ_by_the_backlash(ideal, tmp_path):
    scan = {"zigzag": True, "backlash_px": 2.0}
    frames, counters = one_subset(small(IDEAL, {"scan": scan}), tmp_path)
    # Column j of line 0 shows column j − 1, and of line 1, taken as frame 11 − j, column j + 1; up to rounding.
    np.testing.assert_allclose(frames[0][1:], ideal[0][0, :-1], atol=1)
    np.testing.assert_allclose(frames[1, ::-1][:-1], ideal[0][1, 1:], atol=1)
    assert np.abs(frames[1, ::-1] - ideal[0][1]).max() > 100
    along = -1.7 + 0.3 * np.arange(12)
    np.testing.assert_allclose(counters["ty"].reshape(3, 12)[1], along[::-1])  # the motor knows nothing of it
    assert truth_of(tmp_path).backlash.item() == 2
    # A scan without backward lines has no backlash.
    straight, _ = one_subset(small(IDEAL, {"scan": {"backlash_px": 2.0}}), tmp_path / "straight")
    np.testing.assert_array_equal(straight, ideal[0])


def test_half_a_step_of_backlash_moves_centroids_by_half_a_step(tmp_path):
    fine = {"scan": {"n_positions": 48, "step_mm": 0.075, "n_projections": 4, "zigzag": True}}
    centroid = {}
    for backlash in (0.0, 0.5):
        changed = small(IDEAL, fine, {"scan": {"zigzag": True, "backlash_px": backlash}, "beam": {"dose": 100}})
        frames, counters = one_subset(changed, tmp_path / str(backlash))
        column = np.rint((counters["ty"].reshape(4, 48) + 1.7) / 0.075)
        total = frames.sum(axis=(2, 3))
        centroid[backlash] = (total * column).sum(axis=1) / total.sum(axis=1)
    # Shown a quarter of a column further means found a quarter of a column earlier.
    np.testing.assert_allclose(centroid[0.5] - centroid[0.0], [0.25, -0.25, 0.25, -0.25], atol=0.01)


def test_the_axis_drifts_about_its_mean_from_subset_to_subset(tmp_path):
    scan = small({"scan": {"n_subsets": 4, "axis_drift_px": 0.3}}).scan
    axes = axis_columns(scan, 5.5)
    np.testing.assert_allclose(axes[:, 0], 5.5 + 0.3 * np.array([-1.5, -0.5, 0.5, 1.5]))
    # Two subsets at the same angles, drifting by two columns: the second shows the first, two columns later.
    drifting = small(IDEAL, {"scan": {"axis_drift_px": 2.0, "starts_deg": [0, 0]}})
    first, _ = one_subset(drifting, tmp_path)
    with h5py.File(master_path(tmp_path, drifting.states[0], 2)) as file:
        second = file[bliss.DATASET][()].reshape(first.shape)
    np.testing.assert_allclose(second[:, 2:], first[:, :-2], atol=1)
    assert np.abs(second - first).max() > 100
    np.testing.assert_allclose(truth_of(tmp_path).axis.values[:, 0], [4.5, 6.5])


def test_the_monitor_does_not_see_the_drift_of_the_intensity(tmp_path):
    parameters = small(IDEAL, {"beam": {"unseen_drift": -0.1, "dose": 100}, "scan": {"starts_deg": [0, 0]}})
    first, counters = one_subset(parameters, tmp_path)
    with h5py.File(master_path(tmp_path, parameters.states[0], 2)) as file:
        second = file[bliss.DATASET][()].reshape(first.shape)
        np.testing.assert_array_equal(file["/1.1/measurement/mon"], counters["mon"])
    bright = first > 1000
    np.testing.assert_allclose(second[bright] / first[bright], 0.9, atol=0.001)


@pytest.mark.parametrize("reading", ["zero", "flagged", "no_beam", "nan_monitor"])
def test_lost_frames_leave_what_their_kind_leaves(reading, ideal, tmp_path):
    parameters = small(IDEAL, {"artefacts": {"lost": {"share": 0.2, "reading": reading}}})
    frames, counters = one_subset(parameters, tmp_path)
    lost = truth_of(tmp_path).lost.values[0].astype(bool)
    assert 2 <= lost.sum() <= 16  # 36 draws of 0.2
    np.testing.assert_array_equal(frames[~lost], ideal[0][~lost])
    left = {"zero": 0, "no_beam": 0, "flagged": -1}
    np.testing.assert_array_equal(frames[lost], left.get(reading, ideal[0][lost]))
    monitor = counters["mon"].reshape(lost.shape)
    expected = {"no_beam": 0.0, "nan_monitor": np.nan}.get(reading, 1e6)
    np.testing.assert_array_equal(monitor[lost], expected)
    assert (monitor[~lost] == 1e6).all()


def test_a_scan_that_was_broken_off_has_fewer_frames_than_its_table_promises(ideal, tmp_path):
    broken = {"scan": "discharged_2p65V", "subset": 1, "frames": 20}
    parameters = small(IDEAL, {"artefacts": {"truncated": [broken]}})
    simulate(parameters, tmp_path, quiet=True)
    with open_frames(master_path(tmp_path, parameters.states[0], 1), bliss.DATASET) as frames:
        assert frames.shape[0] == 20
        assert len(frames.values("mon")) == 20
        np.testing.assert_array_equal(frames.read(0, 20), ideal[0].reshape(36, 10, 110)[:20])
    with open_frames(master_path(tmp_path, parameters.states[0], 2), bliss.DATASET) as frames:
        assert frames.shape[0] == 36
    row = read_scans(tmp_path / "scans.tsv")[0]
    assert row.n_projections * row.n_positions == 36
    assert not simulate(parameters, tmp_path, quiet=True)  # complete, as far as it goes


def test_subsets_start_where_and_in_the_order_that_the_parameters_say(tmp_path):
    scan = {"n_subsets": 3, "n_projections": 4, "span_deg": 360, "starts_deg": [45.0, 0.0, 22.5]}
    parameters = small(IDEAL, {"scan": scan})
    angles = line_angles(parameters.scan)
    np.testing.assert_allclose(angles, [[45, 135, 225, 315], [0, 90, 180, 270], [22.5, 112.5, 202.5, 292.5]])
    simulate(parameters, tmp_path, quiet=True)
    assert [row.angle_start_deg for row in read_scans(tmp_path / "scans.tsv")][:3] == [45, 0, 22.5]
    truth = truth_of(tmp_path)
    np.testing.assert_allclose(truth.angle, np.sort(angles.ravel()))
    # Half a turn on, the sample is seen from behind: the same sinogram line, mirrored about the axis.
    paths = truth.path_length.sum("phase")
    np.testing.assert_allclose(paths.sel(angle=225), paths.sel(angle=45).values[::-1], atol=1e-6)
    with pytest.raises(ValueError, match="2 angles for 3 subsets"):
        small({"scan": scan | {"starts_deg": [0.0, 1.0]}})


def test_a_cell_that_changes_during_the_scan_shows_its_new_state_from_that_subset_on(tmp_path):
    before = small().states[0].model_dump()
    later = [{"from_subset": 2, "anode": [{"phases": {"LiC6": 1.0}}], "lattice": {"NCA": {"a": 2.85, "c": 14.3}}}]
    same_angles = {"scan": {"starts_deg": [0, 0]}}
    changed = small(IDEAL, same_angles, {"states": [before | {"later": later, "lattice": {}}]})
    static = small(IDEAL, same_angles, {"states": [before | {"lattice": {}}]})
    first, _ = one_subset(changed, tmp_path / "changed")
    reference, _ = one_subset(static, tmp_path / "static")
    np.testing.assert_allclose(first, reference, atol=1)
    truth = truth_of(tmp_path / "changed")
    by_subset = truth.volume_fraction_by_subset
    np.testing.assert_array_equal(by_subset[0], truth.volume_fraction)
    assert by_subset.sel(phase="LiC6").sum(("y", "x")).values[0] == 0
    assert by_subset.sel(phase="graphite").sum(("y", "x")).values[1] == 0
    assert truth.lattice_by_subset.sel(phase="NCA", subset=2).values[2] == 14.3
    with h5py.File(master_path(tmp_path / "changed", changed.states[0], 2)) as file:
        second = file[bliss.DATASET][()].reshape(first.shape)
    assert np.abs(second - first).max() > 20

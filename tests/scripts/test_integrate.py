"""Frames of one subset to patterns.zarr, from files of another kind than the simulator writes."""

import fabio
import h5py
import numpy as np
import pytest
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

import integrate
from xrdct.errors import GeometryError, RawDataError
from xrdct.io.poni import write_poni
from xrdct.io.store import read_store

SHAPE = (40, 50)
SETTINGS = {"q_min": 0.4, "q_max": 1.0, "n_bins": 10, "estimator": "trimmed_mean", "trim": 0.2} | {
    "groups": 1,
    "centred": True,
    "saturation": None,
    "max_bad_frames": 0.0,
}


@pytest.fixture
def geometry(tmp_path):
    detector = Detector(pixel1=1e-3, pixel2=1e-3, max_shape=SHAPE)
    path = tmp_path / "geometry.poni"
    write_poni(path, AzimuthalIntegrator(dist=0.3, poni1=0.02, poni2=0.02, wavelength=0.5e-10, detector=detector))
    return path


def write_series(folder, n_frames=6, keyed=True, levels=None):
    """CBF files whose counts tell their number: 100, 200, … per pixel, or are given."""
    for k in range(n_frames):
        header = {"_array_data.header_contents": f"# Flux {1000 + k}"} if keyed else {}
        frame = np.full(SHAPE, levels[k] if levels else 100 * (k + 1), np.int32)
        frame[:, 7] = -1  # a module gap
        fabio.cbfimage.CbfImage(data=frame, header=header).write(str(folder / f"scan_{k:05d}.cbf"))


def run(tmp_path, geometry, **changed):
    options = {
        "file": str(tmp_path / "scan_*.cbf"),
        "dataset": None,
        "n_projections": 2,
        "n_positions": 3,
        "counters": {"monitor": None, "omega": None, "translation": None},
        "polarization": 0.0,
        "settings": SETTINGS,
    } | changed
    integrate.main(geometry, [], tmp_path / "patterns.zarr", tmp_path / "patterns.json", **options)
    return read_store(tmp_path / "patterns.zarr", "patterns")


def test_a_cbf_series_becomes_patterns_in_acquisition_order(tmp_path, geometry):
    write_series(tmp_path)
    patterns = run(tmp_path, geometry)
    assert patterns.intensity.dims == ("line", "point", "q")
    level = patterns.intensity.values.mean(axis=2)
    # Flat frames: every pattern is its count times one factor (mean of 1/solid angle, below 1 % here).
    np.testing.assert_allclose(level / level[0, 0], [[1, 2, 3], [4, 5, 6]], rtol=1e-6)
    assert 100 <= level[0, 0] < 102
    assert np.isnan(patterns.omega.values).all()


def test_the_gap_that_the_frames_mark_is_left_out(tmp_path, geometry):
    write_series(tmp_path)
    # A gap pixel of −1 among 100s would pull the untrimmed mean of its bins below 100.
    assert run(tmp_path, geometry, settings=SETTINGS | {"trim": 0.0}).intensity.values[0, 0].min() >= 100


def test_pixels_poisoned_with_nan_are_left_out_and_frames_of_them_are_marked_or_refused(tmp_path, geometry):
    frames = np.ones((6, *SHAPE), np.float32) * 100 * np.arange(1, 7)[:, None, None]
    frames[2], frames[4, 10:20] = np.nan, np.nan
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["frames"] = frames
    stack = {"file": str(tmp_path / "frames.h5"), "dataset": "/frames"}
    with pytest.raises(RawDataError, match=r"1 of 6 frames .*, more than integrate.max_bad_frames = 0"):
        run(tmp_path, geometry, **stack)
    assert not (tmp_path / "patterns.json").exists()
    patterns = run(tmp_path, geometry, **stack, settings=SETTINGS | {"max_bad_frames": 0.2})
    assert patterns.valid.values.tolist() == [[True, True, False], [True, True, True]]
    level = patterns.intensity.values.reshape(6, -1)
    assert np.isnan(level[2]).all()
    np.testing.assert_allclose(level[4], 5 * level[0], rtol=0.01)  # other pixels, other solid angles


def test_a_wrong_number_of_frames_is_refused_and_nothing_is_written(tmp_path, geometry):
    write_series(tmp_path, n_frames=5)
    with pytest.raises(RawDataError, match=r"holds 5 frames.* 2 × 3 = 6"):
        run(tmp_path, geometry)
    assert not (tmp_path / "patterns.zarr").exists()
    assert not (tmp_path / "patterns.json").exists()


def test_a_mask_of_another_shape_is_refused(tmp_path, geometry):
    write_series(tmp_path)
    np.save(tmp_path / "mask.npy", np.zeros((3, 3), np.uint8))
    with pytest.raises(GeometryError, match=r"\(3, 3\).*\(40, 50\)"):
        integrate.make_integrator(
            integrate.read_poni(geometry),
            tmp_path / "mask.npy",
            None,
            polarization=0.95,
            settings=SETTINGS,
        )


def test_groups_get_patterns_of_their_own(tmp_path, geometry):
    write_series(tmp_path)
    patterns = run(tmp_path, geometry, settings=SETTINGS | {"groups": 2})
    assert patterns.group_intensity.dims == ("line", "point", "group", "q")
    np.testing.assert_allclose(patterns.group_intensity.mean("group"), patterns.intensity, rtol=0.01)


def kill_at_block(number, monkeypatch):
    """Let appending the block of this number (1, 2, …) be interrupted, once; the list gets the lines done before."""
    first = integrate.GrowingStore.append
    calls = []

    def append(self, values):
        calls.append(self.done)
        if len(calls) == number:
            raise KeyboardInterrupt
        first(self, values)

    monkeypatch.setattr(integrate.GrowingStore, "append", append)
    return calls


def test_a_killed_job_goes_on_where_it_stopped_with_the_same_result(tmp_path, geometry, monkeypatch):
    for folder in ("whole", "broken"):
        (tmp_path / folder).mkdir()
        write_series(tmp_path / folder, n_frames=3 * 20)
    monkeypatch.chdir(tmp_path / "whole")  # relative names, so that both runs record the same files
    options = {"file": "scan_*.cbf", "n_projections": 20}
    run(tmp_path / "whole", geometry, **options)

    monkeypatch.chdir(tmp_path / "broken")
    calls = kill_at_block(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", geometry, **options)
    assert not (tmp_path / "broken" / "patterns.zarr").exists()
    assert not (tmp_path / "broken" / "patterns.json").exists()

    run(tmp_path / "broken", geometry, **options)
    assert calls == [0, 8, 8, 16]  # the first block was not done again
    whole, broken = ((tmp_path / folder / "patterns.json").read_bytes() for folder in ("whole", "broken"))
    assert whole == broken


def test_a_resumed_job_warns_of_the_low_counts_before_the_interruption(tmp_path, geometry, monkeypatch, caplog):
    """16 lines of which the first 8, done before the kill, are all that is low."""
    write_series(tmp_path, n_frames=3 * 16, levels=[2] * 24 + [200] * 24)
    kill_at_block(2, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, geometry, n_projections=16)
    assert caplog.text == ""
    run(tmp_path, geometry, n_projections=16)
    assert "50 % of all bins have fewer than 10 counts per pixel" in caplog.text


def test_any_number_of_workers_gives_the_same_bits(tmp_path, geometry):
    write_series(tmp_path, n_frames=12)
    manifests = set()
    for workers in (1, 2, 5):
        run(tmp_path, geometry, n_projections=4, workers=workers)
        manifests.add((tmp_path / "patterns.json").read_bytes())
    assert len(manifests) == 1


def test_the_transmitted_beam_is_kept_where_it_was_recorded(tmp_path, geometry):
    write_series(tmp_path)
    counters = {"monitor": None, "omega": None, "translation": None, "transmitted": "Flux"}
    assert run(tmp_path, geometry, counters=counters).transmitted.values.tolist() == [
        [1000, 1001, 1002],
        [1003, 1004, 1005],
    ]
    assert "transmitted" not in run(tmp_path, geometry, counters=counters | {"transmitted": None})


def test_what_all_frames_mark_is_a_gap_and_what_one_marks_is_not(tmp_path):
    write_series(tmp_path, levels=[-1, 5, 5, 5, 5, 5])
    with integrate.open_frames(str(tmp_path / "scan_*.cbf")) as frames:
        gaps = integrate.marked_everywhere(frames)
    assert gaps[:, 7].all()
    assert gaps.sum() == SHAPE[0]

"""Masters, external links and virtual datasets: every frame from its own file, every missing one named; counters."""

import shutil

import h5py
import numpy as np
import pytest
from raw_files import DATA, SHAPE, damage, some_frames, write_master, write_stack, write_virtual

from xrdct.errors import RawDataError
from xrdct.io.frames import open_frames
from xrdct.io.nexus import list_scans


def test_a_master_joins_the_files_of_the_detector(tmp_path):
    frames = some_frames(11)
    write_stack(tmp_path / "s" / "p0.h5", frames[:4])
    write_stack(tmp_path / "s" / "p1.h5", frames[4:])
    master = write_virtual(tmp_path / "m.h5", "/1.1/measurement/p", [("s/p0.h5", DATA, 4), ("s/p1.h5", DATA, 7)])
    source = open_frames(master)
    np.testing.assert_array_equal(source.read(0, 11), frames)
    np.testing.assert_array_equal(source.read(3, 6), frames[3:6])
    assert {file.name for file in source.files} == {"m.h5", "p0.h5", "p1.h5"}


def test_a_virtual_dataset_of_a_virtual_dataset_of_a_link_is_followed(tmp_path):
    frames = some_frames(8)
    write_stack(tmp_path / "deep" / "p.h5", frames)
    with h5py.File(tmp_path / "deep" / "link.h5", "w") as file:
        file["to"] = h5py.ExternalLink("p.h5", DATA)
    write_virtual(tmp_path / "deep" / "inner.h5", "v", [("link.h5", "to", 8)])
    write_virtual(tmp_path / "outer.h5", "w", [("deep/inner.h5", "v", 8)])
    np.testing.assert_array_equal(open_frames(tmp_path / "outer.h5").read(2, 7), frames[2:7])
    (tmp_path / "deep" / "p.h5").unlink()
    with pytest.raises(RawDataError, match=r"deep/p\.h5, which is missing"):
        open_frames(tmp_path / "outer.h5")


def test_parts_of_a_source_and_every_second_frame_are_mapped_right(tmp_path):
    frames = some_frames(10)
    write_stack(tmp_path / "p.h5", frames)
    source = h5py.VirtualSource("p.h5", DATA, shape=frames.shape)
    runs, combed = (h5py.VirtualLayout((n, *SHAPE), np.int32) for n in (7, 10))
    runs[0:4], runs[4:7] = source[2:6], source[7:10]
    combed[0::2], combed[1::2] = source[0:5], source[5:10]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("runs", runs)
        file.create_virtual_dataset("combed", combed)
    expected = np.concatenate([frames[2:6], frames[7:10]])
    np.testing.assert_array_equal(open_frames(tmp_path / "m.h5", "runs").read(1, 7), expected[1:])
    np.testing.assert_array_equal(open_frames(tmp_path / "m.h5", "combed").read(0, 10)[1::2], frames[5:])


def test_single_frames_of_many_files_make_a_stack(tmp_path):
    frames = some_frames(3)
    layout = h5py.VirtualLayout(frames.shape, np.int32)
    for number, frame in enumerate(frames):
        with h5py.File(tmp_path / f"f{number}.h5", "w") as file:
            file["image"] = frame
        layout[number] = h5py.VirtualSource(f"f{number}.h5", "image", shape=SHAPE)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    np.testing.assert_array_equal(open_frames(tmp_path / "m.h5").read(1, 3), frames[1:])


def test_detector_modules_side_by_side_are_joined(tmp_path):
    frames = some_frames(4)
    write_stack(tmp_path / "p.h5", frames)
    layout = h5py.VirtualLayout((4, 2 * SHAPE[0], SHAPE[1]), np.int32)
    for row in (0, SHAPE[0]):
        layout[:, row : row + SHAPE[0]] = h5py.VirtualSource("p.h5", DATA, shape=frames.shape)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    source = open_frames(tmp_path / "m.h5")
    np.testing.assert_array_equal(source.read(1, 3), np.concatenate([frames[1:3]] * 2, axis=1))
    source.close()
    (tmp_path / "p.h5").unlink()
    with pytest.raises(RawDataError, match=r"p\.h5, which went missing"):
        source.read(0, 1)


def test_every_missing_source_is_named_where_h5py_returns_zeros(tmp_path):
    write_stack(tmp_path / "p1.h5", some_frames(2))
    master = write_virtual(tmp_path / "m.h5", "x", [(f"p{k}.h5", DATA, 2) for k in range(3)])
    with h5py.File(master) as file:  # this is what the reader is for
        assert file["x"][0].max() == 0
    with pytest.raises(RawDataError) as caught:
        open_frames(master)
    assert "p0.h5, which is missing" in str(caught.value)
    assert "p2.h5, which is missing" in str(caught.value)
    assert "p1.h5" not in str(caught.value)


def test_a_source_that_vanishes_after_opening_is_named(tmp_path):
    write_stack(tmp_path / "p.h5", some_frames(3))
    source = open_frames(write_virtual(tmp_path / "m.h5", "x", [("p.h5", DATA, 3)]))
    (tmp_path / "p.h5").unlink()
    with pytest.raises(RawDataError, match=r"p\.h5: no such file"):
        source.read(0, 1)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: write_stack(p, some_frames(2)), r"but it has \(2, 6, 7\)"),
        (lambda p: write_stack(p, some_frames(3), "/other"), "does not exist there"),
        (lambda p: p.write_bytes(p.read_bytes()[:-500]), r"p\.h5: truncated or still being written"),
    ],
    ids=["shorter", "other dataset", "truncated"],
)
def test_a_source_that_cannot_give_its_frames_is_refused(tmp_path, break_it, message):
    path = write_stack(tmp_path / "p.h5", some_frames(3))
    master = write_virtual(tmp_path / "m.h5", "x", [("p.h5", DATA, 3)])
    break_it(path)
    with pytest.raises(RawDataError, match=message):
        open_frames(master)


def test_frames_without_any_source_are_refused(tmp_path):
    write_stack(tmp_path / "p.h5", some_frames(3))
    layout = h5py.VirtualLayout((5, *SHAPE), np.int32)
    layout[0:3] = h5py.VirtualSource("p.h5", DATA, shape=(3, *SHAPE))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with pytest.raises(RawDataError, match=r"no source for 2 of its 5 frames \(the first: frame 3\)"):
        open_frames(tmp_path / "m.h5")


def test_a_damaged_source_is_named_with_the_masters_frame_number(tmp_path):
    frames = some_frames(8, (20, 20))
    write_stack(tmp_path / "p0.h5", frames[:4])
    write_stack(tmp_path / "p1.h5", frames[4:])
    master = write_virtual(tmp_path / "m.h5", "x", [("p0.h5", DATA, 4), ("p1.h5", DATA, 4)], (20, 20))
    damage(tmp_path / "p1.h5", DATA, 1)
    with pytest.raises(RawDataError, match=r"frame 5 \(in .*p1\.h5\) cannot be read"):
        open_frames(master).read(0, 8)


def test_a_broken_external_link_is_named(tmp_path):
    write_stack(tmp_path / "p.h5", some_frames(2))
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["gone"] = h5py.ExternalLink("nope.h5", "/d")
        file["empty"] = h5py.ExternalLink("p.h5", "/d")
        file["soft"] = h5py.SoftLink("/nowhere")
    with pytest.raises(RawDataError, match=r"/gone links to .*nope\.h5, which is missing"):
        open_frames(tmp_path / "m.h5", "gone")
    with pytest.raises(RawDataError, match=r"/empty links to /d in .*p\.h5"):
        open_frames(tmp_path / "m.h5", "empty")
    with pytest.raises(RawDataError, match="/soft links to /nowhere"):
        open_frames(tmp_path / "m.h5", "soft")


def test_a_moved_beamtime_with_absolute_links_still_opens(tmp_path):
    frames = some_frames(3)
    home = tmp_path / "beamline"
    write_stack(home / "p.h5", frames)
    write_virtual(home / "m.h5", "x", [(str(home / "p.h5"), DATA, 3)])
    shutil.move(home, tmp_path / "copy")
    np.testing.assert_array_equal(open_frames(tmp_path / "copy" / "m.h5").read(0, 3), frames)


def test_a_master_is_found_through_a_symbolic_link(tmp_path):
    write_stack(tmp_path / "there" / "p.h5", some_frames(3))
    write_virtual(tmp_path / "there" / "m.h5", "x", [("p.h5", DATA, 3)])
    (tmp_path / "m.h5").symlink_to(tmp_path / "there" / "m.h5")
    assert open_frames(tmp_path / "m.h5").read(0, 3).min() > 0


def test_counters_and_motors_are_found_where_bliss_puts_them(tmp_path):
    source = open_frames(write_master(tmp_path / "m.h5", start=30.0), "/1.1/measurement/pilatus")
    np.testing.assert_array_equal(source.values("mon"), np.full(24, 1e5))
    np.testing.assert_array_equal(source.values("rot")[[0, 8, 23]], [30, 90, 150])
    np.testing.assert_array_equal(source.values("diffz"), np.full(24, 3.5))  # a motor that stood still
    np.testing.assert_array_equal(source.values("/1.1/measurement/ty", 8, 10), source.values("ty")[8:10])
    with pytest.raises(RawDataError, match=r"'monn'.*recorded per frame: .*mon, rot, ty"):
        source.values("monn")


def test_a_counter_of_another_length_names_both_numbers(tmp_path):
    master = write_master(tmp_path / "m.h5")
    with h5py.File(master, "a") as file:
        file["1.1/measurement/short"] = np.ones(23)
    with pytest.raises(RawDataError, match=r"/1\.1/measurement/short: \(23,\) values for 24 frames"):
        open_frames(master).values("short")


def test_scans_are_listed_by_number_through_a_samples_file(tmp_path):
    for scan in ("10.1", "2.1"):
        write_master(tmp_path / "ds.h5", scan=scan)
    with h5py.File(tmp_path / "sample.h5", "w") as file:
        for scan in ("2.1", "10.1"):
            file[f"ds_{scan}"] = h5py.ExternalLink("ds.h5", f"/{scan}")
    scans = list_scans(tmp_path / "sample.h5")
    assert [scan.name for scan in scans] == ["ds_2.1", "ds_10.1"]
    assert {scan.linked for scan in scans} == {True}
    assert scans[0].dataset == "/ds_2.1/measurement/pilatus"
    assert scans[0].n_frames == 24
    assert scans[0].recorded == ("elapsed_time", "mon", "rot", "ty")
    assert scans[0].title.startswith("fscan2d rot")
    frames = open_frames(tmp_path / "sample.h5", scans[1].dataset)
    assert frames.read(0, 1).min() > 0
    np.testing.assert_array_equal(frames.values("mon"), np.full(24, 1e5))

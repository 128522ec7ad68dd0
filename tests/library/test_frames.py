"""Readers: every format gives the frames that were written, and every damage is named."""

import glob
import gzip
import os
import pickle
import re
import shutil
import time

import fabio
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_files import IMAGES, SHAPE, some_frames, write_images, write_master, write_stack, write_virtual

from xrdct.errors import RawDataError
from xrdct.io.frames import files_behind, open_frames, raw_path, read_image, series_stamp
from xrdct.io.nexus import list_scans

DATA = "/entry_0000/measurement/data"


def compress(path):
    """The gzipped copy beside a file."""
    copy = path.with_name(path.name + ".gz")
    copy.write_bytes(gzip.compress(path.read_bytes()))
    return copy


def damage(path, dataset, frame):
    """Overwrite the compressed bytes of one frame."""
    with h5py.File(path) as file:
        chunk = file[dataset].id.get_chunk_info_by_coord((frame, 0, 0))
    with open(path, "r+b") as stream:
        stream.seek(chunk.byte_offset)
        stream.write(b"\xff" * chunk.size)


# ---------------------------------------------------------------- images


@pytest.mark.parametrize("suffix", IMAGES)
def test_a_series_of_images_is_read_in_numerical_order(tmp_path, suffix):
    frames = some_frames(12)  # frame_10 sorts before frame_2 as text
    write_images(tmp_path, frames, suffix)
    with open_frames(tmp_path / f"frame_*.{suffix}") as source:
        assert source.shape == frames.shape
        np.testing.assert_array_equal(source.read(1, 11), frames[1:11])


@pytest.mark.parametrize("suffix", IMAGES)
def test_compressed_and_single_images_are_read(tmp_path, suffix):
    frames = some_frames(1)
    write_images(tmp_path, frames, suffix)
    plain = tmp_path / f"frame_0.{suffix}"
    np.testing.assert_array_equal(read_image(plain), frames[0])
    np.testing.assert_array_equal(read_image(compress(plain)), frames[0])


def test_a_file_with_many_frames_is_a_series(tmp_path):
    frames = some_frames(5)
    image = fabio.edfimage.EdfImage(data=frames[0])
    for frame in frames[1:]:
        image.append_frame(data=frame)
    image.write(str(tmp_path / "many.edf"))
    np.testing.assert_array_equal(open_frames(tmp_path / "many.edf").read(1, 4), frames[1:4])


def test_a_frame_of_another_shape_is_named(tmp_path):
    write_images(tmp_path, some_frames(3), "cbf")
    fabio.cbfimage.CbfImage(data=some_frames(1, (5, 7))[0]).write(str(tmp_path / "frame_1.cbf"))
    source = open_frames(tmp_path / "*.cbf")
    source.read(0, 1)
    with pytest.raises(RawDataError, match=r"frame_1\.cbf.*\(5, 7\).*\(6, 7\)"):
        source.read(0, 3)


@pytest.mark.parametrize("suffix", ["cbf", "tif"])
def test_an_image_that_vanishes_after_opening_is_named(tmp_path, suffix):
    write_images(tmp_path, some_frames(3), suffix)
    source = open_frames(tmp_path / f"*.{suffix}")
    (tmp_path / f"frame_1.{suffix}").unlink()
    with pytest.raises(RawDataError, match=rf"frame_1\.{suffix}: no such file"):
        source.read(0, 3)


def test_a_raised_figure_in_a_name_is_no_number(tmp_path):
    for name in ("1²_10.edf", "1²_9.edf"):
        IMAGES["edf"](data=some_frames(1)[0]).write(str(tmp_path / name))
    assert [file.name for file in open_frames(tmp_path / "*.edf").files] == ["1²_9.edf", "1²_10.edf"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("suffix", IMAGES)
def test_no_truncated_image_is_taken_for_a_whole_one(tmp_path, suffix, compressed):
    frames = some_frames(1, (40, 50))
    write_images(tmp_path, frames, suffix)
    path = tmp_path / f"frame_0.{suffix}"
    path = compress(path) if compressed else path
    whole = path.read_bytes()
    cut = tmp_path / f"cut_{path.name}"
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        cut.write_bytes(whole[:size])
        try:
            image = read_image(cut)
        except RawDataError:
            continue
        # What is cut off may be padding behind the last pixel: then nothing is lost.
        np.testing.assert_array_equal(image, frames[0])
        assert size > 0.9 * len(whole)
    cut.write_bytes(whole[: int(0.7 * len(whole))])
    with pytest.raises(RawDataError, match=re.escape(cut.name)):
        read_image(cut)


def test_header_keys_are_read_from_every_file(tmp_path):
    for number, frame in enumerate(some_frames(3)):
        header = {
            "mon": 100 + number,
            "motor_mne": "rot ty",
            "motor_pos": f"{number * 0.5} -1e-3",
            "who": "me",
        }
        fabio.edfimage.EdfImage(data=frame, header=header).write(str(tmp_path / f"f{number}.edf"))
    source = open_frames(tmp_path / "f*.edf")
    np.testing.assert_array_equal(source.values("mon"), [100, 101, 102])
    np.testing.assert_array_equal(source.values("rot"), [0, 0.5, 1])
    np.testing.assert_array_equal(source.values("ty", 1, 2), [-1e-3])
    with pytest.raises(RawDataError, match=r"f0\.edf.*'moni'.*mon"):
        source.values("moni")
    with pytest.raises(RawDataError, match="'me', not a number"):
        source.values("who")


def test_a_folder_is_refused_with_advice(tmp_path):
    write_images(tmp_path, some_frames(2), "cbf")
    with pytest.raises(RawDataError, match=r"is a folder \(2 \*\.cbf\).*pattern"):
        open_frames(tmp_path)


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path):
    with pytest.raises(RawDataError, match="no file matches"):
        open_frames(tmp_path / "*.cbf")


def test_npy_images_are_read_and_anything_else_in_them_is_refused(tmp_path):
    mask = np.eye(4, dtype=bool)
    np.save(tmp_path / "mask.npy", mask)
    np.testing.assert_array_equal(read_image(tmp_path / "mask.npy"), mask)
    np.save(tmp_path / "stack.npy", np.zeros((2, 3, 4)))
    with pytest.raises(RawDataError, match=r"\(2, 3, 4\)"):
        read_image(tmp_path / "stack.npy")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RawDataError, match=r"objects\.npy"):
        read_image(tmp_path / "objects.npy")


# ---------------------------------------------------------------- HDF5


def test_a_compressed_stack_is_found_and_read_in_blocks(tmp_path):
    frames = some_frames(9)
    source = open_frames(write_stack(tmp_path / "a.h5", frames))
    assert source.shape == frames.shape
    assert source.dtype == np.int32
    assert source.describe()["dataset"] == DATA
    np.testing.assert_array_equal(np.concatenate([source.read(0, 4), source.read(4, 9)]), frames)
    assert source.read(3, 3).shape == (0, *SHAPE)
    with pytest.raises(IndexError, match="there are 9"):
        source.read(5, 10)


def test_a_source_works_after_pickling_while_open(tmp_path):
    frames = some_frames(4)
    source = open_frames(write_stack(tmp_path / "a.h5", frames))
    source.read(0, 1)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(1, 4), frames[1:])


def test_big_endian_pixels_arrive_in_the_machines_order(tmp_path):
    frames = some_frames(3)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["frames"] = frames.astype(">i4")
    block = open_frames(tmp_path / "b.h5").read(0, 3)
    assert block.dtype.isnative
    np.testing.assert_array_equal(block, frames)


def test_a_two_dimensional_dataset_is_one_frame(tmp_path):
    frame = some_frames(1)[0]
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["image"] = frame
    assert open_frames(tmp_path / "one.h5").shape == (1, *SHAPE)
    np.testing.assert_array_equal(read_image(tmp_path / "one.h5"), frame)


def test_several_stacks_are_listed_and_none_is_chosen(tmp_path):
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b"] = some_frames(2), some_frames(3)
    with pytest.raises(RawDataError, match=r"/a \(2, 6, 7\), /b \(3, 6, 7\)"):
        open_frames(tmp_path / "two.h5")
    assert open_frames(tmp_path / "two.h5", "b").shape[0] == 3


@pytest.mark.parametrize("dataset", [None, "four"])
def test_four_axes_are_refused(tmp_path, dataset):
    with h5py.File(tmp_path / "four.h5", "w") as file:
        file["four"] = np.ones((2, 3, 4, 5))
    with pytest.raises(RawDataError, match=r"\(2, 3, 4, 5\)"):
        open_frames(tmp_path / "four.h5", dataset)


def test_text_is_no_frame_and_a_wrong_name_lists_the_right_ones(tmp_path):
    write_stack(tmp_path / "a.h5", some_frames(2))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["title"] = "x"
    with pytest.raises(RawDataError, match="expected numbers"):
        open_frames(tmp_path / "a.h5", "title")
    with pytest.raises(RawDataError, match=rf"no dataset '/data'.*{DATA}"):
        open_frames(tmp_path / "a.h5", "/data")
    with pytest.raises(RawDataError, match="is a group"):
        open_frames(tmp_path / "a.h5", "entry_0000")


@given(share=st.floats(0, 0.999))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_hdf5_file_cut_anywhere_is_named(tmp_path, share):
    whole = write_stack(tmp_path / "whole.h5", some_frames(6, (20, 20))).read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RawDataError, match=r"cut\.h5: .*truncated"):
        open_frames(tmp_path / "cut.h5")


def test_a_damaged_chunk_is_named_by_its_frame(tmp_path):
    frames = some_frames(6, (20, 20))
    path = write_stack(tmp_path / "a.h5", frames)
    damage(path, DATA, 4)
    source = open_frames(path)
    np.testing.assert_array_equal(source.read(0, 4), frames[:4])
    with pytest.raises(RawDataError, match=r"a\.h5: .*frame 4 cannot be read"):
        source.read(2, 6)


def test_frames_that_were_never_written_are_not_zeros(tmp_path):
    frames = some_frames(6)
    with h5py.File(tmp_path / "aborted.h5", "w") as file:
        file.create_dataset("frames", frames.shape, "i4", chunks=(1, *SHAPE), compression="lzf")[:4] = frames[:4]
    source = open_frames(tmp_path / "aborted.h5")
    assert source.count_unwritten() == 2
    np.testing.assert_array_equal(source.read(0, 4), frames[:4])
    with pytest.raises(RawDataError, match="frame 4 was never written"):
        source.read(3, 6)


def test_a_missing_file_names_what_the_folder_holds_instead(tmp_path):
    write_stack(tmp_path / "scan_data.h5", some_frames(2))
    with pytest.raises(RawDataError, match=r"scan_date\.h5: no such file; the folder holds scan_data\.h5"):
        open_frames(tmp_path / "scan_date.h5")
    with pytest.raises(RawDataError, match="does not exist"):
        open_frames(tmp_path / "nowhere" / "a.h5")


def test_a_file_that_is_no_hdf5_is_named(tmp_path):
    (tmp_path / "a.h5").write_text("hello " * 1000)
    with pytest.raises(RawDataError, match=r"a\.h5: not an HDF5 file"):
        open_frames(tmp_path / "a.h5")


# ---------------------------------------------------------------- links and virtual datasets


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


# ---------------------------------------------------------------- what was recorded


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


# ---------------------------------------------------------------- paths


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "a/../../b", ".."])
def test_a_raw_file_outside_the_root_is_refused(file):
    with pytest.raises(RawDataError, match=r"leads out of raw\.root"):
        raw_path("raw", file)


def test_dots_that_stay_inside_the_root_are_allowed(tmp_path):
    assert raw_path(tmp_path, "a/../b/c.h5") == tmp_path / "b" / "c.h5"
    assert raw_path(tmp_path, "..b.h5") == tmp_path / "..b.h5"


# ---------------------------------------------------------------- real files


@pytest.mark.real_data
def test_danmax_frames_read_with_their_marks_and_hot_pixels(real_data):
    source = open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_pilatus.h5")
    frames = source.read(0, 2)
    assert frames.shape == (2, 1679, 1475)
    assert set(np.unique(frames[frames < 0])) == {-2, -1}
    assert (frames[0] < 0).sum() == 203348  # SOURCE.txt
    assert frames.max() == 339797
    with pytest.raises(RawDataError, match=r"master\.h5: no such file.*scan-0002_pilatus\.h5"):
        open_frames(real_data / "danmax_raw_pilatus" / "scan-0002_master.h5")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "prefix"), [("ma4500_demoh5.h5", "demoh5_dataset_"), ("demoh5_dataset/demoh5_dataset.h5", "")]
)
def test_a_real_bliss_master_resolves_and_its_missing_frames_are_named(real_data, file, prefix):
    path = real_data / "bliss_id11_demoh5" / file
    scans = list_scans(path)
    assert [(scan.name, scan.title, scan.shape) for scan in scans] == [
        (f"{prefix}1.1", "loopscan 2 0.1", (2, 2048, 2048)),
        (f"{prefix}2.1", "loopscan 5 0.1", (5, 2048, 2048)),
    ]
    assert scans[0].recorded == ("elapsed_time", "epoch")
    with pytest.raises(RawDataError, match=r"scan0002/marana_0000\.h5, which is missing"):
        open_frames(path, scans[1].dataset)


@pytest.mark.real_data
def test_positioners_of_a_real_bliss_scan_are_read(real_data):
    from xrdct.io.hdf5_links import reading
    from xrdct.io.nexus import read_recorded

    with reading(real_data / "bliss_id11_demoh5" / "demoh5_dataset" / "demoh5_dataset.h5") as file:
        positions = read_recorded(file, "/1.1/measurement/marana", "diffty", 2)
        times = read_recorded(file, "/1.1/measurement/marana", "elapsed_time", 2)
    np.testing.assert_allclose(positions, [13.25, 13.25], rtol=1e-12)  # the file's double is 13.250000000000002
    assert times[0] == 0
    assert times[1] == pytest.approx(0.2718, abs=1e-4)  # loopscan 2 0.1, printed to four digits


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "shape"),
    [
        ("ndtomo_ceo2/CeO2.cbf", (1679, 1475)),
        ("ndtomo_ceo2/mask.edf.gz", (1679, 1475)),
        ("gsecars_pil1m_ceo2/CeO2_Pilatus1M.tif.gz", (1043, 981)),
    ],
)
def test_real_images_are_read(real_data, file, shape):
    image = read_image(real_data / file)
    assert image.shape == shape
    assert image.max() > 0


# ---------------------------------------------------------------- what a workflow watches


def test_of_a_pattern_with_wildcards_in_its_folders_the_folders_are_watched(tmp_path):
    for line in ("line_1", "line_2"):
        (tmp_path / line).mkdir()
        write_images(tmp_path / line, some_frames(2), "cbf")
    pattern = f"{tmp_path}/line_*/frame_*.cbf"
    assert files_behind(pattern) == [str(tmp_path / "line_1"), str(tmp_path / "line_2")]
    with open_frames(pattern) as source:
        assert source.shape[0] == 4
    assert files_behind(f"{tmp_path}/nowhere_*/*.cbf") == [f"{tmp_path}/nowhere_*"]


def test_the_stamp_of_a_series_changes_when_a_file_comes_goes_or_is_written_again(tmp_path):
    write_images(tmp_path, some_frames(3), "cbf")
    pattern = tmp_path / "frame_*.cbf"
    stamps = [series_stamp(pattern)]
    assert series_stamp(pattern) == stamps[0]
    again = tmp_path / "frame_1.cbf"
    again.write_bytes(again.read_bytes())  # the same bytes in place; the folder's time stays as it is
    os.utime(again, ns=(0, 1))  # clocks of file systems can be coarse
    stamps.append(series_stamp(pattern))
    again.unlink()
    stamps.append(series_stamp(pattern))
    (tmp_path / "frame_1.cbf").symlink_to(tmp_path / "nowhere")  # no file, as the reader sees it too
    assert series_stamp(pattern) == stamps[-1]
    write_images(tmp_path, some_frames(1), "cbf", prefix="frame_1")
    stamps.append(series_stamp(pattern))
    assert len(set(stamps)) == 4
    assert series_stamp(tmp_path / "frame_0.cbf") is None  # Snakemake watches a file by itself


def test_the_stamp_of_a_long_series_takes_little_time(tmp_path):
    n_files = 20_000
    for number in range(n_files):
        os.close(os.open(tmp_path / f"frame_{number}.cbf", os.O_CREAT))
    started = time.process_time()
    series_stamp(tmp_path / "frame_*.cbf")
    # 4 µs a file: 1.05 s for the 254,800 of a scan. The bound is for slow machines.
    assert time.process_time() - started < 40e-6 * n_files


def test_wildcards_in_the_name_of_the_root_are_plain_letters(tmp_path):
    root = tmp_path / "beam[1]time"
    (root / "scan[2]").mkdir(parents=True)
    write_images(root / "scan[2]", some_frames(3), "cbf")
    pattern = raw_path(root, f"{glob.escape('scan[2]')}/frame_*.cbf")
    with open_frames(pattern) as source:
        assert source.shape[0] == 3
    assert files_behind(pattern) == [str(root / "scan[2]")]
    assert raw_path(root, "scan[2]/frame_0.cbf") == root / "scan[2]" / "frame_0.cbf"

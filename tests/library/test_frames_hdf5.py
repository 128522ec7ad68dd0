"""Readers of HDF5 stacks: the frames that were written come back, every damage is named."""

import pickle

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_files import DATA, SHAPE, damage, some_frames, write_stack

from xrdct.errors import RawDataError
from xrdct.io.frames import open_frames, read_image


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

"""Readers of images and series of them: the frames that were written come back, every damage is named."""

import gzip
import re

import fabio
import numpy as np
import pytest
from raw_files import IMAGES, some_frames, write_images

from xrdct.errors import RawDataError
from xrdct.io.frames import open_frames, read_image


def compress(path):
    """The gzipped copy beside a file."""
    copy = path.with_name(path.name + ".gz")
    copy.write_bytes(gzip.compress(path.read_bytes()))
    return copy


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

"""Paths of raw files: none leads out of the root, and what a workflow watches of a series."""

import glob
import os
import time

import pytest
from raw_files import some_frames, write_images

from xrdct.errors import RawDataError
from xrdct.io.frames import files_behind, open_frames, raw_path, series_stamp


@pytest.mark.parametrize("file", ["../../etc/passwd", "/etc/passwd", "a/../../b", ".."])
def test_a_raw_file_outside_the_root_is_refused(file):
    with pytest.raises(RawDataError, match=r"leads out of raw\.root"):
        raw_path("raw", file)


def test_dots_that_stay_inside_the_root_are_allowed(tmp_path):
    assert raw_path(tmp_path, "a/../b/c.h5") == tmp_path / "b" / "c.h5"
    assert raw_path(tmp_path, "..b.h5") == tmp_path / "..b.h5"


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

"""`xrdct watch`: when a scan counts as whole, and what a faulty one does to the others, without Snakemake."""

import os
import shutil

import fabio
import h5py
import numpy as np
import pytest
import yaml

from support import REPOSITORY
from xrdct import watch as module
from xrdct.cli import main
from xrdct.errors import ConfigError
from xrdct.io.arrival import Expected, look_at_frames
from xrdct.scans import read_scans, scan_names, write_scans
from xrdct.series import SeriesRow, read_series, write_series
from xrdct.watch import Watch, check_root, watch

TINY = REPOSITORY / "tests" / "data" / "tiny"
N = 12 * 28
"""Frames of a subset, as the table of the tiny beamtime says."""


def write_frames(path, n=N, room=N):
    """A plain stack of tiny frames: `n` of them written, in a file that has room for more."""
    with h5py.File(path, "w") as file:
        stack = file.create_dataset("1.1/measurement/pilatus", (room, 4, 4), "u2", chunks=(1, 4, 4))
        for k in range(n):
            stack[k] = k


@pytest.fixture
def folder(tmp_path):
    """Configuration and table of two scans; raw files of the first one."""
    for name in ("config.yaml", "scans.tsv"):
        shutil.copy(TINY / name, tmp_path / name)
    (tmp_path / "raw").mkdir()
    for k in (1, 2):
        write_frames(tmp_path / "raw" / f"discharged_2p65V_s{k}.h5")
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Scans of every table that Snakemake was called with; those named in `calls.bad` make it fail."""

    class Calls(list):
        bad = ()

    found = Calls()

    def run(command, _output):
        table = os.path.join(os.path.dirname(command[command.index("--configfile") + 1]), "scans.tsv")
        found.append(scan_names(read_scans(table, may_be_empty=True)))
        return int(bool(set(found.bad) & set(found[-1])))

    monkeypatch.setattr(module, "run_to_end", run)
    return found


def watched(folder):
    return Watch(folder / "config.yaml", folder, settle_s=30)


FIRST, SECOND = "discharged_2p65V", "charged_4p2V"


def test_a_scan_is_processed_once_when_its_files_have_rested(folder, calls):
    one = watched(folder)
    for now in (0, 29):
        one.step(now)
    assert calls == []
    for now in (30, 60, 90):
        one.step(now)
    assert calls == [[FIRST]]
    assert one.waiting == [SECOND]


def test_a_file_that_is_still_written_to_is_waited_for(folder, calls, caplog):
    one = watched(folder)
    one.step(0)
    path = folder / "raw" / f"{FIRST}_s2.h5"
    for now, n in ((20, N // 2), (40, N - 1)):
        write_frames(path, n)
        with caplog.at_level("INFO", "xrdct"):
            one.step(now)
    assert calls == []
    assert f"{path}: {N - 1} of {N} frames" in caplog.text
    write_frames(path)
    for now in (60, 89):
        one.step(now)
    assert calls == []  # whole, but it changed less than 30 s ago
    one.step(91)
    assert calls == [[FIRST]]


def test_a_later_scan_joins_those_that_are_done(folder, calls):
    one = watched(folder)
    for now in (0, 30):
        one.step(now)
    for k in (1, 2):
        write_frames(folder / "raw" / f"{SECOND}_s{k}.h5")
    for now in (40, 70):
        one.step(now)
    assert calls == [[FIRST], [FIRST, SECOND]]  # in the order of the table


def test_a_faulty_scan_is_left_out_until_its_files_change(folder, calls):
    for k in (1, 2):
        write_frames(folder / "raw" / f"{SECOND}_s{k}.h5")
    calls.bad = (FIRST,)
    one = watched(folder)
    for now in (0, 30, 60):
        one.step(now)
    assert calls == [[FIRST, SECOND], [FIRST], [SECOND]]  # together, then one by one
    assert one.done == {SECOND}
    assert set(one.failed) == {FIRST}
    calls.clear()
    calls.bad = ()
    write_frames(folder / "raw" / f"{FIRST}_s1.h5")
    for now in (70, 100):
        one.step(now)
    assert calls == [[FIRST, SECOND]]
    assert one.failed == {}


def test_rows_can_be_added_and_a_half_written_table_is_waited_for(folder, calls, caplog):
    table, rows = folder / "scans.tsv", read_scans(folder / "scans.tsv")
    write_scans(table, rows[:1])  # raw.subsets_per_scan is 2
    one = watched(folder)
    for now in (0, 30):
        one.step(now)
    assert calls == []
    assert "subset 2 of 2 is missing" in one._told[FIRST]
    whole = table.read_text()
    table.write_text(whole + "discharged")
    one.step(40)
    assert "1 cells for" in one._told["the configuration"]
    write_scans(table, rows[:2])
    for now in (50, 80):
        one.step(now)
    assert calls == [[FIRST]]


def test_another_setting_is_taken_up(folder, calls):
    one = watched(folder)
    for now in (0, 30):
        one.step(now)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("trim: 0.20", "trim: 0.10"))
    one.step(60)
    assert calls == [[FIRST], [FIRST]]
    assert "trim: 0.1\n" in (folder / "watch" / "config.yaml").read_text()


def test_truncated_vanished_and_too_many_frames_are_lacking(folder):
    def look():
        return look_at_frames([Expected(path, None, N)])

    path = folder / "raw" / f"{FIRST}_s1.h5"
    assert look().lacking is None
    write_frames(path, N + 1, N + 1)
    assert f"{N + 1} of {N} frames" in look().lacking
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert str(path) in look().lacking
    path.unlink()
    assert "no such file" in look().lacking
    assert look().stamp == ()


def test_a_series_of_images_is_whole_when_all_are_there(tmp_path):
    expected = Expected(tmp_path / "a_*.cbf", None, 4)
    for k in range(4):
        assert look_at_frames([expected]).lacking
        fabio.cbfimage.CbfImage(data=np.full((5, 5), k, np.int32)).write(str(tmp_path / f"a_{k}.cbf"))
    assert look_at_frames([expected]).lacking is None
    assert len(look_at_frames([expected]).stamp) == 4


def test_a_series_against_time_is_whole_with_its_log(folder, calls):
    """A beamtime of one point that is measured again and again, and no scan."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["fit"], config["series"] = {"preset": "lixc-4"}, {"table": "series.tsv"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_scans(folder / "scans.tsv", [])
    row = SeriesRow(series="point", file=f"{FIRST}_s1.h5", log="cycler.mpt", n_repeats=N)
    write_series(folder / "series.tsv", [row])
    one, log = watched(folder), folder / "raw" / "cycler.mpt"
    log.write_text("EC-Lab")
    one.step(0)
    log.write_text("EC-Lab, one more line")
    for now in (20, 40):
        one.step(now)
    assert calls == []
    one.step(50)
    assert calls == [[]]
    assert read_series(folder / "watch" / "series.tsv") == [row]
    assert one.done == {"point"}


def test_once_ends_when_what_rested_is_processed(folder, calls):
    one = watched(folder)
    one.settle_s = 0.05
    watch(one, interval_s=10, once=True)
    assert calls == [[FIRST]]


def test_the_folder_must_be_that_of_the_configuration(folder, tmp_path, capsys):
    check_root(folder / "config.yaml", folder, folder / "raw")
    with pytest.raises(ConfigError, match=r"raw\.root is .*raw, not "):
        check_root(folder / "config.yaml", folder, tmp_path)
    assert main(["watch", str(tmp_path), "--config", str(folder / "config.yaml"), "-d", str(folder)]) == 2

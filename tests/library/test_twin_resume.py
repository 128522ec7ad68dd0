"""A simulation that is killed inside a subset goes on after the last whole file, and ends with the same bytes."""

import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from small_beamtime import small

from xrdct.io.frames import open_frames
from xrdct.scans import read_scans
from xrdct.twin.parameters import load_parameters
from xrdct.twin.simulate import simulate

ONE = {"states": [small().states[0].model_dump()], "scan": {"n_subsets": 1}}
LAYOUTS = {"bliss": {"format": "bliss", "frames_per_file": 7}, "cbf": {"format": "cbf"}}
KILLED = """
import os, signal, sys
from pathlib import Path
import xrdct.twin.blocks as twin
from xrdct.twin.parameters import load_parameters
from xrdct.twin.simulate import simulate
made = twin.record
def record(*arguments, **settings):
    if settings["subset"] == 1 and settings["first_frame"] >= 29:
        os.kill(os.getpid(), signal.SIGKILL)
    return made(*arguments, **settings)
twin.record, twin.PIXELS_AT_ONCE = record, 5 * 1100
simulate(load_parameters(sys.argv[1]), Path(sys.argv[2]), workers=1, quiet=True)
"""


def files_in(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def in_pieces(layout: str, folder: Path) -> Path:
    """Parameter file of one subset of 36 frames."""
    parameters = small(ONE, {"files": LAYOUTS[layout]})
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(parameters.model_dump(mode="json"), sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_subset_that_was_killed_in_its_middle_goes_on_after_the_last_whole_file(layout, tmp_path):
    settings, out = in_pieces(layout, tmp_path), tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, settings, out], timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = files_in(out / "raw")
    frames = {name: path for name, path in left.items() if path.name.startswith(("pilatus_", "discharged"))}
    standing = {name: path.stat().st_mtime_ns for name, path in frames.items()}
    assert 1 <= len(standing) < (6 if layout == "bliss" else 36)
    # Nothing looks finished: no master, and a series has no name yet.
    assert not list((out / "raw").glob("[!.]*_s1.h5"))
    assert layout == "bliss" or not list((out / "raw").glob("[!.]*_s1"))
    assert simulate(load_parameters(str(settings)), out, workers=2, quiet=True)
    simulate(load_parameters(str(settings)), tmp_path / "unbroken", workers=2, quiet=True)
    now, unbroken = files_in(out), files_in(tmp_path / "unbroken")
    assert list(now) == list(unbroken)
    assert all(path.read_bytes() == unbroken[name].read_bytes() for name, path in now.items())
    for name, when in standing.items():
        kept = (
            out
            / "raw"
            / (name if layout == "bliss" else name.replace(".discharged", "discharged").replace(".part", ""))
        )
        assert kept.stat().st_mtime_ns == when


def test_frames_left_by_other_parameters_are_not_taken_up(tmp_path):
    settings, out = in_pieces("cbf", tmp_path), tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, settings, out], timeout=120)
    other = small(ONE, {"files": LAYOUTS["cbf"], "seed": 9})
    simulate(other, out, quiet=True)
    simulate(other, tmp_path / "unbroken", quiet=True)
    now, unbroken = files_in(out), files_in(tmp_path / "unbroken")
    assert list(now) == list(unbroken)
    assert all(path.read_bytes() == unbroken[name].read_bytes() for name, path in now.items())


def test_several_files_under_a_master_read_as_one_series(tmp_path):
    pieces, whole = (small(ONE, {"files": {"frames_per_file": n}}) for n in (7, None))
    for name, parameters in {"pieces": pieces, "whole": whole}.items():
        simulate(parameters, tmp_path / name, quiet=True)
    detector = sorted((tmp_path / "pieces" / "raw").glob("*_s1/pilatus_*.h5"))
    assert [path.name for path in detector] == [f"pilatus_{k:04d}.h5" for k in range(6)]
    with h5py.File(detector[-1]) as file:
        assert file["/entry_0000/measurement/data"].shape[0] == 36 - 5 * 7
    row = read_scans(tmp_path / "pieces" / "scans.tsv")[0]
    with (
        open_frames(tmp_path / "pieces" / "raw" / row.file, row.dataset) as frames,
        open_frames(tmp_path / "whole" / "raw" / row.file, row.dataset) as reference,
    ):
        assert tuple(frames.shape) == (36, 10, 110)
        np.testing.assert_array_equal(frames.read(0, 36), reference.read(0, 36))
        np.testing.assert_array_equal(frames.read(5, 9), reference.read(5, 9))


def test_fewer_files_than_before_leave_none_of_the_old_ones(tmp_path):
    simulate(small(ONE, {"files": {"frames_per_file": 7}}), tmp_path, quiet=True)
    simulate(small(ONE, {"files": {"frames_per_file": 20}}), tmp_path, quiet=True)
    assert [path.name for path in sorted(tmp_path.glob("raw/*_s1/*"))] == ["pilatus_0000.h5", "pilatus_0001.h5"]


def test_a_missing_file_under_a_master_is_made_again(tmp_path):
    parameters = small(ONE, {"files": {"frames_per_file": 7}})
    simulate(parameters, tmp_path, quiet=True)
    before = {name: path.read_bytes() for name, path in files_in(tmp_path).items()}
    (gone,) = tmp_path.glob("raw/*_s1/pilatus_0003.h5")
    gone.unlink()
    assert simulate(parameters, tmp_path, quiet=True)
    assert {name: path.read_bytes() for name, path in files_in(tmp_path).items()} == before

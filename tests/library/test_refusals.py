"""What the system refuses while a store is written: nothing half is left, the old store stands, one line says why."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from xrdct.io.store import read_store, write_store

WRITE = """
import numpy as np, os, resource, sys, xarray as xr
from xrdct.io import store
from xrdct.logbook import logbook
noise = np.random.default_rng(2).normal(size=(64, 64, 64)).astype(np.float32)
new = xr.Dataset({"intensity": (("y", "x", "q"), noise, {"units": "counts"})})
with logbook("../log"):
    FAULT
    store.write_store(new, "volume.zarr", "volume.json", kind="volume", settings={}, inputs={})
"""
FAULTS = {
    # A file cannot grow beyond this: what a full disk or a quota does to a write, without filling one.
    "full": ("resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))", "File too large"),
    # Root may write anywhere: be somebody else.
    "read-only": ("os.getuid() or os.setuid(65534)", "Permission denied"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_old_store_stands_and_nothing_half_is_left(tmp_path, fault):
    results = tmp_path / "results"
    results.mkdir()
    old = xr.Dataset({"intensity": (("y", "x", "q"), np.ones((3, 4, 5), np.float32), {"units": "counts"})})
    write_store(old, results / "volume.zarr", results / "volume.json", kind="volume", settings={}, inputs={})
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    os.chmod(results, 0o555 if fault == "read-only" else 0o755)
    line, said = FAULTS[fault]
    code = WRITE.replace("FAULT", line)
    done = subprocess.run([sys.executable, "-c", code], cwd=results, capture_output=True, text=True)
    os.chmod(results, 0o755)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before
    read_store(results / "volume.zarr", "volume")

"""Stores are whole or absent, refuse what they do not know, and hash what they hold."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from xrdct.errors import StoreError
from xrdct.io import store


def volume(value=1.0, **attrs):
    data = np.full((3, 4, 5), value, dtype=np.float32)
    data[0, 0, 0] = np.nan
    return xr.Dataset(
        {"intensity": (("y", "x", "q"), data, {"units": "counts"})},
        coords={"q": ("q", np.linspace(1, 2, 5), {"units": "1/angstrom"})},
        attrs=attrs,
    )


def write(dataset, folder, name="volume", **kwargs):
    options = {"kind": "volume", "settings": {"a": 1}, "inputs": {"sinogram": "0123"}} | kwargs
    store.write_store(dataset, folder / f"{name}.zarr", folder / f"{name}.json", **options)
    return folder / f"{name}.zarr", folder / f"{name}.json"


def test_a_store_reads_back_with_values_units_and_provenance(tmp_path):
    path, _ = write(volume(cor=3.5), tmp_path)
    back = store.read_store(path, "volume")
    np.testing.assert_array_equal(back.intensity.values, volume().intensity.values)
    assert back.attrs["cor"] == 3.5
    assert back.q.attrs["units"] == "1/angstrom"
    provenance = json.loads(back.attrs["provenance"])
    assert provenance["settings"] == {"a": 1}
    assert provenance["inputs"] == {"sinogram": "0123"}


def test_the_manifest_holds_the_hashes_of_the_store_on_disk(tmp_path):
    path, manifest = write(volume(), tmp_path)
    assert store.read_manifest(manifest)["sha256"] == store.content_hashes(store.read_store(path, "volume"))


def test_the_manifest_ignores_provenance_and_sees_one_changed_value(tmp_path):
    _, first = write(volume(), tmp_path, "a")
    _, other_settings = write(volume(), tmp_path, "b", settings={"a": 2}, inputs={})
    changed = volume()
    changed.intensity[1, 1, 1] = 1.0000001
    _, other_value = write(changed, tmp_path, "c")
    _, other_attribute = write(volume(cor=1.0), tmp_path, "d")
    assert store.manifest_digest(first) == store.manifest_digest(other_settings)
    assert store.manifest_digest(first) != store.manifest_digest(other_value)
    assert store.manifest_digest(first) != store.manifest_digest(other_attribute)


def test_hashing_in_slices_is_hashing_the_whole():
    big = xr.Variable(("a", "b"), np.random.default_rng(1).normal(size=(3000, 3000)))
    pieces = store._variable_hash(big)
    assert big.nbytes > 2**25  # more than one slice
    reference = xr.Variable(("a", "b"), np.asfortranarray(big.values))
    assert store._variable_hash(reference) == pieces


def test_an_error_while_writing_leaves_the_old_store_and_nothing_else(tmp_path):
    path, _ = write(volume(), tmp_path)

    def cut_off():
        with store.replaced_when_whole(path) as partial:
            partial.mkdir()
            (partial / "half").write_text("x")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        cut_off()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["volume.json", "volume.zarr"]
    store.read_store(path, "volume")


def killed_while_writing(path):
    """The partial folder that a process leaves that is killed in the middle of a store."""
    code = f"""
import os, signal
from xrdct.io.store import replaced_when_whole
with replaced_when_whole({str(path)!r}) as partial:
    partial.mkdir()
    (partial / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    (left,) = path.parent.glob(f".{path.name}.partial-*")
    return left


def test_what_a_killed_process_left_is_swept_by_the_next_that_writes_the_same_store(tmp_path):
    other = killed_while_writing(tmp_path / "other.zarr")
    left = killed_while_writing(tmp_path / "volume.zarr")
    write(volume(), tmp_path)
    assert not left.exists()
    assert other.exists()  # another store's: its own next run sweeps it


def test_the_partial_folder_of_a_living_process_or_of_another_host_is_left_alone(tmp_path):
    dead = int(killed_while_writing(tmp_path / "gone.zarr").name.rpartition("-")[2])
    living = tmp_path / f".volume.zarr.partial-{socket.gethostname()}-{os.getppid()}"
    elsewhere = tmp_path / f".volume.zarr.partial-not-{socket.gethostname()}-{dead}"
    living.mkdir()
    elsewhere.mkdir()
    write(volume(), tmp_path)
    assert living.is_dir()
    assert elsewhere.is_dir()


def test_a_store_without_units_or_with_other_dims_is_not_written(tmp_path):
    bare = volume()
    bare.intensity.attrs.clear()
    with pytest.raises(StoreError, match="no units"):
        write(bare, tmp_path)
    with pytest.raises(StoreError, match=r"dims .* expected"):
        write(volume().transpose("q", "y", "x"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_another_kind_is_refused_by_name(tmp_path):
    path, _ = write(volume(), tmp_path)
    with pytest.raises(StoreError, match=r"expected kind 'sinogram'.*found 'volume'"):
        store.read_store(path, "sinogram")


def test_a_missing_or_gutted_store_is_refused_by_name(tmp_path):
    with pytest.raises(StoreError, match=r"gone\.zarr: no such store"):
        store.read_store(tmp_path / "gone.zarr", "volume")
    path, _ = write(volume(), tmp_path)
    shutil.rmtree(path / "intensity")
    with pytest.raises(StoreError, match="'intensity' of a volume store is missing"):
        store.read_store(path, "volume")


def test_chunks_split_only_the_named_dims(tmp_path):
    wide = xr.Dataset({"intensity": (("y", "x", "q"), np.zeros((70, 65, 9), np.float32), {"units": "counts"})})
    path, _ = write(wide, tmp_path)
    assert store.read_store(path, "volume").intensity.encoding["chunks"] == (64, 64, 9)

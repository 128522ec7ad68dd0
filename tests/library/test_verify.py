"""`xrdct verify`: a store that was touched or damaged is named, and nothing else is."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from xrdct.cli import main
from xrdct.io.store import read_store, write_store
from xrdct.io.tree import NODES, write_tree
from xrdct.logbook import logbook


@pytest.fixture
def results(tmp_path):
    """Two good stores, and JSON files that are no manifests."""
    values = np.random.default_rng(1).normal(size=(70, 65, 9)).astype(np.float32)
    volume = xr.Dataset({"intensity": (("y", "x", "q"), values, {"units": "counts"})})
    for name in ("a", "b"):
        folder = tmp_path / "results" / name
        write_store(volume, folder / "volume.zarr", folder / "volume.json", kind="volume", settings={}, inputs={})
    (tmp_path / "results" / "a" / "quality.json").write_text('{"bad": 0}')
    return tmp_path / "results"


def verify(results, capsys):
    code = main(["verify", str(results)])
    return code, capsys.readouterr().out.splitlines()


def a_chunk(store):
    """The largest file of a store: a chunk of values."""
    files = (path for path in (store / "intensity" / "c").rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def test_good_stores_are_counted(results, capsys):
    assert verify(results, capsys) == (0, ["ok: 2 stores, every value as it was written"])


def test_a_damaged_chunk_is_found_and_stops_the_step_that_reads_it(results, capsys, tmp_path):
    chunk = a_chunk(results / "b" / "volume.zarr")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1  # a single bit
    chunk.write_bytes(content)
    code, (line,) = verify(results, capsys)
    assert code == 1
    assert line.startswith(f"{results / 'b' / 'volume.zarr'}: cannot be read: ")
    with pytest.raises(SystemExit), logbook(tmp_path / "log"):
        read_store(results / "b" / "volume.zarr", "volume").intensity.values.sum()
    assert "a store that was read is damaged; `xrdct verify results` says which" in (tmp_path / "log").read_text()


def a_missing_chunk(store):
    a_chunk(store).unlink()  # reads as zeros


def another_unit(store):
    path = store / "intensity" / "zarr.json"
    path.write_text(path.read_text().replace("counts", "photons"))


def another_value(store):
    zarr.open_group(store, mode="r+")["intensity"][3, 4, 5] += 1e-6


@pytest.mark.parametrize("touch", [a_missing_chunk, another_unit, another_value])
def test_whatever_touches_values_or_attributes_is_named_by_variable(results, capsys, touch):
    touch(results / "a" / "volume.zarr")
    assert verify(results, capsys) == (1, [f"{results / 'a' / 'volume.zarr'}: intensity is not what was written"])


def test_stores_and_manifests_without_each_other_are_named(results, capsys):
    (results / "a" / "volume.json").unlink()
    shutil.rmtree(results / "b" / "volume.zarr")
    code, lines = verify(results, capsys)
    assert code == 1
    assert lines == [
        f"{results / 'a' / 'volume.zarr'}: has no manifest: it was not finished, or the manifest was removed",
        f"{results / 'b' / 'volume.zarr'}: is missing, but volume.json stands",
    ]


def test_a_damaged_or_edited_manifest_is_named(results, capsys):
    edited = json.loads((results / "a" / "volume.json").read_text())
    edited["sha256"]["intensity"] = "0" * 64
    (results / "a" / "volume.json").write_text(json.dumps(edited))
    (results / "b" / "volume.json").write_text("{")
    code, lines = verify(results, capsys)
    assert code == 1
    assert lines[0].endswith("a/volume.zarr: intensity is not what was written")
    assert "volume.json" in lines[1]


def test_a_folder_without_stores_is_an_error(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no stores" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "no")]) == 2


def test_the_tree_of_a_beamtime_is_verified_node_by_node(tmp_path, capsys):
    counts = xr.Dataset({"mean": (("scan",), np.arange(3.0), {"units": "1"})}, coords={"scan": [1, 2, 3]})
    tree = xr.DataTree.from_dict({f"/{name}": counts for name in NODES})
    write_tree(tree, tmp_path / "beamtime.zarr", tmp_path / "beamtime.json", settings={}, inputs={})
    assert verify(tmp_path, capsys) == (0, ["ok: 1 store, every value as it was written"])
    zarr.open_group(tmp_path / "beamtime.zarr", mode="r+")["evolution/mean"][1] = 5
    code, (line,) = verify(tmp_path, capsys)
    assert code == 1
    assert line.endswith("beamtime.zarr: /evolution/mean is not what was written")


def test_a_store_of_an_unknown_kind_is_named(results, capsys):
    path = results / "a" / "volume.json"
    path.write_text(path.read_text().replace('"kind": "volume"', '"kind": "hologram"'))
    assert verify(results, capsys)[1] == [
        f"{results / 'a' / 'volume.zarr'}: is of kind 'hologram', which this version does not know"
    ]

"""`xrdct reproduce`: a recorded run, once more, in another folder."""

import json
import shutil

import numpy as np
import pytest
import zarr

from xrdct.cli import main
from xrdct.io.store import content_hashes, read_store, write_manifest
from xrdct.reproduce import compare, other_circumstances, prepare, read_run, report_of

SCAN = "charged_4p2V"
VOLUME = f"results/{SCAN}/reconstruct/first/volume.zarr"


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """A finished run of one scan: the tiny beamtime's, without the other scan."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(tiny.folder / "results", folder / "results")
    (folder / "raw").symlink_to(tiny.folder / "raw")
    path = folder / "results" / "run.json"
    record = json.loads(path.read_text())
    record["table"] = [row for row in record["table"] if row["scan"] == SCAN]
    record["stores"] = {name: store for name, store in record["stores"].items() if SCAN in name}
    path.write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def again(recorded, tmp_path_factory):
    """The folder of a second run, exit code and report of the command that made it."""
    return tmp_path_factory.mktemp("again")


def changed_volume(folder, amount):
    """Write the volume of a run with other values, and its manifest, as another machine might have."""
    store = folder / VOLUME
    values = zarr.open_group(store, mode="r+")["intensity"]
    noise = np.random.default_rng(1).normal(scale=amount * np.nanstd(values[:]), size=values.shape)
    values[:] = values[:] + noise.astype(np.float32)
    write_manifest(content_hashes(read_store(store, "volume")), store, store.with_suffix(".json"), "volume")


def test_a_run_is_made_again_to_the_same_bits(recorded, again, capsys):
    cores = json.loads((recorded / "results" / "run.json").read_text())["cores"]
    assert main(["reproduce", str(recorded / "results"), "--out", str(again), "--cores", str(cores)]) == 0
    printed = capsys.readouterr().out
    assert "5 stores: 5 identical" in printed
    assert (again / "results" / SCAN / "figures" / "maps.png").is_file()


def test_last_digits_are_forgiven_to_another_machine_only(recorded, again, tmp_path):
    made = tmp_path / "made"
    shutil.copytree(again, made)
    changed_volume(made, 1e-6)
    run = read_run(recorded / "results")
    found = list(compare(run, made, exact=False))
    assert {one.store: one.how for one in found if one.how != "identical"} == {VOLUME: "within tolerance"}
    report = report_of(found, run, ["machine: another"])
    assert "(0.0001 of the rms, 0.1% of the values beyond)" in report
    (strict,) = (one for one in compare(run, made, exact=True) if one.problems)
    assert "not bit by bit the same" in strict.problems[0]


def test_other_values_and_missing_stores_are_named(recorded, again, tmp_path):
    made = tmp_path / "made"
    shutil.copytree(again, made)
    changed_volume(made, 0.01)
    shutil.rmtree(made / "results" / SCAN / "windows")
    found = {one.store: one for one in compare(read_run(recorded / "results"), made, exact=False)}
    assert "intensity: " in found[VOLUME].problems[0]
    assert found[f"results/{SCAN}/windows/maps.zarr"].problems == ("was not made again",)
    assert found[f"results/{SCAN}/assemble/sinogram.zarr"].how == "identical"


def test_changed_raw_files_are_refused_before_anything_runs(recorded, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(recorded / "raw", raw)
    with open(raw / "mask.edf", "ab") as stream:
        stream.write(b" ")
    detector = next((raw / f"{SCAN}_s1").glob("*.h5"))
    with open(detector, "ab") as stream:
        stream.write(b" ")
    out = tmp_path / "out"
    assert main(["reproduce", str(recorded / "results"), "--out", str(out), "--raw", str(raw)]) == 2
    printed = capsys.readouterr().err
    assert "mask.edf: is not the file that was used" in printed
    assert f"{SCAN}_s1.h5: its frames are not those that were used" in printed
    assert not out.exists()


def test_a_folder_with_something_else_is_left_alone(recorded, tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    assert main(["reproduce", str(recorded / "results"), "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_results_without_a_record_are_named(tmp_path, capsys):
    assert main(["reproduce", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "run.json: no such file" in capsys.readouterr().err


def test_settings_come_along_with_their_files_and_without_a_cache_of_networks(recorded, tmp_path):
    old = tmp_path / "old"
    (old / "results").mkdir(parents=True)
    (old / "mine.npy").write_bytes(b"mask")
    record = json.loads((recorded / "results" / "run.json").read_text())
    record["configuration"]["beamtime"]["regions"] = [{"name": "mine", "mask": "mine.npy"}]
    record["configuration"]["pqnet"]["cache"] = "networks"
    (old / "results" / "run.json").write_text(json.dumps(record))
    run = read_run(old / "results")
    prepare(run, tmp_path / "new", recorded / "raw")
    again = read_run_of(tmp_path / "new", run.record)
    assert (tmp_path / "new" / "mine.npy").read_bytes() == b"mask"
    assert again.pqnet.cache is None
    assert again.model_dump(exclude={"pqnet": {"cache"}, "raw": {"root"}}) == run.config.model_dump(
        exclude={"pqnet": {"cache"}, "raw": {"root"}}
    )


def read_run_of(folder, record):
    from xrdct.config import load
    from xrdct.scans import read_scans

    assert [row.model_dump(mode="json") for row in read_scans(folder / "scans.tsv")] == record["table"]
    return load(folder / "config.yaml")


def test_what_is_not_as_it_was_is_told(recorded):
    record = json.loads((recorded / "results" / "run.json").read_text())
    told = other_circumstances(record | {"machine": "a Cray", "cores": 64}, cores=2)
    assert any(line.startswith("machine: a Cray then, ") for line in told)
    assert "cores: 64 then, 2 now" in told

"""Library, members, model, maps and figure of PQ-Net through the scripts, at the smallest size that answers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import draw_fit
import draw_pqnet
import fit
import pqnet_infer
import pqnet_join
import pqnet_library
import pqnet_train
from support_fit import PIXEL, PROFILE, write_small_scan
from xrdct.config import Fit, PhaseSetSettings, PqNet
from xrdct.errors import StoreError
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.pqnet import read_key, read_member, read_training
from xrdct.io.store import check_form, read_store
from xrdct.pqnet.answers import answers_as_fit
from xrdct.pqnet.comparison import compare, disagreement

PHASE_SET = PhaseSetSettings.model_validate(
    {
        "name": "two",
        "q_min": 1.2,
        "q_max": 2.9,
        "phases": [
            {"name": "NCA", "free": {"a": [2.81, 2.875], "c": [14.15, 14.55]}, "per_voxel": ["a", "c"]},
            {"name": "graphite", "free": {"a": [2.462, 2.466], "c": [6.735, 6.74]}},
        ],
    }
).model_dump(mode="json")
GRID = {"q_min": 1.0, "q_max": 1.0 + 242 * PIXEL, "n_bins": 242}
Q = GRID["q_min"] + PIXEL * (np.arange(GRID["n_bins"]) + 0.5)
SETTINGS = PqNet.model_validate(
    {"members": 2, "epochs": 6, "batch": 100, "held_out": 2000, "library": {"patterns": 6000, "doses": [300, 10000]}}
)
TASK = {"phase_set": PHASE_SET, "grid": GRID}
SIZE = 10


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        for script in (fit, pqnet_infer, pqnet_join, pqnet_library, pqnet_train):
            patch.setattr(script, "read_profile", lambda path: PROFILE)
        patch.setattr(pqnet_join, "TESTED", 300)
        yield patch


@pytest.fixture(scope="module")
def folder(tmp_path_factory, patched):
    """A volume, two trained members, the model, maps of both kinds, and a fit."""
    folder = tmp_path_factory.mktemp("pqnet")
    (folder / "profile.json").write_text("{}")
    write_small_scan(folder, patterns(), Q)
    members = [folder / f"member{k}.pt" for k in range(2)]
    for k, path in enumerate(members):
        train(folder, path, member=k)
    outputs = {"model": folder / "model.pt", "numbers": folder / "card.json", "card": folder / "card.md"}
    pqnet_join.main(folder / "profile.json", members, outputs, **TASK, settings=SETTINGS.of_ensemble())
    infer(folder)
    fit.main(
        folder / "v.zarr", folder / "s.zarr", {"profile": "profile"}, [folder / "v.json", folder / "s.json"],
        folder / "f.zarr",
        folder / "f.json", phase_set=PHASE_SET,
        settings=Fit(parallax=False).model_dump(mode="json", exclude={"preset", "phase_set"}),
    )  # fmt: skip
    return folder


def patterns():
    """NCA on the left with c rising downwards, graphite on the right, the same noise everywhere."""
    model = PatternModel(load_phase_set(PhaseSetSettings.model_validate(PHASE_SET)), Q, PROFILE)
    parameters = np.repeat(model.start[None], SIZE * SIZE, axis=0).reshape(SIZE, SIZE, -1)
    heights = model.units(model.start).max(axis=1)
    parameters[:, :5, model.place("NCA", "scale")] = 500 / heights[0]
    parameters[:, 5:, model.place("graphite", "scale")] = 800 / heights[1]
    parameters[..., model.place("NCA", "c")] = np.linspace(14.2, 14.5, SIZE)[:, None]
    parameters[..., model.place("background", "0")] = 50.0
    clean = model.patterns(parameters.reshape(SIZE * SIZE, -1)).reshape(SIZE, SIZE, -1)
    volume = np.zeros((SIZE, SIZE, Q.size))
    volume[..., model.inside] = clean + np.random.default_rng(0).normal(0, 8, clean.shape)
    return volume


def train(folder, path, *, member, **more):
    pqnet_train.main(
        folder / "profile.json", path, **TASK, settings=SETTINGS.of_member(), member=member, code="x", **more
    )


def infer(folder, phase_set=PHASE_SET):
    names = {"volume": "v.zarr", "volume_manifest": "v.json", "sinogram": "s.zarr", "sinogram_manifest": "s.json"}
    outputs = {"maps": "m.zarr", "manifest": "m.json", "refined": "r.zarr", "refined_manifest": "r.json"}
    pqnet_infer.main(
        {key: folder / name for key, name in names.items()} | {"model": folder / "model.pt", "profile": "profile"},
        {key: folder / name for key, name in outputs.items()},
        phase_set=phase_set,
        mask_threshold=0.02,
        parallax=False,
    )


def test_maps_show_where_the_phases_are_and_the_two_steps_their_cells(folder):
    maps, refined = read_store(folder / "m.zarr", "pqnet"), read_store(folder / "r.zarr", "fit")
    scale = maps.scale.sel(phase="NCA").values
    assert scale[:, 5:].mean() < 0.25 * scale[:, :5].mean()
    assert np.isnan(maps.c.sel(phase="graphite")).all()  # not asked for
    c, error = (refined[name].sel(phase="NCA").values[:, :5] for name in ("c", "c_err"))
    # Peaks of 60 standard deviations: c to a few thousandths, from networks that saw 36,000 patterns.
    assert np.median(np.abs(c - np.linspace(14.2, 14.5, SIZE)[:, None])) < 0.01
    assert np.median(error) < 0.02
    assert refined.attrs["source"] == "pqnet+fit"
    assert refined.in_range.values.mean() > 0.6
    # Every channel has the standard deviation 8, the sinogram's variance says 1.
    assert maps.attrs["noise_factor"] == pytest.approx(64, rel=0.15)


def test_the_two_steps_say_what_the_pattern_does_not(folder):
    """Of graphite's lines with an a the range holds none."""
    silent = [text for text in read_store(folder / "r.zarr", "fit").attrs["warnings"] if "next to nothing" in text]
    assert any(text.startswith("graphite: the pattern says next to nothing about a") for text in silent)


def test_the_card_names_ranges_and_keys(folder):
    card = json.loads((folder / "card.json").read_text())
    assert card["keys"] == [read_key(folder / f"member{k}.pt") for k in range(2)]
    assert card["keys"][0] != card["keys"][1]
    assert "| NCA | a | 2.81 | 2.875 |" in (folder / "card.md").read_text()


def test_the_figure_and_the_table_compare_with_the_fit(folder):
    draw_pqnet.main(
        folder / "m.zarr", folder / "r.zarr", folder / "f.zarr", folder / "p.png", folder / "t.csv", colormap="viridis"
    )
    with open(folder / "t.csv", newline="") as table:
        found = {(row["phase"], row["parameter"], row["source"]): row for row in csv.DictReader(table)}
    steps = found["NCA", "c", "pqnet+fit"]
    assert abs(float(steps["bias"])) < 0.01
    assert int(steps["voxels"]) >= 45
    assert (folder / "p.png").stat().st_size > 10_000


def test_a_disagreement_is_marked_with_its_warning(folder):
    stores = {"m": "pqnet", "r": "fit", "f": "fit"}
    maps, refined, fitted = (read_store(folder / f"{name}.zarr", kind).load() for name, kind in stores.items())
    maps["c"][0, 2:4, 1] += 1.0  # far beyond any error bar, in two voxels with NCA
    maps["in_range"][2:4, 1] = [True, False]
    found = disagreement(maps, fitted)
    assert found[2:4, 1].tolist() == [2, 1]
    assert np.isfinite(found[:, :5]).all()
    row = next(r for r in compare(maps, refined, fitted) if (r["parameter"], r["source"]) == ("c", "pqnet"))
    assert 0 < row["warned"] < 1


def test_answers_take_the_place_of_the_two_steps_in_figures(folder):
    answers, refined = read_store(folder / "m.zarr", "pqnet"), read_store(folder / "r.zarr", "fit")
    found = answers_as_fit(answers.assign_attrs(warnings=["NCA is off"]), refined)
    np.testing.assert_array_equal(found.in_range, answers.in_range)
    assert found.attrs["warnings"] == ["NCA is off", *refined.attrs["warnings"]]
    check_form(found, "fit", origin="answers")
    assert found.attrs["source"] == "pqnet"
    np.testing.assert_array_equal(found.c_err, answers.c_std)
    mass = answers.scale * refined.density
    np.testing.assert_allclose(found.weight_fraction, mass / mass.sum("phase"), rtol=1e-5)
    outputs = {name: folder / f"{name}.png" for name in ("pattern", "phases", "cells")}
    draw_fit.main(folder / "r.zarr", outputs, phase_set=PHASE_SET, colormap="viridis", answers=folder / "m.zarr")
    assert all(path.stat().st_size > 10_000 for path in outputs.values())


def test_a_member_that_was_trained_before_is_taken_from_the_cache(folder, tmp_path, caplog):
    (tmp_path / "cache").mkdir()
    key = read_key(folder / "member0.pt")
    (tmp_path / "cache" / f"{key}.pt").write_bytes((folder / "member0.pt").read_bytes())
    train(folder, tmp_path / "m.pt", member=0, cache=str(tmp_path / "cache"))
    assert (tmp_path / "m.pt").read_bytes() == (folder / "member0.pt").read_bytes()


def test_a_killed_training_goes_on_to_the_same_network(tmp_path, patched):
    """kill -9 once there is a checkpoint; another training was not disturbed."""
    settings = PqNet.model_validate({"epochs": 30, "batch": 50, "library": {"patterns": 1000}}).of_member()
    task = TASK | {"settings": settings, "member": 0, "code": "x"}
    (tmp_path / "profile.json").write_text("{}")
    unbroken, path, growing = (tmp_path / name for name in ("unbroken.pt", "m.pt", ".m.pt.growing"))
    pqnet_train.main(tmp_path / "profile.json", unbroken, **task)
    code = f"""
import json, sys
import pqnet_train, torch
from support_fit import PROFILE
torch.set_num_threads({torch.get_num_threads()})
pqnet_train.read_profile = lambda path: PROFILE
pqnet_train.main(*sys.argv[1:3], **json.loads(sys.argv[3]))
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "profile.json"), str(path), json.dumps(task)]
    process = subprocess.Popen(arguments, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while not growing.is_file():
        assert process.poll() is None, "the training ended before its first checkpoint"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not path.exists()
    assert 0 < read_training(growing, key=read_key(unbroken))["epoch"] < 30
    pqnet_train.main(tmp_path / "profile.json", path, **task)
    found, expected = (read_member(one).state_dict() for one in (path, unbroken))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not growing.exists()


def test_a_model_for_other_phases_is_refused(folder, tmp_path):
    other = PHASE_SET | {"phases": PHASE_SET["phases"][:1]}
    with pytest.raises(StoreError, match="is for phases NCA, graphite, not for NCA"):
        infer(folder, phase_set=other)


def test_a_stored_library_holds_counts_and_trains_the_papers_way(folder, tmp_path, patched):
    settings = PqNet.model_validate(
        {"schedule": "paper", "library": {"patterns": 1000, "stored": True, "noise": "poisson"}}
    )
    store, manifest = tmp_path / "l.zarr", tmp_path / "l.json"
    pqnet_library.main(folder / "profile.json", store, manifest, **TASK, settings=settings.of_member())
    library = read_store(store, "library")
    assert library.sizes["pattern"] == 1000
    counts = library.intensity.values
    assert (counts == np.round(counts)).all()
    np.testing.assert_allclose(library.level.values, np.maximum(counts.mean(axis=1), 1e-3), rtol=1e-5)
    arrays = pqnet_train.stored_arrays(store)
    assert arrays["parameters"].shape == (1000, library.sizes["parameter"])
    assert pqnet_train.stored_arrays(None) is None

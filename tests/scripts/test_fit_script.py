"""volume.zarr to maps.zarr of a fit, and its figures: a small volume whose phases and cells are known."""

import numpy as np
import pytest

import draw_fit
import fit
from support_fit import PIXEL, PROFILE, write_small_scan
from xrdct.config import Fit, PhaseSetSettings
from xrdct.errors import FitError
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.store import read_store

PHASE_SET = {
    "name": "two",
    "q_min": 1.2,
    "q_max": 2.9,
    "phases": [
        {"name": "NCA", "free": {"a": [2.80, 2.88], "c": [14.1, 14.6]}, "per_voxel": ["a", "c"]},
        {"name": "graphite", "free": {"a": [2.46, 2.47], "c": [6.70, 6.74]}},
    ],
    "peaks": [{"name": "separator", "q": 1.525, "q_limits": [1.51, 1.54], "fwhm": 0.03, "fwhm_limits": [0.01, 0.05]}],
}
Q = np.arange(1.0, 3.0, PIXEL)
SIZE = 9


def truth():
    """NCA on the left with c rising downwards, graphite on the right, nothing in the first row."""
    model = PatternModel(load_phase_set(PhaseSetSettings.model_validate(PHASE_SET)), Q, PROFILE)
    parameters = np.repeat(model.start[None], SIZE * SIZE, axis=0).reshape(SIZE, SIZE, -1)
    units = model.units(model.start).max(axis=1)
    parameters[1:, :5, model.place("NCA", "scale")] = 50 / units[0]
    parameters[1:, 5:, model.place("graphite", "scale")] = 80 / units[1]
    parameters[1:, :, model.place("separator", "scale")] = 5 / units[2]
    parameters[..., model.place("NCA", "c")] = np.linspace(14.2, 14.5, SIZE)[:, None]
    parameters[1:, :, model.place("background", "0")] = 10.0
    return model, parameters


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    model, parameters = truth()
    rng = np.random.default_rng(0)
    patterns = np.zeros((SIZE, SIZE, Q.size))
    clean = model.patterns(parameters.reshape(SIZE * SIZE, -1)).reshape(SIZE, SIZE, -1)
    patterns[..., model.inside] = clean + rng.normal(0, 1.5, clean.shape) * (clean > 0)
    write_small_scan(folder, patterns, Q)
    return folder


def run(folder, monkeypatch, **settings):
    monkeypatch.setattr(fit, "read_profile", lambda path: PROFILE)
    chosen = Fit(**{"parallax": False} | settings).model_dump(mode="json", exclude={"preset", "phase_set"})
    phase_set = PhaseSetSettings.model_validate(PHASE_SET).model_dump(mode="json")
    manifests = [folder / "v.json", folder / "s.json"]
    store, manifest = folder / "maps.zarr", folder / "maps.json"
    fit.main(
        folder / "v.zarr",
        folder / "s.zarr",
        {"profile": "profile"},
        manifests,
        store,
        manifest,
        phase_set=phase_set,
        settings=chosen,
    )
    return read_store(store, "fit")


@pytest.mark.parametrize("level", ["quick", "full"])
def test_phases_and_cells_are_where_they_were(maps, monkeypatch, level):
    found = run(maps, monkeypatch, level=level)
    assert found.mask.values.tolist() == [[False] * SIZE] + [[True] * SIZE] * (SIZE - 1)
    nca, graphite = found.sel(phase="NCA"), found.sel(phase="graphite")
    scale = nca.scale.values[1:]
    assert scale[:, 5:].max() < 0.1 * scale[:, :5].min()
    assert graphite.scale.values[1:, :5].max() < 0.1 * graphite.scale.values[1:, 5:].min()
    error = np.abs(nca.c.values - np.linspace(14.2, 14.5, SIZE)[:, None])[1:, :5]
    # 40 voxels: one in four hundred lies beyond three standard errors by chance, model errors there are none.
    assert (error < 4 * nca.c_err.values[1:, :5]).all()
    assert np.nanmedian(nca.c_err.values[1:, :5]) < 0.01
    assert np.isnan(nca.c.values[0]).all()
    share = found.weight_fraction.sel(phase=["NCA", "graphite"]).sum("phase").values
    np.testing.assert_allclose(share[1:], 1, atol=1e-5)


def test_what_was_not_fitted_in_a_voxel_has_no_error(maps, monkeypatch):
    found = run(maps, monkeypatch, level="quick")
    assert found["size_err"].sel(phase="NCA").isnull().all()
    assert found["c"].sel(phase="graphite").isnull().all()
    assert found["rwp"].values[1:].max() < 0.2


def test_the_store_says_what_the_pattern_does_not(maps, monkeypatch, caplog):
    found = run(maps, monkeypatch, level="quick")
    # Of graphite's lines with an a (100 at 2.94) the range holds none; those of NCA (101, 012) it does.
    silent = [text for text in found.attrs["warnings"] if "says next to nothing" in text]
    assert len(silent) == 1
    assert silent[0].startswith("graphite: the pattern says next to nothing about a")
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == found.attrs["warnings"]


def test_figures_are_drawn(maps, monkeypatch, tmp_path):
    run(maps, monkeypatch, level="quick")
    outputs = {name: tmp_path / f"{name}.png" for name in ("pattern", "phases", "cells")}
    phase_set = PhaseSetSettings.model_validate(PHASE_SET).model_dump(mode="json")
    draw_fit.main(maps / "maps.zarr", outputs, phase_set=phase_set, colormap="viridis")
    for path in outputs.values():
        assert path.stat().st_size > 10_000


def test_an_empty_volume_is_refused(maps, monkeypatch):
    monkeypatch.setattr(fit, "read_store", empty(fit.read_store))
    with pytest.raises(FitError, match="no voxel holds any signal"):
        run(maps, monkeypatch)


def empty(read):
    def without_signal(path, kind):
        data = read(path, kind)
        return data.assign(intensity=data.intensity * 0) if kind == "volume" else data

    return without_signal

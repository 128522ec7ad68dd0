"""Sinogram to linear volume to DLSR maps, and the diagnosis with its figure, on a small thick cell."""

import json
import logging

import numpy as np
import pytest
import xarray as xr
from pyFAI.detectors import Detector
from pyFAI.integrator.azimuthal import AzimuthalIntegrator

import diagnose_parallax
import draw_fit
import reconstruct
import refine_dlsr
from support_dlsr import ONE_LINE
from xrdct.bench.thick_cell import DISTANCE_MM, PROFILE, SIZE_NM, WAVELENGTH, Q, thick_cell
from xrdct.config import Dlsr, Fit, Reconstruct
from xrdct.errors import GeometryError
from xrdct.io.poni import write_poni
from xrdct.io.store import read_store, write_store

N, N_ANGLES = 24, 36
PHASE_SET = ONE_LINE.model_dump(mode="json")


def write_sinogram(folder, cell):
    angles = np.arange(N_ANGLES) * 180 / N_ANGLES
    counts = np.random.default_rng(0).poisson(cell.sinogram(angles, counts=4000)).astype(np.float32)
    frames, lines, units = ("angle", "position"), ("angle",), {"units": "1"}
    dataset = xr.Dataset(
        {
            "intensity": ((*frames, "q"), counts, {"units": "counts"}),
            "variance": ((*frames, "q"), np.maximum(counts, 1), {"units": "counts^2"}),
            "air": (("angle", "q"), np.zeros((N_ANGLES, Q.size), np.float32), {"units": "counts"}),
            **{name: (frames, np.zeros((N_ANGLES, N), bool), units) for name in ("repaired", "bad_frame", "zingers")},
            "subset": (lines, np.arange(N_ANGLES) % 4 + 1, units),
            **{name: (lines, np.zeros(N_ANGLES), units) for name in ("direction", "offset")},
        },
        coords={
            "angle": ("angle", angles, {"units": "degree"}),
            "position": ("position", (np.arange(N) - (N - 1) / 2) * cell.step_mm, {"units": "mm"}),
            "q": ("q", Q, {"units": "1/angstrom"}),
        },
        attrs={"cor": (N - 1) / 2, "step_mm": cell.step_mm},
    )
    write_store(dataset, folder / "s.zarr", folder / "s.json", kind="sinogram", settings={}, inputs={})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with sinogram, geometry and the linear volume."""
    folder = tmp_path_factory.mktemp("thick")
    write_sinogram(folder, thick_cell(N, seed=3, layer_px=2.5))
    detector = Detector(172e-6, 172e-6, max_shape=(100, 100))
    geometry = AzimuthalIntegrator(dist=DISTANCE_MM / 1e3, detector=detector, wavelength=WAVELENGTH * 1e-10)
    write_poni(folder / "geometry.poni", geometry)
    settings = Reconstruct(method="sirt", nonnegative=True, parallax="linear").model_dump(mode="json")
    stores = [folder / name for name in ("s.zarr", "s.json", "v.zarr", "v.json")]
    reconstruct.main(*stores, settings=settings, geometry=folder / "geometry.poni")
    return folder


@pytest.fixture
def profile(monkeypatch):
    for script in (refine_dlsr, diagnose_parallax):
        monkeypatch.setattr(script, "read_profile", lambda path: PROFILE)


def diagnose(folder, **changed):
    outputs = {"report": folder / "parallax.json", "figure": folder / "parallax.png"}
    arguments = {
        "phase_set": PHASE_SET,
        "windows": [{"name": "003", "q_min": 1.30, "q_max": 1.34}],
        "declared_span": 180.0,
        "treated": False,
        "title": "thick",
    }
    geometry = changed.pop("geometry", folder / "geometry.poni")
    diagnose_parallax.main(folder / "s.zarr", geometry, "profile", outputs, **arguments | changed)
    return json.loads(outputs["report"].read_text(encoding="utf-8"))


def refine(folder, tmp_path, **settings):
    inputs = {"sinogram": folder / "s.zarr", "volume": folder / "v.zarr", "profile": "p"}
    refine_dlsr.main(
        inputs | {"geometry": folder / "geometry.poni"},
        [folder / "s.json", folder / "v.json"],
        tmp_path / "maps.zarr",
        tmp_path / "maps.json",
        tmp_path / "checkpoint.npz",
        phase_set=PHASE_SET,
        fit_settings=Fit().model_dump(mode="json", exclude={"preset", "phase_set"}),
        settings=Dlsr(smooth=1.0, **settings).model_dump(mode="json"),
    )
    return read_store(tmp_path / "maps.zarr", "fit")


def test_cells_are_there_without_draws_for_their_errors(folder, profile, tmp_path):
    found = refine(folder, tmp_path, samples=0, max_iterations=1, model_error=False).sel(phase="NCA")
    assert np.isfinite(found.c.values).sum() > 100
    assert np.isnan(found.c_err.values).all()
    assert np.isnan(found.scale_err.values).all()


def test_maps_of_a_dlsr_have_the_form_of_a_fit_and_are_drawn(folder, profile, tmp_path):
    found, truth = refine(folder, tmp_path, samples=2), thick_cell(N, seed=3, layer_px=2.5)
    c, error = found.c.sel(phase="NCA").values, found.c_err.sel(phase="NCA").values
    layers = (truth.nca > 0.5) & np.isfinite(c)
    assert layers.sum() > 0.9 * (truth.nca > 0.5).sum()
    assert np.sqrt(np.mean((c - truth.c)[layers] ** 2)) < 0.01  # 0.017 by back-projection
    assert np.isfinite(error[layers]).mean() > 0.9
    assert np.isnan(found["size"].values).all()
    size, size_error = json.loads(found.attrs["shared"])["NCA 1/size"]
    assert 1 / size == pytest.approx(SIZE_NM, rel=0.1)  # without parallax in the model: half of it
    assert size_error > 0
    assert found.attrs["converged"] == 1
    assert found.attrs["counts_chi2"] > 0.9 * found.chi2.values[layers].max()  # model errors only take off from it
    assert 0 <= found.attrs["model_error"] < 0.1
    assert not any("told apart" in text for text in found.attrs["warnings"])  # one phase alone
    assert not (tmp_path / "checkpoint.npz").exists()
    outputs = {name: tmp_path / f"{name}.png" for name in ("pattern", "phases", "cells")}
    draw_fit.main(tmp_path / "maps.zarr", outputs, phase_set=PHASE_SET, colormap="viridis")
    assert all(path.stat().st_size > 10_000 for path in outputs.values())


def test_the_volume_says_how_many_iterations_made_it_and_why(folder):
    found = read_store(folder / "v.zarr", "volume").attrs
    held_out = {int(number): value for number, value in json.loads(found["held_out"]).items()}
    assert 10 < found["iterations"] <= min(held_out, key=held_out.get)
    assert json.loads(found["over_noise"]).keys() == json.loads(found["held_out"]).keys()
    assert found["iterations"] < 200  # what sirt makes without parallax


def test_the_diagnosis_is_written_and_drawn(folder, profile):
    found = diagnose(folder)
    assert found["radius_mm"] == pytest.approx(9.15, abs=1.0)
    assert found["parallax_percent"] == pytest.approx(0.1 * found["radius_mm"], rel=1e-6)
    assert found["windows_at_risk"][0]["window"] == "003"
    assert (folder / "parallax.png").stat().st_size > 10_000


def test_a_turn_that_was_not_made_is_warned_of(folder, profile, caplog):
    with caplog.at_level(logging.WARNING):
        diagnose(folder, declared_span=360.0)
    assert "declares a turn of 360°" in caplog.text


def test_a_geometry_of_another_calibration_is_refused(folder, profile, tmp_path):
    detector = Detector(172e-6, 172e-6, max_shape=(100, 100))
    write_poni(tmp_path / "other.poni", AzimuthalIntegrator(dist=1.0, detector=detector, wavelength=0.2e-10))
    with pytest.raises(GeometryError, match="not of one calibration"):
        diagnose(folder, geometry=tmp_path / "other.poni")
    write_poni(tmp_path / "none.poni", AzimuthalIntegrator(dist=1.0, detector=detector))
    with pytest.raises(GeometryError, match="needs the wavelength"):
        diagnose(folder, geometry=tmp_path / "none.poni")


def test_maps_are_not_refined_with_a_geometry_of_another_calibration(folder, profile, tmp_path):
    detector = Detector(172e-6, 172e-6, max_shape=(100, 100))
    write_poni(tmp_path / "other.poni", AzimuthalIntegrator(dist=1.0, detector=detector, wavelength=0.2e-10))
    inputs = {"sinogram": folder / "s.zarr", "volume": folder / "v.zarr", "profile": "p"}
    with pytest.raises(GeometryError, match=r"0\.20000 Å.*not of one calibration"):
        refine_dlsr.main(
            inputs | {"geometry": tmp_path / "other.poni"}, [], "m.zarr", "m.json", "c.npz",
            phase_set=PHASE_SET, fit_settings={}, settings={},
        )  # fmt: skip


def test_a_sample_beyond_the_field_and_an_unknown_beam_are_warned_of(folder, caplog):
    sinogram = read_store(folder / "s.zarr", "sinogram")
    scan = {"cor": np.full(N_ANGLES, (N - 1) / 2), "step_mm": sinogram.attrs["step_mm"]}
    with caplog.at_level(logging.WARNING):
        reconstruct.tell_field(sinogram, scan)
        reconstruct.tell_sense({"as calibrated": 0.10, "reversed": 0.12})
        assert caplog.text == ""
        reconstruct.tell_field(sinogram.isel(position=slice(4, 20)), scan | {"cor": scan["cor"] - 4})
        assert "beyond the field" in caplog.text
        reconstruct.tell_sense({"as calibrated": 0.10, "reversed": 0.101})
        assert "do not say which way the beam goes" in caplog.text


def test_a_beam_from_the_other_side_is_warned_of(folder, tmp_path, caplog):
    mirrored = read_store(folder / "s.zarr", "sinogram").load()
    mirrored["intensity"].values[:] = mirrored.intensity.values[:, ::-1].copy()
    write_store(mirrored, tmp_path / "s.zarr", tmp_path / "s.json", kind="sinogram", settings={}, inputs={})
    settings = Reconstruct(method="cgls", parallax="linear", iterations=1).model_dump(mode="json")
    stores = [tmp_path / name for name in ("s.zarr", "s.json", "v.zarr", "v.json")]
    with caplog.at_level(logging.INFO):
        reconstruct.main(*stores, settings=settings, geometry=folder / "geometry.poni")
    assert "assemble.mirrored" in caplog.text
    assert "minutes for 1 iterations" in caplog.text

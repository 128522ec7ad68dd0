"""sinogram.zarr to volume.zarr to maps.zarr: the blob is where it was."""

import numpy as np
import pytest
import xarray as xr

import assemble
import map_windows
import reconstruct
from support_stores import BLOB_MM, STEP, patterns_of, write_patterns
from xrdct.config import Assemble, Reconstruct
from xrdct.errors import GeometryError
from xrdct.io.store import read_manifest, read_store, write_store


@pytest.fixture
def volume(tmp_path):
    stores, manifests = zip(*[write_patterns(patterns_of(k), tmp_path, f"p{k}") for k in (0, 1)], strict=True)
    rows = [{"angle_start_deg": 0.0, "angle_step_deg": 4.5, "step_mm": STEP, "zigzag": "yes"}] * 2
    settings = Assemble().model_dump(mode="json")
    sinogram = tmp_path / "sinogram.zarr", tmp_path / "sinogram.json"
    assemble.main(stores, manifests, *sinogram, tmp_path / "quality.json", subsets=rows, settings=settings)
    out = tmp_path / "volume.zarr", tmp_path / "volume.json"
    reconstruct.main(*sinogram, *out, settings=Reconstruct().model_dump(mode="json"))
    return read_store(tmp_path / "volume.zarr", "volume")


def test_the_blob_is_at_its_coordinates(volume):
    image = volume.intensity.isel(q=1)
    image = image.where(image > 0.2 * image.max(), 0)
    x = float((image * image.x).sum() / image.sum())
    y = float((image * image.y).sum() / image.sum())
    # The centre of mass of a blob of 2.5 pixels' sigma: well inside a tenth of a pixel.
    assert (x, y) == pytest.approx(BLOB_MM, abs=0.1 * STEP)


def test_the_y_axis_falls_with_the_row(volume):
    assert (np.diff(volume.y) < 0).all()
    assert (np.diff(volume.x) > 0).all()


def test_the_manifest_names_the_store_and_its_content(volume, tmp_path):
    manifest = read_manifest(tmp_path / "volume.json")
    assert manifest["store"] == "volume.zarr"
    assert "intensity" in manifest["sha256"]


def test_windows_become_named_maps_with_their_limits(tmp_path):
    q = np.linspace(1, 2, 51)
    peak = np.exp(-(((q - 1.5) / 0.03) ** 2) / 2)
    data = np.zeros((4, 5, 51), np.float32)
    data[1, 2] = 7 * peak
    axes = {"y": ("y", np.arange(4)[::-1] * 1.0, {"units": "mm"}), "x": ("x", np.arange(5) * 1.0, {"units": "mm"})}
    dataset = xr.Dataset(
        {"intensity": (("y", "x", "q"), data, {"units": "counts/voxel"})},
        coords=axes | {"q": ("q", q, {"units": "1/angstrom"})},
    )
    store, manifest = tmp_path / "volume.zarr", tmp_path / "volume.json"
    write_store(dataset, store, manifest, kind="volume", settings={}, inputs={})
    out = tmp_path / "maps.zarr", tmp_path / "maps.json"
    windows = [{"name": "here", "q_min": 1.35, "q_max": 1.65}, {"name": "nothing", "q_min": 1.1, "q_max": 1.3}]
    map_windows.main(store, manifest, *out, windows=windows, background="linear")
    maps = read_store(out[0], "maps")
    area = maps.area.sel(phase="here").values
    assert area[1, 2] == pytest.approx(7 * 0.03 * np.sqrt(2 * np.pi), rel=1e-3)  # closed form of a gaussian's area
    assert np.count_nonzero(area) == 1
    assert maps.q_centre.sel(phase="here").values[1, 2] == pytest.approx(1.5, abs=1e-3)
    assert maps.q_min.sel(phase="nothing") == 1.1
    wide = [{"name": "wide", "q_min": 1.9, "q_max": 2.0}]
    with pytest.raises(GeometryError, match=r"window 1\.9–2\.0"):
        map_windows.main(store, manifest, tmp_path / "m.zarr", tmp_path / "m.json", windows=wide, background="linear")
    assert not (tmp_path / "m.zarr").exists()

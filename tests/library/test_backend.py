"""One function for every method and device: blocks, NaN, warnings, settings, and what ASTRA is told on a GPU."""

import logging
import runpy

import astra
import numpy as np
import pytest
import xarray as xr

from support import REPOSITORY
from xrdct.config import Config, Reconstruct, validate
from xrdct.errors import ConfigError, GeometryError
from xrdct.geometry import pixel_centres
from xrdct.io.store import read_manifest, read_store, write_store
from xrdct.reconstruction import astra_cuda, backend
from xrdct.reconstruction.backend import OPTIONS, reconstruct, reconstruct_blocks
from xrdct.reconstruction.fbp import angular_weights, fbp, filter_projections
from xrdct.reconstruction.operator import ParallelBeam
from xrdct.reconstruction.sirt import sirt

ANGLES = np.arange(40) * 4.5
COR = 15.2


def noise(n_channels, n_positions=32):
    return np.random.default_rng(0).normal(size=(40, n_positions, n_channels)).astype(np.float32)


def test_blocks_of_channels_are_the_method_on_all_of_them():
    b = noise(150)  # three blocks
    A = ParallelBeam(ANGLES, 32, COR, support=16)
    # Sums of one order; a compiler may contract a product and a sum in one loop and not in another.
    np.testing.assert_allclose(reconstruct(b, ANGLES, cor=COR), fbp(A, b), atol=1e-5)
    found = reconstruct(b, ANGLES, cor=COR, method="sirt", iterations=3, nonnegative=True)
    np.testing.assert_allclose(found, sirt(A, b, iterations=3, nonnegative=True), atol=1e-5)


def test_the_support_is_the_inscribed_circle_or_the_square():
    axis = pixel_centres(32, 1.0)
    outside = np.hypot(axis[None, :], axis[:, None]) > 16
    assert (reconstruct(noise(2), ANGLES, cor=COR)[outside] == 0).all()
    assert (reconstruct(noise(2), ANGLES, cor=COR, support="none")[outside] != 0).any()


@pytest.mark.parametrize("method", OPTIONS)
def test_a_channel_with_one_nan_is_nan_and_the_others_do_not_change(method, caplog):
    b = noise(70)
    poisoned = b.copy()
    poisoned[7, 20, 3] = poisoned[0, 0, 69] = np.nan
    options = {} if method == "fbp" else {"iterations": 2}
    clean = reconstruct(b, ANGLES, cor=COR, method=method, **options)
    found = reconstruct(poisoned, ANGLES, cor=COR, method=method, **options)
    assert np.isnan(found[..., [3, 69]]).all()
    others = np.delete(np.arange(70), [3, 69])
    np.testing.assert_allclose(found[..., others], clean[..., others], atol=1e-5 * np.abs(clean).max())
    assert "2 of 70 channels hold NaN" in caplog.text


def test_a_sinogram_without_a_finite_channel_is_a_volume_of_nan():
    assert np.isnan(reconstruct(np.full((40, 32, 3), np.nan), ANGLES, cor=COR)).all()


def test_only_blocks_of_channels_are_asked_for_and_the_progress_sees_each():
    asked, seen = [], []

    class OnDisk:
        shape = (40, 32, 150)

        def __getitem__(self, key):
            asked.append((key[-1].start, key[-1].stop))
            return noise(150)[key]

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    blocks = [channels for channels, _ in reconstruct_blocks(OnDisk(), ANGLES, cor=COR, progress=progress)]
    assert asked == [(channels.start, channels.stop) for channels in blocks] == [(0, 64), (64, 128), (128, 150)]
    assert seen == [0, 64, 128]


def test_missing_and_double_angles_are_named_in_the_log(caplog):
    gap = np.r_[0:60:2, 75:180:2].astype(float)
    reconstruct(noise(1)[np.arange(len(gap)) % 40], gap, cor=COR, method="sirt", iterations=1)
    assert "no projection between 58.00° and 75.00° (modulo 180°)" in caplog.text
    caplog.clear()
    reconstruct(noise(1), np.r_[np.delete(ANGLES, [10, 20]), ANGLES[3], ANGLES[4] + 360], cor=COR)
    assert "2 projections have the angle of another one" in caplog.text
    with pytest.raises(GeometryError, match=r"between 58\.00° and 75\.00°"):
        reconstruct(noise(1)[np.arange(len(gap)) % 40], gap, cor=COR)


def test_impossible_requests_are_refused():
    with pytest.raises(GeometryError, match="21 angles for a sinogram of 40 projections"):
        reconstruct(noise(1), ANGLES[:21], cor=COR)
    with pytest.raises(GeometryError, match="outside the field of 32 positions"):
        reconstruct(noise(1), ANGLES, cor=31.5)
    with pytest.raises(ValueError, match="unknown method 'art'"):
        reconstruct(noise(1), ANGLES, cor=COR, method="art")


def test_without_a_gpu_the_cpu_is_taken_and_named_and_cuda_refused(caplog, monkeypatch):
    monkeypatch.setattr(backend, "cuda_available", lambda: False)
    monkeypatch.setattr(astra_cuda, "cuda_available", lambda: False)
    with caplog.at_level(logging.INFO):
        backend._say_once.cache_clear()
        reconstruct(noise(1), ANGLES, cor=COR)
        reconstruct(noise(1), ANGLES, cor=COR)
    assert caplog.text.count("fbp on the CPU") == 1
    with pytest.raises(GeometryError, match="no CUDA device"):
        reconstruct(noise(1), ANGLES, cor=COR, device="cuda")


@pytest.mark.parametrize("angle", [0.0, 30.0, 77.0, 135.0, 210.0])
@pytest.mark.parametrize("cor", [8.0, 20.3])
def test_the_rays_of_the_gpu_geometry_cross_a_slice_as_the_operator_says(angle, cor):
    """ASTRA has no 3-D projector for the CPU: the vectors go, without their third axis, to its 2-D one."""
    A = ParallelBeam([angle], 32, cor)
    axis = pixel_centres(32, 1.0)
    image = np.exp(-((axis[None, :] - 4) ** 2 + (axis[::-1, None] + 6) ** 2) / 18).astype(np.float32)
    vectors = astra_cuda.slice_vectors(A)
    assert (vectors[:, [2, 5, 8, 9, 10]] == 0).all()
    assert (vectors[:, 11] == 1).all()
    plane = vectors[:, [0, 1, 3, 4, 6, 7]]
    # A 2-D image has its largest y in row 0, a slice of a 3-D volume its smallest.
    rays, volume = astra.create_proj_geom("parallel_vec", 32, plane), astra.create_vol_geom(32, 32)
    projector = astra.create_projector("linear", rays, volume)
    handle, theirs = astra.create_sino(image[::-1].copy(), projector)
    astra.data2d.delete(handle)
    astra.projector.delete(projector)
    assert np.abs(theirs - A @ image).max() < 0.02 * theirs.max()  # two ways to share a pixel of a narrow blob


def test_the_gpu_geometry_has_a_slice_per_channel():
    rays, volume = astra_cuda.geometries(ParallelBeam(ANGLES, 32, COR, 30), 7)
    assert astra.geom_size(rays) == (7, 40, 32)
    assert astra.geom_size(volume) == (7, 30, 30)


@pytest.mark.parametrize("filter", ["ram-lak", "hann"])
def test_the_filter_of_tensors_is_the_filter_of_arrays(filter):
    import torch

    b = noise(40)
    tensor = torch.from_numpy(np.moveaxis(b, -1, 0).copy()).permute(1, 2, 0)
    found = astra_cuda.filter_tensor(tensor, ANGLES, filter)
    assert found.stride() == tensor.stride()  # the channel stays slowest in memory, as ASTRA wants it
    expected = filter_projections(b, filter) * angular_weights(ANGLES)[:, None, None]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


OFFSETS = np.where(np.arange(40) % 2, -0.4, 0.4)


def test_the_script_streams_a_store_into_a_store(tmp_path):
    b = noise(21)
    b[..., 20] = np.nan
    sinogram = xr.Dataset(
        {
            "intensity": (("angle", "position", "q"), b, {"units": "counts"}),
            "variance": (("angle", "position", "q"), b**2, {"units": "counts^2"}),
            "air": (("angle", "q"), b[:, 0], {"units": "counts"}),
            "repaired": (("angle", "position"), np.zeros((40, 32)), {"units": "1"}),
            "bad_frame": (("angle", "position"), np.zeros((40, 32)), {"units": "1"}),
            "zingers": (("angle", "position"), np.zeros((40, 32)), {"units": "1"}),
            "subset": (("angle",), np.zeros(40), {"units": "1"}),
            "direction": (("angle",), np.ones(40), {"units": "1"}),
            "offset": (("angle",), OFFSETS, {"units": "pixel"}),
        },
        coords={
            "angle": ("angle", ANGLES, {"units": "degree"}),
            "q": ("q", np.linspace(1, 2, 21), {"units": "1/angstrom"}),
        },
        attrs={"cor": COR, "step_mm": 0.02},
    )
    paths = [tmp_path / name for name in ("s.zarr", "s.json", "v.zarr", "v.json")]
    write_store(sinogram, *paths[:2], kind="sinogram", settings={}, inputs={})
    script = runpy.run_path(str(REPOSITORY / "workflow" / "scripts" / "reconstruct.py"))
    settings = Reconstruct(method="tv", iterations=5, tv_weight=0.01, nonnegative=True).model_dump(mode="json")
    script["main"](*paths, settings=settings)
    volume = read_store(paths[2], "volume")
    expected = reconstruct(b, ANGLES, cor=COR + OFFSETS, method="tv", iterations=5, weight=0.01, nonnegative=True)
    np.testing.assert_array_equal(volume.intensity.values, expected)
    assert volume.y.values[0] == pytest.approx(15.5 * 0.02)
    assert set(read_manifest(paths[3])["sha256"]) >= {"intensity", "x", "y", "q"}


@pytest.mark.parametrize(
    ("method", "nonnegative"),
    [("fbp", False), ("fbp", True), ("sirt", True), ("sart", True), ("cgls", False), ("tv", True)],
)
def test_the_default_settings_suit_every_method(method, nonnegative):
    script = runpy.run_path(str(REPOSITORY / "workflow" / "scripts" / "reconstruct.py"))
    settings = Reconstruct(method=method, nonnegative=nonnegative).model_dump(mode="json")
    own, options = script["method_of"](settings), script["chosen_options"](settings)
    assert options.keys() <= set(OPTIONS[own])
    assert "iterations" not in options
    volume = reconstruct(noise(2), ANGLES, cor=COR, method=own, **options)
    assert np.isfinite(volume).all()
    assert (volume.min() == 0) == nonnegative


def test_a_hole_in_a_strong_ring_stays_empty_where_nothing_may_be_negative():
    axis = pixel_centres(32, 1.0)
    radius = np.hypot(axis[None], axis[:, None])
    ring = ((radius > 5) & (radius < 12)).astype(np.float32)[..., None]
    b = ParallelBeam(ANGLES, 32, COR, support=16) @ ring
    plain = reconstruct(b, ANGLES, cor=COR, filter="hann")
    repeated = reconstruct(b, ANGLES, cor=COR, method="refined_fbp", nonnegative=True)
    hole = radius < 4
    assert abs(repeated[hole].mean()) < 0.3 * abs(plain[hole].mean())
    # An edge between voxels swings by some per cent on either side.
    assert repeated[(radius > 6) & (radius < 11)].mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "cgls", "nonnegative": True}, "cgls cannot be `nonnegative`; take fbp, sirt"),
        ({"method": "art"}, "reconstruct.method"),
        ({"iterations": 0}, "reconstruct.iterations"),
        ({"support": "disc"}, "reconstruct.support"),
        ({"tv_weight": 0}, "reconstruct.tv_weight"),
        ({"iteration": 5}, "did you mean `iterations`"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings, message):
    needed = {"detector": {"name": "Pilatus2M"}, "beam": {"energy_kev": 90}, "calibrate": {"frame": "CeO2.cbf"}}
    with pytest.raises(ConfigError, match=message):
        validate({**needed, "reconstruct": settings})
    assert isinstance(validate(needed), Config)

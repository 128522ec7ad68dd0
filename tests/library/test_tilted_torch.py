"""The tilted operator on tensors against that on arrays, product by product and through the solvers."""

import numpy as np
import pytest
import torch

from xrdct.bench.thick_cell import DISTANCE_MM, WAVELENGTH, Q, thick_cell
from xrdct.errors import GeometryError
from xrdct.reconstruction import tilted_torch
from xrdct.reconstruction.cgls import cgls
from xrdct.reconstruction.parallax import reconstruct_with_parallax
from xrdct.reconstruction.sirt import sirt
from xrdct.reconstruction.tilted import TiltedBeam
from xrdct.reconstruction.tilted_torch import TiltedTensors

CUDA = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
)
STEP = 1.1e-3


def pair(device, angles, n=21, cor=9.3, support=None, n_pixels=None):
    beam = TiltedBeam(angles, n, cor, n_pixels, pixel_over_distance=0.4 * STEP, step=STEP, support=support)
    return beam, TiltedTensors(beam, device)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("support", "n_pixels"), [(None, None), (8.2, None), (None, 26)])
def test_both_products_are_those_of_the_cpu(device, support, n_pixels):
    rng = np.random.default_rng(0)
    angles = np.r_[0.0, 90.0, 180.0, rng.uniform(-360, 360, 6)]
    A, tensors = pair(device, angles, support=support, n_pixels=n_pixels, cor=rng.uniform(4, 15, 9))
    x = rng.normal(size=(A.n_pixels, A.n_pixels, 30)).astype(np.float32)
    y = rng.normal(size=(9, 21, 30 - 2 * A.padding)).astype(np.float32)
    projected = (tensors @ tensors.to_device(x)).cpu().numpy()
    back = (tensors.T @ tensors.to_device(y)).cpu().numpy()
    # Sums of some hundred float32 of order 1, in another order.
    np.testing.assert_allclose(projected, A @ x, atol=2e-5)
    np.testing.assert_allclose(back, A.T @ y, atol=2e-5)
    left, right = np.vdot(projected.astype(float), y), np.vdot(x.astype(float), back)
    assert abs(left - right) < 1e-6 * np.linalg.norm(projected) * np.linalg.norm(y)
    some = tensors.rows([1, 4])
    np.testing.assert_allclose((some @ tensors.to_device(x)).cpu().numpy(), (A @ x)[[1, 4]], atol=2e-5)


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("solve", "options"), [(sirt, {"nonnegative": True}), (cgls, {})])
def test_solvers_take_tensors(device, solve, options):
    A, tensors = pair(device, np.arange(18) * 10.0, support=10)
    b = np.random.default_rng(1).random((18, 21, 12), dtype=np.float32)
    found = solve(tensors, tensors.to_device(b), iterations=5, **options).cpu().numpy()
    expected = solve(A, b, iterations=5, **options)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_a_scan_is_reconstructed_alike_on_both():
    cell, angles = thick_cell(12, seed=0), np.arange(8) * 22.5
    data = cell.sinogram(angles, counts=100.0).astype(np.float32)
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm, "cor": 5.5}
    found = [
        reconstruct_with_parallax(data, angles, **scan, method="cgls", iterations=3, block=200, device=device)
        for device in ("cpu", "torch")
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-4 * found[0].max())


def test_without_a_gpu_it_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(tilted_torch, "cuda_available", lambda: False)
    with pytest.raises(GeometryError, match="no CUDA device"):
        pair("cuda", [0.0])

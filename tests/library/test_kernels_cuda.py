"""The GPU's trimmed mean: its logic in Triton's interpreter on a CPU, and the real thing where there is a device."""

import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from xrdct.kernels import TrimmedMean, azimuthal_groups, cuda

N_PIXELS, LENGTHS = 700, (0, 1, 2, 3, 40, 154, 500)


def table():
    rng = np.random.default_rng(3)
    indptr = np.concatenate([[0], np.cumsum(LENGTHS)])
    indices = rng.permutation(N_PIXELS)[: indptr[-1]].astype(np.int32)
    return indices, indptr, rng.uniform(0.5, 1.0, indptr[-1]).astype(np.float32)


def frames(dtype):
    rng = np.random.default_rng(4)
    counts = rng.poisson(rng.choice([0.3, 12.0, 90.0], (3, 1, 1)), (3, 20, 35))
    if np.dtype(dtype).kind == "f":
        values = (counts - 5.0).astype(dtype)
        values[0, :3] = np.nan
    else:
        values = np.minimum(counts, 120).astype(dtype)
        values[0, :3] = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else -1
    values[1, 5, :9] = 119
    return values


def agree(device_kernel, host_kernel, values, invalid_above=None):
    found, expected = device_kernel(values, invalid_above), host_kernel(values, invalid_above)
    # The search works with float32 weights: a cut can fall one key beside, which moves next to nothing.
    np.testing.assert_allclose(found.intensity, expected.intensity, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.sem, expected.sem, rtol=1e-3, atol=1e-6)
    assert np.abs(found.kept - expected.kept).max() <= 1
    if expected.groups is not None:
        np.testing.assert_allclose(found.groups, expected.groups, rtol=1e-5, atol=1e-6)


def check_everything(device="cuda"):
    """All types, trims, saturation and groups against numba; called in a process of its own."""
    cuda_sums = cuda.CudaSums
    cuda.CudaSums = lambda *arguments: cuda_sums(*arguments, device=device)
    indices, indptr, weights = table()
    groups = azimuthal_groups(indptr, np.random.default_rng(5).uniform(size=indptr[-1]), 3)
    both = "cuda", "numba"
    for trim in (0.0, 0.2, 0.4):
        kernels = [TrimmedMean(indices, indptr, weights, trim=trim, backend=name) for name in both]
        assert kernels[0].backend == "cuda"
        agree(*kernels, frames("i4"), invalid_above=100)
    for dtype in ("u2", "u4", "u1", "i8", "u8", "f4"):
        agree(*kernels, frames(dtype)[:1])
    pickle.loads(pickle.dumps(kernels[0]))(frames("i4")[:1])
    kernels = [TrimmedMean(indices, indptr, weights, trim=0.2, groups=groups, backend=name) for name in both]
    agree(*kernels, frames("i4")[1:])


def test_the_logic_is_right_in_the_interpreter():
    pytest.importorskip("triton", reason="triton is not installed (it has no build for this system)")
    code = "import test_kernels_cuda as t; t.check_everything('cpu')"
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.path.dirname(__file__)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.gpu
@pytest.mark.skipif(not cuda.is_available(), reason="no CUDA device")
def test_the_device_agrees_with_the_cpu():
    check_everything()


def test_without_a_driver_the_cpu_is_chosen(monkeypatch):
    monkeypatch.setattr(cuda, "is_available", lambda: False)
    assert TrimmedMean(*table(), trim=0.2).backend in ("native", "numba")


def test_bins_too_long_for_the_gpu_are_done_on_the_cpu(monkeypatch, caplog):
    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "LONGEST_BIN", 100)
    with caplog.at_level("INFO"):
        assert TrimmedMean(*table(), trim=0.2).backend in ("native", "numba")
    assert "500 pixels, more than 100: working on the CPU" in caplog.text


def test_threads_that_start_together_upload_the_table_once(monkeypatch):
    uploads = []

    class SlowUpload:
        def __init__(self, indices, edges, weights, trim):
            time.sleep(0.05)  # long enough for the others to come by
            uploads.append(self)
            self.shape = len(edges), edges.shape[1] - 1

        def __call__(self, frames, lowest, highest):
            return np.ones((len(frames), *self.shape, 10))

    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "CudaSums", SlowUpload)
    kernel = pickle.loads(pickle.dumps(TrimmedMean(*table(), trim=0.2)))
    assert kernel.backend == "cuda"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(kernel, [frames("i4")[:1]] * 4))
    assert len(uploads) == 1

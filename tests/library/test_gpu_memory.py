"""A GPU whose memory runs out: smaller parts, then the CPU, the same result, and a line in the log.

There is no GPU: what raises PyTorch's own error is a network, or a solver, that holds no more than so many at a time.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from unittest import mock

import numpy as np
import pytest
import torch
from astra.log import AstraError

from xrdct import gpu_memory
from xrdct.bench.thick_cell import DISTANCE_MM, WAVELENGTH, Q, thick_cell
from xrdct.denoise.inference import outputs
from xrdct.denoise.scaling import Scales
from xrdct.denoise.unet import best_device, new_network
from xrdct.gpu_memory import FittingParts, is_out_of_memory, on_gpu_or_cpu
from xrdct.kernels import TrimmedMean, cuda
from xrdct.pqnet import ensemble
from xrdct.reconstruction import astra_cuda, backend, parallax
from xrdct.reconstruction.astra_cuda import AstraBeam
from xrdct.reconstruction.operator import ParallelBeam
from xrdct.reconstruction.parallax import reconstruct_with_parallax

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


class Limited:
    """Raises like a GPU when more than `holds` items come at once, until it was moved to the CPU."""

    def __init__(self, holds):
        self.holds, self.seen = holds, []

    def check(self, n):
        self.seen.append(n)
        if n > self.holds:
            raise FULL

    def to_cpu(self):
        self.holds = 10**9


@pytest.mark.parametrize(("holds", "seen"), [(8, [8, 2]), (4, [8, 4, 4, 2]), (0, [8, 4, 2, 1, 8, 2])])
def test_parts_get_smaller_until_they_fit_and_at_last_the_cpu_takes_over(caplog, holds, seen):
    gpu = Limited(holds)
    parts = FittingParts("things", 8, gpu.to_cpu)

    def work(part):
        gpu.check(part.stop - part.start)
        return list(range(part.start, part.stop))

    assert [item for part in parts.run(work, 10) for item in part] == list(range(10))
    assert gpu.seen == seen
    assert parts.on_cpu == (holds == 0)
    if holds == 4:
        assert caplog.messages == ["things: the GPU's memory does not hold 8 at a time; now 4"]
    if holds == 0:
        assert caplog.messages[-1] == "things: the GPU's memory does not hold a single one; goes on on the CPU"


def test_other_errors_are_not_taken_for_a_full_memory():
    def work(_):
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side"):
        FittingParts("things", 8, lambda: None).run(work, 10)
    with pytest.raises(RuntimeError, match="device-side"):
        on_gpu_or_cpu("training", work, "cuda")


def test_a_gpu_that_other_jobs_fill_is_not_taken(monkeypatch, caplog):
    def empty(*_, **__):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr("ctypes.CDLL", lambda name: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(astra_cuda.astra, "use_cuda", lambda: True)
    assert not gpu_memory.cuda_available()
    assert not astra_cuda.cuda_available()
    assert best_device() == "cpu"
    assert set(caplog.messages) == {"there is a GPU, but other jobs fill its memory: working on the CPU"}
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert best_device() == "cuda"


def test_what_all_parts_need_may_not_fit_either(caplog):
    gpu = Limited(0)
    parts = FittingParts("things", 8, gpu.to_cpu)
    assert parts.prepared(lambda: gpu.check(1) or "model") is None
    assert parts.on_cpu
    assert parts.prepared(lambda: pytest.fail("the GPU was given up")) is None
    assert caplog.messages == ["things: the GPU's memory does not hold a single one; goes on on the CPU"]
    assert FittingParts("things", 8, gpu.to_cpu).prepared(lambda: "model") == "model"


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: out of memory",
        "cuFFT error: CUFFT_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "ASTRA, FP3D_CUDA: Algorithm run failed: Failed to allocate 823x70x854 GPU array",
    ],
)
def test_every_library_is_understood_when_it_says_that_the_memory_is_full(said):
    gpu = Limited(1)

    def work(part):
        if part.stop - part.start > gpu.holds:
            raise RuntimeError(said)
        return part.start

    assert FittingParts("things", 4, gpu.to_cpu).run(work, 4) == [0, 1, 2, 3]


def test_threads_that_find_the_memory_full_together_give_the_gpu_up_once(caplog):
    gpu, together = Limited(0), threading.Barrier(3)
    parts = FittingParts("things", 2, gpu.to_cpu)

    def work(part):
        if not gpu.holds:
            with suppress(threading.BrokenBarrierError):
                together.wait(timeout=0.2)  # all of them are at work when the first one fails
        gpu.check(part.stop - part.start)
        return part.start

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: parts.run(work, 4), range(3)))
    assert all(sorted(one) == sorted(set(one)) and 0 in one for one in found)
    assert sum("does not hold a single one" in message for message in caplog.messages) == 1


def test_a_training_that_does_not_fit_is_done_on_the_cpu(caplog):
    def train(device):
        if device == "cuda":
            raise FULL
        return f"trained on {device}"

    assert on_gpu_or_cpu("denoise, training", train, "cuda") == "trained on cpu"
    assert caplog.messages == ["denoise, training: the GPU's memory is too small; goes on on the CPU"]
    assert on_gpu_or_cpu("denoise, training", train, "cpu") == "trained on cpu"
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("holds", [1, 0])
def test_a_channel_is_denoised_image_by_image_then_on_the_cpu_to_the_same_values(monkeypatch, holds):
    network = new_network(width=2, depth=1, seed=0)
    torch.nn.init.normal_(network.last.weight, generator=torch.Generator().manual_seed(0))
    values = np.random.default_rng(0).normal(size=(4, 9, 9)).astype(np.float32)
    scales = Scales(np.zeros(1), np.ones(1))
    expected = outputs(network, values, scales, 0)
    gpu, forward = Limited(holds), network.forward
    monkeypatch.setattr(network, "forward", lambda images: gpu.check(len(images)) or forward(images))
    monkeypatch.setattr(network, "cpu", gpu.to_cpu)
    np.testing.assert_allclose(outputs(network, values, scales, 0), expected, atol=1e-6)  # other batches, other sums
    assert 1 in gpu.seen


def test_patterns_are_answered_in_smaller_batches(monkeypatch):
    class Sum(torch.nn.Linear):
        def forward(self, patterns):
            gpu.check(len(patterns))
            return super().forward(patterns)[:, :, None].repeat(1, 1, 2)

    class Plain:
        targets = ("a", "b")

        def inputs(self, patterns, _):
            return patterns

    gpu, network = Limited(100), Sum(5, 2)
    monkeypatch.setattr(ensemble, "BATCH", 300)
    patterns = np.random.default_rng(0).random((1000, 5), dtype=np.float32)
    found = ensemble._run((network,), Plain(), patterns, np.ones(1000))[0]
    assert gpu.seen[:3] == [300, 150, 75]
    expected = patterns @ network.weight.detach().numpy().T + network.bias.detach().numpy()
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-5, atol=1e-6)  # float32 sums that nearly cancel


@pytest.mark.parametrize("holds", [3, 0])
def test_a_sinogram_is_reconstructed_in_smaller_blocks_then_on_the_cpu(monkeypatch, caplog, holds):
    angles, sinogram = np.arange(12) * 15.0, np.random.default_rng(0).random((12, 9, 10), dtype=np.float32)
    sinogram[0, 0, 4] = np.nan  # its channel is left out, the others go through the same parts
    expected = backend.reconstruct(sinogram, angles, cor=4.0)
    gpu, solver = Limited(holds), backend._solver

    def with_gpu(A, method, device):
        solve, _ = solver(A, method, "cpu")
        if device == "cpu":
            gpu.to_cpu()
        return (lambda block, **options: gpu.check(block.shape[-1]) or solve(block, **options)), 8

    monkeypatch.setattr(backend, "_solver", with_gpu)
    np.testing.assert_allclose(backend.reconstruct(sinogram, angles, cor=4.0), expected, rtol=1e-5, atol=1e-7)
    assert gpu.seen[:2] == [7, 3]
    assert "fbp, channels: the GPU's memory does not hold 7 at a time; now 3" in caplog.messages


def test_an_error_of_astra_is_taken_for_what_it_is(monkeypatch):
    beam = AstraBeam.__new__(AstraBeam)
    beam._torch, beam._beam = mock.MagicMock(), ParallelBeam(np.arange(4) * 45.0, 5, 2.0)
    for name in ("data3d", "astra_dict", "algorithm"):
        monkeypatch.setattr(astra_cuda.astra, name, mock.MagicMock())
    astra_cuda.astra.algorithm.run.side_effect = AstraError("Algorithm run failed: CUDA error 2: out of memory")
    tensor = torch.zeros(5, 5, 1)
    with pytest.raises(RuntimeError, match=r"ASTRA, FP3D_CUDA: .*out of memory") as raised:
        beam._run("FP3D_CUDA", "VolumeDataId", image=tensor, sinogram=tensor)
    assert is_out_of_memory(raised.value)
    assert astra_cuda.astra.algorithm.delete.called  # what it held on the GPU is given back


@pytest.mark.parametrize("holds", [2, 0])
def test_frames_are_integrated_fewer_at_a_time_then_on_the_cpu(monkeypatch, caplog, holds):
    gpu = Limited(holds)
    indices, indptr, weights = np.arange(60, dtype=np.int32), np.array([0, 20, 60]), np.ones(60, np.float32)
    frames = np.random.default_rng(0).poisson(20, (5, 6, 10)).astype(np.int32)
    expected = TrimmedMean(indices, indptr, weights, trim=0.2, backend="numba")

    class OnGpu:
        def __init__(self, *_):
            pass

        def __call__(self, flat, lowest, highest):
            gpu.check(len(flat))
            return expected._sums_on_cpu(flat, lowest, highest)

    monkeypatch.setattr(cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda, "CudaSums", OnGpu)
    kernel = TrimmedMean(indices, indptr, weights, trim=0.2)
    assert kernel.backend == "cuda"
    for _ in range(2):
        np.testing.assert_allclose(kernel(frames).intensity, expected(frames).intensity, rtol=1e-12)
    assert gpu.seen == ([5, 2, 2, 1, 2, 2, 1] if holds else [5, 2, 1])  # it remembers what did not fit
    assert (kernel.backend == "cuda") == bool(holds)
    assert "integration, frames: the GPU's memory does not hold 5 at a time; now 2" in caplog.messages


@pytest.mark.parametrize("holds", [200, 0])
def test_a_thick_sample_is_reconstructed_in_smaller_blocks_then_on_the_cpu(monkeypatch, caplog, holds):
    cell, angles = thick_cell(12, seed=0), np.arange(8) * 22.5
    data = cell.sinogram(angles, counts=100.0).astype(np.float32)
    scan = {"q": Q, "wavelength": WAVELENGTH, "distance_mm": DISTANCE_MM, "step_mm": cell.step_mm, "cor": 5.5}
    scan |= {"method": "cgls", "iterations": 3, "block": 200}
    expected = reconstruct_with_parallax(data, angles, **scan, device="cpu")
    gpu, solve = Limited(holds), parallax.METHODS["cgls"][0]

    def limited(A, sinogram, **options):
        if isinstance(sinogram, torch.Tensor):
            gpu.check(sinogram.shape[-1])
        return solve(A, sinogram, **options)

    monkeypatch.setitem(parallax.METHODS, "cgls", (limited, 15))
    found = reconstruct_with_parallax(data, angles, **scan, device="torch")
    # Other blocks have other margins, and the solver ends early: the cut is seen in the last digits of three.
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.max() if holds else 1e-5 * expected.max())
    assert "parallax, bins of ln tan 2theta: the GPU's memory does not hold" in caplog.text
    assert ("goes on on the CPU" in caplog.text) == (holds == 0)

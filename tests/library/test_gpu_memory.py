"""A GPU whose memory runs out: smaller parts, then the CPU, the same result, and a line in the log.

There is no GPU: what raises PyTorch's own error is a network, or a solver, that holds no more than so many at a time.
"""

import numpy as np
import pytest
import torch

from xrdct.denoise.inference import outputs
from xrdct.denoise.scaling import Scales
from xrdct.denoise.unet import new_network
from xrdct.gpu_memory import FittingParts, on_gpu_or_cpu
from xrdct.pqnet import ensemble
from xrdct.reconstruction import backend

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


@pytest.mark.parametrize(("holds", "seen"), [(8, [8, 2]), (4, [8, 4, 4, 2]), (0, [8, 4, 2, 1, 1, 1, 1])])
def test_parts_get_smaller_until_they_fit_and_at_last_the_cpu_takes_over(caplog, holds, seen):
    gpu = Limited(holds)
    parts = FittingParts("things", 8, gpu.to_cpu)

    def work(part):
        gpu.check(part.stop - part.start)
        return list(range(part.start, part.stop))

    assert [item for part in parts.run(work, 10) for item in part] == list(range(10))
    assert gpu.seen[: len(seen)] == seen
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
    found = ensemble._run(network, Plain(), patterns, np.ones(1000))
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

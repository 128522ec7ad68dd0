"""The trimmed mean on a GPU: frames/s and agreement with the CPU, on a synthetic 2.5-megapixel detector.

Imports nothing beyond numpy, numba, torch and Triton, so that it also runs on a bare GPU machine:
`python -m xrdct.bench.integration_gpu`.
"""

import json
import time
from functools import partial

import numpy as np

from ..kernels import TrimmedMean, cuda
from ..kernels.patterns import valid_range

DEVICE = "one GPU"
SHAPE, N_BINS, TRIM = (1679, 1475), 1000, 0.2
BATCH, REPETITIONS = 32, 20


def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels by radius about a centre near the middle, weights like solid angle × polarisation."""
    y, x = np.indices(SHAPE)
    radius = np.hypot(y - 839.3, x - 741.8)
    number = np.floor(radius / 740 * N_BINS).astype(int).ravel()
    listed = np.flatnonzero(number < N_BINS)
    listed = listed[np.argsort(number[listed], kind="stable")]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(number[listed], minlength=N_BINS))])
    weights = np.cos(np.arctan(radius / 3160)) ** 3 * (1 - 0.02 * (x / SHAPE[1]))
    return listed.astype(np.int32), indptr, weights.ravel()[listed].astype(np.float32)


def frames(level: float, dtype: str) -> np.ndarray:
    """A batch of Poisson frames with hot and invalid pixels."""
    rng = np.random.default_rng(1)
    stack = rng.poisson(level, (BATCH, *SHAPE)).astype(dtype)
    stack[:, ::97, ::89] = np.iinfo(dtype).max if dtype[0] == "u" else -1
    stack[:, 5::131, 7::113] = 60_000
    return stack


def measure_device() -> dict:
    """Frames/s with frames on the device and in the host's memory, and the largest deviation from numba."""
    import torch

    geometry = table()
    host = TrimmedMean(*geometry, trim=TRIM, backend="numba")
    device = TrimmedMean(*geometry, trim=TRIM, backend="cuda")
    found = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    for level, dtype in ((12.0, "int32"), (12.0, "uint16"), (1.2, "int32"), (370.0, "int32")):
        stack = frames(level, dtype)
        first, expected = device(stack[:4]), host(stack[:4])
        deviation = np.abs(first.intensity / expected.intensity - 1)
        row = {
            "largest deviation": float(np.nanmax(deviation)),
            "kept off by": int(np.abs(first.kept - expected.kept).max()),
        }
        row["frames/s, host memory"] = _rate(partial(device, stack))
        sums = device._cuda
        values = sums._to_numbers(stack.reshape(BATCH, -1))
        limits = valid_range(stack.dtype, None)
        row["frames/s, device memory"] = _rate(partial(_on_device, sums, values, limits))
        found[f"{level:g} counts, {dtype}"] = row
    return found


def _on_device(sums, values, limits):
    """Sums of frames that are on the device already, left there."""
    import torch

    from ..kernels.cuda_program import sum_parts

    out = torch.empty((len(values), sums.shape[0] * sums.shape[1], 10), dtype=torch.float64, device=sums.device)
    highest = min(limits[1], 2**31 - 1)
    sum_parts(values, sums._indices, sums._weights, sums._parts, out, limits[0], highest, TRIM, sums.longest)
    torch.cuda.synchronize()


def _rate(call) -> float:
    for _ in range(3):
        call()
    times = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return BATCH / float(np.median(times))


if __name__ == "__main__":
    print(json.dumps(measure_device() if cuda.is_available() else {"device": None}, indent=1))

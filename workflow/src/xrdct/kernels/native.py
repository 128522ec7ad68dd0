"""The trimmed mean in C, compiled for this very processor on first use and kept in the user's cache folder.

No compiler, no cache folder, or a compilation that fails: `library` is None, says why in the log once, and the caller
takes the portable kernel, which gives the same numbers.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from .patterns import PIXEL_TYPES, SUMS

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_suffix(".c")
# Sums are reordered for vector registers, which changes nothing where there is nothing to round (see portable.py); a
# product and a sum are never fused, so that keys are those of the portable kernel.
FLAGS = ("-O3", "-march=native", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math", "-ffinite-math-only")
FLAGS += ("-fno-math-errno", "-ffp-contract=off", "-shared", "-fPIC")


@cache
def library(extra_flags: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The compiled kernel, built if this machine has not built this source yet; None where that is not possible."""
    compiler = shlex.split(os.environ.get("CC", "")) or [
        shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    ]
    if compiler[0] is None or shutil.which(compiler[0]) is None:
        log.info("no C compiler found (cc, gcc, clang, or CC): integrating with the portable kernel")
        return None
    try:
        return ctypes.CDLL(str(_built([*compiler, *FLAGS, *extra_flags])))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        log.warning("the C kernel could not be built (%s): integrating with the portable kernel", reason.strip())
        return None


def _built(command: list[str]) -> Path:
    """Path of the shared library; compiled to a temporary name and renamed, since other processes may be at it too."""
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    identity = "\n".join([SOURCE.read_text(encoding="utf-8"), *command, version, _processor()])
    folder = _cache_folder()
    path = folder / f"trimmed_mean-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            made = Path(temporary) / path.name
            whole = [*command, str(SOURCE), "-o", str(made), "-lm"]
            subprocess.run(whole, capture_output=True, text=True, check=True, timeout=300)
            made.replace(path)
        log.info("compiled %s", path)
    return path


def _cache_folder() -> Path:
    """`XDG_CACHE_HOME`/xrdct or ~/.cache/xrdct; RuntimeError where there is no home."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "xrdct"


def _processor() -> str:
    """What tells processors apart: a home folder is shared by the unlike nodes of a cluster."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    told = [line for line in lines if line.partition(":")[0].strip() in ("model name", "flags", "Features", "CPU part")]
    return "\n".join([platform.machine(), platform.processor(), *sorted(set(told))])


def sum_frames(
    lib: ctypes.CDLL,
    frames: np.ndarray,
    bounds: np.ndarray,
    indices: np.ndarray,
    edges: np.ndarray,
    weights: np.ndarray,
    trim: float,
    sums: np.ndarray,
) -> None:
    """`portable.sum_frame` for a block of flat frames (n_frames, n_pixels), in C; the GIL is released.

    All arrays contiguous; `bounds` holds the lowest and highest valid value in the frames' type.
    """
    n_bins, n_parts = edges.shape[0], edges.shape[1] - 1
    longest = int(np.max(edges[:, -1] - edges[:, 0], initial=0))
    scratch, start = np.empty(5 * (longest + 16), np.float32), np.empty(n_parts + 1, np.int64)
    assert sums.shape == (len(frames), n_bins, n_parts + (n_parts > 1), len(SUMS))
    lib.sum_frames(
        _pointer(frames),
        ctypes.c_int64(len(frames)),
        ctypes.c_int64(frames.strides[0]),
        ctypes.c_int32(PIXEL_TYPES.index(frames.dtype.name)),
        _pointer(bounds),
        _pointer(indices),
        _pointer(edges),
        _pointer(weights),
        ctypes.c_int64(n_bins),
        ctypes.c_int64(n_parts),
        ctypes.c_double(trim),
        _pointer(start),
        _pointer(scratch),
        ctypes.c_int64(longest),
        _pointer(sums),
    )


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)

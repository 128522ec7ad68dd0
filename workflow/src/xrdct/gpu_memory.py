"""Whether there is a GPU; and when its memory runs out: smaller parts, then the CPU, and a word about it in the log."""

import ctypes
import importlib.util
import logging
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger("xrdct")
T = TypeVar("T")

FULL = ("out of memory", "alloc_failed", "failed to allocate")
"""What PyTorch, cuFFT, cuBLAS and ASTRA write when they get no memory on a GPU."""


ROOM = 64 * 2**20
"""Bytes that a GPU must have free to be taken, beside what CUDA itself needs to start."""


def cuda_available() -> bool:
    """Whether PyTorch is there and finds a GPU with memory to spare.

    Without a driver, the usual case, PyTorch is not even imported.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available() and has_room()


def has_room() -> bool:
    """Whether other jobs have left any of the GPU's memory: without some, CUDA does not even start."""
    import torch

    try:
        torch.empty(ROOM, dtype=torch.uint8, device="cuda")
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        log.warning("there is a GPU, but other jobs fill its memory: working on the CPU")
        return False
    return True


class FittingParts:
    """Work on independent items, as many at a time as a GPU's memory holds.

    Another job on the same GPU may take memory at any moment: what fitted a second ago need not fit now.

    Parameters
    ----------
    what
        Named in the log.
    most
        Items at a time, to begin with.
    to_cpu
        Called when not even one item fits; from then on, the work must be done on the CPU.
    most_on_cpu
        Items at a time from then on; None: as many as to begin with.

    Threads may share one: each may find the memory full for itself, and one of them gives the GPU up.
    """

    def __init__(self, what: str, most: int, to_cpu: Callable[[], object], *, most_on_cpu: int | None = None):
        self.what, self.most, self._to_cpu = what, most, to_cpu
        self._most_on_cpu = most_on_cpu or most
        self.on_cpu = False
        """Whether the GPU was given up."""
        self._retreating = threading.Lock()

    def prepared(self, make: Callable[[], T]) -> T | None:
        """What all parts need; None where the GPU's memory does not even hold that, and the CPU does all of it."""
        try:
            return None if self.on_cpu else make()
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        with self._retreating:
            self._retreat(1)
        return None

    def run(self, work: Callable[[slice], T], n: int) -> list[T]:
        """What `work` returns for consecutive parts of `n` items."""
        found, start = [], 0
        while start < n:
            part, on_cpu = slice(start, min(start + self.most, n)), self.on_cpu
            try:
                found.append(work(part))
            except RuntimeError as error:
                if on_cpu or not is_out_of_memory(error):
                    raise
                with self._retreating:
                    self._retreat(part.stop - part.start)
            else:
                start = part.stop
        return found

    def _retreat(self, tried: int) -> None:
        free_gpu_memory()
        if self.on_cpu or tried > self.most:
            return  # another thread was faster
        if tried > 1:
            self.most = tried // 2
            log.warning("%s: the GPU's memory does not hold %d at a time; now %d", self.what, tried, self.most)
        else:
            log.warning("%s: the GPU's memory does not hold a single one; goes on on the CPU", self.what)
            self._to_cpu()
            self.most = self._most_on_cpu
            self.on_cpu = True  # now, because other threads take it for done


def on_gpu_or_cpu(what: str, work: Callable[[str], T], device: str) -> T:
    """What `work` returns for a device, or for 'cpu' where the GPU's memory is too small for it."""
    try:
        return work(device)
    except RuntimeError as error:
        if device == "cpu" or not is_out_of_memory(error):
            raise
    free_gpu_memory()  # here, because the error holds on to the tensors of the frames that it went through
    log.warning("%s: the GPU's memory is too small; goes on on the CPU", what)
    return work("cpu")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU's memory is full; PyTorch's own error is told by its name, so that PyTorch need not be imported."""
    return type(error).__name__ == "OutOfMemoryError" or any(said in str(error).lower() for said in FULL)


def free_gpu_memory() -> None:
    """Give back what PyTorch keeps for later."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()

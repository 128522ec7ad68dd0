"""Where a block of patterns is fitted: by numba on the CPU, or as tensors on a GPU, with the same answers."""

import logging
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from ..gpu_memory import FittingParts, cuda_available
from .model import PatternModel
from .newton import fit_all

log = logging.getLogger(__name__)

WORTH = 1000
"""Patterns from which a GPU is faster than the CPU that has to start it."""
CPU_BLOCK, GPU_BLOCK = 20_000, 131_072
"""Patterns fitted at a time: what a progress bar moves by, and what the search for cells holds in memory. A GPU waits
for the last pattern of every block."""
GPU_SHARE = 0.6
"""Of a GPU's free memory: numbers per pattern are known roughly, and PyTorch's parts do not fill memory to the end."""


class Task(NamedTuple):
    """What all patterns of a fit share; see `newton.fit_one`."""

    model: PatternModel
    places: np.ndarray
    """Of the free parameters, shape (n_free,)."""
    columns: np.ndarray
    knowledge: np.ndarray
    fixed: np.ndarray
    weights_kind: int
    most: int
    enough: float
    absolute: bool


def choose_engine(name: str, n_patterns: int) -> "NumbaEngine | TensorEngine":
    """'numba', 'torch' (the GPU, or the CPU where there is none), or 'auto': a GPU that is there and worth it."""
    if name not in ("auto", "numba", "torch"):
        raise ValueError(f"unknown engine {name!r}; there are auto, numba and torch")
    if name == "numba" or (name == "auto" and (n_patterns < WORTH or not cuda_available())):
        return NumbaEngine()
    return TensorEngine("cuda" if cuda_available() else "cpu")


class NumbaEngine:
    """One pattern per thread."""

    block = CPU_BLOCK

    def fit(self, task: Task, patterns, variances, starts, extra) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Parameters (n, n_parameters), errors (n, n_free) and summary (n, 5) of a block, see `newton.fit_all`."""
        n = len(patterns)
        if n >= WORTH:
            _say(f"the CPU, {numba.get_num_threads()} threads")
        found, errors, summary = np.empty(starts.shape), np.empty((n, task.places.size)), np.empty((n, 5))
        fit_all(
            tuple(task.model.arrays), patterns, variances, task.weights_kind, starts, task.model.low, task.model.high,
            task.columns, task.places, task.knowledge, task.fixed, extra, task.most, task.enough, task.absolute, found,
            errors, summary,
        )  # fmt: skip
        return found, errors, summary

    def best_templates(self, patterns: np.ndarray, templates: np.ndarray) -> np.ndarray:
        """Row of templates (n_templates, n_bins) whose product with a pattern is largest, shape (n_patterns,)."""
        return np.argmax(patterns @ templates.T, axis=1)


class TensorEngine:
    """All patterns of a block together, in as many parts as the memory of the device needs.

    Parameters
    ----------
    device
        Of PyTorch. If it is a GPU whose memory does not hold a single pattern, `NumbaEngine` goes on.
    """

    def __init__(self, device: str):
        import torch

        self._torch, self._device = torch, device
        self.block = GPU_BLOCK if device == "cuda" else CPU_BLOCK
        self._parts = FittingParts("fit, patterns", self.block, lambda: None)
        _say(torch.cuda.get_device_name() if device == "cuda" else "the CPU, through PyTorch")

    def fit(self, task: Task, patterns, variances, starts, extra) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `NumbaEngine.fit`."""
        shared = len(variances) == 1
        fit_part = self._parts.prepared(lambda: self._prepared(task, starts, extra))
        if fit_part is None:
            return NumbaEngine().fit(task, patterns, variances, starts, extra)
        self._parts.most = min(self._parts.most, self.at_a_time(fit_part.numbers_per_pattern))

        def work(part):
            own = patterns[part], variances if shared else variances[part], starts[part], extra[part]
            if self._parts.on_cpu:
                return NumbaEngine().fit(task, *own)
            with self._torch.inference_mode():
                found = fit_part.run(*(self._tensor(values) for values in own))
            return tuple(values.cpu().numpy() for values in found)

        return tuple(np.concatenate(values) for values in zip(*self._parts.run(work, len(patterns)), strict=True))

    def best_templates(self, patterns: np.ndarray, templates: np.ndarray) -> np.ndarray:
        """As `NumbaEngine.best_templates`."""

        def work(part):
            if self._parts.on_cpu:
                return NumbaEngine().best_templates(patterns[part], templates)
            gains = self._tensor(patterns[part]) @ self._tensor(templates).T
            return gains.argmax(dim=1).cpu().numpy()

        return np.concatenate(self._parts.run(work, len(patterns)))

    def at_a_time(self, numbers_per_pattern: int) -> int:
        """Patterns that a part holds: as many as the GPU's free memory does; on a CPU, as its caches like."""
        if self._device == "cpu":
            return 256
        self._torch.cuda.empty_cache()
        free, _ = self._torch.cuda.mem_get_info()
        return max(1, int(GPU_SHARE * free / (8 * numbers_per_pattern)))

    def _prepared(self, task, starts, extra):
        """The fit of parts of these patterns."""
        from .tensor_model import TensorModel
        from .tensor_newton import TensorFit

        model = task.model
        low, high = (np.where(task.columns >= 0, limit, np.nan) for limit in (model.low, model.high))
        shapes = TensorModel(
            model.arrays,
            task.columns,
            task.fixed,
            np.fmin(low, starts.min(axis=0)),
            np.fmax(high, starts.max(axis=0)),
            widest=float(extra.max()),
            device=self._device,
        )
        return TensorFit(
            shapes,
            low=self._tensor(model.low),
            high=self._tensor(model.high),
            free=self._tensor(task.places),
            knowledge=self._tensor(task.knowledge),
            columns=task.columns,
            n_scales=(len(model.phases.phases), len(model.phases.peaks)),
            weights_kind=task.weights_kind,
            most=task.most,
            enough=task.enough,
            absolute=task.absolute,
        )

    def _tensor(self, values):
        return self._torch.as_tensor(values, device=self._device)


@cache
def _say(where: str) -> None:
    """Once for every device."""
    log.info("fit on %s", where)

"""Gauss-Newton for many unknowns within limits: each step by preconditioned conjugate gradients, no matrix stored."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from .forward import Forward, Slopes
from .precondition import Preconditioner
from .unknowns import Unknowns

log = logging.getLogger(__name__)

SETTLED = 1e-4
"""A step that promises to lower χ² by less than this share of it ends the search."""
STEPS_OF_CG, PRECISION = 40, 0.03
"""Conjugate gradient steps at most, and the residual at which they end, relative to the gradient."""
HALVINGS = 6


@dataclass(frozen=True)
class Problem:
    """Weighted least squares of a sinogram, with a prior that neighbours are alike."""

    chain: Forward
    unknowns: Unknowns
    base: np.ndarray
    """Values of all parameters, free or not, (n_voxels, n_parameters)."""
    data: np.ndarray
    """(n_angles, n_positions, n_used)."""
    weights: np.ndarray
    """One over the variance, same shape; 0 leaves a sample out."""
    roughness: sp.csr_matrix
    """`Unknowns.roughness`."""
    smooth: float
    """Weight of the prior."""
    edges: bool = False
    """Whether differences beyond one unit count by their size, not its square (`differences`)."""

    def values(self, vector: np.ndarray) -> np.ndarray:
        """Parameters of all voxels."""
        return self.unknowns.write(vector, self.base)

    def misfit(self, vector: np.ndarray) -> tuple[float, float, np.ndarray]:
        """χ², the prior's share of the objective, and the residual (data − model)."""
        residual = self.data - self.chain.predict(self.values(vector))
        chi2 = float(np.einsum("apm,apm,apm->", self.weights, residual, residual, dtype=float))
        return chi2, self.smooth * float(self.differences(vector)[0].sum()), residual

    def differences(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each difference d of neighbours costs, and its share in the curvature.

        Smoothness takes d² and 1. Total variation takes 2(√(1 + d²) − 1): d² for differences that the start's errors
        explain, 2|d| for those that are edges; its curvature is that of the parabola that lies above it and touches it
        here (Charbonnier et al., IEEE Trans. Image Process. 6, 298, 1997, doi:10.1109/83.551699).
        """
        d = self.roughness @ vector
        if not self.edges:
            return d**2, np.ones_like(d)
        length = np.sqrt(1 + d**2)
        return 2 * (length - 1), 1 / length


class Curvature:
    """JᵀWJ + λDᵀVD at one point, and its approximate inverse."""

    def __init__(self, problem: Problem, vector: np.ndarray):
        self.problem, self.unknowns = problem, problem.unknowns
        self.slopes = problem.chain.slopes(problem.values(vector), self.unknowns.places)
        share = sp.diags_array(np.sqrt(problem.smooth * problem.differences(vector)[1]))
        self.roots = share @ problem.roughness
        """Square root of the prior's curvature: rootsᵀ roots."""
        self._smooth = self.roots.T @ self.roots
        self._inverse = self._preconditioner(self.slopes)

    def gradient(self, vector: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Minus half the gradient of the objective."""
        return self.pull(self.problem.weights * residual) - self._smooth @ vector

    def pull(self, sinogram: np.ndarray) -> np.ndarray:
        """Jᵀ of a sinogram."""
        return self.unknowns.gather(self.slopes.back(sinogram))

    def push(self, step: np.ndarray) -> np.ndarray:
        """J of a step."""
        return self.slopes.forward(self.unknowns.expand(step))

    def __matmul__(self, step: np.ndarray) -> np.ndarray:
        return self.pull(self.problem.weights * self.push(step)) + self._smooth @ step

    def precondition(self, vector: np.ndarray) -> np.ndarray:
        """An approximate inverse."""
        return self._inverse @ vector

    def _preconditioner(self, slopes: Slopes) -> Preconditioner:
        unknowns, chain = self.unknowns, self.problem.chain
        n_local = len(unknowns.local)
        crossing = self._rays_per_voxel()[:, None, None]
        channel = self.problem.weights.mean(axis=(0, 1))
        weight = np.interp(np.linspace(0, 1, chain.model.q.size), np.linspace(0, 1, channel.size), channel)
        blocks = np.zeros((len(unknowns.member), n_local, n_local))
        for band in chain.bands:
            near = np.interp(band.model.q[band.own], chain.model.q, weight).astype(np.float32)
            for part, own in slopes.of(band):
                own = own[:, :n_local, band.own] * unknowns.member[part, :, None]
                blocks[part] += np.einsum("vim,vjm->vij", own * near, own) * crossing[part]
        prior = np.zeros(unknowns.member.shape)
        prior[unknowns.member] = self._smooth.diagonal()[: unknowns.n_local]
        diagonal = np.einsum("vii->vi", blocks)
        diagonal += prior
        usual = np.array([np.median(column[column > 0]) if (column > 0).any() else 1.0 for column in diagonal.T])
        # An absent phase has no slope by its cell: what nothing speaks about stays where it is.
        diagonal += 1e-3 * usual + np.where(unknowns.member, 0, usual)
        shared = np.empty(len(unknowns.shared))
        for k in range(len(shared)):
            unit = np.zeros(unknowns.n_local + len(shared))
            unit[unknowns.n_local + k] = 1.0
            change = self.push(unit)
            size = float(np.einsum("apm,apm,apm->", self.problem.weights, change, change, dtype=float))
            shared[k] = 1 / size if size > 0 else 0.0
        return Preconditioner(unknowns, chain.mask, blocks, prior, shared)

    def _rays_per_voxel(self) -> np.ndarray:
        """Sum of the squared shares of each voxel over all rays, in parts of a ray of mean weight, shape (n_voxels,).

        A third to two thirds of the number of angles; where rays count for little, as those through what scatters
        most do, less.
        """
        weights = self.problem.weights.mean(axis=2, keepdims=True)
        beam, places = self.problem.chain.beam, self.problem.chain.mask
        near = (beam.T @ weights)[places].sum(axis=1)
        usual = (beam.T @ np.full_like(weights, weights.mean()))[places].sum(axis=1)
        return 0.6 * self.problem.data.shape[0] * near / np.maximum(usual, 1e-6 * usual.max())


@dataclass(frozen=True)
class Solution:
    """Where the search ended."""

    vector: np.ndarray
    chi2: float
    prior: float
    converged: bool
    steps: int


def minimise(
    problem: Problem,
    start: np.ndarray,
    *,
    most: int = 20,
    settled: float = SETTLED,
    done: int = 0,
    keep: Callable[[np.ndarray, int], None] | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Solution:
    """Go down from `start` until a step promises next to nothing.

    Parameters
    ----------
    start
        Vector of the unknowns.
    most
        Steps at most.
    settled
        See `SETTLED`.
    done
        Steps that led to `start` in an earlier, interrupted search.
    keep
        Takes the vector and the number of steps after every step.
    """
    low, high = problem.unknowns.limits()
    x = np.clip(start, low, high)
    chi2, prior, residual = problem.misfit(x)
    converged, step = False, done
    for step in progress(range(done + 1, most + 1)):
        curvature = Curvature(problem, x)
        gradient = curvature.gradient(x, residual)
        free = ~((x <= low) & (gradient < 0)) & ~((x >= high) & (gradient > 0))
        move = conjugate_gradients(curvature, gradient, free)
        promise = float(move @ gradient)
        if promise < settled * (chi2 + prior):
            converged = True
            break
        length = 1.0
        for _ in range(HALVINGS):
            trial = np.clip(x + length * move, low, high)
            new_chi2, new_prior, new_residual = problem.misfit(trial)
            if new_chi2 + new_prior < chi2 + prior:
                break
            length /= 2
        else:
            log.warning("no step lowers the misfit any more; stopped after %d", step)
            break
        x, chi2, prior, residual = trial, new_chi2, new_prior, new_residual
        if keep is not None:
            keep(x, step)
        log.info("step %d: chi2 %.6g, prior %.4g, length %.3g", step, chi2, prior, length)
    return Solution(x, chi2, prior, converged, step)


def conjugate_gradients(
    curvature: Curvature, right: np.ndarray, free: np.ndarray, *, most: int = STEPS_OF_CG, precision: float = PRECISION
) -> np.ndarray:
    """Solve ``curvature @ x = right`` for the entries that are free, others 0 (Nocedal & Wright, 2006, alg. 5.3)."""
    x = np.zeros_like(right)
    residual = right * free
    conditioned = curvature.precondition(residual) * free
    direction, size = conditioned.copy(), float(residual @ conditioned)
    enough = precision**2 * size
    for _ in range(most):
        if size <= enough or size <= 0:
            break
        image = (curvature @ direction) * free
        length = size / float(direction @ image)
        x += length * direction
        residual -= length * image
        conditioned = curvature.precondition(residual) * free
        size, before = float(residual @ conditioned), size
        direction = conditioned + size / before * direction
    return x

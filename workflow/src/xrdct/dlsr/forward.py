"""From the parameters of voxels to the sinogram, and how it changes with them."""

from collections.abc import Iterator
from copy import copy

import numba
import numpy as np

from ..calibration.profile import InstrumentProfile
from ..errors import FitError
from ..fit.model import PatternModel, evaluate
from ..fit.phase_set import PhaseSet
from ..reconstruction.lntan import lntan_axis, rebinning
from ..reconstruction.parallax import check_distance, seconds_per_projection
from ..reconstruction.tilted import TiltedBeam

FINER = 2
"""Bins of the model per bin of the data: a line two bins wide is too narrow to be resampled."""
BLOCK = 4096
"""Voxels whose derivatives are computed at a time."""
MEMORY = 3e9
"""Bytes of derivatives that are kept; more are computed anew whenever they are needed."""


class Forward:
    """The chain: patterns of voxels on fine bins of q → ln tan 2θ → projections → bins of the data.

    Parameters
    ----------
    phases
        What the patterns are made of.
    q
        Bins of the data, 1/Å, evenly spaced, shape (n_q,). Those are used that see nothing from outside the phase
        set's range at any depth: `used`.
    profile
        Of the instrument.
    mask
        Voxels that hold anything, shape (n_y, n_x), bool.
    angles, cor
        As for `ParallelBeam`; the image is as wide as the mask.
    n_positions
        Of a projection.
    step_mm, distance_mm
        Between positions, and from axis to detector; infinite for no parallax.
    """

    def __init__(
        self,
        phases: PhaseSet,
        q: np.ndarray,
        profile: InstrumentProfile,
        *,
        mask: np.ndarray,
        angles: np.ndarray,
        cor,
        n_positions: int,
        step_mm: float,
        distance_mm: float,
    ):
        if distance_mm != np.inf:
            check_distance(distance_mm)
        width = (q[-1] - q[0]) / (len(q) - 1)
        fine = np.arange(phases.q_min + width / FINER / 2, phases.q_max, width / FINER)
        self.model = PatternModel(phases, fine, profile)
        axis = lntan_axis(self.model.q, wavelength=profile.wavelength, oversampling=1.0)
        self.mask = mask
        radius = float(np.hypot(*(np.argwhere(mask) - (np.array(mask.shape) - 1) / 2).T).max()) + 0.1
        self.beam = TiltedBeam(
            angles,
            n_positions,
            cor,
            len(mask),
            pixel_over_distance=step_mm / distance_mm,
            step=axis.step,
            support=radius,
        )
        self._there = axis.from_q().T.astype(np.float32)
        seen = slice(self.beam.padding, axis.n_bins - self.beam.padding)
        if seen.stop - seen.start < 4:
            raise FitError("the range of the phase set is too narrow: parallax moves every line out of it")
        edges = axis.mapped_edges[seen.start : seen.stop + 1]
        self.used = (q - width / 2 >= edges[0]) & (q + width / 2 <= edges[-1])
        if self.used.sum() < 4:
            raise FitError("the range of the phase set is too narrow: parallax moves every line out of it")
        wanted = q[self.used]
        wanted = np.append(wanted - width / 2, wanted[-1] + width / 2)
        self._back = (rebinning(edges, wanted) / np.cos(axis.two_theta[seen]) ** 3).T.astype(np.float32)

    def rows(self, chosen) -> "Forward":
        """The same of some of the projections."""
        some = copy(self)
        some.beam = self.beam.rows(chosen)
        return some

    @property
    def n_voxels(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    def cost(self) -> str:
        """Memory and time of one product, in words, for the log."""
        bins, voxels = self._there.shape[1], self.n_voxels
        kept = min(MEMORY, 40.0 * voxels * self.model.q.size)
        rays = self.beam.angles.size * self.beam.n_positions
        memory = 4.0 * (2 * self.mask.size * bins + 2 * rays * self._back.shape[0] + 5 * rays * self._back.shape[1])
        seconds = seconds_per_projection(self.beam) * bins
        return (
            f"{voxels} voxels, {self.used.sum()} bins of the data, {bins} of ln tan 2theta: about "
            f"{(memory + kept) / 1e9:.2g} GB, and {seconds:.2g} s for one projection; a step takes up to 80 of them"
        )

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Sinogram for values (n_voxels, n_parameters), shape (n_angles, n_positions, n_used), float32."""
        return self.project(self.model.patterns(values))

    def project(self, patterns: np.ndarray) -> np.ndarray:
        """Sinogram for patterns on the model's bins, (n_voxels, n_bins)."""
        volume = self.beam.constant_image(0, self._back.shape[0])
        volume[self.mask] = patterns.astype(np.float32, copy=False) @ self._there
        return (self.beam @ volume) @ self._back

    def back(self, sinogram: np.ndarray) -> np.ndarray:
        """The transpose of `project`, shape (n_voxels, n_bins), float32."""
        volume = self.beam.T @ (sinogram @ self._back.T)
        return volume[self.mask] @ self._there.T

    def slopes(self, values: np.ndarray, places: np.ndarray) -> "Slopes":
        """Derivatives at `values` by the parameters at `places`."""
        return Slopes(self, values, places)


class Slopes:
    """How the sinogram changes with the parameters of the voxels: ``forward`` and ``back`` are exact transposes."""

    def __init__(self, chain: Forward, values: np.ndarray, places: np.ndarray):
        self.chain, self._values = chain, np.ascontiguousarray(values, dtype=float)
        self._columns = np.full(values.shape[1], -1)
        self._columns[places] = np.arange(len(places))
        self._n = len(places)
        needed = 4.0 * len(values) * self._n * chain.model.q.size
        self._kept = list(self._computed()) if needed < MEMORY else None

    def forward(self, change: np.ndarray) -> np.ndarray:
        """Change of the sinogram for a change of the parameters, (n_voxels, n_places)."""
        patterns = np.empty((len(change), self.chain.model.q.size), dtype=np.float32)
        for part, slopes in self.blocks():
            patterns[part] = np.einsum("vp,vpm->vm", change[part].astype(np.float32), slopes)
        return self.chain.project(patterns)

    def back(self, sinogram: np.ndarray) -> np.ndarray:
        """What a sinogram says about every parameter, (n_voxels, n_places), float64."""
        patterns, found = self.chain.back(sinogram), np.empty((len(self._values), self._n))
        for part, slopes in self.blocks():
            found[part] = np.einsum("vm,vpm->vp", patterns[part], slopes)
        return found

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Voxels, and their derivatives (n, n_places, n_bins), float32."""
        return iter(self._kept) if self._kept is not None else self._computed()

    def _computed(self):
        for first in range(0, len(self._values), BLOCK):
            part = slice(first, min(first + BLOCK, len(self._values)))
            slopes = np.empty((part.stop - first, self._n, self.chain.model.q.size), dtype=np.float32)
            _slopes(tuple(self.chain.model.arrays), self._values[part], self._columns, slopes)
            yield part, slopes


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, parallel=True)
def _slopes(arrays, values, columns, slopes):
    nothing = np.empty((0, 0))
    n_bins = slopes.shape[2]
    for k in numba.prange(values.shape[0]):
        scratch, pattern, own = np.empty((9, n_bins)), np.empty(n_bins), np.empty((slopes.shape[1], n_bins))
        evaluate(arrays, values[k], 0.0, columns, nothing, scratch, pattern, own)
        slopes[k] = own

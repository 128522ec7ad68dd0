"""From the parameters of voxels to the sinogram, and how it changes with them; band by band of the pattern."""

from collections.abc import Callable, Iterable, Iterator
from copy import copy

import numba
import numpy as np

from ..calibration.profile import InstrumentProfile
from ..errors import FitError
from ..fit.model import PatternModel
from ..fit.phase_set import PhaseSet
from ..fit.shapes import evaluate
from ..reconstruction.lntan import lntan_axis, rebinning
from ..reconstruction.parallax import check_distance, seconds_per_projection
from ..reconstruction.tilted import TiltedBeam
from .bands import IMAGE, Band, cut_bands, parts

FINER = 2
"""Bins of the model per bin of the data: a line two bins wide is too narrow to be resampled."""
PROJECTIONS = 800
"""What a search costs, in projections, measured at 40 px: its 156 products of the curvature, each one there and one
back, are 312 of them; the rest are patterns, resampling and preconditioners, which weigh less in larger maps."""
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
    band
        Bins of ln tan 2θ at a time; None: as many as `bands.IMAGE` allows.
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
        band: int | None = None,
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
        self._places = np.flatnonzero(mask)
        seen = slice(self.beam.padding, axis.n_bins - self.beam.padding)
        if seen.stop - seen.start < 4:
            raise FitError("the range of the phase set is too narrow: parallax moves every line out of it")
        edges = axis.mapped_edges[seen.start : seen.stop + 1]
        self.used = (q - width / 2 >= edges[0]) & (q + width / 2 <= edges[-1])
        if self.used.sum() < 4:
            raise FitError("the range of the phase set is too narrow: parallax moves every line out of it")
        wanted = q[self.used]
        wanted = np.append(wanted - width / 2, wanted[-1] + width / 2)
        back = (rebinning(edges, wanted) / np.cos(axis.two_theta[seen]) ** 3).T.astype(np.float32)
        size = band or max(64, int(IMAGE / 4 / mask.size) - 2 * self.beam.padding)
        self.bands = cut_bands(self.model, axis.from_q().T.astype(np.float32), back, self.beam.padding, size)

    def rows(self, chosen) -> "Forward":
        """The same of some of the projections."""
        some = copy(self)
        some.beam = self.beam.rows(chosen)
        return some

    @property
    def n_voxels(self) -> int:
        """Voxels inside the mask."""
        return int(self.mask.sum())

    def cost(self, searches: int = 1) -> str:
        """Memory and time in words, for the log, before anything is begun.

        Parameters
        ----------
        searches
            1 with a weight of the prior that is given, `refine.SEARCHES` if it is looked for.
        """
        bins = [band.back.shape[0] for band in self.bands]
        kept = min(MEMORY, 40.0 * self.n_voxels * self.model.q.size)
        rays = self.beam.angles.size * self.beam.n_positions
        widest = max(bins) + 2 * self.beam.padding
        memory = 4.0 * (2 * self.mask.size * widest + 2 * rays * max(bins) + 7 * rays * int(self.used.sum()))
        seconds = seconds_per_projection(self.beam) * sum(bins)
        minutes = searches * PROJECTIONS * seconds / 60
        return (
            f"{self.n_voxels} voxels, {self.used.sum()} bins of the data, {sum(bins)} of ln tan 2theta in "
            f"{len(bins)} bands: about {(memory + kept) / 1e9:.2g} GB; {seconds:.2g} s for one projection, about "
            f"{minutes:.2g} minutes for {searches} searches"
        )

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Sinogram for values (n_voxels, n_parameters), shape (n_angles, n_positions, n_used), float32."""

        def patterns(band: Band):
            return ((part, band.model.patterns(values[part])) for part in parts(len(values)))

        return self.project(patterns)

    def project(self, patterns: Callable[[Band], Iterable[tuple[slice, np.ndarray]]]) -> np.ndarray:
        """Sinogram for what a function says of a band: parts of the voxels and their patterns on its bins."""
        sinogram = np.empty((*self.beam.shape[0], int(self.used.sum())), dtype=np.float32)
        for band in self.bands:
            sinogram[..., band.channels] = band.project(self.beam, self._places, patterns(band))
        return sinogram

    def back(self, sinogram: np.ndarray, band: Band) -> Iterator[tuple[slice, np.ndarray]]:
        """The transpose of `project`, by bands: parts of the voxels, and what the sinogram says of their patterns."""
        return band.pull(self.beam, self._places, sinogram)

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
        needed = 4.0 * len(values) * self._n * sum(band.model.q.size for band in chain.bands)
        self._kept = [list(self._computed(band)) for band in chain.bands] if needed < MEMORY else None

    def forward(self, change: np.ndarray) -> np.ndarray:
        """Change of the sinogram for a change of the parameters, (n_voxels, n_places)."""
        change = change.astype(np.float32)

        def patterns(band: Band):
            return ((part, np.einsum("vp,vpm->vm", change[part], slopes)) for part, slopes in self.of(band))

        return self.chain.project(patterns)

    def back(self, sinogram: np.ndarray) -> np.ndarray:
        """What a sinogram says about every parameter, (n_voxels, n_places), float64."""
        found = np.zeros((len(self._values), self._n))
        for band in self.chain.bands:
            for (part, patterns), (_, slopes) in zip(self.chain.back(sinogram, band), self.of(band), strict=True):
                found[part] += np.einsum("vm,vpm->vp", patterns, slopes)
        return found

    def of(self, band: Band) -> Iterator[tuple[slice, np.ndarray]]:
        """Voxels, and their derivatives (n, n_places, n_fine), float32."""
        return self._computed(band) if self._kept is None else iter(self._kept[self.chain.bands.index(band)])

    def _computed(self, band):
        arrays = tuple(band.model.arrays)
        for part in parts(len(self._values)):
            slopes = np.empty((part.stop - part.start, self._n, band.model.q.size), dtype=np.float32)
            _slopes(arrays, self._values[part], self._columns, slopes)
            yield part, slopes


@numba.njit(cache=True, error_model="numpy", fastmath={"contract"}, parallel=True)
def _slopes(arrays, values, columns, slopes):
    n_bins = slopes.shape[2]
    for k in numba.prange(values.shape[0]):
        scratch, pattern, own = np.empty((9, n_bins)), np.empty(n_bins), np.empty((slopes.shape[1], n_bins))
        evaluate(arrays, values[k], 0.0, columns, scratch, pattern, own)
        slopes[k] = own

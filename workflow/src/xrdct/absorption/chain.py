"""From a measured sinogram and the scales of its phases to the attenuation map, and to a sinogram without absorption."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import AttenuationError
from .attenuation import mu_map
from .casing import Wall, find_wall, wall_transmission
from .correction import Corrected, correct_absorption, optical_depth, transmission
from .factor import AbsoluteFactor, factor_from_transmission
from .first_order import ZeroOrderError, full_ring, scattered_transmission, transmission_over_q, zero_order_error
from .iteration import Settled, iterate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Matter:
    """What the phases are made of."""

    pure: np.ndarray
    """µ of each pure dense phase, 1/mm, shape (phase,)."""
    fill: float = 0.0
    """µ of what fills the volume between the phases, 1/mm."""
    fill_from: float = 0.05
    """Voxels with less than this volume of phases hold no fill: holes and air."""


@dataclass(frozen=True)
class Measured:
    """A sinogram with self-absorption."""

    intensity: np.ndarray
    """(angle, position, q), counts."""
    variance: np.ndarray
    air: np.ndarray
    """Subtracted, (angle, q)."""
    angles: np.ndarray
    """Degrees."""
    cor: np.ndarray
    """Column of the axis on every line, pixels."""
    step_mm: float
    q: np.ndarray
    """1/Å."""

    @property
    def geometry(self) -> dict:
        """As `correction.transmission` wants it, without the angles."""
        return {"step_mm": self.step_mm, "cor": self.cor, "n_positions": self.intensity.shape[1]}


@dataclass(frozen=True)
class Attenuated:
    """What was found."""

    settled: Settled
    factor: AbsoluteFactor
    """Of the last pass."""
    wall: Wall | None
    first: np.ndarray
    """Scale maps before any correction, (phase, y, x)."""
    zero_order: ZeroOrderError


class Attenuation:
    """Scales to µ: the absolute factor is found anew in every map, unless it is given.

    Parameters
    ----------
    measured
        The sinogram.
    matter
        Of the phases.
    transmitted
        Measured transmission (angle, position), NaN where there is none; None where there was no measurement.
    relative
        Whether it is known up to one factor only.
    factor
        Volume fraction per unit of scale, where it is given.
    casing
        Number of the casing's phase, and its wall; None: no casing is known.

    Raises
    ------
    AttenuationError
        When there is neither a transmission nor a factor.
    """

    def __init__(
        self,
        measured: Measured,
        matter: Matter,
        *,
        transmitted: np.ndarray | None = None,
        relative: bool = False,
        factor: float | None = None,
        casing: tuple[int, Wall] | None = None,
    ):
        if transmitted is None and factor is None:
            raise AttenuationError(
                "scales are relative: without an absolute factor there is no attenuation map. Give the counter of "
                "transmitted intensity, the casing's phase and thickness (absorption.casing), or the factor"
            )
        self.measured, self.matter, self.transmitted, self.relative = measured, matter, transmitted, relative
        self.casing = casing
        n = measured.intensity.shape[1]
        self._wall = np.zeros((n, n)) if casing is None else casing[1].share(n, measured.step_mm)
        self.factor = None if factor is None else AbsoluteFactor(factor, 0.0, "given", 0.0, 0)

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        """µ in 1/mm, (y, x), of signed scale maps (phase, y, x)."""
        contents = self.contents(scales)
        if self.transmitted is not None:
            self.factor = self._find(contents)
            log.info("%s", self.factor)
        fill = self._fill(contents, self.factor.value)
        mu = mu_map(contents, self.matter.pure, self.factor.value, fill=fill) * (1 - self._wall)
        return mu + self._wall * (self.matter.pure[self.casing[0]] if self.casing else 0.0)

    def contents(self, scales: np.ndarray) -> np.ndarray:
        """Scale maps of what is inside the casing, without negative values and without the casing itself."""
        maps = np.clip(scales, 0, None)
        if self.casing is None:
            return maps
        place, wall = self.casing
        maps = maps * wall.inside(maps.shape[1], self.measured.step_mm)
        maps[place] = 0.0  # the wall is drawn, not fitted, and the haze that it leaves inside is none
        return maps

    def _fill(self, contents, factor):
        return self.matter.fill * (factor * contents.sum(axis=0) >= self.matter.fill_from)

    def _find(self, contents):
        measured, matter = self.measured, self.matter
        # Where the fill is depends on K, weakly: half of the 95th percentile of the volume is taken for full here.
        total = contents.sum(axis=0)
        full = np.quantile(total[total > 0], 0.95) if (total > 0).any() else 1.0
        fill = matter.fill * (total >= matter.fill_from * full)
        fixed = fill * (1 - self._wall)
        if self.casing:
            fixed = fixed + matter.pure[self.casing[0]] * self._wall
        weakened = np.tensordot(matter.pure, contents, axes=1) - fill * total

        def depth(values):
            return optical_depth(values, measured.angles, **measured.geometry)[..., 0]

        # A phase lighter than the fill would make a negative map: both signs are projected.
        unit = depth(np.clip(weakened, 0, None)) - depth(np.clip(-weakened, 0, None))
        return factor_from_transmission(self.transmitted, unit, depth(fixed), relative=self.relative)


def remove_absorption(
    measured: Measured,
    attenuation: Attenuation,
    *,
    first: np.ndarray,
    reconstruct: Callable[[np.ndarray], np.ndarray],
    fit: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray | None = None,
    tolerance: float = 0.01,
    most: int = 1,
    least: float = 0.02,
    first_order: bool = False,
    wavelength: float,
) -> Attenuated:
    """Iterate scales, µ, transmission and correction, and say how wrong the straight rays are.

    Parameters
    ----------
    first
        Signed scale maps of the uncorrected volume, (phase, y, x).
    reconstruct, fit
        Sinogram to volume, volume to signed scale maps.
    start
        Transmission (angle, position) to divide by before the first map is made: the measured one. Iterations that
        begin with no correction at all may settle at another answer. None: none.
    tolerance, most
        As for `iteration.iterate`. From a measured transmission one pass is best: each further one forgets more of it,
        and where −ln T is beyond 1 errors grow from pass to pass.
    least
        As for `correction.correct_absorption`.
    first_order
        Trace the scattered rays too, at the price of minutes.
    wavelength
        Å.
    """

    def correct(mu) -> Corrected:
        return correct_scan(measured, mu, least=least, first_order=first_order, wavelength=wavelength)

    scales, before = first, 0.0
    if start is not None:
        straight = _divide(measured, np.clip(start, least, 1), least)
        scales, before = fit(reconstruct(straight.intensity)), np.log(straight.transmission)
    settled = iterate(
        scales,
        attenuate=attenuation,
        correct=correct,
        reconstruct=reconstruct,
        fit=fit,
        tolerance=tolerance,
        most=most,
        before=before,
    )
    two_theta = 2 * np.arcsin(measured.q[-1] * wavelength / (4 * np.pi))
    error = zero_order_error(
        settled.mu, attenuation.contents(settled.scales).sum(axis=0), two_theta=two_theta, step_mm=measured.step_mm
    )
    wall = attenuation.casing[1] if attenuation.casing else None
    return Attenuated(settled, attenuation.factor, wall, first, error)


def correct_scan(
    measured: Measured, mu: np.ndarray, *, least: float, first_order: bool, wavelength: float
) -> Corrected:
    """A sinogram without the absorption of a map of µ (1/mm); parameters as for `remove_absorption`."""
    if not first_order:
        return _divide(measured, transmission(mu, measured.angles, **measured.geometry), least)

    def leaving(two_theta):
        # Matter is taken to scatter about as strongly as it weakens: which phase scatters is not asked.
        return scattered_transmission(
            mu, mu, measured.angles, two_theta=two_theta, azimuths=full_ring(), **measured.geometry
        )

    return _divide(measured, transmission_over_q(measured.q, wavelength, leaving), least)


def _divide(measured, transmitted, least):
    return correct_absorption(measured.intensity, measured.variance, transmitted, air=measured.air, least=least)


def transmission_of_casing(
    measured: Measured, signal: np.ndarray, map_: np.ndarray, *, mu: float, thickness_mm: float
) -> tuple[Wall, np.ndarray]:
    """Where the casing is, and the transmission, up to a factor, that it tells.

    Parameters
    ----------
    signal
        Scale of the casing's phase in the measured patterns, (angle, position).
    map_
        Its scale map, (y, x).
    mu, thickness_mm
        Of its wall.
    """
    wall = find_wall(map_, thickness_mm=thickness_mm, step_mm=measured.step_mm)
    found = wall_transmission(
        signal, wall, mu=mu, angles=measured.angles, cor=measured.cor, step_mm=measured.step_mm
    )
    return wall, found

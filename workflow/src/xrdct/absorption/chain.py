"""From a measured sinogram and the scales of its phases to the attenuation map, and to a sinogram corrected."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..errors import AttenuationError
from .attenuation import mu_map
from .casing import Wall, factor_from_wall
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
    extra: np.ndarray | float = 0.0
    """µ of what is known to be there besides, 1/mm, (y, x)."""


@dataclass(frozen=True)
class Measured:
    """A sinogram with self-absorption."""

    intensity: np.ndarray
    """(angle, position, q), counts."""
    variance: np.ndarray
    air: np.ndarray | None
    """Subtracted in full from the shadow too, (angle, q); None where only what reached it was."""
    angles: np.ndarray
    """Degrees."""
    cor: np.ndarray
    """Column of the axis on every line, pixels."""
    step_mm: float
    q: np.ndarray
    """1/Å."""
    azimuths: Callable[[float], np.ndarray] = lambda two_theta: full_ring()
    """From 2θ in radians to the azimuths at which the detector sees its ring, see `first_order.seen_azimuths`."""

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
    first: np.ndarray
    """Scale maps before any correction, (phase, y, x)."""
    zero_order: ZeroOrderError
    straight: np.ndarray
    """What rays were divided by first, (angle, position), or (angle, position, q)."""
    by_depth: np.ndarray | None
    """What they were divided by besides, (angle, position, q)."""

    @property
    def ways_out(self) -> str:
        """How scattered rays were taken to leave the sample, in words."""
        if self.by_depth is None:
            return "scattered rays traced" if self.straight.ndim == 3 else "scattered rays taken as straight"
        least, most = np.quantile(self.by_depth, [0.001, 0.999])
        more, less = 100 * (most - 1), 100 * (1 - least)
        return f"scattered rays traced by depth: up to {more:.1f} % more leaves, {less:.1f} % less"


class Attenuation:
    """Scales to µ. The absolute factor is given, or found anew in every map: from the transmission, or from the casing.

    Parameters
    ----------
    measured
        The sinogram.
    matter
        Of the phases.
    transmitted
        Measured transmission (angle, position); None: there was no measurement.
    factor
        Volume fraction per unit of scale; None: found.
    casing
        Number of the casing's phase, and its wall; None: no casing is known.

    Raises
    ------
    AttenuationError
        When there is neither a transmission, nor a factor, nor a casing.
    """

    def __init__(
        self,
        measured: Measured,
        matter: Matter,
        *,
        transmitted: np.ndarray | None = None,
        factor: float | None = None,
        casing: tuple[int, Wall] | None = None,
    ):
        if transmitted is None and factor is None and casing is None:
            raise AttenuationError(
                "scales are relative: without an absolute factor there is no attenuation map. Give the counter of "
                "transmitted intensity (raw.transmitted), the casing's phase and thickness (absorption.casing), or the "
                "factor (absorption.given_factor)"
            )
        self.measured, self.matter, self.transmitted, self.casing = measured, matter, transmitted, casing
        n = measured.intensity.shape[1]
        self._wall = np.zeros((n, n)) if casing is None else casing[1].share(n, measured.step_mm)
        self.factor = None if factor is None else AbsoluteFactor(factor, 0.0, "given", 0.0, 0)

    def __call__(self, scales: np.ndarray) -> np.ndarray:
        """µ in 1/mm, (y, x), of signed scale maps (phase, y, x)."""
        contents = self.contents(scales)
        if self.factor is None or self.factor.source != "given":
            self.factor = self._from_wall(scales) if self.transmitted is None else self._from_transmission(contents)
            log.info("%s", self.factor)
        fill = self._fill(contents, self.factor.value)
        mu = mu_map(contents, self.matter.pure, self.factor.value, fill=fill, extra=self.matter.extra)
        mu *= 1 - self._wall
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

    def _from_wall(self, scales):
        place, wall = self.casing
        geometry = {"thickness_mm": wall.thickness_mm, "radius_mm": wall.radius_mm}
        return factor_from_wall(scales[place], step_mm=self.measured.step_mm, **geometry)

    def _from_transmission(self, contents):
        measured, matter = self.measured, self.matter
        # Where the fill is depends on K, weakly: half of the 95th percentile of the volume is taken for full here.
        total = contents.sum(axis=0)
        full = np.quantile(total[total > 0], 0.95) if (total > 0).any() else 1.0
        fill = matter.fill * (total >= matter.fill_from * full)
        fixed = (fill + matter.extra) * (1 - self._wall)
        if self.casing:
            fixed = fixed + matter.pure[self.casing[0]] * self._wall
        weakened = np.tensordot(matter.pure, contents, axes=1) - fill * total

        def depth(values):
            return optical_depth(values, measured.angles, **measured.geometry)[..., 0]

        # A phase lighter than the fill would make a negative map: both signs are projected.
        unit = depth(np.clip(weakened, 0, None)) - depth(np.clip(-weakened, 0, None))
        return factor_from_transmission(self.transmitted, unit, depth(fixed))


def remove_absorption(
    measured: Measured,
    attenuation: Attenuation,
    *,
    first: np.ndarray,
    reconstruct: Callable[[np.ndarray], np.ndarray],
    fit: Callable[[np.ndarray], np.ndarray],
    tolerance: float = 0.01,
    most: int = 5,
    least: float = 0.02,
    first_order: bool = False,
    by_depth: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
    wavelength: float,
) -> Attenuated:
    """Find the attenuation map, and correct with it, or with the transmission where that was measured.

    Without a measurement scales, µ, transmission and correction are iterated. A measured transmission is divided by as
    it is, which needs no model of the sample; µ is then what explains it.

    Parameters
    ----------
    first
        Signed scale maps of the uncorrected volume, (phase, y, x).
    reconstruct, fit
        Sinogram to volume, volume to signed scale maps.
    tolerance, most
        As for `iteration.iterate`.
    least
        As for `correction.correct_absorption`.
    first_order
        Trace the scattered rays too, at the price of minutes; they need µ also where the transmission was measured.
    by_depth
        From a volume and µ to what the depth of its lines changes (`by_depth.ratio_by_depth`): then there is one more
        pass. Not together with `first_order`. None: lines do not tell their depth.
    wavelength
        Å.
    """
    options = {"first_order": first_order, "wavelength": wavelength}
    scales, before = first, 0.0
    if attenuation.transmitted is not None:
        straight = divide(measured, attenuation.transmitted, least)
        volume = reconstruct(straight.intensity)
        scales, before = fit(volume), np.log(straight.transmission)
    if attenuation.transmitted is not None and not first_order:
        mu = attenuation(scales)
        modelled = transmission(mu, measured.angles, **measured.geometry)
        rest = float(np.sqrt(np.mean((np.log(np.maximum(modelled, least)) - before) ** 2)))
        log.info("the attenuation map explains the measured transmission within %.2f %% (rms)", 100 * rest)
        settled = Settled(scales, mu, straight, volume, (rest,), True)
    else:
        settled = iterate(
            scales,
            attenuate=attenuation,
            correct=lambda mu: correct_scan(measured, mu, least=least, **options),
            reconstruct=reconstruct,
            fit=fit,
            tolerance=tolerance,
            most=most,
            before=before,
        )
    divisor = scan_transmission(measured, settled.mu, transmitted=attenuation.transmitted, **options)
    ratio = None
    if by_depth is not None:
        ratio = by_depth(settled.volume, settled.mu)
        corrected = settled.corrected.divided(ratio)
        volume = reconstruct(corrected.intensity)
        scales = fit(volume)
        settled = replace(settled, scales=scales, mu=attenuation(scales), corrected=corrected, volume=volume)
    two_theta = 2 * np.arcsin(measured.q[-1] * wavelength / (4 * np.pi))
    error = zero_order_error(
        settled.mu,
        attenuation.contents(settled.scales).sum(axis=0),
        two_theta=two_theta,
        azimuths=measured.azimuths(two_theta),
        step_mm=measured.step_mm,
    )
    return Attenuated(settled, attenuation.factor, first, error, divisor, ratio)


def correct_scan(
    measured: Measured,
    mu: np.ndarray,
    *,
    transmitted: np.ndarray | None = None,
    least: float,
    first_order: bool,
    wavelength: float,
) -> Corrected:
    """A sinogram without the absorption of a map of µ (1/mm), or of a measured transmission (angle, position).

    Other parameters as for `remove_absorption`.
    """
    options = {"transmitted": transmitted, "first_order": first_order, "wavelength": wavelength}
    return divide(measured, scan_transmission(measured, mu, **options), least)


def scan_transmission(
    measured: Measured, mu: np.ndarray, *, transmitted: np.ndarray | None, first_order: bool, wavelength: float
) -> np.ndarray:
    """What every ray is divided by: (angle, position), or (angle, position, q) where scattered rays are traced too.

    Parameters as for `correct_scan`.
    """
    if first_order:

        def leaving(two_theta):
            # Matter is taken to scatter about as strongly as it weakens: which phase scatters is not asked.
            return scattered_transmission(
                mu,
                mu,
                measured.angles,
                two_theta=two_theta,
                azimuths=measured.azimuths(two_theta),
                **measured.geometry,
            )

        return transmission_over_q(measured.q, wavelength, leaving)
    return transmission(mu, measured.angles, **measured.geometry) if transmitted is None else transmitted


def divide(measured: Measured, transmitted: np.ndarray, least: float) -> Corrected:
    """A sinogram divided by its transmission (`correction.correct_absorption`)."""
    return correct_absorption(measured.intensity, measured.variance, transmitted, air=measured.air, least=least)

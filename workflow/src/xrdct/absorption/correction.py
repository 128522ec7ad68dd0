"""The zero-order correction: every ray's diffraction divided by the transmission straight along it.

At small scattering angles the way in and the way out are together the whole ray, whatever the depth of the voxel that
scatters; the scattered ray of a full ring strays to all sides, and the first order of its straying cancels. How good
that is in a given sample `first_order.zero_order_error` says.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import AttenuationError
from ..reconstruction.operator import ParallelBeam
from .factor import check_transmission


@dataclass(frozen=True)
class Corrected:
    """A sinogram without self-absorption."""

    intensity: np.ndarray
    """(angle, position, q), the unit of the measured one, float32."""
    variance: np.ndarray
    """Of the intensity, same shape."""
    transmission: np.ndarray
    """What was divided by, (angle, position): not below the cap."""
    opaque: np.ndarray
    """Rays whose transmission lay below the cap, (angle, position)."""

    def divided(self, ratio: np.ndarray) -> "Corrected":
        """Divided once more, by (angle, position, q)."""
        return replace(self, intensity=self.intensity / ratio, variance=self.variance / ratio**2)


def optical_depth(
    mu: np.ndarray, angles: np.ndarray, *, step_mm: float, cor: float | np.ndarray, n_positions: int, subrays: int = 1
) -> np.ndarray:
    """Integrals of µ along `subrays` rays side by side in every beam, shape (angle, position, subrays), no unit.

    Parameters
    ----------
    mu
        1/mm, (y, x), voxels of `step_mm`, rotation axis in the middle.
    angles
        Degrees.
    step_mm
        Between positions, in mm; the beam is as wide.
    cor
        Column of the axis, pixels from the centre of the first column; one, or one for each angle.
    n_positions
        Of a projection.
    subrays
        Rays in a beam.

    Raises
    ------
    AttenuationError
        When the map is not square, negative or not finite.
    """
    check_mu(mu)
    fine = np.repeat(np.repeat(mu, subrays, axis=0), subrays, axis=1)
    axis = subrays * np.asarray(cor, dtype=float) + (subrays - 1) / 2
    A = ParallelBeam(angles, subrays * n_positions, axis, fine.shape[0])
    return (A @ fine).astype(float).reshape(len(A.angles), n_positions, subrays) * (step_mm / subrays)


def transmission(
    mu: np.ndarray, angles: np.ndarray, *, step_mm: float, cor: float | np.ndarray, n_positions: int, subrays: int = 4
) -> np.ndarray:
    """Share of the beam that comes straight through, shape (angle, position), in (0, 1].

    T is the mean over `subrays` rays: where the edge of a casing cuts the beam, exp(−mean) is not mean(exp).
    Parameters as for `optical_depth`.
    """
    depth = optical_depth(mu, angles, step_mm=step_mm, cor=cor, n_positions=n_positions, subrays=subrays)
    return np.exp(-depth).mean(axis=2)


def correct_absorption(
    intensity: np.ndarray,
    variance: np.ndarray,
    transmitted: np.ndarray,
    *,
    air: np.ndarray | None = None,
    least: float = 0.02,
) -> Corrected:
    """Divide a sinogram by the transmission of its rays, after putting back the air that was subtracted in excess.

    .. math:: s' = (s + (1 - T)\\, air) / T, \\qquad var' = var / T^2

    Air was subtracted in full, although in the sample's shadow only T of it arrives. The air's own variance is
    neglected: it is the mean of many positions.

    Parameters
    ----------
    intensity, variance
        (angle, position, q), any unit and its square.
    transmitted
        (angle, position) for all q, or (angle, position, q); in (0, 1].
    air
        Pattern that was subtracted from each projection, (angle, q), unit of the intensity; None: none was.
    least
        Rays with less than this are divided by it instead, and marked as opaque.

    Raises
    ------
    AttenuationError
        When shapes differ, or a transmission is not in (0, 1].
    """
    T = np.asarray(transmitted, dtype=float)
    if not 0 < least <= 1:
        raise AttenuationError(f"the least transmission must lie in (0, 1], found {least}")
    if T.shape not in (intensity.shape[:2], intensity.shape) or variance.shape != intensity.shape:
        raise AttenuationError(
            f"intensity {intensity.shape}, variance {variance.shape} and transmission {T.shape} do not fit together"
        )
    if air is not None and air.shape != (intensity.shape[0], intensity.shape[2]):
        raise AttenuationError(f"air {air.shape}: expected (angle, q) of the sinogram {intensity.shape}")
    if np.isnan(T).any():
        raise AttenuationError("the transmission is NaN at some rays; the correction needs it at all")
    check_transmission(T)
    opaque = T < least
    T = np.maximum(T, least)
    factor = T if T.ndim == 3 else T[..., None]
    restored = intensity if air is None else intensity + (1 - factor) * air[:, None, :]
    return Corrected(
        (restored / factor).astype(np.float32),
        (variance / factor**2).astype(np.float32),
        T if T.ndim == 2 else T.mean(axis=2),
        opaque if opaque.ndim == 2 else opaque.any(axis=2),
    )


def check_mu(mu: np.ndarray) -> None:
    """Refuse what is no attenuation map.

    Raises
    ------
    AttenuationError
        When it is not square, negative or not finite.
    """
    if mu.ndim != 2 or mu.shape[0] != mu.shape[1]:
        raise AttenuationError(f"expected an attenuation map [y, x], y = x; found shape {mu.shape}")
    if not np.isfinite(mu).all() or (mu < 0).any():
        raise AttenuationError("the attenuation map holds values that are negative or not finite")

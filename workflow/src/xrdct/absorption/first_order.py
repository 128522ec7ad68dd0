"""Rays as they go: straight in, and out at the scattering angle, to all azimuths that the detector sees.

For partial rings, large scattering angles or low energies, and to tell how wrong the zero order is. A voxel at (t, u),
u along the beam, scatters by 2θ to azimuth φ (from the direction of growing t). In the slice the ray leaves along
t + tan 2θ cos φ · u, and every step du of it is du / cos 2θ long: the sample is taken to be the same above and below.

What a beam loses depends on where along it the scattering matter lies; here that is a map of the scattering power.
"""

from dataclasses import dataclass

import numba
import numpy as np

from ..errors import AttenuationError
from .tracing import along, bilinear, sheared

RING, SECTORS = 8, 16
"""Azimuths that stand for a full ring, and sectors in which the part of a ring is told that a detector sees."""
THICK = 0.01
"""Pixels within this share of a scattering angle belong to its ring."""


@dataclass(frozen=True)
class ZeroOrderError:
    """Relative error of dividing by the straight transmission, over the rays that meet scattering matter."""

    mean: float
    """Mean of exact / straight − 1."""
    rms: float
    largest: float
    """99th percentile of the absolute value: single rays that graze a wall are not the rule."""
    two_theta_deg: float
    """Scattering angle it holds for."""

    def __str__(self):
        return (
            f"zero-order correction at 2θ = {self.two_theta_deg:.2f}°: rms error {100 * self.rms:.2f} %, "
            f"99 % of rays within {100 * self.largest:.2f} %, mean {100 * self.mean:+.2f} %"
        )


def full_ring(n: int = RING) -> np.ndarray:
    """Azimuths in radians, evenly over a ring."""
    return (np.arange(n) + 0.5) * 2 * np.pi / n


def seen_azimuths(two_theta: np.ndarray, azimuth: np.ndarray, at: float) -> np.ndarray:
    """Azimuths in radians that stand for what a detector sees of a ring: middles of its sectors, or a full ring.

    A sector counts where it holds half as many pixels as the fullest one, or more.

    Parameters
    ----------
    two_theta, azimuth
        Of the pixels that are used, radians, shape (n_pixels,); azimuth from the direction of growing t.
    at
        Scattering angle of the ring, radians.
    """
    ring = azimuth[np.abs(two_theta - at) <= THICK * at] % (2 * np.pi)
    pixels = np.bincount((ring * SECTORS / (2 * np.pi)).astype(int) % SECTORS, minlength=SECTORS)
    seen = pixels >= 0.5 * pixels.max()
    return full_ring() if seen.all() else full_ring(SECTORS)[seen]


def scattered_transmission(
    mu: np.ndarray,
    scattering: np.ndarray,
    angles: np.ndarray,
    *,
    two_theta: float,
    azimuths: np.ndarray,
    step_mm: float,
    cor: float | np.ndarray,
    n_positions: int,
    subrays: int = 2,
) -> np.ndarray:
    """Share of what a beam scatters by 2θ that leaves the sample, shape (angle, position).

    .. math:: T = \\frac{\\sum_u w\\, e^{-in} \\langle e^{-out(\\varphi)} \\rangle_\\varphi}{\\sum_u w}

    Rays are sampled `subrays` times per voxel in both directions, µ bilinearly. Beams that meet no scattering matter
    get the plain mean along the way, which is their straight transmission where 2θ is small.

    Parameters
    ----------
    mu
        1/mm, (y, x).
    scattering
        Scattering power w, any unit, same shape: of one phase, or of all.
    angles
        Degrees.
    two_theta, azimuths
        Radians; azimuths from the direction of growing t, shape (n,), those that the detector sees.
    step_mm, cor, n_positions, subrays
        As for `correction.transmission`.

    Raises
    ------
    AttenuationError
        When the maps differ in shape, or the ray does not go forward.
    """
    if mu.shape != scattering.shape or mu.ndim != 2 or mu.shape[0] != mu.shape[1]:
        raise AttenuationError(
            f"attenuation {mu.shape} and scattering {scattering.shape}: expected two maps [y, x], y = x"
        )
    if not 0 <= two_theta < np.pi / 2 or np.size(azimuths) == 0:
        raise AttenuationError(f"expected 0 ≤ 2θ < 90° and some azimuths, found {np.degrees(two_theta):.1f}°")
    angles = np.radians(np.asarray(angles, dtype=float))
    centres = np.broadcast_to(np.asarray(cor, dtype=float), angles.shape)
    slopes = np.tan(two_theta) * np.cos(np.asarray(azimuths, dtype=float))
    found = np.empty((angles.size, n_positions))
    _trace(
        np.ascontiguousarray(mu, dtype=float) * step_mm,
        np.ascontiguousarray(scattering, dtype=float),
        np.cos(angles),
        np.sin(angles),
        centres.copy(),
        slopes,
        1 / np.cos(two_theta),
        subrays,
        found,
    )
    return np.minimum(found, 1.0)  # means of ones are above one by rounding, which no transmission is


def transmission_over_q(q: np.ndarray, wavelength: float, transmitted, *, n_nodes: int = 4) -> np.ndarray:
    """Transmission (angle, position, q) by linear interpolation over 2θ from a few nodes.

    Parameters
    ----------
    q
        1/Å, increasing.
    wavelength
        Å.
    transmitted
        Function from 2θ in radians to (angle, position).
    n_nodes
        Where it is asked for.
    """
    two_theta = 2 * np.arcsin(np.asarray(q) * wavelength / (4 * np.pi))
    nodes = np.linspace(two_theta[0], two_theta[-1], n_nodes) if len(q) > 1 else two_theta[:1]
    known = np.stack([transmitted(float(node)) for node in nodes], axis=-1)
    if len(nodes) == 1:
        return known
    place = np.clip(np.searchsorted(nodes, two_theta) - 1, 0, n_nodes - 2)
    share = (two_theta - nodes[place]) / (nodes[1] - nodes[0])
    return known[..., place] * (1 - share) + known[..., place + 1] * share


def zero_order_error(
    mu: np.ndarray,
    scattering: np.ndarray,
    *,
    two_theta: float,
    azimuths: np.ndarray | None = None,
    step_mm: float,
    angles: np.ndarray | None = None,
) -> ZeroOrderError:
    """What is wrong when the zero order is used with this sample and scattering angle.

    Parameters
    ----------
    mu, scattering, step_mm
        As for `scattered_transmission`.
    two_theta
        The largest one in use, radians.
    azimuths
        Radians; None: full rings.
    angles
        Degrees; None: 12 over a half turn.
    """
    n = mu.shape[0]
    geometry = {"step_mm": step_mm, "cor": (n - 1) / 2, "n_positions": n}
    angles = np.arange(12) * 15.0 if angles is None else angles
    azimuths = full_ring() if azimuths is None else azimuths
    bent = scattered_transmission(mu, scattering, angles, two_theta=two_theta, azimuths=azimuths, **geometry)
    straight = scattered_transmission(mu, scattering, angles, two_theta=0.0, azimuths=np.zeros(1), **geometry)
    met = _meets(scattering, angles, geometry)
    error = (bent / straight - 1)[met] if met.any() else np.zeros(1)
    return ZeroOrderError(
        float(error.mean()),
        float(np.sqrt(np.mean(error**2))),
        float(np.quantile(np.abs(error), 0.99)),
        float(np.degrees(two_theta)),
    )


def _meets(scattering: np.ndarray, angles: np.ndarray, geometry: dict) -> np.ndarray:
    """Rays that carry at least a hundredth of the strongest one's scattering."""
    from .correction import optical_depth

    amount = optical_depth(np.clip(scattering, 0, None), angles, **geometry)[..., 0]
    return amount > 0.01 * amount.max()


@numba.njit(cache=True, parallel=True)
def _trace(mu, scattering, cosines, sines, cor, slopes, length, subrays, found):
    n_angles, n_positions = found.shape
    centre = (mu.shape[0] - 1) / 2
    h = 1.0 / subrays
    n_depths = int(np.ceil(1.4143 * mu.shape[0] * subrays)) + 3
    widest = np.abs(slopes).max()
    n_rays = int(np.ceil((1 + widest) * n_depths)) + 3
    for a in numba.prange(n_angles):
        cos, sin = cosines[a], sines[a]
        whole = np.empty((n_rays, n_depths))
        sheared(mu, centre, cos, sin, 0.0, 1.0, h, whole)
        ways = np.empty((slopes.size, n_rays, n_depths))
        for k in range(slopes.size):
            sheared(mu, centre, cos, sin, slopes[k], length, h, ways[k])
        for p in range(n_positions):
            weighed, weight, plain = 0.0, 0.0, 0.0
            for s in range(subrays):
                t = p - cor[a] + (s + 0.5) * h - 0.5
                for j in range(n_depths):
                    u = (j - (n_depths - 1) / 2) * h
                    inward = along(whole, t, h, 0) - along(whole, t, h, j)
                    outward = 0.0
                    for k in range(slopes.size):
                        outward += np.exp(-along(ways[k], t - slopes[k] * u, h, j)) / slopes.size
                    x, y = t * cos - u * sin, t * sin + u * cos
                    w = bilinear(scattering, centre - y, centre + x)
                    survives = np.exp(-inward) * outward
                    weighed += w * survives
                    weight += w
                    plain += survives / (n_depths * subrays)
            found[a, p] = weighed / weight if weight > 0 else plain

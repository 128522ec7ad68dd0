"""Graphite flakes lie in the plane of the foil: 00l rings become arcs, whose azimuth turns with the sample.

The normals of the flakes are spread about the foil's normal by the law of March (1932) and Dollase (J. Appl. Cryst. 19
(1986) 267), W(α) = (r² cos² α + sin² α / r)^(−3/2), whose mean over the sphere is 1: r = 1 is a powder without texture,
r < 1 flakes that lie flat, r > 1 flakes that stand on edge. A reflection at the angle φ to the flake's normal follows
Σ c_l P_l(cos φ) P_l(cos α), where c_l are the Legendre coefficients of W.

Foils stand upright in the slice. With the foil's normal in direction ψ, the sample turned by ω and a pixel at azimuth η
(counted from the direction of increasing t), cos α = cos η cos(ψ − ω): the scattering vector is taken to lie in the
plane of the detector, which is off by θ, a degree or two. Even powers of cos α separate what belongs to the pixel from
what belongs to the voxel, so that a frame needs path lengths weighted by cos²ᵖ(ψ − ω) and a radial table for every p.
"""

import numpy as np
from numpy.polynomial import legendre

from .structures import Crystal, Lines, metric_tensor, powder_lines, reflections

LARGEST_DEGREE = 24
NEGLIGIBLE = 2e-3
"""Legendre coefficients below this share of the largest density are left out."""


def pole_density(cos_alpha: np.ndarray, r: float) -> np.ndarray:
    """Density of flake normals at α to the foil's normal, relative to no texture: March & Dollase's law."""
    square = np.asarray(cos_alpha) ** 2
    return (r**2 * square + (1 - square) / r) ** -1.5


def legendre_coefficients(r: float) -> np.ndarray:
    """c_0, c_2, c_4, … of the pole density of parameter r, as far as they matter; c_0 is 1."""
    node, weight = legendre.leggauss(400)
    density = pole_density(node, r)
    degrees = np.arange(0, LARGEST_DEGREE + 1, 2)
    found = [(k + 0.5) * np.sum(weight * density * legendre.Legendre.basis(k)(node)) for k in degrees]
    matters = np.abs(found) > NEGLIGIBLE * density.max()
    return np.array(found[: np.flatnonzero(matters)[-1] + 1])


def power_weights(r: float) -> np.ndarray:
    """c_l times the coefficient of x²ᵖ in P_l, shape (n_degrees, n_powers): l = 0, 2, … and p = 0, 1, …."""
    coefficients = legendre_coefficients(r)
    weights = np.zeros((len(coefficients), len(coefficients)))
    for k, c in enumerate(coefficients):
        powers = legendre.leg2poly([0] * 2 * k + [1])
        weights[k, : k + 1] = c * powers[::2]
    return weights


def flake_lines(crystal: Crystal, q_max: float, n_degrees: int) -> Lines:
    """Lines whose intensity is weighted with P_l(cos φ), l = 0, 2, …; intensity of shape (n_lines, n_degrees)."""
    total = powder_lines(crystal, q_max)
    hkl, q, intensity = reflections(crystal, q_max)
    line = np.searchsorted((total.q[1:] + total.q[:-1]) / 2, q)
    cos_phi = cos_to_normal(crystal, hkl)
    weighted = np.zeros((total.q.size, n_degrees))
    for k in range(n_degrees):
        np.add.at(weighted[:, k], line, intensity * legendre.Legendre.basis(2 * k)(cos_phi))
    return Lines(total.q, weighted)


def cos_to_normal(crystal: Crystal, hkl: np.ndarray) -> np.ndarray:
    """Cosine of the angle between reflections (n, 3) and the normal of the layers, c*."""
    reciprocal = np.linalg.inv(metric_tensor(crystal.cell))
    length = np.sqrt(np.einsum("ni,ij,nj->n", hkl, reciprocal, hkl))
    return hkl @ reciprocal[2] / (length * np.sqrt(reciprocal[2, 2]))

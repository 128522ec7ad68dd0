"""Conversions between energy, wavelength, scattering angle and q.

Throughout: energy in keV, wavelength in Å, q = 4π sin(θ)/λ in 1/Å, two_theta in radians.
"""

import numpy as np

HC_KEV_ANGSTROM = 12.398419843320026
"""h c in keV Å, from the exact SI values of h, c and e (CODATA 2018)."""


def wavelength_from_energy(energy_kev):
    """Wavelength in Å of photons of `energy_kev` keV."""
    return HC_KEV_ANGSTROM / energy_kev


def q_from_two_theta(two_theta, *, wavelength):
    """q in 1/Å from the scattering angle in radians."""
    return 4 * np.pi * np.sin(np.asarray(two_theta) / 2) / wavelength


def two_theta_from_q(q, *, wavelength):
    """Scattering angle in radians from q in 1/Å."""
    return 2 * np.arcsin(np.asarray(q) * wavelength / (4 * np.pi))

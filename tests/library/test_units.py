"""Conversions there and back, and against published numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import constants

from xrdct import units

energies = st.floats(5, 500)
# Beyond 0.01 1/Å and below the backscattering limit of every energy above 5 keV (4π/2.48 Å = 5.07 1/Å).
q_values = st.floats(0.01, 5.0)


def test_hc_is_the_product_of_the_exact_si_constants():
    exact = constants.h * constants.c / constants.e * 1e10 / 1e3
    assert units.HC_KEV_ANGSTROM == pytest.approx(exact, rel=1e-15)


def test_the_paper_s_beam_and_angle_come_out():
    """The NCA 18650 paper: 0.130509 Å is 95.00 keV, and q = 3.85 1/Å lies at 4.58°."""
    assert units.wavelength_from_energy(95.00) == pytest.approx(0.130509, abs=1e-5)
    angle = np.degrees(units.two_theta_from_q(3.85, wavelength=0.130509))
    assert angle == pytest.approx(4.58, abs=0.005)  # as many digits as are printed


@given(q_values, energies)
def test_q_and_two_theta_undo_each_other(q, energy):
    wavelength = units.wavelength_from_energy(energy)
    two_theta = units.two_theta_from_q(q, wavelength=wavelength)
    assert 0 < two_theta < np.pi
    # Near backscattering arcsin loses half of the digits of float64.
    assert units.q_from_two_theta(two_theta, wavelength=wavelength) == pytest.approx(q, rel=1e-12)


@given(st.floats(1.3, 100), energies)
def test_q_of_a_spacing_obeys_braggs_law(d, energy):
    wavelength = units.wavelength_from_energy(energy)
    two_theta = units.two_theta_from_q(2 * np.pi / d, wavelength=wavelength)
    assert 2 * d * np.sin(two_theta / 2) == pytest.approx(wavelength, rel=1e-12)


def test_arrays_keep_their_shape():
    q = np.linspace(0.5, 3.85, 6).reshape(2, 3)
    two_theta = units.two_theta_from_q(q, wavelength=0.13)
    np.testing.assert_allclose(units.q_from_two_theta(two_theta, wavelength=0.13), q, rtol=1e-14)

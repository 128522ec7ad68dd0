"""Attenuation in the twin against closed forms, numerical quadrature and tabulated coefficients."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from small_beamtime import IDEAL, one_subset, small

from xrdct.errors import ConfigError
from xrdct.twin.attenuation import crystal_density, crystal_mu, exit_angle, material_mu, optical_depth
from xrdct.twin.parameters import Amorphous
from xrdct.twin.rays import line_paths, matter_of
from xrdct.twin.simulate import simulate
from xrdct.twin.structures import read_crystal

N, VOXEL = 240, 0.025
AXIS = (np.arange(N) - (N - 1) / 2) * VOXEL
X, Y = AXIS[None, :], AXIS[::-1, None]


def disc(x, y, radius):
    """Share of each voxel inside a disc, smooth over a voxel."""
    return np.clip((radius - np.hypot(X - x, Y - y)) / VOXEL + 0.5, 0, 1)


def disc_paths(mu, exits, omega=0.0, scattered_ray=True):
    matter = matter_of(disc(0, 0, 2.5)[:, :, None], np.array([mu]), VOXEL)
    return line_paths(
        matter,
        omega,
        cor=29.5,
        n_positions=60,
        step=0.1,
        n_materials=1,
        depths=np.zeros(1),
        exits=np.asarray(exits),
        scattered_ray=scattered_ray,
    )[:, :, 0, 0]


# Elements at 80 and 100 keV from NIST's table (Hubbell & Seltzer, cm²/g), densities from tables of elements.
@pytest.mark.parametrize(
    ("phase", "density", "at_80", "at_100"),
    [("Fe", 7.874, 0.5952, 0.3717), ("Cu", 8.96, 0.7630, 0.4584), ("Al", 2.70, 0.2018, 0.1704)],
)
def test_coefficients_are_those_of_nist(phase, density, at_80, at_100):
    crystal = read_crystal(phase)
    assert crystal_density(crystal) == pytest.approx(density, rel=0.005)
    for energy, tabulated in [(80, at_80), (100, at_100)]:
        # Elam's tables and NIST's agree to a fraction of a percent here.
        assert 10 * crystal_mu(crystal, energy) == pytest.approx(density * tabulated, rel=0.01)


def test_a_material_without_formula_is_refused_when_it_has_to_be_weighed():
    halo = Amorphous(q=1.5, fwhm=0.1, height=1, electrons=0.3)
    with pytest.raises(ConfigError, match="attenuation is switched on"):
        material_mu(["separator"], {"separator": halo}, {}, 95)
    water = halo.model_copy(update={"formula": "H2O", "density": 1.0})
    # NIST: 0.1707 cm²/g at 100 keV.
    assert material_mu(["separator"], {"separator": water}, {}, 100) == pytest.approx(0.01707, rel=0.01)


@pytest.mark.parametrize("omega", [0, 30, 90, 217])
def test_the_direct_beam_through_a_disc_loses_its_chord(omega):
    x = (np.arange(60) - 29.5) * 0.1
    chord = 2 * np.sqrt(np.clip(2.5**2 - x**2, 0, None))
    inside = chord > 2
    mu = 0.4
    # Forward scattering: in and out together are the whole chord, wherever the voxel lies. The curvature of the chord
    # over a beam of 0.1 mm is under 1e-3 of it where it is longer than 2 mm; voxels add as much.
    forward = disc_paths(mu, [0.0], omega)[:, 0]
    np.testing.assert_allclose(forward[inside], (chord * np.exp(-mu * chord))[inside], rtol=5e-3)
    # Without the way out: ∫ exp(−µ s) ds along the chord.
    incoming = disc_paths(mu, [0.0], omega, scattered_ray=False)[:, 0]
    np.testing.assert_allclose(incoming[inside], ((1 - np.exp(-mu * chord)) / mu)[inside], rtol=5e-3)
    np.testing.assert_allclose(disc_paths(0.0, [0.0], omega)[:, 0][inside], chord[inside], rtol=5e-3)


@pytest.mark.parametrize("angle", [0.0, 0.08, -0.08, 0.6, np.pi])
@pytest.mark.parametrize("omega", [0.0, 40.0, 130.0])
def test_the_way_out_is_the_integral_of_mu_along_it(omega, angle):
    def mu_at(x, y):
        return 0.3 * np.exp(-((x - 0.5) ** 2 + (y + 0.3) ** 2)) + 0.1 * np.exp(-4 * ((x + 1) ** 2 + (y - 1) ** 2))

    found = optical_depth(mu_at(X, Y), voxel=VOXEL, omega=omega, angle=angle)
    w = np.radians(omega)
    direction = np.cos(angle) * np.array([-np.sin(w), np.cos(w)]) + np.sin(angle) * np.array([np.cos(w), np.sin(w)])
    for row, column in [(120, 120), (60, 150), (150, 60), (100, 200)]:
        start = np.array([AXIS[column], AXIS[::-1][row]])
        # The Gaussians have died away long before the edge of the map.
        expected, _ = quad(lambda s, start=start: mu_at(*(start + s * direction)), 0, 8, limit=200)
        assert found[row, column] == pytest.approx(expected, abs=2e-4)  # bilinear over voxels of 0.025 mm


def test_matter_on_the_larger_side_weakens_the_ray_that_leaves_towards_it():
    # A scattering point on the axis, and an absorber downstream at larger t: only rays towards +t meet it.
    maps = np.stack([disc(0, 0, 0.1), disc(0.5, 2.0, 0.3)], axis=2)
    matter = matter_of(maps, np.array([0.0, 3.0]), VOXEL)
    settings = {"cor": 29.5, "n_positions": 60, "step": 0.1, "n_materials": 2, "depths": np.zeros(1)}
    paths = line_paths(matter, 0.0, exits=np.array([-0.245, 0.0, 0.245]), **settings)[29:31, :, 0].sum(axis=(0, 2))
    assert paths[0] == pytest.approx(paths[1], rel=1e-6)
    assert paths[2] < 0.25 * paths[0]  # 0.6 mm of µ = 3/mm in the middle of the disc
    # Seen from behind (ω = 180°), the absorber is upstream and the point before it: nothing is lost on the way out.
    behind = line_paths(matter, 180.0, exits=np.array([-0.245, 0.0, 0.245]), **settings)[29:31, :, 0].sum(axis=(0, 2))
    np.testing.assert_allclose(behind, paths[0], rtol=0.02)


def test_rays_to_larger_columns_leave_towards_larger_t():
    assert exit_angle(np.array(0.08), np.array(0.0)) == pytest.approx(0.08)
    assert exit_angle(np.array(0.08), np.array(np.pi)) == pytest.approx(-0.08)
    assert exit_angle(np.array(0.08), np.array(np.pi / 2)) == pytest.approx(0, abs=1e-12)
    from xrdct.twin.detector import place_pixels

    parameters = small(IDEAL, {"detector": {"tilt_deg": 0}})
    pixels = place_pixels(parameters.detector, parameters.beam)
    two_theta = 2 * np.arcsin(pixels.q * 12.398419843320026 / 95 / (4 * np.pi))
    np.testing.assert_allclose(pixels.exit, exit_angle(two_theta, pixels.azimuth), atol=1e-9)
    assert (pixels.exit[:, 60:] > 0).all()
    assert (pixels.exit[:, :50] < 0).all()


WEAKENED = {
    "artefacts": {"attenuation": {}},
    "amorphous": {
        "separator": {"formula": "C2H4", "density": 0.5},
        "electrolyte": {"formula": "C3H4O3", "density": 1.3},
    },
}


def test_the_diode_sees_what_the_sample_lets_through(tmp_path):
    _, counters = one_subset(small(IDEAL, WEAKENED), tmp_path)
    truth = xr.open_zarr(tmp_path / "truth" / "discharged_2p65V.zarr", consolidated=False, chunks=None)
    expected = truth.transmission.sel(angle=truth.line_angle.values[0]).values
    np.testing.assert_allclose((counters["diode"] / counters["mon"]).reshape(3, 12), expected, rtol=1e-6)
    assert expected.min() < 0.9
    assert expected.max() == 1
    # Iron's coefficient at 95 keV is 0.41 cm²/g (xraylib and xraydb alike); the casing voxels are partly iron.
    assert truth.phase_mu.sel(phase="Fe").item() == pytest.approx(0.324, rel=0.01)
    assert 0.02 < truth.mu.values.max() <= truth.phase_mu.values.max()


def test_frames_are_weaker_by_the_transmission_and_air_scatter_with_them(tmp_path):
    clear, _ = one_subset(small(IDEAL, {"beam": {"dose": 200}}), tmp_path / "clear")
    weak, counters = one_subset(small(IDEAL, WEAKENED, {"beam": {"dose": 200}}), tmp_path / "weak")
    transmission = (counters["diode"] / counters["mon"]).reshape(3, 12)
    filled = np.zeros(transmission.shape, dtype=bool)
    filled[:, 3:9] = True  # the rim fills the beam only in part
    ratio = weak.sum(axis=(2, 3))[filled] / clear.sum(axis=(2, 3))[filled]
    # At 2θ < 4.3° the way out is nearly straight on; the strip has as many pixels on either side.
    np.testing.assert_allclose(ratio, transmission[filled], rtol=0.02)
    air = {"artefacts": {"air": {"level": 1000, "rise": 0}}, "beam": {"dose": 1e-9}}
    scatter, _ = one_subset(small(IDEAL, WEAKENED, air), tmp_path / "air")
    np.testing.assert_allclose(scatter.mean(axis=(2, 3)) / scatter.max(), transmission, rtol=0.01)


def test_half_the_strength_is_half_the_coefficient(tmp_path):
    simulate(small(WEAKENED, {"artefacts": {"attenuation": {"strength": 0.5}}}), tmp_path, quiet=True)
    truth = xr.open_zarr(tmp_path / "truth" / "discharged_2p65V.zarr", consolidated=False, chunks=None)
    assert truth.phase_mu.sel(phase="Fe").item() == pytest.approx(0.162, rel=0.01)

"""Texture in the twin: March & Dollase's law, its series, and the arcs on a frame as the sample turns."""

import numpy as np
import pytest
from scipy.integrate import quad
from small_beamtime import IDEAL, one_subset, small

from xrdct.errors import ConfigError
from xrdct.twin.patterns import lattice_of
from xrdct.twin.sample import prepare_station
from xrdct.twin.structures import read_crystal
from xrdct.twin.texture import cos_to_normal, flake_lines, pole_density, power_weights

RANGE = [0.6, 0.8, 1.2]


@pytest.mark.parametrize("r", RANGE)
def test_the_pole_density_has_the_mean_of_a_powder_and_the_sign_of_its_parameter(r):
    mean, _ = quad(lambda x: pole_density(x, r), 0, 1)
    assert mean == pytest.approx(1, abs=1e-9)
    # W along the foil's normal is r⁻³, and r^1.5 in its plane (March 1932).
    assert pole_density(1.0, r) == pytest.approx(r**-3)
    assert pole_density(0.0, r) == pytest.approx(r**1.5)


def ring(weights, cos_phi, cos_alpha):
    """Σ_l c_l P_l(cos φ) P_l(cos α) from the powers of cos α."""
    degrees = [np.polynomial.legendre.Legendre.basis(2 * k)(cos_phi) for k in range(len(weights))]
    powers = np.asarray(cos_alpha)[..., None] ** (2 * np.arange(len(weights)))
    return powers @ (np.array(degrees) @ weights)


@pytest.mark.parametrize("r", RANGE)
@pytest.mark.parametrize("phi_deg", [0, 35, 90])
def test_a_reflection_sees_the_flakes_that_can_reflect(r, phi_deg):
    phi = np.radians(phi_deg)
    for alpha in np.radians([0, 20, 55, 90]):
        # Flakes in reflection have their normal anywhere on a cone of half angle φ about the scattering vector.
        cone, _ = quad(
            lambda psi, alpha=alpha: pole_density(
                np.cos(phi) * np.cos(alpha) + np.sin(phi) * np.sin(alpha) * np.cos(psi), r
            ),
            0,
            np.pi,
        )
        # The series is cut where terms fall below 0.2 % of the largest density, which is r⁻³ or r^1.5.
        assert ring(power_weights(r), np.cos(phi), np.cos(alpha)) == pytest.approx(
            cone / np.pi, abs=5e-3 * max(r**-3, r**1.5)
        )


def test_without_preference_nothing_is_left_of_the_series():
    np.testing.assert_allclose(power_weights(1.0), [[1.0]], atol=1e-12)


def test_basal_lines_and_lines_in_the_plane_stand_at_their_angles_to_the_flake():
    crystal = read_crystal("graphite")
    found = cos_to_normal(crystal, np.array([[0, 0, 2], [1, 0, 0], [1, 1, 0], [1, 0, 1]]))
    a, c = crystal.cell[0], crystal.cell[2]
    # tan φ = (2 / √3 a) / (1 / c) for 101 in a hexagonal cell.
    np.testing.assert_allclose(found, [1, 0, 0, np.cos(np.arctan(2 * c / (np.sqrt(3) * a)))], atol=1e-12)
    lines = flake_lines(crystal, 5.5, 3)
    basal = np.argmin(np.abs(lines.q - 4 * np.pi / c))
    np.testing.assert_allclose(lines.intensity[basal], lines.intensity[basal, 0], rtol=1e-9)  # P_l(1) = 1
    in_plane = np.argmin(np.abs(lines.q - 4 * np.pi / a))  # 110
    # P_2(0) = −1/2, P_4(0) = 3/8; the 110 line holds nothing else.
    np.testing.assert_allclose(lines.intensity[in_plane] / lines.intensity[in_plane, 0], [1, -1 / 2, 3 / 8], rtol=1e-6)


X_MM, Y_MM = 1.25, 0.9
GRAIN = {"cell": {"grains": [{"phase": "graphite", "x_mm": X_MM, "y_mm": Y_MM, "radius_mm": 0.12}]}}
TALL = {"detector": {"shape": [110, 110], "beam_centre": [55.2, 55.2], "tilt_deg": 0}, "beam": {"dose": 20000}}
CHARGED = small().states[0].model_dump() | {"anode": [{"phases": {"LiC6": 1.0}}], "lattice": {}}
BARE = {"cell": {"grains": []}, "states": [CHARGED]}
TURNED = {"scan": {"starts_deg": [-70.0], "n_subsets": 1, "span_deg": 180}}
ROW, COLUMN = np.mgrid[:110, :110] + 0.5 - 55.2


@pytest.fixture(scope="module")
def graphite_ring(tmp_path_factory):
    """Frames of a grain of graphite beside the cell, of one texture or none, without those of the cell alone."""
    frames = {}
    alone, _ = one_subset(small(IDEAL, TALL, BARE, TURNED), tmp_path_factory.mktemp("alone"))
    for r in (None, 0.7, 1.25):
        texture = {"artefacts": {"texture": {} if r is None else {"graphite": r}}}
        with_grain = small(IDEAL, TALL, BARE, TURNED, GRAIN, texture)
        found, _ = one_subset(with_grain, tmp_path_factory.mktemp(f"r{r}"))
        frames[r] = (found - alone).sum(axis=1)  # over the line: the grain is in it somewhere
    return frames


def foil_normal_deg(x, y):
    """Direction in which layers follow one another: the gradient of r − pitch · azimuth / 2π, by differences."""
    cell, h = small().cell, 1e-6

    def level(x, y):
        x, y = x - cell.axis_x_mm, y - cell.axis_y_mm
        return np.hypot(x, y) - cell.pitch_mm * np.arctan2(y, x) / (2 * np.pi)

    gradient = (level(x + h, y) - level(x - h, y), level(x, y + h) - level(x, y - h))
    return np.degrees(np.arctan2(gradient[1], gradient[0]))


@pytest.mark.parametrize("r", [0.7, 1.25])
def test_the_basal_ring_is_an_arc_that_turns_with_the_foil(graphite_ring, r):
    q = 0.0664 * np.hypot(ROW, COLUMN)  # 1/Å: a pixel of 1.376 mm at 1 m
    c = lattice_of("graphite", {})[2]
    on_ring = np.abs(q - 4 * np.pi / c) < 0.06
    cos_eta = COLUMN[on_ring] / np.hypot(ROW, COLUMN)[on_ring]
    for line, omega in enumerate([-70.0, -10.0, 50.0]):
        expected = pole_density(cos_eta * np.cos(np.radians(foil_normal_deg(X_MM, Y_MM) - omega)), r)
        measured = graphite_ring[r][line][on_ring] / graphite_ring[None][line][on_ring]
        # Compton scattering has no texture (a few percent of the ring), the grain is 9° wide as seen from the axis.
        np.testing.assert_allclose(measured, expected, atol=0.03 * max(r**-3, r**1.5))


def test_a_texture_of_one_is_none(tmp_path, graphite_ring):
    even = small(IDEAL, TALL, BARE, TURNED, GRAIN, {"artefacts": {"texture": {"graphite": 1.0}}})
    alone, _ = one_subset(small(IDEAL, TALL, BARE, TURNED), tmp_path / "alone")
    found, _ = one_subset(even, tmp_path / "even")
    # Each of twelve frames is rounded.
    np.testing.assert_allclose((found - alone).sum(axis=1), graphite_ring[None], rtol=1e-3, atol=12)


def test_a_phase_cannot_be_spotty_and_textured_at_once_and_must_be_there():
    with pytest.raises(ConfigError, match="cannot have `spots` and `texture` at once"):
        prepare_station(small({"artefacts": {"spots": {"graphite": 10}, "texture": {"graphite": 0.7}}}))
    with pytest.raises(ConfigError, match=r"artefacts\.texture: NMC occurs nowhere"):
        prepare_station(small({"artefacts": {"texture": {"NMC": 0.7}}}))

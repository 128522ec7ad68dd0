"""Widening by parallax: the closed forms of a disc and of an isolated grain."""

import numpy as np
import pytest

from support_fit import PIXEL, PROFILE
from xrdct.config.fit import read_preset
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.parallax import FWHM_PER_SIGMA, parallax_width
from xrdct.fit.phase_set import load_phase_set
from xrdct.geometry import pixel_centres

N, STEP, DISTANCE = 96, 0.2, 1000.0
RADIUS = 8.6
HALF, WHOLE = np.arange(180) * 1.0, np.arange(180) * 2.0


def grid():
    axis = pixel_centres(N, STEP)
    return axis[None, :] + 0 * axis[:, None], axis[::-1, None] + 0 * axis[None, :]


@pytest.mark.parametrize("angles", [HALF, WHOLE], ids=["half turn", "turn"])
def test_a_disc_is_widened_most_in_its_middle(angles):
    x, y = grid()
    r = np.hypot(x, y)
    found = parallax_width((r <= RADIUS).astype(float), angles, step_mm=STEP, distance_mm=DISTANCE)
    for low, high in ((0, 1), (3, 4), (5, 6)):
        ring = (r >= low) & (r < high)
        expected = FWHM_PER_SIGMA * np.sqrt((RADIUS**2 - r[ring] ** 2).mean() / 2) / DISTANCE
        # Voxels of 0.2 mm, and 0.6 mm of smoothing.
        assert found[ring].mean() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("angles", "variance"), [(HALF, 0.5 - 4 / np.pi**2), (WHOLE, 0.5)], ids=["half turn", "turn"])
def test_an_isolated_grain_is_widened_by_its_own_way_around_the_axis(angles, variance):
    x, y = grid()
    grain = np.exp(-0.5 * ((x - 6.0) ** 2 + y**2) / 0.5**2)
    found = parallax_width(grain, angles, step_mm=STEP, distance_mm=DISTANCE)
    place = np.unravel_index(np.argmin(np.hypot(x - 6.0, y)), x.shape)
    expected = FWHM_PER_SIGMA * np.sqrt(variance * 6.0**2) / DISTANCE
    # The grain is 1.2 mm wide, seen from a circle of 6 mm.
    assert found[place] == pytest.approx(expected, rel=0.1)
    assert found[0, 0] == 0


def test_scales_are_even_where_lines_are_not_as_wide_everywhere():
    """Voxels of one amount whose lines are up to three times wider on one side than on the other."""
    model = PatternModel(load_phase_set(read_preset("nca-8")), np.arange(1.16, 2.84, PIXEL), PROFILE)
    parameters = model.start.copy()
    parameters[model.place("NCA", "scale")] = 1.0
    extra = np.linspace(0, 0.015, 30).reshape(1, 30) * np.ones((4, 1))
    volume = model.patterns(np.repeat(parameters[None], extra.size, axis=0), extra=extra.ravel()).reshape(4, 30, -1)
    # As noisy everywhere as the background of a scan: weights do not depend on the model.
    options = {"level": "quick", "variance": np.ones(model.q.size), "mask_threshold": 0.0}
    for widen, limit in ((lambda amount: extra, 0.02), (None, np.inf)):
        found = fit_volume(model, volume, widen=widen, **options).phase_maps("scale")[model.phases.names.index("NCA")]
        uneven = np.abs(found / found.mean() - 1).max()
        assert uneven < limit  # half a step of 24 in the widening
    assert uneven > 0.1

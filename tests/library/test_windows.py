"""Areas under planted peaks."""

import numpy as np
import pytest

from xrdct.errors import GeometryError
from xrdct.windows import SHOULDER_BINS, window_area

Q = 0.5 + (np.arange(800) + 0.5) * 0.004
CENTRES = np.array([[1.69, 1.70], [1.71, 1.70]])
AREAS = np.array([[1.0, 0.3], [2.0, 5.0]])
SIGMA = 0.008
WINDOW = {"q_min": 1.64, "q_max": 1.76}  # 6 sigma and more on either side: the feet are inside, the shoulders clean


def peaks():
    """Gaussian peaks of known area and centre, shape (2, 2, n_q)."""
    shape = np.exp(-((Q - CENTRES[..., None]) ** 2) / (2 * SIGMA**2)) / (SIGMA * np.sqrt(2 * np.pi))
    return AREAS[..., None] * shape


SLOPE = 40.0 - 9.0 * Q


def test_a_peak_on_a_sloping_background_gives_its_area_and_centre():
    area, centre = window_area(peaks() + SLOPE, Q, **WINDOW)
    # The shoulders lie 6 sigma from the nearest peak: what they take for background is < 1e-6 of it.
    np.testing.assert_allclose(area, AREAS, rtol=1e-5)
    # The moment of the positive part: rounding of the straight line, clipped at 0, weighs next to nothing.
    np.testing.assert_allclose(centre, CENTRES, atol=1e-4)


def test_without_background_the_area_is_the_plain_sum_of_the_window():
    area, centre = window_area(peaks(), Q, background="none", **WINDOW)
    np.testing.assert_allclose(area, AREAS, rtol=1e-6)
    np.testing.assert_allclose(centre, CENTRES, atol=1e-6)
    inside = (Q >= WINDOW["q_min"]) & (Q <= WINDOW["q_max"])
    on_slope, _ = window_area(peaks() + SLOPE, Q, background="none", **WINDOW)
    np.testing.assert_allclose(on_slope - area, SLOPE[inside].sum() * 0.004, rtol=1e-9)


def test_a_straight_line_alone_has_no_area():
    area, _ = window_area(np.tile(SLOPE, (3, 1)), Q, **WINDOW)
    np.testing.assert_allclose(area, 0, atol=1e-12)


def test_the_area_is_linear_and_can_be_negative_where_the_noise_is():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (2, 5, Q.size))
    together = window_area(first - 2 * second, Q, **WINDOW)[0]
    np.testing.assert_allclose(
        together, window_area(first, Q, **WINDOW)[0] - 2 * window_area(second, Q, **WINDOW)[0], atol=1e-12
    )
    assert (together < 0).any()


def test_the_centre_is_nan_where_nothing_is_positive():
    _, centre = window_area(np.full((1, Q.size), -1.0), Q, background="none", **WINDOW)
    assert np.isnan(centre).all()


@pytest.mark.parametrize("background", ["linear", "none"])
def test_a_nan_bin_in_window_or_shoulder_makes_area_and_centre_nan_and_one_elsewhere_nothing(background):
    volume = peaks() + SLOPE
    end = np.searchsorted(Q, WINDOW["q_max"])  # the first bin outside
    volume[0, 0, np.searchsorted(Q, 1.70)] = np.nan
    volume[0, 1, end] = np.nan
    volume[1, 1, end + SHOULDER_BINS] = np.nan
    area, centre = window_area(volume, Q, background=background, **WINDOW)
    expected = [[True, background == "linear"], [False, False]]
    assert np.isnan(area).tolist() == expected
    assert np.isnan(centre).tolist() == expected


def test_a_window_that_hugs_its_peak_keeps_it_whole():
    """The published windows do: the background must come from outside them."""
    area, _ = window_area(peaks()[0, 1] + SLOPE, Q, q_min=1.70 - 3.5 * SIGMA, q_max=1.70 + 3.5 * SIGMA)
    # 3.5 sigma hold all but 0.05 %; in the shoulders the peak still stands at 0.2 % of its height over 7 sigma.
    assert area == pytest.approx(AREAS[0, 1], rel=0.01)


def test_a_window_without_a_bin_is_refused():
    with pytest.raises(GeometryError, match=r"window 1\.7005–1\.701 1/Å holds 0 q bins .*raise n_bins"):
        window_area(peaks(), Q, q_min=1.7005, q_max=1.7010)


@pytest.mark.parametrize(("q_min", "q_max"), [(0.3, 0.6), (3.6, 3.9), (4.0, 4.2)])
def test_a_window_outside_the_volume_is_refused_with_its_range(q_min, q_max):
    with pytest.raises(GeometryError, match=r"the volume's 0\.502–3\.698 1/Å"):
        window_area(peaks(), Q, q_min=q_min, q_max=q_max, background="none")


@pytest.mark.parametrize("window", [(0.504, 0.6), (3.6, 3.695)])
def test_a_window_whose_shoulders_do_not_fit_is_refused_but_without_background_taken(window):
    limits = dict(zip(("q_min", "q_max"), window, strict=True))
    with pytest.raises(GeometryError, match=f"needs {SHOULDER_BINS} more on either side"):
        window_area(peaks(), Q, **limits)
    assert np.isfinite(window_area(peaks(), Q, background="none", **limits)[0]).all()

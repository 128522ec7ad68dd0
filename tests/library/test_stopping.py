"""The number of iterations that held-out projections ask for."""

import logging

import numpy as np
import pytest

from xrdct.reconstruction import stopping
from xrdct.reconstruction.cgls import cgls
from xrdct.reconstruction.sirt import sirt
from xrdct.reconstruction.stopping import choose_iterations, held_out_rows, predict_held_out
from xrdct.reconstruction.tilted import TiltedBeam

N, ANGLES, STEP = 32, np.arange(48) * 3.75, 1.1e-3
HELD = held_out_rows(ANGLES.size, np.arange(ANGLES.size) % 4)
SOLVERS = {"sirt": (sirt, {"nonnegative": True}), "cgls": (cgls, {})}


@pytest.fixture(scope="module")
def A():
    return TiltedBeam(ANGLES, N, (N - 1) / 2, pixel_over_distance=0.27 * STEP, step=STEP, support=N / 2)


@pytest.fixture(scope="module")
def image(A):
    """Blobs with a line at a channel that changes from place to place."""
    rng, axis = np.random.default_rng(0), np.arange(N) - (N - 1) / 2
    channels = np.arange(24 + 2 * A.padding)
    image = A.constant_image(0, 24)
    for x, y, at in zip(*rng.uniform(-9, 9, (2, 12)), rng.uniform(8, 16, 12) + A.padding, strict=True):
        blob = np.exp(-((axis[None, :] - x) ** 2 + (axis[::-1, None] - y) ** 2) / (2 * 1.5**2))
        image += (blob[..., None] * np.exp(-((channels - at) ** 2) / (2 * 2.0**2))).astype(np.float32)
    return image


def noisy(A, image, counts):
    clean = (A @ image).clip(min=0)
    gain = counts / clean.max()
    return (np.random.default_rng(1).poisson(clean * gain) / gain).astype(np.float32)


@pytest.mark.parametrize("method", SOLVERS)
def test_the_chosen_number_is_nearly_as_good_as_the_one_that_the_truth_would_choose(A, image, method):
    solve, options = SOLVERS[method]
    b = noisy(A, image, 200)
    chosen = predict_held_out(A, b, method=method, held=HELD, **options)
    inner = slice(A.padding, -A.padding)

    def error(iterations):
        return np.linalg.norm((solve(A, b, iterations=iterations, **options) - image)[..., inner])

    best = min(error(k) for k in (4, 8, 16, 32, 64))
    # The curve around its minimum is flat; twice as many or half as many iterations cost some 10 % here.
    assert error(chosen.iterations) < 1.15 * best
    assert chosen.held_out[chosen.iterations] <= min(chosen.held_out.values()) + chosen.one_error


def test_where_the_residual_is_at_the_noise_it_stops(A, image):
    b = noisy(A, image, 200)
    free = predict_held_out(A, b, method="cgls", held=HELD)
    bound = predict_held_out(A, b, method="cgls", held=HELD, variance=np.full_like(b, 4 * b.max() / 200))
    assert free.over_noise == {}
    assert bound.iterations < free.iterations
    assert bound.over_noise[bound.iterations] <= 1 < bound.over_noise[bound.iterations - 1]


def test_better_data_take_more_iterations(A, image):
    few, many = (
        predict_held_out(A, noisy(A, image, counts), method="cgls", held=HELD).iterations for counts in (50, 20000)
    )
    assert many > 1.5 * few


def test_a_search_that_ends_before_the_least_says_so(A, image, monkeypatch, caplog):
    monkeypatch.setattr(stopping, "MOST", 3)
    with caplog.at_level(logging.WARNING):
        predict_held_out(A, noisy(A, image, 2000), method="sirt", held=HELD)
    assert "still better predicted with more iterations than 3" in caplog.text


def test_a_scan_is_judged_by_its_strongest_bins_whatever_lies_beside_them(A, image):
    q = np.linspace(1.2, 1.6, 60)
    line = np.zeros((ANGLES.size, N, q.size), dtype=np.float32)
    line[..., 20:44] = noisy(A, image, 2000)
    scan = {"q": q, "wavelength": 0.13, "distance_mm": 1000.0, "step_mm": 0.3, "cor": (N - 1) / 2}
    chosen = choose_iterations(line, ANGLES, **scan, method="cgls", subset=np.arange(ANGLES.size) % 4)
    line[..., 0] = np.nan
    again = choose_iterations(line, ANGLES, **scan, method="cgls", subset=np.arange(ANGLES.size) % 4)
    assert again.iterations == chosen.iterations


def test_one_interlaced_subset_is_held_out_or_every_fifth_projection():
    assert held_out_rows(6, np.array([1, 2, 1, 2, 1, 2])).tolist() == [False, True] * 3
    assert held_out_rows(10, None).sum() == held_out_rows(10, np.ones(10)).sum() == 2

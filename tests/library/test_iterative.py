"""The iterative methods: against dense least squares, against each other, and their promises."""

import numpy as np
import pytest

from xrdct.geometry import lateral_position, pixel_centres
from xrdct.reconstruction.arrays import reciprocal, squared_norm, sums
from xrdct.reconstruction.cgls import cgls
from xrdct.reconstruction.fbp import fbp
from xrdct.reconstruction.operator import ParallelBeam
from xrdct.reconstruction.sart import sart, spread_blocks
from xrdct.reconstruction.sirt import sirt
from xrdct.reconstruction.tv import add_gradient, divergence, tv

N = 48
METHODS = [sirt, sart, cgls, tv]
CONSTRAINED = [sirt, sart, tv]
TURNS = {
    "half": np.arange(60) * 3.0,
    "whole": np.arange(120) * 3.0,
    "irregular": np.sort(np.random.default_rng(5).uniform(0, 180, 70)),
}


def discs(angles, cor, n=N):
    """Sinogram of two discs in closed form, chords averaged over the width of a position; also their image."""
    t = (np.arange(8 * n) + 0.5) / 8 - 0.5 - cor
    axis = (np.arange(4 * n) + 0.5) / 4 - n / 2
    sinogram, image = 0, 0
    for x, y, radius, value in [(0, 0, 19, 1.0), (6, -5, 5, 1.5)]:
        distance = t - lateral_position(x, y, angles)[:, None]
        sinogram = sinogram + 2 * value * np.sqrt(np.clip(radius**2 - distance**2, 0, None))
        image = image + value * (np.hypot(axis[None, :] - x, axis[::-1, None] - y) < radius)
    sinogram = sinogram.reshape(len(angles), n, 8).mean(axis=-1)
    image = image.reshape(n, 4, n, 4).mean(axis=(1, 3))
    return np.stack([sinogram, 8 * sinogram], axis=-1).astype(np.float32), image


def residual(A, b, x):
    return np.sqrt(squared_norm(A @ x - b))


def rms(difference):
    return np.sqrt(np.mean(np.square(difference)))


def tiny():
    """A scan with fewer unknowns than data, noise that no image explains, and its matrix."""
    A = ParallelBeam(np.arange(15) * 12.0, 9, 4.1, 4)
    pixels = np.eye(16, dtype=np.float32).reshape(4, 4, 16)
    b = np.random.default_rng(1).normal(size=(15, 9, 3)).astype(np.float32)
    return A, (A @ pixels).reshape(135, 16).astype(float), b


def test_cgls_is_the_dense_least_squares_solution():
    A, matrix, b = tiny()
    expected = np.linalg.lstsq(matrix, b.reshape(135, 3).astype(float), rcond=None)[0].reshape(4, 4, 3)
    # 16 unknowns: done after as many steps but for float32 rounding.
    np.testing.assert_allclose(cgls(A, b, iterations=30), expected, atol=1e-4 * np.abs(expected).max())


def test_sirt_goes_to_the_least_squares_solution_in_the_norm_of_its_rays():
    A, matrix, b = tiny()
    weight = np.sqrt(reciprocal(matrix.sum(axis=1)))[:, None]
    expected = np.linalg.lstsq(weight * matrix, weight * b.reshape(135, 3), rcond=None)[0].reshape(4, 4, 3)
    np.testing.assert_allclose(sirt(A, b, iterations=5000), expected, atol=1e-3 * np.abs(expected).max())


def test_tv_without_weight_is_least_squares_too_and_with_much_weight_is_flat():
    A, matrix, b = tiny()
    expected = np.linalg.lstsq(matrix, b.reshape(135, 3).astype(float), rcond=None)[0].reshape(4, 4, 3)
    np.testing.assert_allclose(tv(A, b, iterations=5000, weight=0), expected, atol=1e-3 * np.abs(expected).max())
    flat = tv(A, b, iterations=2000, weight=10.0)
    ones = matrix.sum(axis=1)
    best = ones @ b.reshape(135, 3) / (ones @ ones)
    np.testing.assert_allclose(flat, np.broadcast_to(best, flat.shape), atol=1e-3)


@pytest.mark.parametrize("angles", TURNS.values(), ids=TURNS.keys())
@pytest.mark.parametrize("method", METHODS)
def test_two_discs_come_back_with_their_values_per_voxel(method, angles):
    b, image = discs(angles, 22.8)
    found = method(ParallelBeam(angles, N, 22.8, support=N / 2), b, iterations=100 if method is not cgls else 15)
    inside = np.hypot(*np.meshgrid(pixel_centres(N, 1.0), pixel_centres(N, 1.0))) < 15
    assert rms(found[..., 0] - image) < 0.07  # a method without constraint rings at the edges
    assert found[..., 0][inside].mean() == pytest.approx(image[inside].mean(), rel=0.002)
    np.testing.assert_allclose(found[..., 1], 8 * found[..., 0], rtol=1e-6)  # a power of two scales without rounding


@pytest.mark.parametrize("method", [sirt, cgls])
def test_the_residual_never_grows(method):
    b, _ = discs(TURNS["half"], 23.5)
    b = b + np.random.default_rng(0).normal(size=b.shape).astype(np.float32)
    A = ParallelBeam(TURNS["half"], N, 23.5)
    weight = np.sqrt(reciprocal(sums(A)[0])) if method is sirt else 1.0
    x, sizes = None, []
    for iterations in (1, 2, 4, 8, 16):
        x = method(A, b, iterations=iterations)
        sizes.append(np.sqrt(squared_norm(weight * (A @ x - b))))
    assert (np.diff(sizes, axis=0) < 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_iterations_go_on_from_the_start_value(method):
    b, _ = discs(TURNS["half"], 23.5)
    A = ParallelBeam(TURNS["half"], N, 23.5, support=20)
    start = fbp(A, b)
    kept = start.copy()
    near, far = (residual(A, b, method(A, b, iterations=1, start=x)) for x in (start, None))
    assert (near < far).all()
    np.testing.assert_array_equal(start, kept)
    outside = (A.T @ np.ones((60, N), np.float32)) == 0
    assert (method(A, b, iterations=2, start=np.ones_like(start))[outside] == 0).all()


def test_sirt_in_two_parts_is_sirt_in_one():
    b, _ = discs(TURNS["half"], 23.5)
    A = ParallelBeam(TURNS["half"], N, 23.5)
    np.testing.assert_array_equal(sirt(A, b, iterations=7), sirt(A, b, iterations=4, start=sirt(A, b, iterations=3)))


@pytest.mark.parametrize("method", CONSTRAINED)
def test_nonnegative_images_have_no_negative_value_and_are_nearer_to_the_truth(method):
    angles = TURNS["half"][::3]
    b, image = discs(angles, 23.5)
    b = b + np.random.default_rng(0).normal(size=b.shape).astype(np.float32)
    A = ParallelBeam(angles, N, 23.5)
    free, bound = (method(A, b, nonnegative=nonnegative)[..., 0] for nonnegative in (False, True))
    assert free.min() < -0.01
    assert bound.min() >= 0
    assert rms(bound - image) < rms(free - image)


def test_total_variation_beats_every_filter_on_few_noisy_projections():
    angles = TURNS["half"][::3]
    b, image = discs(angles, 23.5)
    b = b + 0.8 * np.random.default_rng(0).normal(size=b.shape).astype(np.float32)
    A = ParallelBeam(angles, N, 23.5, support=N / 2)
    best = min(rms(fbp(A, b, filter=name)[..., 0] - image) for name in ("ram-lak", "shepp-logan", "cosine", "hann"))
    assert rms(tv(A, b)[..., 0] - image) < 0.7 * best


def test_total_variation_weighs_the_same_for_any_number_of_projections_and_any_scale():
    images = []
    for angles in (TURNS["half"], TURNS["whole"]):
        b, _ = discs(angles, 23.5)
        images.append(tv(ParallelBeam(angles, N, 23.5), b, weight=0.02, iterations=200))
    assert rms(images[0] - images[1]) < 0.01
    np.testing.assert_allclose(images[0][..., 1], 8 * images[0][..., 0], rtol=1e-6)


def test_divergence_is_minus_the_transpose_of_the_gradient():
    rng = np.random.default_rng(0)
    x, q_y, q_x = rng.normal(size=(3, 7, 9, 2))
    g_y, g_x = np.zeros((2, 7, 9, 2))
    add_gradient(x, 1.0, g_y, g_x)
    # A field that ends at the border, as the dual variables of the method do.
    q_y[-1] = q_x[:, -1] = 0
    assert np.vdot(g_y, q_y) + np.vdot(g_x, q_x) == pytest.approx(-np.vdot(x, divergence(q_y, q_x)), rel=1e-12)


def test_blocks_hold_every_projection_once_and_spread_over_the_half_turn():
    angles = np.random.default_rng(0).permutation(np.arange(50) * 7.2)
    blocks = spread_blocks(angles, 8)
    assert sorted(np.concatenate(blocks)) == list(range(50))
    assert max(map(len, blocks)) <= 8
    for block in blocks:
        assert np.diff(np.sort(angles[block] % 180)).max() < 40  # of 180/7


@pytest.mark.parametrize("method", METHODS)
def test_a_channel_of_zeros_stays_zero_and_does_not_touch_the_others(method):
    b, _ = discs(TURNS["half"], 23.5)
    A = ParallelBeam(TURNS["half"], N, 23.5)
    alone = method(A, b, iterations=5)
    found = method(A, np.concatenate([b, 0 * b[..., :1]], axis=-1), iterations=5)
    assert (found[..., 2] == 0).all()
    np.testing.assert_allclose(found[..., :2], alone, atol=1e-5 * alone.max())


@pytest.mark.parametrize("method", METHODS)
def test_the_progress_sees_every_iteration_once(method):
    seen = []

    def progress(steps):
        for step in steps:
            seen.append(step)
            yield step

    b, _ = discs(TURNS["half"], 23.5)
    method(ParallelBeam(TURNS["half"], N, 23.5), b, iterations=4, progress=progress)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("method", METHODS)
def test_tensors_give_what_arrays_give(method):
    """On a GPU the same code runs on PyTorch's tensors."""
    import torch

    class TensorBeam:
        couples_channels = False

        def __init__(self, beam, back=False):
            self._beam, self._back = beam, back
            self.angles = beam.angles

        @property
        def T(self):
            return TensorBeam(self._beam, back=True)

        def rows(self, chosen):
            return TensorBeam(self._beam.rows(chosen))

        def constant_image(self, *arguments):
            return torch.from_numpy(self._beam.constant_image(*arguments))

        def constant_sinogram(self, *arguments):
            return torch.from_numpy(self._beam.constant_sinogram(*arguments))

        def __matmul__(self, tensor):
            A = self._beam.T if self._back else self._beam
            return torch.from_numpy(A @ tensor.numpy())

    A = ParallelBeam(TURNS["half"], N, 23.5, support=20)
    b, _ = discs(TURNS["half"], 23.5)
    options = {} if method is cgls else {"nonnegative": True}
    found = method(TensorBeam(A), torch.from_numpy(b), iterations=5, **options)
    assert found.dtype == torch.float32
    # The same float32 sums, added in another order where the two libraries choose one.
    np.testing.assert_allclose(found.numpy(), method(A, b, iterations=5, **options), atol=1e-4 * b.max())

"""Least squares with total variation: flat regions with sharp edges, from few or noisy projections."""

from .arrays import SMALLEST_SUM, Progress, squared_norm, starting_image, sums, without_progress


def tv(
    A,
    b,
    *,
    iterations: int = 200,
    weight: float = 3e-3,
    nonnegative: bool = False,
    start=None,
    progress: Progress = without_progress,
):
    """Minimise the mean squared residual of a projection plus the total variation, each channel on its own.

    .. math:: \\frac{1}{2 n} \\|A x - b\\|^2 + \\lambda \\sum |\\nabla x|, \\quad \\lambda = w \\, \\mathrm{rms}(b)

    n is the number of projections, so that λ means the same for any number of them; rms(b) of the channel makes the
    weight w free of units and the image of twice the data twice the image. Solved by the primal–dual iteration of
    Chambolle & Pock, J. Math. Imaging Vis. 40, 120, 2011, doi:10.1007/s10851-010-0251-1 (algorithm 1, isotropic).

    Parameters
    ----------
    A, b, nonnegative, start, progress
        As for `sirt`.
    iterations
        100 to 500 are usual.
    weight
        w; about the noise of a sinogram value over the root mean square of all, divided by the root of the number of
        angles; larger is smoother.
    """
    rows, columns = sums(A)
    n_angles = b.shape[0]
    scale = n_angles**-0.5
    # ‖A‖² is at most the largest row sum times the largest column sum (Schur); ‖∇‖² at most 8. Both are made equal.
    norm = float(rows.max() * columns.max()) ** 0.5 * scale
    gradient_scale = norm / 8**0.5
    sigma = tau = 1 / (2**0.5 * norm)
    rms = (squared_norm(b) / (b.shape[0] * b.shape[1])) ** 0.5
    bound = (weight * rms / gradient_scale).clip(min=1e-30)  # a channel of zeros has no scale
    inside = columns > SMALLEST_SUM
    x = starting_image(A, b, start, columns)
    ahead = x + 0
    p, q_y, q_x = 0 * b, 0 * x, 0 * x
    for _ in progress(range(iterations)):
        p = (p + sigma * scale * (A @ ahead - b)) / (1 + sigma)
        add_gradient(ahead, sigma * gradient_scale, q_y, q_x)
        length = (q_y * q_y + q_x * q_x) ** 0.5
        length = (length / bound).clip(min=1)
        q_y /= length
        q_x /= length
        downhill = scale * (A.T @ p) - gradient_scale * divergence(q_y, q_x)
        new = (x - tau * downhill) * inside
        if nonnegative:
            new = new.clip(min=0)
        ahead = 2 * new - x
        x = new
    return x


def add_gradient(x, factor: float, q_y, q_x) -> None:
    """Add the differences to the next row and column, times `factor`, to `q_y` and `q_x`; 0 beyond the last."""
    q_y[:-1] += factor * (x[1:] - x[:-1])
    q_x[:, :-1] += factor * (x[:, 1:] - x[:, :-1])


def divergence(q_y, q_x):
    """Minus the transpose of the gradient."""
    total = q_y + q_x
    total[1:] -= q_y[:-1]
    total[:, 1:] -= q_x[:, :-1]
    return total

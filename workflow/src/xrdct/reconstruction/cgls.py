"""Conjugate gradients for least squares."""

from collections.abc import Iterator

from .arrays import Progress, squared_norm, starting_image, sums, without_progress


def cgls(A, b, *, iterations: int = 20, start=None, progress: Progress = without_progress):
    """Minimise ‖A x − b‖² over the directions that the residuals span, each channel on its own if A lets it.

    Björck, Numerical Methods for Least Squares Problems, 1996, section 7.4. The residual never grows; no constraint
    can be set, and noise comes in with every iteration: stop early.

    Parameters
    ----------
    A, b, start, progress
        As for `sirt`.
    iterations
        10 to 30 are usual.
    """
    images = cgls_images(A, b, start=start)
    for _ in progress(range(iterations)):
        x = next(images)
    return x


def cgls_images(A, b, *, start=None) -> Iterator:
    """The image after every step of `cgls`, without end; the next step may change it in place."""
    x = starting_image(A, b, start, sums(A)[1])
    residual = b - A @ x
    gradient = A.T @ residual
    direction = gradient + 0
    size = squared_norm(gradient, together=A.couples_channels)
    while True:
        image = A @ direction
        step = size * _inverse(squared_norm(image, together=A.couples_channels))
        x += step * direction
        yield x
        residual = residual - step * image
        gradient = A.T @ residual
        new_size = squared_norm(gradient, together=A.couples_channels)
        direction = gradient + new_size * _inverse(size) * direction
        size = new_size


def _inverse(size):
    """1/size, and 0 for a channel that is solved: its residual is exactly 0."""
    return (size > 0) / size.clip(min=1e-37)

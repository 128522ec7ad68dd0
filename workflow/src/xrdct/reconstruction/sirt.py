"""Simultaneous iterative reconstruction technique."""

from collections.abc import Iterator

from .arrays import Progress, reciprocal, starting_image, sums, without_progress


def sirt(A, b, *, iterations: int = 200, nonnegative: bool = False, start=None, progress: Progress = without_progress):
    """Approach the weighted least-squares image by steps that every ray takes part in.

    .. math:: x \\leftarrow x + C A^T R (b - A x)

    with R and C the reciprocal sums of the rows and columns of A (Gregor & Benson, IEEE Trans. Med. Imaging 27, 918,
    2008, doi:10.1109/TMI.2008.923696). The residual in the norm of R never grows. Fewer iterations are smoother.

    Parameters
    ----------
    A
        The operator, `ParallelBeam` or `AstraBeam`.
    b
        Sinogram, shape (n_angles, n_positions, n_channels), float32.
    iterations
        100 to 500 are usual.
    nonnegative
        Whether negative values are set to 0 after every step.
    start
        Image to start from, shape (n_pixels, n_pixels, n_channels); None: zeros.
    progress
        Wraps the iterations.

    Returns
    -------
    array
        Image, shape (n_pixels, n_pixels, n_channels), in the unit of `b` per pixel.
    """
    images = sirt_images(A, b, nonnegative=nonnegative, start=start)
    for _ in progress(range(iterations)):
        x = next(images)
    return x


def sirt_images(A, b, *, nonnegative: bool = False, start=None) -> Iterator:
    """The image after every step of `sirt`, without end; the next step may change it in place."""
    rows, columns = sums(A)
    x = starting_image(A, b, start, columns)
    rows, columns = reciprocal(rows), reciprocal(columns)
    while True:
        x += columns * (A.T @ (rows * (b - A @ x)))
        if nonnegative:
            x = x.clip(min=0)
        yield x

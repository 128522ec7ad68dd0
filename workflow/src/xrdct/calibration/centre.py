"""Where the direct beam hits the detector: the point about which the rings are symmetric."""

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import gaussian_filter, maximum_filter

from ..errors import CalibrationError

TARGET_ROWS = 350
"""The frame is binned until its shorter side has about this many pixels: enough for a start value within 2 px."""
BACKGROUND_PX = 12
"""Width (sigma, binned pixels) of the smooth background that is subtracted; rings are narrower."""
LEAST_OVERLAP = 0.02
"""Candidates need this share of the largest possible number of pixel pairs."""
APART = 21
"""Two candidates are further apart than half this (in half binned pixels)."""


def find_centres(frame: np.ndarray, valid: np.ndarray, *, n: int = 8) -> list[tuple[float, float]]:
    """Find the centres of point symmetry of a calibrant frame, the likeliest first.

    The image g (logarithm of the counts, smooth background removed) is compared with itself turned by 180° about
    every point c: the sum over g(c + x) g(c − x) is the self-convolution of g at 2c, one FFT. It is divided by the
    square root of the number of valid pixel pairs, so that its noise is the same everywhere and a centre far
    from the middle of the detector can win. Assumes that opposite arcs of at least some rings are on the detector
    and that the detector is close to normal to the beam. Near a corner the beam's few pairs of arcs compete
    with accidental symmetries: therefore several candidates, among which the rings decide.

    Parameters
    ----------
    frame
        Counts, shape (rows, columns).
    valid
        Which pixels hold counts, same shape.
    n
        How many candidates to return at most.

    Returns
    -------
    list of tuple of float
        (row, column) in pixels from the outer corner of the first pixel (pyFAI's convention): the centre of
        the first pixel is at 0.5. Good to a few pixels.

    Raises
    ------
    CalibrationError
        When nothing but a smooth background is in the frame.
    """
    factor = int(np.clip(round(min(frame.shape) / TARGET_ROWS), 1, 8))
    image, known = _bin_by_median(np.log1p(np.where(valid, frame, 0)), valid, factor)
    image = _remove_background(image, known)
    if not np.any(image):
        raise CalibrationError("the frame has no structure: no centre of symmetry can be found. Is it a calibrant?")
    size = [next_fast_len(2 * n, real=True) for n in image.shape]
    pairs = irfft2(rfft2(known, size) ** 2, size)
    score = irfft2(rfft2(image, size) ** 2, size) / np.sqrt(np.maximum(pairs, 1))
    score[pairs < LEAST_OVERLAP * pairs.max()] = -np.inf
    peaks = np.argwhere((score == maximum_filter(score, APART)) & np.isfinite(score))
    peaks = peaks[np.argsort(-score[tuple(peaks.T)], kind="stable")][:n]
    # Indices i and j of a matching pair add up to `row`; the pixel between them has its centre at row / 2 + 0.5.
    return [(float(row / 2 + 0.5) * factor, float(column / 2 + 0.5) * factor) for row, column in peaks]


def _bin_by_median(image: np.ndarray, valid: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """Median of the valid pixels of each block (hot pixels do not reach it), and 1.0 where half a block is valid."""
    rows, columns = (n // factor for n in image.shape)

    def blocks(array):
        cut = array[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
        return cut.transpose(0, 2, 1, 3).reshape(rows, columns, factor * factor)

    count = blocks(valid).sum(axis=2)
    ordered = np.sort(blocks(np.where(valid, image, np.inf).astype(np.float32)), axis=2)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[:, :, None] // 2, axis=2)[:, :, 0]
    known = 2 * count >= factor * factor
    return np.where(known, middle, 0), known.astype(np.float32)


def _remove_background(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Subtract the local mean of the known pixels and limit what is left to its 0.5–99.5 percentiles."""
    weight = gaussian_filter(known, BACKGROUND_PX)
    rest = (image - gaussian_filter(image * known, BACKGROUND_PX) / np.maximum(weight, 1e-3)) * known
    low, high = np.percentile(rest[known > 0], [0.5, 99.5])
    return np.clip(rest, low, high)

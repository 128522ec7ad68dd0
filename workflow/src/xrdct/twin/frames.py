"""What is in every frame whatever the sample, and from expected counts to those that a detector writes."""

import numpy as np

from .detector import FLAGGED_VALUE, GAP_VALUE, Defects, Pixels
from .parameters import Air
from .photons import draw_counts
from .seeds import generator


def air_pattern(air: Air | None, q: np.ndarray) -> np.ndarray:
    """Counts per pixel of full solid angle that the air scatters at `q` (1/Å) at full intensity, the shape of `q`."""
    return np.zeros_like(q) if air is None else air.level + air.rise * np.exp(-q / air.q_decay)


def air_image(air: Air | None, pixels: Pixels) -> np.ndarray:
    """Counts of the air scatter in every pixel at full intensity, float32, shape (n_pixels,); the beamstop hides it."""
    return (air_pattern(air, pixels.q) * np.where(pixels.shadow, 0, pixels.efficiency)).ravel().astype(np.float32)


def weaken(images: np.ndarray, air: np.ndarray, intensity: np.ndarray, transmission: np.ndarray) -> None:
    """Add the air scatter, weakened by the sample as the direct beam is, and scale frames to the beam; in place.

    Parameters
    ----------
    images
        Expected counts at full intensity, float32, shape (n_frames, n_pixels).
    air
        From `air_image`.
    intensity, transmission
        Of the beam relative to full, and of the direct beam through the sample, shape (n_frames,).
    """
    for image, beam, share in zip(images, intensity, transmission, strict=True):
        image += np.float32(share) * air
        image *= np.float32(beam)


def record(
    expected: np.ndarray,
    defects: Defects,
    *,
    seed: int,
    scan: str,
    subset: int,
    first_frame: int,
    poisson: bool,
) -> np.ndarray:
    """Counts as the detector writes them: photon noise, bad pixels, gaps.

    Every frame draws from its own stream, so frames may be made in any order and by any number of workers.

    Parameters
    ----------
    expected
        Shape (n_frames, n_pixels), counts.
    defects
        From `draw_defects`.
    seed, scan, subset, first_frame
        What the streams are keyed by; frames count on from `first_frame`.
    poisson
        Whether counts are drawn; otherwise the expected counts are rounded.

    Returns
    -------
    numpy.ndarray
        int32, the shape of `expected`; −1 in gaps, −2 in flagged pixels.
    """
    counts = np.empty(expected.shape, dtype=np.int32)
    for k, mean in enumerate(expected):
        rng = generator(seed, scan, subset, first_frame + k)
        counts[k] = draw_counts(mean, rng) if poisson else np.rint(mean)
        counts[k, defects.hot] = rng.poisson(defects.hot_counts)
        lit = rng.random(defects.flickering.size) < defects.flicker_share
        counts[k, defects.flickering[lit]] = rng.poisson(defects.flicker_counts[lit])
    counts[:, defects.dead] = 0
    counts[:, defects.flagged] = FLAGGED_VALUE
    counts[:, defects.missing] = GAP_VALUE
    return counts

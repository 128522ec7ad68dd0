"""From path lengths and patterns to the counts that a detector writes."""

import numpy as np

from .detector import FLAGGED_VALUE, GAP_VALUE, Defects, Pixels
from .parameters import Air
from .seeds import generator


def material_images(patterns: np.ndarray, q: np.ndarray, pixels: Pixels) -> np.ndarray:
    """What 1 mm of each material gives in every pixel.

    Parameters
    ----------
    patterns
        Shape (n_materials, n_q), e²/Å³, on the grid `q`.
    q
        1/Å, equidistant from 0 to beyond the corner of the detector.
    pixels
        From `place_pixels`.

    Returns
    -------
    numpy.ndarray
        Shape (n_materials, n_pixels), e²/Å³ times efficiency; 0 behind the beamstop.
    """
    open_pixels = np.where(pixels.shadow, 0, pixels.efficiency).ravel()
    return np.stack([np.interp(pixels.q.ravel(), q, pattern) for pattern in patterns]) * open_pixels


def air_pattern(air: Air | None, q: np.ndarray) -> np.ndarray:
    """Counts per pixel of full solid angle that the air scatters at `q` (1/Å) at full intensity, the shape of `q`."""
    return np.zeros_like(q) if air is None else air.level + air.rise * np.exp(-q / air.q_decay)


def air_image(air: Air | None, pixels: Pixels) -> np.ndarray:
    """Counts of the air scatter in every pixel at full intensity, shape (n_pixels,); the beamstop hides it too."""
    return (air_pattern(air, pixels.q) * np.where(pixels.shadow, 0, pixels.efficiency)).ravel()


def expected_counts(
    path_lengths: np.ndarray, images: np.ndarray, air: np.ndarray, *, monitor: np.ndarray, dose: float
) -> np.ndarray:
    """Mean counts of frames: monitor · (dose · Σ_m path_m image_m + air).

    Parameters
    ----------
    path_lengths
        mm of each material in the beam, shape (n_frames, n_materials).
    images, air
        From `material_images` and `air_image`.
    monitor
        Intensity of the beam relative to full, shape (n_frames,).
    dose
        Counts per mm and e²/Å³.

    Returns
    -------
    numpy.ndarray
        Shape (n_frames, n_pixels), counts.
    """
    return monitor[:, None] * (dose * (path_lengths @ images) + air)


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
        counts[k] = rng.poisson(mean) if poisson else np.rint(mean)
        counts[k, defects.hot] = rng.poisson(defects.hot_counts)
        lit = rng.random(defects.flickering.size) < defects.flicker_share
        counts[k, defects.flickering[lit]] = rng.poisson(defects.flicker_counts[lit])
    counts[:, defects.dead] = 0
    counts[:, defects.flagged] = FLAGGED_VALUE
    counts[:, defects.missing] = GAP_VALUE
    return counts

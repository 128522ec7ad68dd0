"""The detector: from its description in the configuration, and which pixels of a frame can be trusted."""

import difflib

import numpy as np
from pyFAI.detectors import Detector as PyfaiDetector

from ..config import Detector as DetectorSettings
from ..errors import CalibrationError, ConfigError, GeometryError

FLIPS = {
    "up-down": lambda image: image[::-1],
    "left-right": lambda image: image[:, ::-1],
    "up-down and left-right": lambda image: image[::-1, ::-1],
}
"""What can be done to a frame without changing its shape."""

LEAST_VALID = 0.05
"""Share of valid pixels below which a frame cannot be calibrated."""
FLIP_EVIDENCE = 20
"""Invalid pixels of the frame that a mask must miss before its orientation is doubted."""


def detector_from(settings: DetectorSettings) -> PyfaiDetector:
    """Make pyFAI's detector from the `detector` section of the configuration.

    Raises
    ------
    ConfigError
        When pyFAI has no detector of this name; names the nearest ones.
    """
    if settings.name is None:
        edge = settings.pixel_size_um / 1e6
        return PyfaiDetector(pixel1=edge, pixel2=edge, max_shape=settings.shape, orientation=3)
    registry = PyfaiDetector.registry
    plain = settings.name.lower()
    for key in (plain, plain.replace(" ", "_"), plain.replace(" ", "")):
        if key in registry and key != "detector":
            return registry[key]()
    near = difflib.get_close_matches(plain, registry, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(repr(n) for n in near)}?" if near else "see pyFAI's list of detectors"
    raise ConfigError(
        f"detector.name: pyFAI knows no {settings.name!r}; {hint} "
        "Or give `shape` and `pixel_size_um` in place of `name`."
    )


def check_shape(frame: np.ndarray, detector: PyfaiDetector) -> None:
    """Refuse a frame that is not of the detector's shape.

    Raises
    ------
    GeometryError
        When the shapes differ; says so when the frame is the detector's on its side.
    """
    if frame.ndim != 2:
        raise GeometryError(f"a calibrant frame has two axes (rows, columns); found shape {frame.shape}")
    if detector.shape is None or frame.shape == tuple(detector.shape):
        return
    message = f"the frame has {frame.shape[0]} × {frame.shape[1]} pixels (rows × columns), but {detector.name} has "
    message += f"{detector.shape[0]} × {detector.shape[1]}"
    if frame.shape == tuple(detector.shape)[::-1]:
        message += ": the frame is transposed. Write it with rows and columns exchanged, like the sample frames"
    else:
        message += ". Check detector.name (or shape), and that the frame was not cropped or binned"
    raise GeometryError(message)


def marked_invalid(frame: np.ndarray) -> np.ndarray:
    """Pixels that the detector itself marked: negative, not finite, or the largest value of the integer type.

    In 32 bits without sign, −1 and −2 have become the two largest values; no counter reaches the upper half.
    """
    if np.issubdtype(frame.dtype, np.floating):
        return ~np.isfinite(frame) | (frame < 0)
    if frame.dtype.kind == "u" and frame.dtype.itemsize >= 4:
        return frame > np.iinfo(np.int32).max
    return (frame < 0) | (frame == np.iinfo(frame.dtype).max)


def valid_pixels(frame: np.ndarray, detector: PyfaiDetector, mask: np.ndarray | None = None) -> np.ndarray:
    """Pixels of a frame that hold counts.

    Parameters
    ----------
    frame
        Counts, shape (rows, columns).
    detector
        Its own mask (module gaps) is applied.
    mask
        Non-zero where pixels are bad, same shape.

    Returns
    -------
    numpy.ndarray
        bool, shape (rows, columns).

    Raises
    ------
    GeometryError
        When frame, detector and mask have different shapes, or the mask fits the frame only when it is flipped.
    CalibrationError
        When hardly any pixel is left, or all of them hold the same value.
    """
    check_shape(frame, detector)
    valid = ~marked_invalid(frame)
    if mask is not None:
        check_mask(mask, ~valid)
        valid &= np.asarray(mask) == 0
    if detector.mask is not None:
        valid &= detector.mask == 0
    if valid.mean() < LEAST_VALID:
        raise CalibrationError(
            f"only {valid.mean():.1%} of the frame's pixels are valid (at least {LEAST_VALID:.0%} are needed): the "
            "frame is saturated, or the mask is inverted (it must be non-zero where pixels are BAD)"
        )
    low, high = np.percentile(frame[valid], [1, 99])
    if low == high:
        raise CalibrationError(f"the frame is blank or saturated: 98 % of its valid pixels hold the value {low:g}")
    return valid


def check_mask(mask: np.ndarray, invalid: np.ndarray) -> None:
    """Refuse a mask of another shape, or one that covers the frame's invalid pixels only when it is flipped.

    Frames whose gaps are symmetric and which mark no other pixel cannot tell; then nothing is refused.
    """
    mask = np.asarray(mask) != 0
    if mask.shape != invalid.shape:
        raise GeometryError(f"the mask has shape {mask.shape}, but the frame {invalid.shape} (rows, columns)")
    missed = np.count_nonzero(invalid & ~mask)
    if missed < FLIP_EVIDENCE:
        return
    flipped = {name: np.count_nonzero(invalid & ~flip(mask)) for name, flip in FLIPS.items()}
    best = min(flipped, key=flipped.get)
    # The right orientation misses a few new bad pixels; a tenth of what the stored one misses is no accident.
    if flipped[best] <= missed / 10:
        raise GeometryError(
            f"the mask misses {missed} pixels that the frame marks as invalid, but only {flipped[best]} when it is "
            f"flipped {best}: mask and frame have different orientations. Flip the mask, or the frames"
        )

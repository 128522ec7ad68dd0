"""What goes wrong during a scan: frames that are lost, pixels that overflow, files that end early, drifts."""

import numpy as np

from .detector import GAP_VALUE
from .parameters import Lost, Parameters
from .seeds import generator


def lost_frames(parameters: Parameters, scan: str, subset: int, n_frames: int) -> np.ndarray:
    """Which frames of a subset of a scan or series are lost, in acquisition order, bool, shape (n_frames,)."""
    lost = parameters.artefacts.lost
    if lost is None:
        return np.zeros(n_frames, dtype=bool)
    return generator(parameters.seed, f"{scan}/lost", subset).random(n_frames) < lost.share


def lose(counts: np.ndarray, lost: np.ndarray, how: Lost | None) -> None:
    """Write what is left of lost frames into `counts` (n_frames, n_pixels), in place."""
    if how is not None and how.reading != "nan_monitor":
        counts[lost] = GAP_VALUE if how.reading == "flagged" else 0


def monitor_reading(monitor: np.ndarray, lost: np.ndarray, how: Lost | None) -> np.ndarray:
    """The monitor as it was recorded, shape (n_frames,)."""
    if how is None or how.reading in ("zero", "flagged"):
        return monitor
    return np.where(lost, 0.0 if how.reading == "no_beam" else np.nan, monitor)


def overflow(counts: np.ndarray, saturation: int | None) -> None:
    """Cut counts at the detector's largest value, in place; null: there is none."""
    if saturation is not None:
        np.minimum(counts, saturation, out=counts)


def frames_written(parameters: Parameters, scan: str, subset: int, n_frames: int) -> int:
    """Frames that the files of a subset hold: all `n_frames`, unless the scan or series was broken off."""
    for broken in parameters.artefacts.truncated:
        if (broken.scan, broken.subset) == (scan, subset):
            return min(n_frames, broken.frames)
    return n_frames

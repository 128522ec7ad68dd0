"""The quality sheet of a scan: what assembly found, what it changed, and how sure it is. Plain numbers, for a JSON."""

import numpy as np

from .alignment import Alignment
from .bad_frames import GOOD, KINDS
from .sinogram import Sinogram


def quality_sheet(
    sinogram: Sinogram, alignment: Alignment, *, misfit: np.ndarray, kind: np.ndarray, zingers: np.ndarray
) -> dict:
    """Collect what is known of a scan; shifts in pixels, angles in degrees, None where something was not measured.

    Parameters
    ----------
    sinogram
        As it is stored: repaired, aligned.
    alignment
        From `find_alignment`.
    misfit
        From `find_strangers`, shape (n_subsets,).
    kind
        From `find_bad_frames`, shape (n_angles, n_positions).
    zingers
        From `remove_zingers`, same shape.
    """
    subsets = []
    for k in range(1, alignment.shift.size + 1):
        own = sinogram.subset == k
        subsets.append(
            {
                "subset": k,
                "lines": int(own.sum()),
                "first_angle": float(sinogram.angles[own][0]),
                "shift": _measured(alignment.shift[k - 1], alignment.shift_err[k - 1]),
                "factor": _measured(alignment.factor[k - 1], alignment.factor_err[k - 1]),
                "misfit": _finite(misfit[k - 1]),
                "repaired_frames": int(sinogram.repaired[own].sum()),
            }
        )
    return {
        "centre": _measured(alignment.cor, alignment.cor_err),
        "zigzag": bool((sinogram.direction < 0).any()),
        "backlash": None if alignment.backlash is None else _measured(alignment.backlash, alignment.backlash_err),
        "subsets": subsets,
        "lines_that_fit_badly": sinogram.angles[alignment.left_out].tolist(),
        "frames": int(sinogram.repaired.size),
        "repaired_frames": int(sinogram.repaired.sum()),
        "bad_frames": {name: int((kind == number).sum()) for number, name in enumerate(KINDS) if number != GOOD},
        "worst_lines": _worst_lines(sinogram, kind),
        "zingers": int(zingers.sum()),
        "frames_with_zingers": int((zingers > 0).sum()),
    }


def _worst_lines(sinogram, kind, most=10):
    """The lines with most bad frames: angle, subset, how many."""
    bad = (kind != GOOD).sum(axis=1)
    worst = [int(k) for k in np.argsort(-bad, kind="stable")[:most] if bad[k]]
    return [{"angle": float(sinogram.angles[k]), "subset": int(sinogram.subset[k]), "bad": int(bad[k])} for k in worst]


def _measured(value, error):
    return {"value": _finite(value), "error": _finite(error)}


def _finite(value):
    return float(value) if np.isfinite(value) else None

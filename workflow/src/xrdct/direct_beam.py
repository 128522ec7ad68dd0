"""Transmission of every ray from the counters of the incoming and of the transmitted beam."""

import numpy as np

from .errors import RawDataError


def direct_transmission(ratio: np.ndarray, *, positions: int) -> np.ndarray:
    """Share of the beam that comes straight through the sample.

    Beside the sample nothing is lost: every line is divided by the median of its own ends, whatever the two counters
    are scaled by, and however that drifts from line to line.

    Parameters
    ----------
    ratio
        Transmitted over incoming beam, shape (n_angles, n_positions), any unit; NaN where either was not read.
    positions
        Columns at either edge that see no sample.

    Returns
    -------
    numpy.ndarray
        Shape of `ratio`, float32, at most 1; where nothing was read, between the neighbours on the line.

    Raises
    ------
    RawDataError
        If there is no edge without sample, a line has no reading there, or a reading is not positive.
    """
    n_positions = ratio.shape[1]
    if positions < 1:
        raise RawDataError(
            "the transmitted beam is measured against positions beside the sample, and assemble.air_positions is 0; "
            "set raw.transmitted to null"
        )
    if (ratio <= 0).any():
        line, point = np.argwhere(ratio <= 0)[0]
        raise RawDataError(
            f"the transmitted beam reads {ratio[line, point]:.3g} of the incoming one at projection {line}, position "
            f"{point}: a counter of the direct beam is always positive; check raw.transmitted"
        )
    edges = np.r_[:positions, n_positions - positions : n_positions]
    found, at = np.empty(ratio.shape, np.float32), np.arange(n_positions)
    for line, values in enumerate(ratio):
        read = np.isfinite(values)
        if not read[edges].any():
            raise RawDataError(f"projection {line} has no reading of the transmitted beam beside the sample")
        open_beam = np.median(values[edges][read[edges]])
        found[line] = np.interp(at, at[read], values[read] / open_beam)
    return np.minimum(found, 1)

"""What parallax does to a scan, from distance and size of the sample alone: shifts, broadening, what is at risk.

A voxel at depth u shows all its lattice spacings wrong by u/L (`reconstruction.lntan`). Filtered back-projection
averages over the depths at which rays pass: what is isolated, a grain at the distance r from the axis, is seen from all
sides. Over a half turn its spacings move by up to (2/π) r/L and its lines get a variance of (r/L)² (1/2 − 4/π²) more;
over a whole turn they stay and get (r/L)²/2. What fills a disc, or lies in layers around the axis, is known from the
rays along its layers, at depths near 0: it stays, and gets (R² − r²)/(2 L²). (Spacings and widths relative; derived in
the text of the issue, tested on both.)
"""

import numpy as np

from .errors import GeometryError
from .geometry import LARGEST_GAP_DEG
from .reconstruction.parallax import check_distance

EDGE = 0.05
"""The sample reaches as far as the sum of a pattern is above this share of the brightest."""
BROAD = 1.1
"""Lines that become wider by more than this factor no longer tell the size of crystallites."""
FWHM = 2.0 * (2.0 * np.log(2.0)) ** 0.5
"""Full width at half maximum over the standard deviation of a Gaussian."""
N_RADII = 41


def sample_radius(total: np.ndarray, cor: np.ndarray, step_mm: float) -> tuple[float, bool]:
    """Largest distance of matter from the rotation axis in mm, and whether the sample reaches beyond the field.

    Parameters
    ----------
    total
        Sum of the pattern of every frame without air, shape (n_angles, n_positions); NaN is nothing.
    cor
        Column of the axis on every line, pixels, shape (n_angles,).
    """
    total = np.nan_to_num(total)
    matter = total > EDGE * np.percentile(total, 99)
    if not matter.any():
        raise GeometryError("the sinogram holds no sample to judge parallax by")
    lines, columns = np.nonzero(matter)
    reach = float(np.abs(columns - np.asarray(cor)[lines]).max() + 0.5) * step_mm
    ends = matter[:, [0, -1]].any(axis=1).mean()
    return reach, bool(ends > 0.1)


def is_whole_turn(angles: np.ndarray) -> bool:
    """Whether angles (degrees) leave no hole in the full circle."""
    turned = np.sort(np.asarray(angles, dtype=float) % 360.0)
    return bool(np.diff(turned, append=turned[0] + 360.0).max() <= LARGEST_GAP_DEG)


def isolated(r, distance, *, whole_turn: bool) -> tuple[np.ndarray, np.ndarray]:
    """Largest relative shift of the spacings of an isolated grain, and standard deviation added to its lines (dq/q)."""
    relative = np.asarray(r, dtype=float) / distance
    if whole_turn:
        return 0 * relative, relative / 2**0.5
    return 2 / np.pi * relative, relative * (0.5 - 4 / np.pi**2) ** 0.5


def in_layers(r, radius, distance) -> np.ndarray:
    """Standard deviation (dq/q) added to the lines of what fills a disc or lies in layers around the axis."""
    r = np.asarray(r, dtype=float)
    return np.sqrt(np.clip(radius**2 - r**2, 0, None) / 2) / distance


def diagnose(
    *,
    radius_mm: float,
    distance_mm: float,
    angles: np.ndarray,
    q: np.ndarray,
    fwhm_q: np.ndarray,
    cells: dict[str, dict[str, tuple[float, float, float]]],
    windows: dict[str, tuple[float, float]],
    beyond_field: bool = False,
    declared_span: float | None = None,
    treated: bool = False,
) -> dict:
    """What parallax does to this geometry, as plain values for a JSON file.

    Parameters
    ----------
    radius_mm, distance_mm
        Of the sample, and from axis to detector.
    angles
        Degrees, shape (n_angles,).
    q, fwhm_q
        Some positions in 1/Å and the instrument's widths there, 1/Å.
    cells
        For every phase the free parameters of its cell: start and limits, Å.
    windows
        Lower and upper end of q windows that are mapped, 1/Å, by name.
    beyond_field
        Whether the sample is larger than the field.
    declared_span
        Degrees that the scan should turn through; None: not known.
    treated
        Whether reconstruction takes parallax into account already.

    Raises
    ------
    GeometryError
        If the distance is missing, or the sample is no smaller than the distance.
    """
    check_distance(distance_mm)
    if radius_mm >= distance_mm:
        raise GeometryError(
            f"a sample of {radius_mm:g} mm radius does not fit between axis and detector ({distance_mm:g} mm): is the "
            "distance (m in the .poni) or the step (mm) wrong?"
        )
    whole = is_whole_turn(angles)
    r = np.linspace(0, radius_mm, N_RADII)
    shift, spread = isolated(r, distance_mm, whole_turn=whole)
    layers = in_layers(r, radius_mm, distance_mm)
    ratio = np.sqrt(1 + (FWHM * layers[0] * np.asarray(q) / np.asarray(fwhm_q)) ** 2)
    found = {
        "radius_mm": radius_mm,
        "distance_mm": distance_mm,
        "parallax_percent": 100 * radius_mm / distance_mm,
        "whole_turn": whole,
        "treated": treated,
        "radii_mm": r.tolist(),
        "isolated_shift_percent": (100 * shift).tolist(),
        "isolated_broadening_percent": (100 * FWHM * spread).tolist(),
        "layers_broadening_percent": (100 * FWHM * layers).tolist(),
        "line_widths": [
            {"q": float(at), "instrument": float(width), "widened_by": float(factor)}
            for at, width, factor in zip(q, fwhm_q, ratio, strict=True)
        ],
        "cells_at_risk": _cells_at_risk(cells, shift[-1]),
        "windows_at_risk": _windows_at_risk(windows, radius_mm / distance_mm),
    }
    found["warnings"] = _warnings(beyond_field, declared_span, whole)
    found["advice"] = _advice(found)
    return found


def _cells_at_risk(cells, shift):
    """How far the cells of isolated things move, against the range that they may move in."""
    return [
        {"phase": phase, "parameter": name, "shift": float(shift * start), "of_its_range": float(shift * start / width)}
        for phase, parameters in cells.items()
        for name, (start, low, high) in parameters.items()
        if (width := high - low) > 0 and shift * start > 0.05 * width
    ]


def _windows_at_risk(windows, parallax):
    """Windows so narrow that a line in their middle leaves them at either rim of the sample."""
    return [
        {"window": name, "half_width_percent": 100 * half}
        for name, (low, high) in windows.items()
        if (half := (high - low) / (high + low)) < 2 * parallax
    ]


def _warnings(beyond_field, declared_span, whole):
    found = []
    if beyond_field:
        found.append("the sample reaches beyond the field: parallax of what lies outside is not known")
    if declared_span is not None and declared_span > 355 and not whole:
        found.append(
            f"the table declares a turn of {declared_span:g}°, but the angles found do not cover 0–360°: isolated "
            "things are shifted as in a half turn"
        )
    return found


def _advice(found):
    widest = max((line["widened_by"] for line in found["line_widths"]), default=1.0)
    shift, sentences = max(found["isolated_shift_percent"]), []
    if widest < BROAD and not found["cells_at_risk"] and not found["windows_at_risk"]:
        return ["parallax is small here: nothing needs to be done"]
    if found["treated"]:
        return ["reconstruction takes parallax into account: what is said here would be without"]
    if shift > 0 and found["cells_at_risk"]:
        sentences.append(
            f"cells of isolated things (grains, tabs, ends of layers) are wrong by up to ± {shift:.2f} %: scan 0–360°, "
            "or set reconstruct.parallax: linear; dlsr, which takes longer, errs least in cells"
        )
    if widest >= BROAD:
        sentences.append(
            f"lines are up to {widest:.2f} times as wide as the instrument makes them, over a half and a whole turn "
            "alike: take no crystallite size from these patterns, or set reconstruct.parallax: linear"
        )
        farther = found["distance_mm"] * ((widest**2 - 1) / (BROAD**2 - 1)) ** 0.5
        sentences.append(f"that would need a detector at {farther / 1e3:.1f} m, or a thinner sample")
    if found["windows_at_risk"]:
        names = ", ".join(item["window"] for item in found["windows_at_risk"])
        sentences.append(f"windows too narrow for lines of isolated things at the rim: {names}")
    return sentences

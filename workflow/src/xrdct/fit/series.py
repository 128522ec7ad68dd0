"""Points and lines against time: the same fit for every frame, and for the sum of every line.

Nothing is reconstructed: a frame shows everything along the beam, with the noise of its counts.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from ..bad_frames import DARKNESS
from ..composition import weight_errors, weight_fractions
from ..cycler import Electric
from ..errors import RawDataError
from .maps import VoxelFit, fit_volume
from .model import PatternModel
from .solve import FitResult, fit_patterns
from .widening import common_widening

CELLS = ("a", "b", "c")
PRESENT = 10.0
"""A phase tells its size and cell where its scale is above this many standard errors."""


class SeriesFit(NamedTuple):
    """Fits of a series."""

    points: VoxelFit
    """Every frame; what is called a voxel there is [line, point]."""
    lines: VoxelFit
    """The mean pattern of every line, [line, 0]."""
    widening: float = 0.0
    """FWHM relative to q by which the lines of all phases are wider than instrument and sizes make them."""


def usable_frames(intensity: np.ndarray, monitor: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Frames that were read and saw the beam, shape (n_lines, n_points), bool.

    A frame is dark where its counts are below a tenth (`bad_frames.DARKNESS`) of what its position usually has: lost
    frames are, whatever the monitor said.

    Parameters
    ----------
    intensity
        Shape (n_lines, n_points, n_q), counts.
    monitor
        Incoming beam, shape (n_lines, n_points); NaN everywhere where it was not recorded.
    valid
        Whether the frame was read, same shape, bool.
    """
    usable = valid & ((monitor > 0) | np.isnan(monitor).all())
    total = np.nansum(intensity, axis=2)
    usual = [np.median(column[seen]) if seen.any() else 0.0 for column, seen in zip(total.T, usable.T, strict=True)]
    return usable & (total >= DARKNESS * np.array(usual))


def at_one_intensity(intensity: np.ndarray, beam: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Patterns as the mean beam would have made them; NaN where a frame cannot be used.

    Where `beam` is the transmitted beam this undoes the absorption along the direct beam too, so that the patterns of
    a line can be added: right for small scattering angles.

    Parameters
    ----------
    intensity
        Shape (n_lines, n_points, n_q), counts.
    beam
        Incoming or transmitted beam, shape (n_lines, n_points), any unit; NaN everywhere where it was not recorded.
    usable
        From `usable_frames`.

    Raises
    ------
    RawDataError
        If no frame has beam.
    """
    if np.isnan(beam).all():
        beam = np.ones(beam.shape)
    usable = usable & (beam > 0)
    if not usable.any():
        raise RawDataError(f"none of the {beam.size} frames of the series has beam")
    factor = np.full(beam.shape, np.nan)
    factor[usable] = beam[usable].mean() / beam[usable]
    return intensity * factor[..., None]


def fit_series(model: PatternModel, patterns: np.ndarray, *, level: str, most: int = 50) -> SeriesFit:
    """Fit every frame and the mean of every line, with weights as counts have them.

    Level quick takes sizes, and cells that are not fitted in every pattern, from full fits of all lines (`typical`).
    The mean pattern of the series would not do: lines of a cell that changes with time are smeared in it, which looks
    like a small size and made weights wrong by a tenth of their value. What the sample's depth widens is found from the
    lines too (`widening`), and holds for every frame.

    Parameters
    ----------
    patterns
        From `at_one_intensity`, on the grid that the model was made for (all of it, not the model's range).
    level, most
        As for `fit_volume`.

    Raises
    ------
    FitError
        If no frame holds any signal.
    """
    options = {"variance": None, "mask_threshold": 0.0, "most": most}
    whole = mean_of_lines(patterns)
    lines = fit_volume(model, whole, level="full", **options)
    extra = common_widening(model, whole[lines.mask][:, model.inside], lines.voxels.parameters, most=most)
    options["widen"] = partial(np.full_like, fill_value=extra)
    lines = fit_volume(model, whole, level="full", **options)
    if level == "full":
        return SeriesFit(fit_volume(model, patterns, level="full", **options), lines, extra)
    start = typical(model, lines.voxels)
    return SeriesFit(*(_fit_from(model, part, start, lines, extra, most) for part in (patterns, whole)), extra)


def typical(model: PatternModel, found: FitResult) -> np.ndarray:
    """Sizes and cells as the mean of many fits, each by its own error; the phase set's where no fit knows them.

    Parameters
    ----------
    found
        Fits of level full; of each, a phase counts where its scale is above `PRESENT` standard errors.
    """
    start = model.start.copy()
    unknown = found.uninformed(model) | found.at_limit | ~np.isfinite(found.errors)
    for phase in model.phases.phases:
        scale = model.place(phase.name, "scale")
        present = found.parameters[:, scale] > PRESENT * found.errors[:, scale]
        for name in (*CELLS, "1/size"):
            place = model.place(phase.name, name)
            used = present & ~unknown[:, place]
            if used.any():
                start[place] = np.average(found.parameters[used, place], weights=found.errors[used, place] ** -2)
    return start


def _fit_from(model, patterns, start, lines, extra, most):
    """Level quick of all usable patterns."""
    mask = np.isfinite(patterns[..., model.inside]).all(axis=2)
    options = {"start": start, "level": "quick", "absolute": False, "extra": extra, "most": most}
    return VoxelFit(
        model, mask, lines.mean, lines.mean_pattern, fit_patterns(model, patterns[mask][:, model.inside], **options)
    )


def mean_of_lines(patterns: np.ndarray) -> np.ndarray:
    """Mean pattern of every line over its usable frames, shape (n_lines, 1, n_q); NaN where there is none."""
    used = np.isfinite(patterns).all(axis=2, keepdims=True)
    total, count = np.where(used, patterns, 0.0).sum(axis=1, keepdims=True), used.sum(axis=1, keepdims=True)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def series_dataset(
    found: SeriesFit, epoch: np.ndarray, electric: Electric, position: np.ndarray, *, least_mass: float
) -> xr.Dataset:
    """A series in the form of its store.

    Parameters
    ----------
    found
        From `fit_series`.
    epoch
        Time of every frame in s since 1970, shape (n_lines, n_points).
    electric
        State of the cell at the mean time of every line.
    position
        Of every point of a line, mm.
    least_mass
        A frame has weight fractions and cells where its crystalline mass is above this share of the highest.
    """
    data = _values(found.points, least_mass, ("phase", "line", "point"))
    data |= {
        f"line_{name}": (("phase", "line"), values[..., 0], attrs)
        for name, (_, values, attrs) in _values(found.lines, 0.0, ()).items()
    }
    data |= {
        "rwp": (("line", "point"), found.points.image(found.points.voxels.rwp), {"units": "1"}),
        "line_rwp": (("line",), found.lines.image(found.lines.voxels.rwp)[:, 0], {"units": "1"}),
        "time": (("line", "point"), epoch, {"units": "s", "note": "since 1970"}),
        "line_time": (("line",), epoch.mean(axis=1), {"units": "s", "note": "since 1970"}),
        "voltage": (("line",), electric.voltage_V, {"units": "V"}),
        "current": (("line",), electric.current_A, {"units": "A"}),
        "charge": (("line",), electric.charge_Ah, {"units": "A h", "note": "since the log began"}),
        "cycle": (("line",), electric.cycle, {"units": "1", "note": "-1: outside the log"}),
    }
    phases = found.points.model.phases
    densities = np.r_[phases.densities, np.full(len(phases.peaks), np.nan)]
    coords = {
        "phase": ("phase", np.array(phases.names, dtype=np.dtypes.StringDType())),
        "density": ("phase", densities, {"units": "g/cm^3"}),
        "position": ("point", position, {"units": "mm"}),
    }
    return xr.Dataset(data, coords)


def _values(found, least_mass, dims):
    """Scales, weight fractions and cells with their errors, as variables."""
    scale, error = found.phase_maps("scale").astype(float), found.phase_maps("scale", errors=True)
    n = len(found.model.phases.phases)
    densities = found.model.phases.densities
    weight, weight_error = (np.zeros(scale.shape) for _ in range(2))
    weight[:n] = weight_fractions(scale[:n], densities)
    weight_error[:n] = weight_errors(scale[:n], error[:n], densities)
    # Of an absent phase whose size and cell are free a linear error says nothing, nor of weights that share its sum.
    weight_error[weight_error > 1] = np.nan
    mass = np.tensordot(densities, np.nan_to_num(scale[:n]), axes=1)
    present = (mass > least_mass * mass.max()) & found.mask
    variables = {
        "scale": (scale, error, "1"),
        "weight_fraction": (np.where(present, weight, np.nan), np.where(present, weight_error, np.nan), "1"),
    }
    for name in CELLS:
        cell, cell_error = (found.phase_maps(name, errors=errors) for errors in (False, True))
        told = present & (scale > PRESENT * error)
        variables[name] = np.where(told, cell, np.nan), np.where(told, cell_error, np.nan), "angstrom"
    return {
        name + kind: (dims, values.astype(np.float32), {"units": unit})
        for name, (*both, unit) in variables.items()
        for kind, values in zip(("", "_err"), both, strict=True)
    }

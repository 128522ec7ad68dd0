"""Points and lines against time by the networks: their answers, or the two steps of the fit from there."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..fit.maps import VoxelFit
from ..fit.model import PatternModel
from ..fit.series import SeriesFit, mean_of_lines
from .ensemble import Ensemble
from .inference import VolumePrediction, predict_volume


class SeriesPrediction(NamedTuple):
    """Of a series."""

    found: SeriesFit
    in_range: np.ndarray
    """Whether a frame is like the library and, without the two steps, the answers agree with them; shape (n_lines,
    n_points), bool; False where it cannot be used."""
    line_in_range: np.ndarray
    """The same of the mean of every line, shape (n_lines,)."""
    biased: list[str]
    """Without the two steps: cells that lie beside them in most frames, in words."""


def predict_series(ensemble: Ensemble, model: PatternModel, patterns: np.ndarray, *, refined: bool) -> SeriesPrediction:
    """Ask the networks about every frame, and about the mean of every line.

    Noise is taken to be that of counts, of which the mean of a line has more: its unit is found for each on its own.

    Parameters
    ----------
    patterns
        From `fit.series.at_one_intensity`, on the grid that the model was made for.
    refined
        Whether two steps of the full-profile fit follow; else values are the networks', errors their error bars.

    Raises
    ------
    FitError
        If no frame holds any signal.
    """
    options = {"variance": None, "mask_threshold": 0.0}
    points, lines = (predict_volume(ensemble, model, part, **options) for part in (patterns, mean_of_lines(patterns)))
    fits = [one.refined if refined else as_fit(one, ensemble.scaling.targets) for one in (points, lines)]
    in_range = [one.in_range if refined else one.answers_in_range for one in (points, lines)]
    return SeriesPrediction(SeriesFit(*fits), in_range[0], in_range[1][:, 0], [] if refined else points.biased)


def as_fit(found: VolumePrediction, targets: tuple[tuple[str, str], ...]) -> VoxelFit:
    """The networks' answers in the place of the fit's values, NaN errors where they have none; no scale below 0."""
    model, voxels = found.refined.model, found.refined.voxels
    parameters, errors = voxels.parameters.copy(), np.full(voxels.errors.shape, np.nan)
    for column, (owner, name) in enumerate(targets):
        place = model.place(owner, name)
        parameters[:, place] = found.prediction.values[:, column]
        errors[:, place] = found.prediction.bars[:, column]
    parameters[:, model.scale_places] = np.maximum(parameters[:, model.scale_places], 0)
    answered = replace(voxels, parameters=parameters, errors=errors, at_limit=np.zeros_like(voxels.at_limit))
    return replace(found.refined, voxels=answered)

"""Warnings of a fit: phases that look the same, parameters without a line, limits that are hit."""

import numpy as np
import pytest

from support_fit import PIXEL, PROFILE
from xrdct.config import PhaseSetSettings
from xrdct.config.fit import read_preset
from xrdct.fit.advice import advise
from xrdct.fit.maps import VoxelFit
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import fit_patterns


def fitted(settings, *, extra=0.0, change=None):
    """A fit of 60 noisy voxels of equal amounts of everything, 500 counts each."""
    phases = load_phase_set(settings)
    model = PatternModel(phases, np.arange(phases.q_min, phases.q_max, PIXEL), PROFILE)
    at = model.start.copy()
    at[model.scale_places] = 500 / model.units(at).max(axis=1)
    at[model.background_places[0]] = 150.0
    for (owner, name), value in (change or {}).items():
        at[model.place(owner, name)] = value
    counts = np.random.default_rng(0).poisson(np.repeat(model.patterns(at, extra=extra), 60, axis=0)).astype(float)
    mean = fit_patterns(model, counts.mean(axis=0), extra=extra, absolute=False)
    voxels = fit_patterns(model, counts, level="quick", start=mean.parameters[0], extra=extra)
    return VoxelFit(model, np.ones((6, 10), bool), mean, counts.mean(axis=0), voxels)


def test_a_of_lithiated_graphite_is_not_in_the_range_of_its_basal_lines():
    found = fitted(read_preset("lixc-6"))
    warnings = advise(found, level="quick", variance=None)
    for name in ("LiC12", "LiC30", "graphite"):
        (text,) = [warning for warning in warnings if warning.startswith(f"{name}: the pattern says")]
        about = text.split("about ")[1].split(";")[0].split(", ")
        assert "a" in about
        assert "c" not in about
    # With cells and sizes of the mean pattern they are; where all widths are free, LiC18 and LiC30 hardly are.
    assert not [warning for warning in warnings if "told apart" in warning]
    freely = advise(found, level="full", variance=None)
    assert [warning for warning in freely if warning.startswith("LiC18 and LiC30 can hardly be told apart")]


def twins(distance):
    """Graphite and something as good as graphite, `distance` Å apart in c."""
    one = {"name": "graphite", "free": {"c": [6.73, 6.74]}, "cell": {"a": 2.464, "c": 6.737}}
    c = 6.737 - distance
    other = {
        "name": "other",
        "structure": "graphite",
        "cell": {"a": 2.464, "c": c},
        "free": {"c": [c - 0.003, c + 0.003]},
    }
    return PhaseSetSettings.model_validate({"name": "two", "q_min": 1.6, "q_max": 2.2, "phases": [one, other]})


@pytest.mark.parametrize(("distance", "alike"), [(0.011, True), (0.15, False)])
def test_two_phases_whose_lines_are_one_are_named(distance, alike):
    """A line's width is 0.7 % of q, 0.045 Å in c."""
    warnings = advise(fitted(twins(distance)), level="quick", variance=None)
    named = [text for text in warnings if text.startswith("graphite and other can hardly be told apart")]
    assert bool(named) == alike


def test_a_limit_that_is_hit_in_most_voxels_is_told():
    found = fitted(read_preset("nca-8"), change={("NCA", "c"): 14.56})  # the set ends at 14.55
    assert [
        text
        for text in advise(found, level="quick", variance=None)
        if text.startswith("NCA: a cell or size is at its limit")
    ]
    inside = fitted(read_preset("nca-8"))
    assert not [text for text in advise(inside, level="quick", variance=None) if text.startswith("NCA: a cell")]

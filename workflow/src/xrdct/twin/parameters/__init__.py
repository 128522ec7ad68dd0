"""Every setting of a simulated beamtime: cell, states, scan, detector, beam, artefacts.

A parameter file (YAML) holds one `Parameters`, or `base: PRESET` and what is different; unknown keys are errors. Each
artefact stands on its own: null, zero or `false` switches it off. Presets lie beside this folder in `presets/`.
"""

from .artefacts import Air, Artefacts, Attenuation, BadPixels, Lost, Parallax, Truncated
from .beamtime import ELECTROLYTE, SEPARATOR, Amorphous, Parameters
from .cell import Cell, Grain, Pin, Stretch
from .load import PRESETS, load_parameters
from .parts import chosen_scans, first_lines
from .series import Anchor, Cycler, Series
from .state import Change, LatticeParameters, Region, State
from .station import Beam, Calibrant, Detector, Files, Instrument, Scan

__all__ = [
    "ELECTROLYTE",
    "PRESETS",
    "SEPARATOR",
    "Air",
    "Amorphous",
    "Anchor",
    "Artefacts",
    "Attenuation",
    "BadPixels",
    "Beam",
    "Calibrant",
    "Cell",
    "Change",
    "Cycler",
    "Detector",
    "Files",
    "Grain",
    "Instrument",
    "LatticeParameters",
    "Lost",
    "Parallax",
    "Parameters",
    "Pin",
    "Region",
    "Scan",
    "Series",
    "State",
    "Stretch",
    "Truncated",
    "chosen_scans",
    "first_lines",
    "load_parameters",
]

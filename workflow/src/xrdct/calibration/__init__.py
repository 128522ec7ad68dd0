"""Calibrant frame to geometry and instrument profile.

`calibrate` finds the geometry from the frame alone, `check_geometry` judges one that exists already.
"""

from .detector import detector_from
from .existing import check_geometry
from .headless import calibrate
from .profile import InstrumentProfile
from .result import Calibration

__all__ = ["Calibration", "InstrumentProfile", "calibrate", "check_geometry", "detector_from"]

"""The digital twin: a simulator that writes the raw files of a beamtime, with the truth beside them.

It shares no numerical kernel with the pipeline (no projection, profile, intensity or geometry code), so that a
mistake on either side shows.
"""

from pathlib import Path

PRESETS = Path(__file__).resolve().parent / "presets"
"""Folder of the parameter files that come with the simulator; `xrdct simulate` takes their names."""

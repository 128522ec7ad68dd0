"""xrdct: from synchrotron XRD-CT frames to maps of chemistry."""

from importlib.metadata import version

__version__ = version("xrdct")

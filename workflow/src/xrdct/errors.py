"""The errors a user can cause. Each message names the file, row or key, what was found, and what to do."""


class XrdctError(Exception):
    """Base of all errors that xrdct raises on purpose; the command line prints them without a traceback."""


class ConfigError(XrdctError, ValueError):
    """A key of the configuration is unknown, missing, or out of its range."""


class TableError(XrdctError, ValueError):
    """A row of the scan table is wrong, double, or missing."""


class RawDataError(XrdctError, OSError):
    """A raw file is missing, truncated, or holds other frames than the table says."""


class GeometryError(XrdctError, ValueError):
    """Detector, mask, geometry and frame do not fit together, or a range lies outside the detector."""


class CalibrationError(XrdctError, RuntimeError):
    """A calibrant frame could not be turned into a geometry that can be trusted."""


class StoreError(XrdctError, OSError):
    """A store is damaged, incomplete, or not of the form that a step expects."""


class FitError(XrdctError, ValueError):
    """Patterns that cannot be fitted, or a model that does not belong to them."""


class AttenuationError(XrdctError, ValueError):
    """No attenuation map, or no transmission, can be made of what was given."""


class CyclerError(XrdctError, ValueError):
    """A cycler's log cannot be read, or does not cover the measurements."""

"""Hot loops on plain arrays: no files, no geometry, no configuration."""

from .groups import azimuthal_groups
from .patterns import Patterns
from .trimmed_mean import TrimmedMean

__all__ = ["Patterns", "TrimmedMean", "azimuthal_groups"]

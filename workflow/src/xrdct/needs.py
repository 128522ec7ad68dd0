"""How much memory a job needs, from the size of its scan: what a cluster is asked for.

The numbers are upper bounds of what was measured, as multiples of a scan's sinogram and volume; a job that needs more
is started again with more (`retries` in the profile, `attempt` in the rules).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .scans import Subset

MIB = 2**20

MEMORY = {
    # rule: MiB whatever the size, times the sinogram, times the volume
    "integrate": (2000, 0, 0),
    "assemble": (2000, 12, 0),
    "reconstruct": (2000, 6, 6),
    "map_windows": (1000, 0, 3),
    "fit": (3000, 4, 10),
    "correct_absorption": (3000, 10, 12),
    "denoise": (8000, 6, 10),
    "pqnet_infer": (6000, 4, 8),
    "refine_dlsr": (4000, 10, 6),
    "series": (3000, 14, 0),
}
PER_THREAD = {"integrate": 50, "series": 50}
"""MiB of the frames that each worker holds (`integration.BYTES_PER_TASK`)."""

OF_VALUES = {
    # rule: MiB whatever the size, times an array of float32
    "pqnet_library": (4000, 6),
    "pqnet_train": (4000, 6),
    "pqnet_join": (4000, 12),
    "gather_beamtime": (3000, 12),
}
"""Of rules whose size is not that of a scan: patterns times bins of a library, voxels times quantities of all maps."""
MAPPED = 11
"""Quantities that a fit maps for every phase: `io.store.FORMS`."""


@dataclass(frozen=True)
class Extent:
    """How large a scan is."""

    n_frames: int
    n_positions: int
    n_bins: int

    @property
    def sinogram_mib(self) -> float:
        """Size of the intensities of all patterns, float32."""
        return self.n_frames * self.n_bins * 4 / MIB

    @property
    def volume_mib(self) -> float:
        """Size of a reconstructed volume, float32."""
        return self.n_positions**2 * self.n_bins * 4 / MIB


def extent_of(rows: Sequence[Subset], n_bins: int) -> Extent:
    """The extent of a scan from its rows of the table."""
    return Extent(sum(row.n_projections * row.n_positions for row in rows), rows[0].n_positions, n_bins)


def memory_mib(rule: str, extent: Extent, *, threads: int = 1) -> int:
    """Memory of one job of a rule in MiB."""
    base, of_sinogram, of_volume = MEMORY[rule]
    scan = of_sinogram * extent.sinogram_mib + of_volume * extent.volume_mib
    return round(base + PER_THREAD.get(rule, 0) * threads + scan)


def memory_of_values(rule: str, n_values: int) -> int:
    """Memory in MiB of a job of a rule that holds so many values."""
    base, times = OF_VALUES[rule]
    return round(base + times * n_values * 4 / MIB)


def values_of_maps(rows: Sequence[Subset], n_phases: int) -> int:
    """Values in the maps of all scans of a table."""
    voxels = {row.scan: row.n_positions**2 for row in rows}
    return sum(voxels.values()) * n_phases * MAPPED

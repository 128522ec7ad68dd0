"""What the electrodes consist of at one voltage, where, and how that changes during a scan."""

from typing import Annotated

from pydantic import Field, model_validator

from ...config import PlainName, Section
from .types import NotNegative, Positive, Range


class Region(Section):
    """What the active material of an electrode consists of, in one part of the cell. Later regions win."""

    name: str | None = None
    """What the truth calls the region; null: it is not marked there."""
    phases: dict[str, NotNegative]
    """Volume shares of the phases, summing to 1. `NCA@tab` is the structure NCA with lattice parameters of its own."""
    turns: Range | None = None
    """Only between these windings along the spiral; null: everywhere."""
    azimuth_deg: Range | None = None
    """Only between these directions, counter-clockwise from +x; from > to crosses 0°. null: all around."""

    @model_validator(mode="after")
    def _sums_to_one(self):
        total = sum(self.phases.values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares of `phases` sum to {total:g}, not 1")
        return self


class LatticeParameters(Section):
    """A cell other than the structure file's; null keeps the file's value."""

    a: Positive | None = None
    """Å (with b where b = a by symmetry)."""
    c: Positive | None = None
    """Å (null for a cubic phase: c follows a)."""


class Change(Section):
    """What is different from one subset on: the cell goes on reacting while it is scanned."""

    from_subset: Annotated[int, Field(ge=2)]
    """First subset that sees it."""
    anode: tuple[Region, ...] | None = None
    """Regions of the anode."""
    cathode: str | None = None
    """Structure of the cathode."""
    lattice: dict[str, LatticeParameters] | None = None
    """Lattice parameters, by structure."""


class State(Section):
    """The cell at one voltage: one scan, or a station on the cycler's course."""

    scan: PlainName
    """Name of the scan."""
    state: str
    """charged, discharged, …"""
    voltage_V: float
    """Cell voltage in V."""
    cathode: str = "NCA"
    """Structure of the cathode."""
    anode: tuple[Region, ...]
    """Regions of the anode; the first should cover everything."""
    cathode_regions: tuple[Region, ...] = ()
    """Where the cathode's active material is something else than `cathode`."""
    lattice: dict[str, LatticeParameters] = Field(default={})
    """Lattice parameters of this state, by structure."""
    scanned: bool = True
    """Whether the cell is scanned in this state; false: it is only passed on the cycler's course."""
    later: tuple[Change, ...] = ()
    """How the cell changes during the scan; null keeps what was before."""

    def at(self, subset: int) -> "State":
        """The state during one subset (1, 2, …)."""
        state = self
        for change in self.later:
            if subset >= change.from_subset:
                news = {"anode": change.anode, "cathode": change.cathode, "lattice": change.lattice}
                state = state.model_copy(update={key: value for key, value in news.items() if value is not None})
        return state

"""Settings of points and lines that are measured against time while a cycler charges the cell."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, NaiveDatetime

from .base import PlainName, Section

Quantity = Literal["time", "voltage", "current", "cycle"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone is called {name!r}; Europe/Paris, America/Chicago, UTC are") from None
    return name


class Series(Section):
    """Points and lines against time."""

    table: str | None = None
    """Table of the series, relative to this file; null: there are none. Needs a phase set in `fit`."""
    epoch: str = "epoch"
    """Counter of the time of every frame in seconds since 1970 (named like `raw.monitor`)."""
    offset_s: float = 0.0
    """The cycler's clock minus the beamline's in s: what a photograph of both screens shows."""
    zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Time zone of the cycler's clock by its IANA name, such as Europe/Paris; counters of the beamline have none."""
    log_start: NaiveDatetime | None = None
    """What the cycler's clock showed at time 0 of a log that does not say, such as "2026-03-05 10:15:30"."""
    maker: Literal["plain", "biologic", "arbin", "neware"] = "plain"
    """Whose columns the cycler's log has; a .mpt file is BioLogic's whatever is said here. plain: time_s, voltage_V,
    current_A."""
    columns: dict[Quantity, str] = {}
    """Names of columns that differ from the maker's, with the unit behind '/' or '_' or in brackets."""
    source: Literal["fit", "pqnet", "pqnet+fit"] = "fit"
    """What tells phases and cells: the fit; the networks of `pqnet`, which then want `pqnet.library.noise: poisson` and
    all phases as targets; or two steps of the fit from the networks' answers."""
    groups: dict[PlainName, tuple[PlainName, ...]] = {}
    """Phases of one electrode by its name: their weights sum to 100 %. Empty: all phases together."""
    least_mass: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A frame has weight fractions where its crystalline mass is above this share of the series' highest: beside the
    cell there is air."""

    def phases_named(self) -> set[str]:
        """Every phase that the section speaks of."""
        return {phase for group in self.groups.values() for phase in group}

"""A whole simulated beamtime."""

from typing import Annotated

from pydantic import Field, model_validator

from ...config import Section
from .artefacts import Artefacts
from .cell import Cell
from .series import Cycler, Series
from .state import State
from .station import Beam, Calibrant, Detector, Files, Instrument, Scan
from .types import NotNegative, Positive

SEPARATOR = "separator"
ELECTROLYTE = "electrolyte"
"""The two materials without a crystal structure."""


class Amorphous(Section):
    """A material without lattice: one Gaussian halo and its Compton scattering."""

    q: Positive
    """Centre of the halo in 1/Å."""
    fwhm: Positive
    """1/Å."""
    height: NotNegative
    """Top of the halo in e²/Å³."""
    electrons: NotNegative
    """Electrons per Å³: what the Compton scattering tends to at large q."""
    formula: str | None = None
    """Sum formula, for the attenuation: C2H4."""
    density: Positive | None = None
    """g/cm³ of the material as it fills its layer, pores included; for the attenuation."""


class Parameters(Section):
    """A simulated beamtime."""

    sample: str = "twin"
    """Name of the cell."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Seed of all random numbers; the same seed gives the same bytes in any order of work."""
    cell: Cell
    """What it is built of."""
    states: tuple[State, ...]
    """What its electrodes are at every voltage; each is one scan."""
    scan: Scan
    """How motors move."""
    detector: Detector
    """What counts."""
    beam: Beam
    """Energy, dose, decay."""
    instrument: Instrument
    """How wide lines are."""
    amorphous: dict[str, Amorphous]
    """`separator` and `electrolyte`."""
    artefacts: Artefacts = Artefacts()
    """What goes wrong, or is there beside the lines."""
    calibrant: Calibrant = Calibrant()
    """The frame that the geometry is found from."""
    files: Files = Files()
    """Layout of the raw files."""
    cycler: Cycler | None = None
    """What charges the cell during `series`; null: nothing."""
    series: tuple[Series, ...] = ()
    """Points and lines against time, besides the scans."""

    @model_validator(mode="after")
    def _whole(self):
        missing = {SEPARATOR, ELECTROLYTE} - set(self.amorphous)
        if missing:
            raise ValueError(f"amorphous: {', '.join(sorted(missing))} must be described")
        names = [state.scan for state in self.states]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"states: every scan needs a name of its own, found {names}")
        if self.scan.starts_deg is not None and len(self.scan.starts_deg) != self.scan.n_subsets:
            raise ValueError(f"scan.starts_deg: {len(self.scan.starts_deg)} angles for {self.scan.n_subsets} subsets")
        return self

    @model_validator(mode="after")
    def _series_fit(self):
        names = [state.scan for state in self.states]
        if self.series and self.cycler is None:
            raise ValueError("series: without a `cycler` nothing changes; describe its course")
        strange = [anchor.state for anchor in (self.cycler.course if self.cycler else ()) if anchor.state not in names]
        if strange:
            raise ValueError(f"cycler.course: no state is called {', '.join(strange)}; there are {', '.join(names)}")
        every = names + [series.name for series in self.series]
        if len(set(every)) != len(every):
            raise ValueError(f"series: every scan and series needs a name of its own, found {every}")
        return self

    @model_validator(mode="after")
    def _broken_off_is_there(self):
        known = [state.scan for state in self.scans] + [series.name for series in self.series]
        strange = [broken.scan for broken in self.artefacts.truncated if broken.scan not in known]
        if strange:
            raise ValueError(f"artefacts.truncated: no scan or series is called {', '.join(strange)}")
        return self

    @property
    def scans(self) -> tuple[State, ...]:
        """The states in which the cell is scanned."""
        return tuple(state for state in self.states if state.scanned)

    @property
    def cor(self) -> float:
        """Centre of rotation in positions, from the centre of the first column."""
        return (self.scan.n_positions - 1) / 2 + self.scan.cor_offset_px

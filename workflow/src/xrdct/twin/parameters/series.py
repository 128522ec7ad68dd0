"""Points and lines that are measured again and again while a cycler charges the cell."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from ...config import PlainName, Section
from .types import Fraction, NotNegative, Positive


class Anchor(Section):
    """What the cell has become when so much charge has gone in."""

    charge: Fraction
    """Charge in the cell, as a share of the capacity."""
    state: str
    """Name of a state (its `scan`): voltage, phases and lattice parameters."""


class Cycler(Section):
    """Charging and discharging at constant current; the cell goes from state to state.

    Between two anchors voltage, shares of phases and lattice parameters are linear in the charge. The log is written
    as ``raw/cycler.mpt``, the text export of BioLogic's EC-Lab.
    """

    capacity_mah: Positive
    """Capacity of the cell in mA h."""
    rate: Positive
    """Current in capacities per hour: 0.1 is C/10."""
    course: Annotated[tuple[Anchor, ...], Field(min_length=2)]
    """The states that are passed, in order; more charge than before is charging, less is discharging."""
    rest_s: NotNegative = 0
    """Rest at the end, without current, in s."""
    log_every_s: Positive = 60
    """Interval of the log in s."""

    @model_validator(mode="after")
    def _goes_on(self):
        charges = [anchor.charge for anchor in self.course]
        if any(before == after for before, after in pairwise(charges)):
            raise ValueError(f"the charge must change from anchor to anchor, found {charges}")
        return self


class Series(Section):
    """One point, or one line, measured again and again at one rotation."""

    name: PlainName
    """Name of its files."""
    angle_deg: float = 0
    """Rotation in degrees."""
    ty_mm: float
    """Reading of the translation motor at the first frame."""
    n_positions: Annotated[int, Field(ge=1)] = 1
    """Frames of a line, `scan.step_mm` apart and always driven forwards; 1 is a point."""
    n_repeats: Annotated[int, Field(ge=1)]
    """How often."""
    every_s: Positive
    """From the start of one repetition to the start of the next, in s."""
    start_s: NotNegative = 0
    """Start of the first repetition, in s after that of the cycler."""
    frame_s: Positive = 0.01
    """From frame to frame of a line, in s."""

    @model_validator(mode="after")
    def _in_time(self):
        if self.n_positions * self.frame_s > self.every_s:
            raise ValueError(f"{self.n_positions} frames of {self.frame_s} s take longer than `every_s`")
        return self

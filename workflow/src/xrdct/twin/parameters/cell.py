"""The cell: casing, spiral of layers, tabs, pin, inclusions."""

from pydantic import model_validator

from ...config import Section
from .types import Fraction, NotNegative, Positive, Range


class Stretch(Section):
    """A stretch of the electrode, counted in windings along the spiral (0 is its inner end)."""

    turns: Range
    """From and to, in windings."""


class Grain(Section):
    """A round inclusion of one phase that replaces whatever is there."""

    phase: str
    """Structure."""
    x_mm: float
    """Position in mm from the rotation axis, to the right (increasing column)."""
    y_mm: float
    """Position in mm from the rotation axis, upwards (decreasing row)."""
    radius_mm: Positive
    """Radius in mm."""


class Pin(Section):
    """A steel tube in the centre hole."""

    diameter_mm: Positive
    """Outer diameter."""
    wall_mm: Positive
    """Thickness of its wall."""


class Cell(Section):
    """A cylindrical cell, cut across its axis: a casing and an Archimedean spiral of layers around a hole.

    From the inside out, a winding is: separator, anode coating, copper, anode coating, separator, cathode coating,
    aluminium, cathode coating. The pitch is their sum.
    """

    diameter_mm: Positive
    """Outer diameter of the casing."""
    casing_mm: Positive = 0.1
    """Thickness of the casing."""
    hole_radius_mm: NotNegative
    """Inner end of the spiral: radius of the (empty) centre hole."""
    turns: Positive
    """Number of windings."""
    separator_um: Positive = 12
    """Thickness of one separator foil."""
    anode_um: Positive = 85
    """Thickness of the coating on one side of the copper."""
    copper_um: Positive = 8
    """Thickness of the copper foil."""
    cathode_um: Positive = 70
    """Thickness of the coating on one side of the aluminium."""
    aluminium_um: Positive = 13
    """Thickness of the aluminium foil."""
    anode_active: Fraction = 0.62
    """Share of the anode coating's volume that is active material; the rest is electrolyte."""
    cathode_active: Fraction = 0.68
    """Share of the cathode coating's volume that is active material; the rest is electrolyte."""
    pin: Pin | None = None
    """Centre pin."""
    anode_along: Stretch | None = None
    """Between which ends of the spiral there is an anode; null: all along. Elsewhere is electrolyte."""
    cathode_along: Stretch | None = None
    """The same for the cathode."""
    anode_tab: Stretch | None = None
    """Where a Ni-Cu tab takes the place of the inner anode coating."""
    bare_cathode: Stretch | None = None
    """Where both cathode coatings are missing (filled with electrolyte), to make room for the aluminium tab."""
    aluminium_tab: Stretch | None = None
    """Where the aluminium tab takes the place of the inner cathode coating; lies inside `bare_cathode`."""
    grains: tuple[Grain, ...] = ()
    """Isolated inclusions."""
    axis_x_mm: float = 0.0
    """Centre of the cell, mm right of the rotation axis: cells never sit on the axis exactly."""
    axis_y_mm: float = 0.0
    """Centre of the cell, mm above the rotation axis."""

    @property
    def pitch_mm(self) -> float:
        """Thickness of one winding."""
        layers = 2 * (self.separator_um + self.anode_um + self.cathode_um) + self.copper_um + self.aluminium_um
        return layers / 1000

    @model_validator(mode="after")
    def _fits(self):
        need = self.hole_radius_mm + (self.turns + 1) * self.pitch_mm
        room = self.diameter_mm / 2 - self.casing_mm
        if self.pin is not None and self.pin.diameter_mm > 2 * self.hole_radius_mm:
            raise ValueError(f"a pin of {self.pin.diameter_mm} mm needs a larger `hole_radius_mm`")
        if need > room:
            raise ValueError(
                f"{self.turns} windings need a radius of {need:.3f} mm, the casing leaves {room:.3f} mm: "
                "lower `turns` or `hole_radius_mm`"
            )
        return self

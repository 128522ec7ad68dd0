"""What stands between the ideal and the recorded frame; each can be switched off alone."""

from typing import Annotated, Literal

from pydantic import Field

from ...config import Section
from .types import Fraction, NotNegative, Positive


class Air(Section):
    """Scattering of the air and the windows: in every frame, sample or not."""

    level: NotNegative
    """Counts per pixel at large q, at full intensity."""
    rise: NotNegative
    """Further counts per pixel at q = 0."""
    q_decay: Positive = 1.0
    """1/Å in which the rise falls to 1/e."""


class BadPixels(Section):
    """Pixels that do not count as they should; places are drawn from the seed."""

    n_hot: Annotated[int, Field(ge=0)] = 0
    """Pixels with a high constant rate."""
    n_flickering: Annotated[int, Field(ge=0)] = 0
    """Pixels that are hot in some frames and normal in others."""
    n_dead: Annotated[int, Field(ge=0)] = 0
    """Pixels that never count: written as 0."""
    n_flagged: Annotated[int, Field(ge=0)] = 0
    """Pixels that the detector itself calls bad: written as −2."""
    hot_counts: Positive = 50_000
    """Largest reading of a hot pixel; the smallest is a hundredth of it."""
    flicker_share: Fraction = 0.1
    """Share of frames in which a flickering pixel is hot."""


class Attenuation(Section):
    """The sample weakens the beam on its way in and the scattered ray on its way out."""

    strength: NotNegative = 1
    """Factor on every attenuation coefficient: 1 is nature, 0 is none."""
    scattered_ray: bool = True
    """Whether the scattered ray is weakened too; false: only the way in."""


class Parallax(Section):
    """A voxel nearer to the detector throws smaller rings."""

    strength: float = 1
    """Factor on every depth: 1 is nature, 0 is none, −1 turns the detector to the other side."""


March = Annotated[float, Field(ge=0.5, le=1.5)]


class Lost(Section):
    """Frames that are lost at random."""

    share: Fraction
    """Share of all frames."""
    reading: Literal["zero", "flagged", "no_beam", "nan_monitor"] = "zero"
    """What is left: a frame of zeros; one of −1; zeros and a monitor of 0; a good frame with a monitor of NaN."""


class Truncated(Section):
    """A subset that was broken off."""

    scan: str
    """Name of the scan, or of the series."""
    subset: Annotated[int, Field(ge=1)]
    """Subset; a series has one, 1."""
    frames: Annotated[int, Field(ge=1)]
    """Frames that were written."""


class Artefacts(Section):
    """What stands between the ideal and the recorded frame; each can be switched off alone."""

    poisson: bool = True
    """Photon noise; false: expected counts, rounded."""
    air: Air | None = None
    """Air scatter; null: none."""
    bad_pixels: BadPixels | None = None
    """Hot, flickering, dead pixels; null: none."""
    beamstop_px: NotNegative = 0
    """Radius of the shadow around the direct beam, in pixels."""
    saturation: Annotated[int, Field(gt=0)] | None = None
    """Largest count that the detector can write; more are written as this. null: there is none."""
    lost: Lost | None = None
    """Lost frames; null: none."""
    truncated: tuple[Truncated, ...] = ()
    """Subsets that end early, while the scan table promises all of their frames."""
    attenuation: Attenuation | None = None
    """Attenuation in the sample, of air scatter and direct beam too; null: the sample is transparent."""
    parallax: Parallax | None = None
    """Rings move with depth; null: all matter scatters from the axis."""
    spots: dict[str, Positive] = Field(default={})
    """Materials of few grains, and how many crystallites per mm of path shine into each degree of a ring."""
    texture: dict[str, March] = Field(default={})
    """Phases whose flakes lie in the plane of the foil, and March & Dollase's r of each: 1 is none, graphite of a
    calendered electrode has some 0.6 to 0.9, above 1 flakes stand on edge. Their 00l rings become arcs."""

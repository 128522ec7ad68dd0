"""Settings of the attenuation map and of the correction for self-absorption."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import PlainName, Positive, Section


class Casing(Section):
    """A round casing of one pure, dense phase."""

    phase: PlainName
    """Its phase, one of the phase set."""
    thickness_mm: Positive
    """Thickness of its wall, mm."""


class Fill(Section):
    """What fills the volume that the crystals leave: electrolyte, binder, separator."""

    formula: str
    """Chemical formula, such as C3H4O3."""
    density: Positive
    """g/cm³."""
    least_volume: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Voxels with a smaller volume fraction of crystals are empty: holes, and the air around the sample."""


class Extra(Section):
    """Matter of a known amount in a disc, ring or drawn region, which no phase shows: a liquid in a hole, a sleeve."""

    formula: str
    """Chemical formula, such as C3H4O3."""
    density: Positive
    """g/cm³."""
    volume: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Its share of the volume there."""
    radius_mm: tuple[Annotated[float, Field(ge=0)], Positive] | None = None
    """Inner and outer radius, mm; from 0 for a disc. null: only `mask` says where."""
    mask: str | None = None
    """Path of an image (NPY, TIFF or PNG) with a pixel for every voxel of the scan, not 0 where the matter is, row 0 at
    the largest y; the viewer writes such masks. With a radius: where both say so."""
    x_mm: float = 0.0
    """Centre, mm from the rotation axis."""
    y_mm: float = 0.0
    """Centre, mm from the rotation axis."""

    @model_validator(mode="after")
    def _is_somewhere(self):
        if self.radius_mm is None and self.mask is None:
            raise ValueError("say where it is: give radius_mm or mask")
        if self.radius_mm is not None and self.radius_mm[0] >= self.radius_mm[1]:
            raise ValueError(f"radius_mm: the inner radius must be below the outer one, found {self.radius_mm} mm")
        return self


class Absorption(Section):
    """Attenuation map from the first fit, and the sinogram corrected with it."""

    correct: bool = False
    """Whether the sinogram is corrected, reconstructed and fitted again; needs a phase set in `fit`."""
    factor: Literal["transmission", "casing", "given"] = "casing"
    """Where the absolute volume comes from, since scales are relative. transmission: from the transmitted intensity
    (counter `raw.transmitted`), by which every ray is divided then; casing: its voxels are full of one phase; given:
    `given_factor`."""
    given_factor: Positive | None = None
    """Volume fraction per unit of scale, where factor is given; for scans that were measured like an earlier one."""
    casing: Casing | None = None
    """The casing; it is drawn into the attenuation map. null: there is none."""
    fill: Fill | None = None
    """Matter between the crystals; null: none."""
    extra: tuple[Extra, ...] = ()
    """Matter that is added to all this in given places. Not inside the casing's wall, which is drawn as dense."""
    max_passes: Annotated[int, Field(ge=1, le=50)] = 8
    """Passes at most, where the transmission was not measured; two or three do."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Passes end when ln T changes by less than this, root mean square over the rays."""
    least_transmission: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """Rays with less are divided by this, and marked as opaque."""
    first_order: bool = False
    """Trace scattered rays on their way out, at the price of minutes, towards the part of each ring that the detector
    sees: for low energies, large angles, thick samples, partial rings (the translation runs along the detector's rows).
    The error of not doing so is stated in the log and in the store. With `reconstruct.parallax` linear or dlsr they are
    traced anyway, depth by depth: there the depth is where a line is seen."""

    @model_validator(mode="after")
    def _factor_has_a_source(self):
        if self.correct and self.factor == "given" and self.given_factor is None:
            raise ValueError("factor is given: set given_factor")
        if self.correct and self.factor == "casing" and self.casing is None:
            raise ValueError(
                "scales are relative, and the casing is to tell the absolute volume: give casing.phase and "
                "casing.thickness_mm, or set factor to transmission or given"
            )
        return self

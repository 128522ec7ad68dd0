"""Settings of the full-profile fit: which phases are looked for, what is free, and how hard is tried."""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, model_validator

from .base import PlainName, Positive, Section

PHASE_SETS = Path(__file__).resolve().parents[4] / "resources" / "phase_sets"
"""The repository's phase sets, one YAML file for each preset of `Fit`."""


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] >= limits[1]:
        raise ValueError(f"the lower limit ({limits[0]}) must be below the upper one ({limits[1]})")
    return limits


Limits = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
CellParameter = Literal["a", "b", "c", "alpha", "beta", "gamma"]


class PhaseSettings(Section):
    """One crystalline phase."""

    name: PlainName
    """Name of the maps."""
    structure: str | None = None
    """A name in resources/structures, or the path of a CIF (ending in .cif); null: as `name`."""
    cell: dict[CellParameter, Positive] = {}
    """Cell parameters at the start (Å, degrees) where they differ from the CIF's."""
    free: dict[CellParameter, Limits] = {}
    """Limits of the cell parameters that may change (Å, degrees); others stay as they are. What a pattern says little
    about ends near the middle of its limits: give them as wide as your knowledge is. Also the range of a library of
    patterns. Parameters tied by symmetry (b of a tetragonal cell) are not listed."""
    per_voxel: tuple[CellParameter, ...] = ()
    """Level quick: those of `free` that are fitted in every voxel; the others are fitted in the mean pattern only."""
    size_nm: Positive = 200.0
    """Crystallite size at the start, nm."""
    size_limits_nm: Limits = (60.0, 1000.0)
    """Limits of the crystallite size, nm; where a pattern says little, 1/size ends near their middle. Above about
    300 nm the line is as wide as the instrument makes it."""

    @model_validator(mode="after")
    def _starts_inside(self):
        low, high = self.size_limits_nm
        if not low <= self.size_nm <= high:
            raise ValueError(f"phase {self.name!r}: size_nm ({self.size_nm}) must lie in size_limits_nm ({low}–{high})")
        bound = sorted(set(self.per_voxel) - set(self.free))
        if bound:
            raise ValueError(f"phase {self.name!r}: per_voxel names {', '.join(bound)}, which `free` does not")
        return self


class SinglePeakSettings(Section):
    """One pseudo-Voigt peak that stands for a phase without a useful structure, such as a polymer separator."""

    name: PlainName
    """Name of the map."""
    q: Positive
    """Position at the start, 1/Å."""
    q_limits: Limits
    """Limits of the position, 1/Å."""
    fwhm: Positive
    """Full width at half maximum at the start, 1/Å, the instrument's width included."""
    fwhm_limits: Limits
    """Limits of the width, 1/Å."""
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the Lorentzian: 0 is a Gaussian."""

    @model_validator(mode="after")
    def _starts_inside(self):
        for key, value, (low, high) in (("q", self.q, self.q_limits), ("fwhm", self.fwhm, self.fwhm_limits)):
            if not low <= value <= high:
                raise ValueError(f"peak {self.name!r}: {key} ({value}) must lie in {key}_limits ({low}–{high} 1/Å)")
        return self


class SecondWavelengthSettings(Section):
    """A second line of the source beside the one that `beam.energy_kev` gives, such as Kα2 of a laboratory tube."""

    ratio: Annotated[float, Field(ge=0.9, le=1.1)]
    """Its wavelength over the first: 1.00248 for Cu Kα2 over Kα1, 1.0060 for Mo, 1.0078 for Ag."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Its intensity over that of the first."""


class PhaseSetSettings(Section):
    """The phases that are fitted together, and where in the pattern."""

    name: PlainName
    """Name of the set."""
    q_min: Positive
    """Lower end of the fitted range, 1/Å."""
    q_max: Positive
    """Upper end of the fitted range, 1/Å."""
    phases: Annotated[tuple[PhaseSettings, ...], Field(min_length=1)]
    """Crystalline phases."""
    peaks: tuple[SinglePeakSettings, ...] = ()
    """Single peaks beside them."""
    background_degree: Annotated[int, Field(ge=0, le=12)] = 2
    """Degree of the Chebyshev background; the papers' is 2."""
    second_wavelength: SecondWavelengthSettings | None = None
    """A second line of the source, in which every line of the phases shows again; null: the beam has one wavelength."""

    @model_validator(mode="after")
    def _sound(self):
        if self.q_min >= self.q_max:
            raise ValueError(f"q_min ({self.q_min}) must be below q_max ({self.q_max} 1/Å)")
        names = [item.name for item in (*self.phases, *self.peaks)]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ValueError(f"two phases or peaks are called {', '.join(double)}")
        for peak in self.peaks:
            if not self.q_min <= peak.q_limits[0] < peak.q_limits[1] <= self.q_max:
                raise ValueError(f"peak {peak.name!r}: q_limits leave the range {self.q_min}–{self.q_max} 1/Å")
        return self


class Fit(Section):
    """Full-profile fit of the pattern in every voxel."""

    preset: Literal["nca-13", "nca-8", "lixc-6", "lixc-4", "nmc532-charged", "nmc532-discharged"] | None = None
    """Phase set of a paper: nca-13, nca-8 (NCA cathode and its neighbours), lixc-6, lixc-4 (lithiated graphite) of the
    NCA 18650 paper; nmc532-charged, nmc532-discharged (NMC532 AAA paper). null: the phase set below, or no fit."""
    phase_set: PhaseSetSettings | None = None
    """A phase set of one's own, instead of a preset."""
    level: Literal["quick", "full"] = "quick"
    """quick: in every voxel scales, background and what phases name in `per_voxel`; all else from the mean pattern.
    full: all cells and sizes in every voxel, several times slower; scales up to three times better where sizes vary."""
    weights: Literal["channel", "poisson"] = "channel"
    """channel: a reconstructed voxel is as noisy as the whole scan is at this q, whatever stands in the voxel; poisson:
    as counts are, right for patterns that were not reconstructed."""
    parallax: bool = True
    """Whether lines are as wide in every voxel as the thickness of the sample makes them at this distance. Volumes that
    were reconstructed without parallax (`reconstruct.parallax`) have no such widening."""
    mask_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.02
    """Voxels whose signal (sum of the pattern) is below this share of the 99th percentile are not fitted; 0: all."""
    max_iterations: Annotated[int, Field(ge=1, le=1000)] = 50
    """Steps after which a voxel that has not settled is given up and marked."""

    @model_validator(mode="after")
    def _chosen_once(self):
        if self.preset is not None and self.phase_set is not None:
            raise ValueError("give either `preset` or `phase_set`")
        return self

    def chosen(self) -> PhaseSetSettings | None:
        """The phase set that is fitted, None for no fit."""
        return read_preset(self.preset) if self.preset is not None else self.phase_set


def read_preset(name: str) -> PhaseSetSettings:
    """A phase set of `resources/phase_sets`."""
    return PhaseSetSettings.model_validate(yaml.safe_load((PHASE_SETS / f"{name}.yaml").read_text(encoding="utf-8")))

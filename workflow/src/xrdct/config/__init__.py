"""Every setting of a beamtime: its type, unit, default, range and meaning, in one place.

The YAML file is validated into `Config`; a stage gets its own section and nothing else. Unknown keys are errors.
The JSON schema in `workflow/schemas` is exported from these models (``xrdct schema``) and never edited.
Sections that belong together share a module: `beamline`, `images`, `fit`, `absorption`, `denoise`,
`dlsr`, `pqnet`, `beamtime`, `series`, `maps`.
"""

import json
from pathlib import Path

import yaml
from pydantic import ValidationError, model_validator

from ..errors import ConfigError
from .absorption import Absorption, Casing, Fill
from .base import PlainName, Positive, Section
from .beamline import Beam, Calibrate, Detector, Raw
from .beamtime import Beamtime
from .denoise import Denoise
from .dlsr import Dlsr
from .fit import Fit, PhaseSetSettings, PhaseSettings, SinglePeakSettings
from .images import Assemble, Integrate, Reconstruct
from .maps import PRESETS, Maps, Report, Window, Windows
from .pqnet import PqNet, PqNetLibrary
from .series import Series

__all__ = [
    "PRESETS",
    "Absorption",
    "Assemble",
    "Beam",
    "Beamtime",
    "Calibrate",
    "Casing",
    "Config",
    "Denoise",
    "Detector",
    "Dlsr",
    "Fill",
    "Fit",
    "Integrate",
    "Maps",
    "PhaseSetSettings",
    "PhaseSettings",
    "PlainName",
    "Positive",
    "PqNet",
    "PqNetLibrary",
    "Raw",
    "Reconstruct",
    "Report",
    "Section",
    "Series",
    "SinglePeakSettings",
    "Window",
    "Windows",
    "json_schema",
    "load",
    "validate",
]


class Config(Section):
    """A beamtime."""

    scans: str = "scans.tsv"
    """Table of scans and subsets, relative to this file."""
    raw: Raw = Raw()
    detector: Detector
    beam: Beam
    calibrate: Calibrate
    integrate: Integrate = Integrate()
    assemble: Assemble = Assemble()
    reconstruct: Reconstruct = Reconstruct()
    windows: Windows = Windows(preset="lithiated-graphite")
    fit: Fit = Fit()
    absorption: Absorption = Absorption()
    denoise: Denoise = Denoise()
    pqnet: PqNet = PqNet()
    maps: Maps = Maps()
    dlsr: Dlsr = Dlsr()
    beamtime: Beamtime = Beamtime()
    series: Series = Series()
    report: Report = Report()

    @model_validator(mode="after")
    def _some_windows(self):
        if not self.windows.all():
            raise ValueError("windows: nothing would be mapped; give `preset`, or at least one window")
        return self

    @model_validator(mode="after")
    def _cor_q_inside(self):
        chosen, low, high = self.assemble.cor_q, self.integrate.q_min, self.integrate.q_max
        if chosen is not None and not low <= chosen[0] < chosen[1] <= high:
            raise ValueError(
                f"assemble.cor_q ({chosen[0]}–{chosen[1]} 1/Å) must rise and lie inside integrate.q_min–q_max "
                f"({low}–{high} 1/Å)"
            )
        return self

    @model_validator(mode="after")
    def _windows_inside(self):
        low, high = self.integrate.q_min, self.integrate.q_max
        # The shoulders of a linear background lie outside the window: two bins, and half a bin to the bin's centre.
        bins = 2.5 if self.windows.background == "linear" else 0.5
        margin = bins * (high - low) / self.integrate.n_bins
        outside = [
            f"windows: {w.name} ({w.q_min}–{w.q_max} 1/Å) with {bins:g} bins at either side lies outside "
            f"integrate.q_min–q_max ({low}–{high} 1/Å)"
            for w in self.windows.all()
            if w.q_min - margin < low or w.q_max + margin > high
        ]
        if outside:
            raise ValueError("; ".join(outside))
        return self

    @model_validator(mode="after")
    def _phase_set_inside(self):
        chosen, low, high = self.fit.chosen(), self.integrate.q_min, self.integrate.q_max
        if chosen is not None and (chosen.q_min < low or chosen.q_max > high):
            raise ValueError(
                f"fit: phase set {chosen.name!r} needs {chosen.q_min}–{chosen.q_max} 1/Å, which lies outside "
                f"integrate.q_min–q_max ({low}–{high} 1/Å)"
            )
        return self

    @model_validator(mode="after")
    def _parallax_everywhere(self):
        if self.reconstruct.parallax != "off" and self.denoise.apply:
            raise ValueError(
                "denoise.apply reconstructs without parallax: set it to false, or reconstruct.parallax to off"
            )
        if self.reconstruct.parallax != "dlsr":
            return self
        chosen = self.fit.chosen()
        if chosen is None:
            raise ValueError("reconstruct.parallax: dlsr refines a fit: choose fit.preset or fit.phase_set")
        mapped = [phase.name for phase in chosen.phases if phase.free]
        wanted = self.dlsr.phases or tuple(phase.name for phase in chosen.phases if phase.per_voxel)
        missing = [name for name in wanted if name not in mapped]
        if missing or not wanted:
            raise ValueError(
                f"dlsr.phases: {', '.join(missing) or 'none'} has free cell parameters in the fit ({', '.join(mapped)})"
            )
        return self

    @model_validator(mode="after")
    def _absorption_has_phases(self):
        chosen, casing = self.fit.chosen(), self.absorption.casing
        if not self.absorption.correct:
            return self
        if chosen is None:
            raise ValueError("absorption.correct needs the scales of a fit: choose fit.preset or fit.phase_set")
        names = [phase.name for phase in chosen.phases]
        if casing is not None and casing.phase not in names:
            raise ValueError(f"absorption.casing: {casing.phase!r} is no phase of the fit ({', '.join(names)})")
        if self.absorption.factor == "transmission" and self.raw.transmitted is None:
            raise ValueError(
                "absorption.factor is transmission: name the counter of the direct beam in raw.transmitted"
            )
        return self

    @model_validator(mode="after")
    def _denoising_has_parts(self):
        if self.denoise.apply and self.denoise.split == "pixel" and self.integrate.groups < 2:
            raise ValueError("denoise.split is pixel: set integrate.groups to 4, or denoise.split to thinning")
        return self

    @model_validator(mode="after")
    def _networks_have_phases(self):
        chosen = self.fit.chosen()
        if self.pqnet.apply and chosen is None:
            raise ValueError("pqnet.apply needs a phase set: choose fit.preset or fit.phase_set")
        return self

    @model_validator(mode="after")
    def _maps_have_networks(self):
        source = self.maps.source
        if source in ("pqnet+fit", "pqnet", "all") and not self.pqnet.apply:
            raise ValueError(f"maps.source is {source}: set pqnet.apply to true, or maps.source to fit")
        unanswered = self.beamtime.phases_named() - set(self.pqnet.targets)
        if source == "pqnet" and self.pqnet.targets and self.beamtime.apply and unanswered:
            raise ValueError(
                f"maps.source is pqnet: the networks must answer for what beamtime speaks of; add "
                f"{', '.join(sorted(unanswered))} to pqnet.targets, or take maps.source pqnet+fit"
            )
        return self

    def map_source(self) -> str:
        """What the figures and the beamtime take: 'fit', 'pqnet' or 'pqnet+fit'."""
        if self.maps.source in ("best", "all"):
            return "pqnet+fit" if self.pqnet.apply else "fit"
        return self.maps.source

    def map_sources(self) -> set[str]:
        """What is computed of 'fit' and 'pqnet' (which makes 'pqnet+fit' too)."""
        if self.fit.chosen() is None:
            return set()
        if self.maps.source == "all":
            return {"fit", "pqnet"}
        return {"fit"} if self.map_source() == "fit" else {"pqnet"}

    @model_validator(mode="after")
    def _beamtime_has_phases(self):
        chosen = self.fit.chosen()
        if not self.beamtime.apply:
            return self
        if chosen is None:
            raise ValueError("beamtime.apply needs the maps of a fit: choose fit.preset or fit.phase_set")
        names = [one.name for one in (*chosen.phases, *chosen.peaks)]
        unknown = sorted(self.beamtime.phases_named() - set(names))
        if unknown:
            raise ValueError(f"beamtime: {', '.join(unknown)} is no phase of the fit ({', '.join(names)})")
        return self

    @model_validator(mode="after")
    def _beamtime_has_cells(self):
        """A rule that looks at cells would fail hours later, in the last stage."""
        chosen = self.fit.chosen()
        if not self.beamtime.apply or chosen is None:
            return self
        quick = self.fit.level == "quick" and self.map_source() == "fit" and self.reconstruct.parallax != "dlsr"
        fitted = {one.name: set(one.per_voxel if quick else one.free) for one in chosen.phases}
        for where, phase, edges in self.beamtime.cells_named():
            if not fitted.get(phase, set()) & edges:
                raise ValueError(
                    f"beamtime: {where} looks at {' or '.join(sorted(edges))} of {phase}, which is not fitted in every "
                    "voxel: name it in per_voxel of the phase set, or set fit.level to full"
                )
        return self

    @model_validator(mode="after")
    def _series_have_phases(self):
        chosen = self.fit.chosen()
        if self.series.table is None:
            return self
        if chosen is None:
            raise ValueError("series.table needs a phase set: choose fit.preset or fit.phase_set")
        if self.series.source != "fit" and (self.pqnet.library.noise != "poisson" or self.pqnet.targets):
            raise ValueError(
                f"series.source {self.series.source}: frames have the noise of counts, and weights need every phase: "
                "set pqnet.library.noise to poisson, and leave pqnet.targets empty"
            )
        names = [phase.name for phase in chosen.phases]  # a single peak has no weight
        unknown = sorted(self.series.phases_named() - set(names))
        if unknown:
            raise ValueError(f"series.groups: {', '.join(unknown)} is no phase of the fit ({', '.join(names)})")
        return self


def validate(settings: dict, *, origin: str = "configuration") -> Config:
    """Check plain settings and return the typed configuration.

    Raises
    ------
    ConfigError
        With one line per problem: key, what was found, what is allowed.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError("\n".join(_describe(problem, origin) for problem in error.errors())) from None


def _describe(problem: dict, origin: str) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    found = problem.get("input")
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "unknown key" + _suggest(problem["loc"])
    elif problem["type"] == "missing":
        message = "this key is required"
    elif not isinstance(found, dict | list | tuple) and found is not None:
        message += f" (found {found!r})"
    return f"{origin}: {key + ': ' if key else ''}{message}"


def _suggest(loc: tuple) -> str:
    """', did you mean ...?' when a key of the same section is close to the misspelt one."""
    import difflib

    model = Config
    for part in loc[:-1]:
        field = getattr(model, "model_fields", {}).get(part) if isinstance(part, str) else None
        model = field.annotation if field else model
    near = difflib.get_close_matches(str(loc[-1]), getattr(model, "model_fields", {}), n=1)
    return f", did you mean `{near[0]}`?" if near else ""


def load(path: str | Path) -> Config:
    """Read and validate a YAML file (plain YAML only: Python tags are refused)."""
    path = Path(path)
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file") from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({error})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not plain YAML: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(settings).__name__}")
    return validate(settings, origin=str(path))


def json_schema() -> str:
    """The schema for editors and `validate()`, as text."""
    schema = Config.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

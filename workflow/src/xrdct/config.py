"""Every setting of a beamtime: its type, unit, default, range and meaning, in one place.

The YAML file is validated into `Config`; a stage gets its own section and nothing else. Unknown keys are errors.
The JSON schema in `workflow/schemas` is exported from these models (``xrdct schema``) and never edited.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


def _plain_name(value: str) -> str:
    """Names become file names: no separators, no leading dot, so that no name can leave the results folder."""
    if not NAME.fullmatch(value) or ".." in value:
        raise ValueError(f"{value!r} is not a plain name (letters, digits, '_', '.', '+', '-')")
    return value


PlainName = Annotated[str, AfterValidator(_plain_name)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A block of settings: misspelt keys are errors, values cannot change after validation."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


class Raw(Section):
    """Where the raw data lie and what the counters are called."""

    root: str = "raw"
    """Folder that the `file` column of the scan table is relative to; itself relative to the working folder."""
    monitor: str | None = None
    """Counter of the incoming beam, one value per frame; null: the beam was constant. In HDF5 a bare name is looked
    for beside the frames, then among the motors; a name with a leading '/' is a path in the file. In CBF/EDF/TIFF
    series it is a header key."""
    omega: str | None = None
    """Recorded rotation in degrees (named like `monitor`); null: angles come from the table."""
    translation: str | None = None
    """Recorded translation in mm (named like `monitor`); null: positions come from the table and `zigzag`."""
    subsets_per_scan: Annotated[int, Field(ge=1)] | None = None
    """How many interlaced subsets every scan must have; null: whatever the table lists."""


class Detector(Section):
    """The area detector."""

    name: str | None = None
    """Name in pyFAI's registry, for example 'Pilatus CdTe 2M'; null: `shape` and `pixel_size_um` describe it."""
    shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] | None = None
    """Rows and columns of a detector that is not in the registry."""
    pixel_size_um: Positive | None = None
    """Edge of a (square) pixel in µm, for a detector that is not in the registry."""
    mask: str | None = None
    """Image (EDF, TIFF, NPY …) of the detector's shape, relative to `raw.root`, non-zero where pixels are bad. Gaps
    that the frames mark with negative counts need no mask."""

    @model_validator(mode="after")
    def _described_once(self):
        own = self.shape is not None and self.pixel_size_um is not None
        if (self.name is None) != own or (self.name is not None and (self.shape or self.pixel_size_um)):
            raise ValueError("give either `name`, or both `shape` and `pixel_size_um`")
        return self


class Beam(Section):
    """The X-ray beam."""

    energy_kev: Annotated[float, Field(ge=5, le=500)]
    """Photon energy in keV."""
    polarization: Annotated[float, Field(ge=-1, le=1)] = 0.95
    """Polarisation factor of the beam: 1 horizontal, 0 none (pyFAI's `polarization_factor`); synchrotrons 0.95–0.99."""


class Calibrate(Section):
    """Geometry from one frame of a calibrant."""

    frame: str
    """File with the calibrant frame, relative to `raw.root`."""
    dataset: str | None = None
    """Dataset of the frame inside an HDF5 file."""
    calibrant: str = "CeO2"
    """Name in pyFAI's list of calibrants."""
    poni: str | None = None
    """Geometry that exists already (.poni, relative to `raw.root`): checked against the frame and used. null: found."""
    max_rms_deg: Annotated[float, Field(gt=0, le=0.1)] = 0.01
    """Refuse a calibration whose ring points scatter by more than this (degrees of two_theta)."""


class Integrate(Section):
    """Frames to patterns: azimuthal trimmed mean."""

    q_min: Annotated[float, Field(ge=0)] = 0.5
    """Lower end of the pattern in 1/Å."""
    q_max: Positive = 3.85
    """Upper end of the pattern in 1/Å."""
    n_bins: Annotated[int, Field(ge=10, le=20000)] = 400
    """Number of q bins. Natural is one per pixel radius between q_min and q_max; more only splits the same counts."""
    estimator: Literal["trimmed_mean", "mean", "sigma_clip"] = "trimmed_mean"
    """What a bin's pixels become: trimmed_mean (below), mean, or pyFAI's sigma_clip (several times slower)."""
    trim: Annotated[float, Field(ge=0, lt=1)] = 0.20
    """Share of each bin's pixels dropped, half from either tail: 0.20 keeps the 10–90 percentiles. Removes hot pixels
    and single-grain spots; 0 is the plain mean."""
    groups: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of disjoint, azimuth-balanced groups of detector pixels that get patterns of their own: independent noise
    with the same angles, for the denoiser (4). 1: none."""
    saturation: Positive | None = None
    """Counts at or above this are invalid; null: only what the detector marks (negative, or the type's largest)."""
    max_bad_frames: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Fail when more than this share of a subset's frames cannot be used."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.q_min >= self.q_max:
            raise ValueError(f"q_min ({self.q_min} 1/Å) must be below q_max ({self.q_max} 1/Å)")
        if self.groups > 1 and self.estimator == "sigma_clip":
            raise ValueError("groups need estimator trimmed_mean or mean")
        return self


class Assemble(Section):
    """Patterns of all subsets to one sinogram."""

    air_positions: Annotated[int, Field(ge=0, le=1000)] = 2
    """Positions at either edge of the field that see no sample: their mean, per projection, is the air scatter that
    is subtracted. 0: nothing is subtracted."""
    cor: Annotated[float, Field(ge=0)] | None = None
    """Centre of rotation in pixels from the centre of the first column; null: found from the data."""
    align: bool = True
    """The play of the translation between its two directions, and how centre and intensity differ from subset to
    subset, are found from the data and taken into account. false: only the centre of rotation is found."""
    mirrored: bool = False
    """true: the positions are counted the other way round. For a translation motor that runs against the axis of
    `geometry`, or a rotation that turns against it: maps would come out mirrored."""
    cor_q: tuple[Positive, Positive] | None = None
    """q range (1/Å) whose sum is used for `cor` and `align`; null: the whole pattern."""
    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Refuse a scan with more than this share of bad frames; fewer are interpolated along the line and marked."""


class Reconstruct(Section):
    """Sinogram to one pattern per voxel."""

    method: Literal["fbp", "sirt", "sart", "cgls", "tv"] = "fbp"
    """fbp: filtered back-projection, fast and linear. For few or noisy projections the iterative ones: sirt (smooth,
    slow), sart (fewer iterations), cgls (fewest, no constraint), tv (flat regions with sharp edges)."""
    filter: Literal["ram-lak", "shepp-logan", "cosine", "hann"] = "ram-lak"
    """fbp: filter of the back-projection; ram-lak is sharpest, hann smoothest."""
    support: Literal["circle", "none"] = "circle"
    """circle: voxels outside the circle inscribed in the image are 0, and iterative methods know that nothing lies
    there; none: the whole square."""
    iterations: Annotated[int, Field(ge=1, le=10000)] | None = None
    """Iterative methods; null: 200 for sirt and tv, 20 for cgls, 10 for sart. Fewer are smoother."""
    nonnegative: bool = False
    """sirt, sart, tv: negative values are set to 0 after every iteration. Lifts the mean where there is only noise."""
    tv_weight: Positive = 3e-3
    """tv: weight of the total variation, relative to the root mean square of a channel's sinogram; larger is smoother.
    About the noise of one value over that root mean square, divided by the root of the number of angles."""

    @model_validator(mode="after")
    def _constrained_where_possible(self):
        if self.nonnegative and self.method in ("fbp", "cgls"):
            raise ValueError(f"{self.method} cannot be `nonnegative`; take sirt, sart or tv")
        return self


class Denoise(Section):
    """Noise2Inverse: a network trained on the scan's own noise, and what needs no network beside it."""

    split: Literal["pixel", "thinning", "angle"] = "pixel"
    """How the counts are shared out. pixel: the groups of detector pixels that `integrate.groups` made. thinning: noise
    is added that makes parts independent, where there are no groups. angle: the subsets, as in the papers; blurs where
    a subset has few angles."""
    schedule: Literal["shared", "paper"] = "shared"
    """shared: one network for all channels. paper: 100 epochs on the first channel, 10 on each next one, with the mean
    absolute error; many times as long."""
    steps: Annotated[int, Field(ge=0, le=10_000_000)] = 20_000
    """shared: steps of the training, one image each; 0: no network."""
    patience: Annotated[int, Field(ge=1)] | None = 50
    """shared: the training ends when held-out data gained nothing in so many looks, one per 100 steps; null: never."""
    loss: Literal["mse", "mae"] = "mse"
    """shared: what is minimised; both do equally well."""
    width: Annotated[int, Field(ge=1, le=256)] = 16
    """Features of the network's first layer."""
    depth: Annotated[int, Field(ge=1, le=6)] = 3
    """How often the network halves the image."""
    model: str | None = None
    """A network (`network.pt`) that another scan was trained to, relative to `raw.root`: used as it is, without
    training. null: trained on this scan."""
    joint: bool = False
    """true: a low-rank method over all channels takes part in the choice. Gains most, and pulls local lattice
    parameters towards the common one: only where that is known not to matter."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every random choice."""


class Window(Section):
    """One q window whose area is mapped."""

    name: PlainName
    """Name of the map, usually the phase."""
    q_min: Positive
    """Lower end in 1/Å."""
    q_max: Positive
    """Upper end in 1/Å."""

    @model_validator(mode="after")
    def _ordered(self):
        if self.q_min >= self.q_max:
            raise ValueError(f"window {self.name!r}: q_min ({self.q_min}) must be below q_max ({self.q_max} 1/Å)")
        return self


# Si-graphite correlative paper, Table 1: the Li-ion windows of its peak maps, 1/Å.
PRESETS = {
    "lithiated-graphite": [("LiC6", 1.67, 1.73), ("LiC12", 1.78, 1.82), ("graphite", 1.82, 1.90)],
    "nmc": [("NMC-lithiated", 4.57, 4.62), ("NMC-delithiated", 4.45, 4.50)],
}
PRESETS["si-graphite"] = PRESETS["nmc"] + PRESETS["lithiated-graphite"]


class Windows(Section):
    """Maps of the area under peaks."""

    preset: Literal["lithiated-graphite", "nmc", "si-graphite"] | None = None
    """Windows of the Si-graphite correlative paper; null: only those listed below."""
    windows: tuple[Window, ...] = ()
    """Further windows."""
    background: Literal["none", "linear"] = "linear"
    """linear: a straight line through the shoulders of each window is subtracted; none: the plain sum."""

    def all(self) -> list[Window]:
        """The preset's windows followed by the user's own."""
        preset = PRESETS.get(self.preset, [])
        return [Window(name=n, q_min=a, q_max=b) for n, a, b in preset] + list(self.windows)

    @model_validator(mode="after")
    def _named_once(self):
        names = [w.name for w in self.all()]
        double = sorted({n for n in names if names.count(n) > 1})
        if double:
            raise ValueError(f"two windows are called {', '.join(double)}")
        return self


class Report(Section):
    """Figures of the report; nothing here changes a number."""

    phases: tuple[PlainName, ...] = ()
    """Structures (names of files in resources/structures) whose lines are marked in the mean pattern."""
    colormap: str = "viridis"
    """Matplotlib colour map of the maps."""


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
    report: Report = Report()

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

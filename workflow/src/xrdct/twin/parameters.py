"""Every setting of a simulated beamtime: cell, states, scan, detector, beam, artefacts.

A parameter file (YAML) holds one `Parameters`, or `base: PRESET` and what is different; unknown keys are errors. Each
artefact stands on its own: null, zero or `false` switches it off. Presets lie beside this module in `presets/`.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ..config import PlainName, Section
from ..errors import ConfigError

PRESETS = Path(__file__).resolve().parent / "presets"
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Range = tuple[float, float]

SEPARATOR = "separator"
ELECTROLYTE = "electrolyte"
"""The two materials without a crystal structure."""


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
    """The cell at one voltage: one scan."""

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


class Scan(Section):
    """How the translation and the rotation were driven."""

    n_positions: Annotated[int, Field(ge=2)]
    """Positions on a line."""
    step_mm: Positive
    """Distance of two positions; also the width of the beam, and the voxel of the truth."""
    n_projections: Annotated[int, Field(ge=1)]
    """Lines in a subset."""
    n_subsets: Annotated[int, Field(ge=1)]
    """Interlaced subsets: same angular step, starts shifted by a fraction of it."""
    span_deg: Positive = 180
    """Angular range of a subset."""
    start_deg: float = 0
    """Rotation of the first line of the first subset."""
    starts_deg: tuple[float, ...] | None = None
    """Rotation of the first line of every subset, in the order in which they are taken; null: from `start_deg` on in
    equal fractions of the step."""
    zigzag: bool = True
    """Every second line is driven backwards."""
    backlash_px: float = 0
    """The motor's reading is behind: the frame of column j shows j + backlash/2 on lines driven backwards, and
    j − backlash/2 on the others. Without zigzag there is none."""
    axis_drift_px: float = 0
    """How far the rotation axis moves from subset to subset, in positions; about its mean."""
    cor_offset_px: float = 0
    """Rotation axis minus the middle of the line, in positions."""
    first_position_mm: float = 0
    """Reading of the translation motor at the first column."""


class Detector(Section):
    """The area detector, and how it stands."""

    shape: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
    """Rows and columns."""
    pixel_um: Positive
    """Edge of a pixel in µm."""
    distance_mm: Positive
    """From the sample to where the direct beam meets the detector."""
    beam_centre: tuple[float, float]
    """Row and column where the direct beam meets the detector, in pixels from the outer corner of the first pixel
    (whose centre is at 0.5, 0.5)."""
    tilt_deg: Annotated[float, Field(ge=0, lt=45)] = 0
    """Angle between the detector's normal and the beam."""
    tilt_plane_deg: float = 0
    """Direction in which the detector leans, as pyFAI's `tiltPlanRotation`."""
    column_gaps: tuple[tuple[int, int], ...] = ()
    """Gaps between modules: first column and number of columns; written as −1."""
    row_gaps: tuple[tuple[int, int], ...] = ()
    """The same for rows."""


class Beam(Section):
    """The X-ray beam and its counter."""

    energy_kev: Positive
    """Photon energy in keV."""
    polarization: Annotated[float, Field(ge=-1, le=1)] = 0.95
    """1: horizontal (along the rows), 0: none, −1: vertical."""
    dose: Positive
    """Counts of a pixel of full solid angle from 1 mm of a material that scatters 1 e²/Å³."""
    monitor: Positive = 1e6
    """Reading of the counter at full intensity."""
    monitor_decay: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of the intensity lost between two top-ups of the ring."""
    topup_frames: Annotated[int, Field(ge=1)] = 1000
    """Frames between two top-ups."""
    unseen_drift: Annotated[float, Field(gt=-1)] = 0
    """Relative change of the intensity on the sample from subset to subset that the monitor does not see."""


class Instrument(Section):
    """Width of the lines: pseudo-Voigt of FWHM sqrt(fwhm² + (fwhm_slope q)²) in q, widened by crystallite size."""

    fwhm: Positive
    """1/Å at q = 0."""
    fwhm_slope: NotNegative = 0
    """Relative broadening at large q."""
    eta: Fraction = 0.1
    """Lorentzian share."""
    size_nm: Positive = 150
    """Size of the crystallites of phases that `sizes_nm` does not name; the Scherrer width is 0.9·2π/size."""
    sizes_nm: dict[str, Positive] = Field(default={})
    """Size of the crystallites, by structure."""


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


class Lost(Section):
    """Frames that are lost at random."""

    share: Fraction
    """Share of all frames."""
    reading: Literal["zero", "flagged", "no_beam", "nan_monitor"] = "zero"
    """What is left: a frame of zeros; one of −1; zeros and a monitor of 0; a good frame with a monitor of NaN."""


class Truncated(Section):
    """A subset that was broken off."""

    scan: str
    """Scan."""
    subset: Annotated[int, Field(ge=1)]
    """Subset."""
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


class Calibrant(Section):
    """The frame of a powder of known cell."""

    phase: str = "CeO2"
    """Structure."""
    thickness_mm: Positive = 1.0
    """Path through the powder."""
    exposures: Positive = 20
    """Counting time, in frames of the scan."""


class Files(Section):
    """How raw data are written."""

    format: Literal["bliss", "hdf5", "cbf"] = "bliss"
    """bliss: ESRF master files with the detector's own files; hdf5: one stack per subset, counters beside it; cbf: a
    folder of CBF files per subset, counters in their headers."""


class Parameters(Section):
    """A simulated beamtime."""

    sample: str = "twin"
    """Name of the cell."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Seed of all random numbers; the same seed gives the same bytes in any order of work."""
    cell: Cell
    states: tuple[State, ...]
    scan: Scan
    detector: Detector
    beam: Beam
    instrument: Instrument
    amorphous: dict[str, Amorphous]
    """`separator` and `electrolyte`."""
    artefacts: Artefacts = Artefacts()
    calibrant: Calibrant = Calibrant()
    files: Files = Files()

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

    @property
    def cor(self) -> float:
        """Centre of rotation in positions, from the centre of the first column."""
        return (self.scan.n_positions - 1) / 2 + self.scan.cor_offset_px


def first_lines(parameters: Parameters, n_lines: int) -> Parameters:
    """The same beamtime with only the first lines of every subset, at the same angles."""
    scan = parameters.scan
    step, n_lines = scan.span_deg / scan.n_projections, min(n_lines, scan.n_projections)
    starts = scan.starts_deg
    if starts is None:
        starts = tuple(scan.start_deg + step * k / scan.n_subsets for k in range(scan.n_subsets))
    fewer = {"n_projections": n_lines, "span_deg": step * n_lines, "starts_deg": starts}
    return parameters.model_copy(update={"scan": scan.model_copy(update=fewer)})


def chosen_scans(parameters: Parameters, names: list[str]) -> Parameters:
    """The same beamtime with only the scans of these names.

    Raises
    ------
    ConfigError
        When there is no such scan.
    """
    known = [state.scan for state in parameters.states]
    strange = [name for name in names if name not in known]
    if strange:
        raise ConfigError(f"no scan is called {', '.join(strange)}; there are {', '.join(known)}")
    return parameters.model_copy(update={"states": tuple(s for s in parameters.states if s.scan in names)})


def load_parameters(preset_or_file: str) -> Parameters:
    """Read a preset (its name) or a parameter file (a path).

    Raises
    ------
    ConfigError
        With one line per problem, or naming the presets when there is no such file.
    """
    path = _path(preset_or_file)
    try:
        return Parameters.model_validate(_settings(path))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not plain YAML: {error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a text file in UTF-8 ({error})") from None
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _path(preset_or_file: str) -> Path:
    preset = PRESETS / f"{preset_or_file}.yaml"
    path = preset if preset.is_file() else Path(preset_or_file)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
        raise ConfigError(f"{preset_or_file}: neither a parameter file nor one of the presets ({known})")
    return path


def _settings(path: Path) -> dict:
    """The file's settings upon those of its base."""
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or "base" not in settings:
        return settings
    return _merged(_settings(_path(str(settings.pop("base")))), settings)


def _merged(settings: dict, changes: dict) -> dict:
    """Settings with `changes`, section by section; lists and single values are replaced."""
    both = {
        key: _merged(settings[key], value) if isinstance(value, dict) and isinstance(settings.get(key), dict) else value
        for key, value in changes.items()
    }
    return settings | both

"""How it is measured: motors, detector, beam, width of the lines, calibrant, file format."""

from typing import Annotated, Literal

from pydantic import Field

from ...config import Section
from .types import Fraction, NotNegative, Positive


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
    frames_per_file: Annotated[int, Field(ge=1)] | None = None
    """bliss: frames in each of the detector's files; null: all of a subset in one. A run that is stopped goes on after
    the last whole file, so choose some for big scans."""

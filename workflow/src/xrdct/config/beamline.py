"""Settings of the raw data, the detector, the beam and the calibrant."""

from typing import Annotated

from pydantic import Field, model_validator

from .base import Positive, Section


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
    transmitted: str | None = None
    """Counter of the direct beam behind the sample (named like `monitor`), on a diode in the beamstop, say: tells how
    much of the beam every ray loses. null: not recorded."""
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

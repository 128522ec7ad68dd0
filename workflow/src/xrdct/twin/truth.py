"""The truth of one scan: all that the pipeline is to find again. Axes and signs are those of `xrdct.geometry`."""

import json
from dataclasses import dataclass

import numpy as np
import xarray as xr

from .acquisition import beam_intensity, frame_columns, line_angles
from .cell import SUB_VOXELS, box_mean
from .detector import Defects, Pixels, wavelength
from .files import STAMP
from .frames import air_pattern
from .parameters import Detector, Parameters, State
from .patterns import lattice_of
from .scattering import Scatterer


@dataclass(frozen=True)
class Station:
    """What all scans of a beamtime share."""

    pixels: Pixels
    defects: Defects
    q: np.ndarray
    """Grid of the patterns, 1/Å."""
    names: list[str]
    """Materials."""


@dataclass(frozen=True)
class Sample:
    """The cell in one state, and what the beam meets of it."""

    maps: np.ndarray
    """Volume fractions on the phantom's grid, [y, x, material]."""
    path_lengths: np.ndarray
    """mm, shape (n_subsets, n_projections, n_positions, n_materials), columns in order of position."""
    transmission: np.ndarray
    """Of the direct beam, shape (n_subsets, n_projections, n_positions), columns in order of position."""
    patterns: np.ndarray
    """e²/Å³, shape (n_materials, n_q)."""
    scatterer: Scatterer
    """What the frames are made from."""


def bad_pixel_mask(detector: Detector, defects: Defects) -> np.ndarray:
    """The mask that a beamline would hand out: gaps and pixels known to be dead; hot ones are left to be found."""
    return _image(detector, np.concatenate([defects.missing, defects.dead, defects.flagged]))


def truth_of(parameters: Parameters, station: Station, state: State, sample: Sample, stamp: str) -> xr.Dataset:
    """Phantom, path lengths, patterns, acquisition and defects of one scan, with the parameters in the attributes.

    Returns
    -------
    xarray.Dataset
        Every variable with its unit in the attribute ``units``.
    """
    quantities = _phantom(parameters, station, state, sample) | _acquisition(parameters, station)
    coordinates = _coordinates(parameters, station)
    return xr.Dataset(
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in quantities.items()},
        {name: (dims, values, {"units": unit}) for name, (dims, values, unit) in coordinates.items()},
        {
            STAMP: stamp,
            "scan": state.scan,
            "state": state.state,
            "voltage_V": state.voltage_V,
            "energy_kev": parameters.beam.energy_kev,
            "wavelength": wavelength(parameters.beam.energy_kev),
            "distance_mm": parameters.detector.distance_mm,
            "beam_centre": list(parameters.detector.beam_centre),
            "tilt_deg": parameters.detector.tilt_deg,
            "tilt_plane_deg": parameters.detector.tilt_plane_deg,
            "parameters": json.dumps(parameters.model_dump(mode="json")),
        },
    )


def _phantom(parameters: Parameters, station: Station, state: State, sample: Sample) -> dict[str, tuple]:
    """What the cell is made of and how it scatters: (dims, values, unit) by name."""
    order = np.argsort(line_angles(parameters.scan).ravel(), kind="stable")
    paths = sample.path_lengths.reshape(-1, *sample.path_lengths.shape[2:])[order]
    fractions = np.moveaxis(box_mean(sample.maps, SUB_VOXELS), -1, 0)
    counts_per_mm = parameters.beam.dose * sample.patterns
    lattice = [
        [np.nan] * 6 if name in parameters.amorphous else lattice_of(name, state.lattice) for name in station.names
    ]
    transmission, mu = sample.transmission.reshape(len(order), -1)[order], sample.scatterer.mu
    return {
        "volume_fraction": (("phase", "y", "x"), fractions.astype(np.float32), "1"),
        "path_length": (("phase", "angle", "position"), np.moveaxis(paths, -1, 0).astype(np.float32), "mm"),
        "mu": (("y", "x"), np.tensordot(mu, fractions, 1).astype(np.float32), "1/mm"),
        "phase_mu": (("phase",), mu, "1/mm"),
        "transmission": (("angle", "position"), transmission.astype(np.float32), "1"),
        "phase_pattern": (("phase", "q"), counts_per_mm.astype(np.float32), "counts per pixel and mm"),
        "pattern": (("q",), paths.mean(axis=(0, 1)) @ counts_per_mm, "counts per pixel"),
        "air": (("q",), air_pattern(parameters.artefacts.air, station.q), "counts per pixel"),
        "lattice": (("phase", "constant"), np.array(lattice), "a, b, c in Å; alpha, beta, gamma in degrees"),
    }


def _acquisition(parameters: Parameters, station: Station) -> dict[str, tuple]:
    """How it was measured: (dims, values, unit) by name."""
    scan, detector, defects = parameters.scan, parameters.detector, station.defects
    pixel = ("row", "column_px")
    return {
        "cor": ((), parameters.cor, "pixels from the centre of the first column"),
        "monitor": (("subset", "line", "point"), beam_intensity(scan, parameters.beam), "1, relative to full beam"),
        "column": (("line", "point"), frame_columns(scan), "pixels, column of the sinogram"),
        "line_angle": (("subset", "line"), line_angles(scan), "degrees"),
        "mask": (pixel, bad_pixel_mask(detector, defects), "1: gap or dead pixel"),
        "hot": (pixel, _image(detector, defects.hot), "1: hot in every frame"),
        "flickering": (pixel, _image(detector, defects.flickering), "1: hot in some frames"),
    }


def _coordinates(parameters: Parameters, station: Station) -> dict[str, tuple]:
    scan = parameters.scan
    along = (np.arange(scan.n_positions) - (scan.n_positions - 1) / 2) * scan.step_mm
    return {
        "phase": (("phase",), np.array(station.names, dtype=object), ""),
        "angle": (("angle",), np.sort(line_angles(scan).ravel(), kind="stable"), "degrees"),
        "subset": (("subset",), np.arange(1, scan.n_subsets + 1), ""),
        "x": (("x",), along, "mm"),
        "y": (("y",), along[::-1], "mm"),
        "q": (("q",), station.q, "1/Å"),
    }


def _image(detector: Detector, pixels: np.ndarray) -> np.ndarray:
    """True at these flat indices, [row, column]."""
    image = np.zeros(detector.shape, dtype=bool)
    image.ravel()[pixels] = True
    return image

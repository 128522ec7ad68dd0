"""The truth of one scan: all that the pipeline is to find again. Axes and signs are those of `xrdct.geometry`."""

import json

import numpy as np
import xarray as xr

from .acquisition import axis_columns, beam_intensity, frame_columns, line_angles
from .cell import SUB_VOXELS, box_mean, region_maps, region_names
from .composition import lattice_parameters, phase_densities, weight_fractions
from .detector import Defects, wavelength
from .files import STAMP
from .frames import air_pattern
from .parameters import Detector, Parameters, State
from .patterns import size_of
from .sample import Sample, Station
from .upsets import lost_frames


def bad_pixel_mask(detector: Detector, defects: Defects) -> np.ndarray:
    """The mask that a beamline would hand out: gaps and pixels known to be dead; hot ones are left to be found."""
    return _image(detector, np.concatenate([defects.missing, defects.dead, defects.flagged]))


def truth_of(parameters: Parameters, station: Station, state: State, samples: list[Sample], stamp: str) -> xr.Dataset:
    """Phantom, path lengths, patterns, acquisition and defects of one scan, with the parameters in the attributes.

    Returns
    -------
    xarray.Dataset
        Every variable with its unit in the attribute ``units``.
    """
    quantities = _phantom(parameters, station, state, samples) | _acquisition(parameters, station, state)
    if state.later:
        quantities |= _evolution(parameters, station, state, samples)
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


def _phantom(parameters: Parameters, station: Station, state: State, samples: list[Sample]) -> dict[str, tuple]:
    """What the cell is made of at first, what the beam met and how it scatters: (dims, values, unit) by name."""
    order = np.argsort(line_angles(parameters.scan).ravel(), kind="stable")
    met = [sample.nominal.path_lengths[k] for k, sample in enumerate(samples)]
    let_through = [sample.nominal.transmission[k] for k, sample in enumerate(samples)]
    paths, transmission = np.concatenate(met)[order], np.concatenate(let_through)[order]
    fractions, mu = _fractions(samples[0]), samples[0].scatterer.mu
    scan, regions = parameters.scan, region_names(parameters.states)
    region = region_maps(parameters.cell, state, regions, n=scan.n_positions, step=scan.step_mm)
    counts_per_mm = parameters.beam.dose * samples[0].patterns
    lattice = lattice_parameters(parameters, station.names, state)
    weight = weight_fractions(np.moveaxis(fractions, 0, -1), phase_densities(parameters, station.names, lattice))
    return {
        "volume_fraction": (("phase", "y", "x"), fractions.astype(np.float32), "1"),
        "weight_fraction": (
            ("phase", "y", "x"),
            np.moveaxis(weight, -1, 0).astype(np.float32),
            "1, share of the crystalline mass of the voxel",
        ),
        "path_length": (("phase", "angle", "position"), np.moveaxis(paths, -1, 0).astype(np.float32), "mm"),
        "region": (("region_name", "y", "x"), region.astype(np.float32), "1, share of the voxel in the region"),
        "mu": (("y", "x"), np.tensordot(mu, fractions, 1).astype(np.float32), "1/mm"),
        "phase_mu": (("phase",), mu, "1/mm"),
        "transmission": (("angle", "position"), transmission.astype(np.float32), "1"),
        "phase_pattern": (("phase", "q"), counts_per_mm.astype(np.float32), "counts per pixel and mm"),
        "pattern": (("q",), paths.mean(axis=(0, 1)) @ counts_per_mm, "counts per pixel"),
        "air": (("q",), air_pattern(parameters.artefacts.air, station.q), "counts per pixel"),
        "lattice": (("phase", "constant"), lattice, "a, b, c in Å; alpha, beta, gamma in degrees"),
        "size": (("phase",), _sizes(parameters, station), "nm"),
    }


def _fractions(sample: Sample) -> np.ndarray:
    """Volume fractions on the voxels of the truth, [phase, y, x]."""
    return np.moveaxis(box_mean(sample.maps, SUB_VOXELS), -1, 0)


def _sizes(parameters: Parameters, station: Station) -> np.ndarray:
    """Size of every phase's crystallites in nm, NaN for what has none."""
    amorphous, instrument = parameters.amorphous, parameters.instrument
    return np.array([np.nan if name in amorphous else size_of(name, instrument) for name in station.names])


def _evolution(parameters: Parameters, station: Station, state: State, samples: list[Sample]) -> dict[str, tuple]:
    """What changes from subset to subset: (dims, values, unit) by name."""
    fractions = np.stack([_fractions(sample) for sample in samples])
    lattice = np.stack([lattice_parameters(parameters, station.names, state.at(k + 1)) for k in range(len(samples))])
    return {
        "volume_fraction_by_subset": (("subset", "phase", "y", "x"), fractions.astype(np.float32), "1"),
        "lattice_by_subset": (("subset", "phase", "constant"), lattice, "a, b, c in Å; alpha, beta, gamma in degrees"),
    }


def _acquisition(parameters: Parameters, station: Station, state: State) -> dict[str, tuple]:
    """How it was measured: (dims, values, unit) by name."""
    scan, detector, defects = parameters.scan, parameters.detector, station.defects
    pixel = ("row", "column_px")
    n_frames = scan.n_projections * scan.n_positions
    lost = np.stack([lost_frames(parameters, state.scan, k + 1, n_frames) for k in range(scan.n_subsets)])
    lost = lost.reshape(scan.n_subsets, scan.n_projections, scan.n_positions)
    return {
        "cor": ((), parameters.cor, "pixels from the centre of the first column"),
        "axis": (("subset", "line"), axis_columns(scan, parameters.cor), "pixels, where the line sees the axis"),
        "backlash": ((), scan.backlash_px, "pixels, between lines driven backwards and forwards"),
        "lost": (("subset", "line", "point"), lost, "1: frame lost"),
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
        "region_name": (("region_name",), np.array(region_names(parameters.states), dtype=object), ""),
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

"""Scales of the first fit to attenuation.zarr, and to a sinogram.zarr without self-absorption."""

import json
import logging

import numba
import numpy as np
import xarray as xr

from xrdct.absorption.chain import Attenuation, Matter, Measured, remove_absorption, transmission_of_casing
from xrdct.absorption.material import composition_of, linear_attenuation
from xrdct.absorption.scales import Scales
from xrdct.config import Absorption, PhaseSetSettings
from xrdct.errors import AttenuationError
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.calibration import read_profile
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook
from xrdct.reconstruction.backend import reconstruct

log = logging.getLogger("xrdct.absorption")


def main(inputs, outputs, *, phase_set, energy_kev, settings):
    sinogram, maps = read_store(inputs["sinogram"], "sinogram"), read_store(inputs["maps"], "fit")
    chosen = Absorption.model_validate(settings)
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, sinogram.q.values, read_profile(inputs["profile"]))
    whole = to_measured(sinogram, slice(None))
    measured = to_measured(sinogram, model.inside)
    matter = matter_of(phases, chosen.fill, energy_kev)
    fitted, first = first_scales(model, measured, maps)
    casing, transmitted, relative = transmission_of(sinogram, measured, phases, matter, fitted, first, chosen)
    attenuation = Attenuation(
        measured,
        matter,
        transmitted=transmitted,
        relative=relative,
        factor=chosen.given_factor if chosen.factor == "given" else None,
        casing=casing,
    )
    found = remove_absorption(
        measured,
        attenuation,
        first=first,
        reconstruct=lambda intensity: rebuild(intensity, measured),
        fit=fitted.of_volume,
        start=transmitted,
        tolerance=chosen.tolerance,
        most=chosen.passes,
        least=chosen.least_transmission,
        first_order=chosen.first_order,
        wavelength=model.profile.wavelength,
    )
    log.info("%s; %s", found.factor, found.zero_order)
    recorded = {
        "settings": {"phase_set": phase_set, "energy_kev": energy_kev, **settings},
        "inputs": {name: manifest_digest(inputs[f"{name}_manifest"]) for name in ("sinogram", "maps")},
    }
    write_store(
        attenuation_dataset(found, maps, sinogram, phases),
        outputs["attenuation"],
        outputs["attenuation_manifest"],
        kind="attenuation",
        **recorded,
    )
    write_store(
        corrected_dataset(sinogram, attenuation.correct(whole, found.settled.mu)),
        outputs["sinogram"],
        outputs["sinogram_manifest"],
        kind="sinogram",
        **recorded,
    )


def to_measured(sinogram, bins):
    """The arrays of a sinogram store, or of some of its q bins."""
    return Measured(
        sinogram.intensity.values[..., bins],
        sinogram.variance.values[..., bins],
        sinogram.air.values[..., bins],
        sinogram.angle.values,
        sinogram.attrs["cor"] + sinogram.offset.values,
        sinogram.attrs["step_mm"],
        sinogram.q.values[bins],
    )

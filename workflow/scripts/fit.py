"""volume.zarr to maps.zarr: how much of each phase is in every voxel, its cell, and how sure that is."""

import json
import logging

import numba
import numpy as np

from xrdct.config import PhaseSetSettings
from xrdct.fit.advice import advise
from xrdct.fit.dataset import channel_noise, fit_dataset
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.parallax import parallax_width
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.poni import read_poni
from xrdct.io.profile import read_profile
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress

log = logging.getLogger("xrdct.fit")


def main(volume_store, sinogram_store, calibration, manifests, store, manifest, *, phase_set, settings):
    volume, sinogram = read_store(volume_store, "volume"), read_store(sinogram_store, "sinogram")
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, volume.q.values, read_profile(calibration["profile"]))
    noise = channel_noise(volume, sinogram) if settings["weights"] == "channel" else None
    found = fit_volume(
        model,
        volume.intensity.values,
        level=settings["level"],
        variance=noise,
        mask_threshold=settings["mask_threshold"],
        widen=widening(volume, sinogram, calibration["poni"])
        if settings["parallax"] and has_parallax(volume)
        else None,
        most=settings["max_iterations"],
        progress=progress("fit", "block"),
    )
    tell(found)
    warnings = advise(found, level=settings["level"], variance=None if noise is None else noise[model.inside])
    for warning in warnings:
        log.warning(warning)
    write_store(
        fit_dataset(found, volume).assign_attrs(warnings=warnings),
        store,
        manifest,
        kind="fit",
        settings={"phase_set": phase_set, **settings},
        inputs={str(path): manifest_digest(path) for path in manifests},
    )


def has_parallax(volume):
    """Whether the volume was reconstructed as if there were none."""
    return volume.attrs.get("parallax", "off") == "off"


def widening(volume, sinogram, poni):
    """From a map of what scatters to what parallax adds to the width of lines, relative to q."""
    geometry = {"step_mm": volume.attrs["voxel_mm"], "distance_mm": 1e3 * read_poni(poni).dist}

    def widen(amount):
        width = parallax_width(amount, sinogram.angle.values, **geometry)
        log.info("parallax widens lines by up to %.2f %% of q (FWHM)", 100 * np.percentile(width, 99))
        return width

    return widen


def tell(found):
    """What a user wants to know before opening the maps."""
    voxels = found.voxels
    log.info(
        "%d voxels fitted, %.1f %% settled; mean pattern Rwp %.2f %%, voxels %.2f %% (median)",
        len(voxels.rwp),
        100 * voxels.converged.mean(),
        100 * found.mean.rwp[0],
        100 * np.median(voxels.rwp),
    )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.volume,
            snakemake.input.sinogram,
            {name: snakemake.input[name] for name in ("profile", "poni")},
            [snakemake.input.volume_manifest, snakemake.input.sinogram_manifest],
            snakemake.output.store,
            snakemake.output.manifest,
            **json.loads(snakemake.params.cfg),
        )

"""volume.zarr to maps.zarr: how much of each phase is in every voxel, its cell, and how sure that is."""

import json
import logging

import numba
import numpy as np
import xarray as xr

from xrdct.config import PhaseSetSettings
from xrdct.fit.maps import fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.parallax import parallax_width
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.calibration import read_profile
from xrdct.io.poni import read_poni
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress

UNITS = {"scale": "1", "weight_fraction": "1", "a": "angstrom", "b": "angstrom", "c": "angstrom", "size": "nm"}

log = logging.getLogger("xrdct.fit")


def main(volume_store, sinogram_store, calibration, manifests, store, manifest, *, phase_set, settings):
    volume, sinogram = read_store(volume_store, "volume"), read_store(sinogram_store, "sinogram")
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, volume.q.values, read_profile(calibration["profile"]))
    found = fit_volume(
        model,
        volume.intensity.values,
        level=settings["level"],
        variance=noise_of(volume, sinogram) if settings["weights"] == "channel" else None,
        mask_threshold=settings["mask_threshold"],
        widen=widening(volume, sinogram, calibration["poni"]) if settings["parallax"] else None,
        most=settings["max_iterations"],
        progress=progress("fit", "block"),
    )
    tell(found)
    write_store(
        to_dataset(found, volume),
        store,
        manifest,
        kind="fit",
        settings={"phase_set": phase_set, **settings},
        inputs={str(path): manifest_digest(path) for path in manifests},
    )


def widening(volume, sinogram, poni):
    """From a map of what scatters to what parallax adds to the width of lines, relative to q."""
    geometry = {"step_mm": volume.attrs["voxel_mm"], "distance_mm": 1e3 * read_poni(poni).dist}

    def widen(amount):
        width = parallax_width(amount, sinogram.angle.values, **geometry)
        log.info("parallax widens lines by up to %.2f %% of q (FWHM)", 100 * np.percentile(width, 99))
        return width

    return widen


def noise_of(volume, sinogram):
    """Relative variance of each channel: of the denoised voxels where they are, else of the sinogram."""
    if "spread" in volume:
        return (volume.spread**2).mean(("y", "x")).values
    return sinogram.variance.mean(("angle", "position")).values


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
    hit = dict(zip(found.model.phases.names, found.limits_hit()[:, found.mask].mean(axis=1), strict=True))
    for name, share in hit.items():
        if share > 0.2:
            log.warning("%s: a cell or size is at its limit in %.0f %% of the voxels; widen it?", name, 100 * share)


def to_dataset(found, volume):
    """The store's form: one map per phase."""
    dims = ("phase", "y", "x")
    data = {name: (dims, found.phase_maps(name), {"units": UNITS[name]}) for name in ("scale", "a", "b", "c", "size")}
    data |= {
        f"{name}_err": (dims, found.phase_maps(name, errors=True), {"units": UNITS[name]})
        for name in ("scale", "a", "b", "c", "size")
    }
    mean = found.mean.parameters[0]
    background = mean.copy()
    background[found.model.scale_places] = 0.0
    data |= {
        "weight_fraction": (dims, found.weight_fractions().astype(np.float32), {"units": "1"}),
        "at_limit": (dims, found.limits_hit(), {"units": "1"}),
        "rwp": (dims[1:], found.image(found.voxels.rwp), {"units": "1"}),
        "chi2": (dims[1:], found.image(found.voxels.chi2), {"units": "1"}),
        "mask": (dims[1:], found.mask, {"units": "1"}),
        "mean_pattern": (("q",), found.mean_pattern, {"units": "counts/voxel"}),
        "mean_fit": (("q",), found.model.patterns(mean)[0], {"units": "counts/voxel"}),
        "mean_background": (("q",), found.model.patterns(background)[0], {"units": "counts/voxel"}),
    }
    return xr.Dataset(
        data,
        coords={
            "phase": ("phase", np.array(found.model.phases.names, dtype=np.dtypes.StringDType())),
            "density": ("phase", _densities(found.model.phases), {"units": "g/cm^3"}),
            "q": ("q", found.model.q, {"units": "1/angstrom"}),
            "y": volume.y,
            "x": volume.x,
        },
        attrs={"source": "fit", "voxel_mm": volume.attrs["voxel_mm"], "mean_rwp": float(found.mean.rwp[0])},
    )


def _densities(phases):
    return np.r_[phases.densities, np.full(len(phases.peaks), np.nan)]


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

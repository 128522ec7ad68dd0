"""Sinogram and linear volume to maps.zarr by DLSR: the volume's fit is where it starts."""

import json
import logging

import numba
import numpy as np

from xrdct.config import PhaseSetSettings
from xrdct.dlsr.advice import doubts
from xrdct.dlsr.forward import Forward
from xrdct.dlsr.hold_out import SEARCHES
from xrdct.dlsr.refine import Start, refine
from xrdct.fit.advice import advise
from xrdct.fit.dataset import fit_dataset
from xrdct.fit.maps import VoxelFit, fit_volume
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.solve import FitResult
from xrdct.io.checkpoint import Checkpoint
from xrdct.io.poni import read_poni
from xrdct.io.profile import read_profile
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress
from xrdct.reconstruction.parallax import distance_and_wavelength

log = logging.getLogger("xrdct.dlsr")


def main(inputs, manifests, store, manifest, checkpoint, *, phase_set, fit_settings, settings):
    sinogram, volume = read_store(inputs["sinogram"], "sinogram"), read_store(inputs["volume"], "volume")
    phases, profile = load_phase_set(PhaseSetSettings.model_validate(phase_set)), read_profile(inputs["profile"])
    place = distance_and_wavelength(read_poni(inputs["geometry"]), profile_wavelength=profile.wavelength)
    first = first_fit(PatternModel(phases, volume.q.values, profile), volume, sinogram, fit_settings)
    noise = channel_variance(sinogram, fit_settings)
    warnings = advise(first, level=fit_settings["level"], variance=None if noise is None else noise[first.model.inside])
    for warning in warnings:
        log.warning(warning)
    chain = Forward(
        phases,
        sinogram.q.values,
        profile,
        mask=first.mask,
        angles=sinogram.angle.values,
        cor=sinogram.attrs["cor"] + sinogram.offset.values,
        n_positions=sinogram.sizes["position"],
        step_mm=sinogram.attrs["step_mm"],
        distance_mm=place["distance_mm"],
    )
    mapped = settings["phases"] or [phase.name for phase in phases.phases if phase.per_voxel]
    searches = (SEARCHES if settings["smooth"] is None else 1) + settings["model_error"]
    log.info("%s", chain.cost(searches))
    digests = {str(path): manifest_digest(path) for path in manifests}
    kept = Checkpoint(checkpoint, json.dumps([phase_set, fit_settings, settings, digests], sort_keys=True))
    used = sinogram.isel(q=np.flatnonzero(chain.used))
    found = refine(
        chain,
        used.intensity.values,
        used.variance.values,
        Start(first.voxels.parameters, first.voxels.errors),
        phases=tuple(mapped),
        smooth=settings["smooth"],
        edges=settings["prior"] == "tv",
        model_error=settings["model_error"],
        subset=sinogram.subset.values,
        most=settings["max_iterations"],
        samples=settings["samples"],
        seed=settings["seed"],
        checkpoint=kept,
        progress=progress("dlsr", "step"),
    )
    warnings += tell(found, used.q.values)
    write_store(
        to_dataset(found, first, volume).assign_attrs(warnings=warnings),
        store,
        manifest,
        kind="fit",
        settings={"phase_set": phase_set, "fit": fit_settings, **settings},
        inputs=digests,
    )
    kept.remove()


def first_fit(model, volume, sinogram, settings):
    """The fit of every voxel of the linear volume."""
    return fit_volume(
        model,
        volume.intensity.values,
        level=settings["level"],
        variance=channel_variance(sinogram, settings),
        mask_threshold=settings["mask_threshold"],
        most=settings["max_iterations"],
        progress=progress("first fit", "block"),
    )


def tell(found, q):
    """How well the sinogram is described, in the log; what a user should be warned of."""
    log.info("reduced chi2 %.3f, Rwp %.2f %%, prior %g", found.reduced_chi2, 100 * found.rwp, found.smooth)
    warnings = doubts(found, q)
    for warning in warnings:
        log.warning(warning)
    return warnings


def channel_variance(sinogram, settings):
    """Relative noise of every channel, None where patterns weigh as counts."""
    return sinogram.variance.mean(("angle", "position")).values if settings["weights"] == "channel" else None


def to_dataset(found, first, volume):
    """The form of a fit; Rwp and χ² are those of the whole sinogram, the same in every voxel."""
    model, n = first.model, len(found.values)
    mean, everywhere = found.values.mean(axis=0, keepdims=True), np.ones(n)
    # Maps hold what every voxel has for itself, as those of a fit do; what all share is in the attributes.
    own = np.isin(np.arange(len(model.names)), found.unknowns.local)
    near = 1e-6 * np.where(np.isfinite(model.high), model.high - model.low, 0)
    at_limit = own & (near > 0) & ((found.values <= model.low + near) | (found.values >= model.high - near))
    drawn = bool(np.isfinite(found.errors).any())
    # What has an error has a value in the maps; without draws of the posterior errors are not known, cells are.
    errors = found.errors if drawn else found.unknowns.write(np.zeros_like(found.solution.vector), found.errors)
    voxels = FitResult(
        found.values,
        np.where(own, errors, np.nan),
        found.rwp * everywhere,
        found.reduced_chi2 * everywhere,
        np.full(n, found.solution.converged),
        at_limit,
    )
    whole = FitResult(mean, mean * np.nan, voxels.rwp[:1], voxels.chi2[:1], voxels.converged[:1], voxels.at_limit[:1])
    dataset = fit_dataset(VoxelFit(model, first.mask, whole, first.mean_pattern, voxels), volume)
    if not drawn:
        for name in ("scale", "a", "b", "c", "size"):
            dataset[f"{name}_err"].values[:] = np.nan
    dataset["mean_fit"].values[:] = model.patterns(found.values).mean(axis=0)
    return dataset.assign_attrs(
        source="dlsr",
        converged=int(found.solution.converged),
        smooth=found.smooth,
        counts_chi2=found.counts_chi2,
        model_error=float(np.median(found.model_error)),
        shared=json.dumps(shared_parameters(found, model)),
        held_out_chi2=json.dumps({str(weight): value for weight, value in found.held_out.items()}),
    )


def shared_parameters(found, model):
    """Value and standard error of what all voxels share, by phase and parameter; None where it was not asked for."""
    errors = np.where(np.isfinite(found.errors[0]), found.errors[0], None)
    return {" ".join(model.names[k]): [float(found.values[0, k]), errors[k]] for k in found.unknowns.shared}


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    with logbook(snakemake.log[0]):
        main(
            dict(snakemake.input.items()),
            [snakemake.input.sinogram_manifest, snakemake.input.volume_manifest],
            snakemake.output.store,
            snakemake.output.manifest,
            snakemake.params.checkpoint,
            **json.loads(snakemake.params.cfg),
        )

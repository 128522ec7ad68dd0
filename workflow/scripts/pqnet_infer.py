"""volume.zarr and model.pt to maps: what the networks say, and the two steps of the full-profile fit from there."""

import json
import logging

import numba
import numpy as np
import torch
import xarray as xr

from xrdct.config import PhaseSetSettings
from xrdct.denoise.unet import best_device
from xrdct.fit.advice import advise
from xrdct.fit.dataset import UNITS, channel_noise, fit_dataset, map_coords
from xrdct.fit.model import PatternModel
from xrdct.fit.parallax import parallax_width
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.poni import read_poni
from xrdct.io.pqnet import read_ensemble
from xrdct.io.profile import read_profile
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress
from xrdct.pqnet.inference import predict_volume
from xrdct.pqnet.noise import RECONSTRUCTED
from xrdct.provenance import file_sha256

log = logging.getLogger("xrdct.pqnet")
MUCH, LEAST = 2.0, 0.001
"""Lines wider than the library's by this factor are worth a warning, once they are wider than this share of q."""


def main(inputs, outputs, *, phase_set, mask_threshold, parallax):
    volume, sinogram = read_store(inputs["volume"], "volume"), read_store(inputs["sinogram"], "sinogram")
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, volume.q.values, read_profile(inputs["profile"]))
    ensemble, facts = read_ensemble(inputs["model"], q=model.q, phases=phases.names, device=best_device())
    noise = channel_noise(volume, sinogram) if facts["noise"] == RECONSTRUCTED else None
    found = predict_volume(
        ensemble,
        model,
        volume.intensity,
        variance=noise,
        mask_threshold=mask_threshold,
        widen=widening(volume, sinogram, inputs["poni"]) if parallax else None,
        progress=progress("pqnet", "block"),
    )
    tell(found, facts)
    warnings = advise(found.refined, level="full", variance=None if noise is None else noise[model.inside])
    for warning in [*found.biased, *warnings]:
        log.warning(warning)
    recorded = {
        "settings": {"phase_set": phase_set, "mask_threshold": mask_threshold, "parallax": parallax},
        "inputs": {"model": file_sha256(inputs["model"])[:16]}
        | {name: manifest_digest(inputs[f"{name}_manifest"]) for name in ("volume", "sinogram")},
    }
    write_store(to_dataset(found, ensemble, volume), outputs["maps"], outputs["manifest"], kind="pqnet", **recorded)
    refined = fit_dataset(found.refined, volume, source="pqnet+fit").assign_attrs(warnings=warnings)
    refined["in_range"] = (("y", "x"), found.in_range, {"units": "1"})
    write_store(refined, outputs["refined"], outputs["refined_manifest"], kind="fit", **recorded)


def widening(volume, sinogram, poni):
    """From a map of what scatters to what parallax adds to the width of lines, relative to q."""
    geometry = {"step_mm": volume.attrs["voxel_mm"], "distance_mm": 1e3 * read_poni(poni).dist}
    return lambda amount: parallax_width(amount, sinogram.angle.values, **geometry)


def tell(found, facts):
    """What a user wants to know before opening the maps."""
    prediction, mask = found.prediction, found.refined.mask
    log.info(
        "%d voxels of %.3g effective counts per bin (median), %.0f %% in range, %.0f %% with the networks' own "
        "answers; noise %.3g times what was given",
        mask.sum(),
        np.median(prediction.level),
        100 * found.in_range[mask].mean(),
        100 * found.answers_in_range[mask].mean(),
        found.noise_factor,
    )
    worst = int(found.missed.argmax())
    log.info(
        "what the voxels share beside the model, and what does not count against them: at most %.0f %% of the fit, at "
        "%.3f 1/Å",
        *(100 * found.missed[worst], found.refined.model.q[worst]),
    )
    if found.in_range[mask].mean() < 0.5:
        log.warning(
            "most voxels are unlike the library: are all phases in the set, with the structures that they have here, "
            "and their ranges wide enough?"
        )
    known = facts["library"]["broadening"]
    if found.widest > MUCH * max(known, LEAST):
        log.warning(
            "parallax widens lines by up to %.2g of q, the networks learned %.2g: set pqnet.library.broadening to %.2g",
            *(found.widest, known, found.widest),
        )


def to_dataset(found, ensemble, volume):
    """The store's form: values, calibrated standard deviations, and what these are made of."""
    targets, prediction = list(ensemble.scaling.targets), found.prediction
    parts = {"": prediction.values, "_std": prediction.bars, "_spread": prediction.spread, "_width": prediction.width}
    data = {
        f"{name}{suffix}": (("phase", "y", "x"), found.map_of(values, targets, name), {"units": UNITS[name]})
        for name in ("scale", "a", "b", "c")
        for suffix, values in parts.items()
    }
    data |= {
        "level": (("y", "x"), found.refined.image(prediction.level), {"units": "counts"}),
        "in_range": (("y", "x"), found.answers_in_range, {"units": "1"}),
        "mask": (("y", "x"), found.refined.mask, {"units": "1"}),
    }
    return xr.Dataset(
        data,
        coords=map_coords(found.refined, volume),
        attrs={
            "source": "pqnet",
            "voxel_mm": volume.attrs["voxel_mm"],
            "noise_factor": found.noise_factor,
            "warnings": found.biased,
        },
    )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(snakemake.threads)
    with logbook(snakemake.log[0]):
        main(dict(snakemake.input.items()), dict(snakemake.output.items()), **json.loads(snakemake.params.cfg))

"""sinogram.zarr to volume.zarr; the stage 'subset2' takes the lines of the second subset alone."""

import json
import logging

import numba
import numpy as np
import xarray as xr

from xrdct.geometry import pixel_centres
from xrdct.io.poni import read_poni
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook, progress
from xrdct.parallax import sample_radius
from xrdct.reconstruction.backend import OPTIONS, reconstruct_blocks
from xrdct.reconstruction.beam_sense import CLEAR, sense_of_parallax
from xrdct.reconstruction.parallax import METHODS, distance_and_wavelength, reconstruct_with_parallax
from xrdct.reconstruction.stopping import IMAGES, choose_iterations

log = logging.getLogger("xrdct.reconstruct")

SOME = 8
"""One of so many channels is enough to see where the sample ends."""


def main(sinogram_store, sinogram_manifest, store, manifest, *, settings, stage="first", geometry=None):
    sinogram = read_store(sinogram_store, "sinogram")
    if stage.startswith("subset"):
        sinogram = sinogram.isel(angle=sinogram.subset.values == int(stage.removeprefix("subset")))
    attrs = {}
    if settings["parallax"] == "off":
        volume = plain(sinogram, settings)
    else:
        volume, attrs = tilted(sinogram, settings, geometry)
    write_store(
        to_dataset(volume, sinogram, stage).assign_attrs(parallax=settings["parallax"], **attrs),
        store,
        manifest,
        kind="volume",
        settings=settings,
        inputs={"sinogram": manifest_digest(sinogram_manifest)},
    )


def plain(sinogram, settings):
    n_positions = sinogram.sizes["position"]
    # The sinogram stays on disk and is read in blocks of channels. The volume is the one large array in memory: in the
    # store it is cut along y and x, and each of its chunks holds all channels.
    volume = np.empty((n_positions, n_positions, sinogram.sizes["q"]), dtype=np.float32)
    blocks = reconstruct_blocks(
        sinogram.intensity,
        sinogram.angle.values,
        cor=sinogram.attrs["cor"] + sinogram.offset.values,
        method=method_of(settings),
        support=settings["support"],
        progress=progress("reconstruct", "step"),
        **chosen_options(settings),
    )
    for channels, block in blocks:
        volume[..., channels] = block
    return volume


def tilted(sinogram, settings, geometry):
    """The volume, and attributes that say how many iterations made it and why."""
    scan = {
        "q": sinogram.q.values,
        "cor": sinogram.attrs["cor"] + sinogram.offset.values,
        "step_mm": sinogram.attrs["step_mm"],
        **distance_and_wavelength(read_poni(geometry)),
    }
    angles, way = sinogram.angle.values, {key: settings[key] for key in ("method", "support", "nonnegative")}
    tell_field(sinogram, scan)
    tell_sense(sense_of_parallax(sinogram.intensity, angles, **scan))
    iterations, attrs = settings["iterations"], {}
    if iterations is None and settings["method"] in IMAGES:
        data = {"subset": sinogram.subset.values, "variance": sinogram.variance}
        chosen = choose_iterations(sinogram.intensity, angles, **scan, **way, **data)
        iterations = chosen.iterations
        attrs = {"held_out": json.dumps(chosen.held_out), "over_noise": json.dumps(chosen.over_noise)}
    volume = reconstruct_with_parallax(
        sinogram.intensity, angles, **scan, **way, iterations=iterations, progress=progress("reconstruct", "step")
    )
    return volume, {"iterations": iterations or METHODS[settings["method"]][1], **attrs}


def tell_field(sinogram, scan):
    """Whether anything lies outside the field, whose depth and parallax nobody knows."""
    total = sinogram.intensity[..., ::SOME].sum("q").values
    if sample_radius(total, scan["cor"], scan["step_mm"])[1]:
        log.warning(
            "the sample reaches beyond the field: what lies outside adds to all rays at depths that are not known; "
            "its lines stay where they are seen. Scan a wider field, or leave the rim of the maps out"
        )


def tell_sense(residual):
    """Whether the data agree with the direction in which the beam is taken to go."""
    log.info("residual of the strongest lines: %s", ", ".join(f"{v:.4f} {name}" for name, v in residual.items()))
    if residual["as calibrated"] > CLEAR * residual["reversed"]:
        log.warning(
            "the data fit better with the beam reversed: is the translation or the rotation counted the wrong way "
            "round (assemble.mirrored)? Parallax is doubled instead of removed"
        )
    elif residual["reversed"] <= CLEAR * residual["as calibrated"]:
        log.warning(
            "the data do not say which way the beam goes (what lies round about the axis shows no parallax): make sure "
            "that translation and rotation are counted as they should be (assemble.mirrored)"
        )


def method_of(settings):
    """A back-projection whose values shall not be negative is repeated."""
    return "refined_fbp" if settings["method"] == "fbp" and settings["nonnegative"] else settings["method"]


def chosen_options(settings):
    """The options that the method takes, without those left to its default."""
    named = {**settings, "weight": settings["tv_weight"]}
    return {name: named[name] for name in OPTIONS[method_of(settings)] if named[name] is not None}


def to_dataset(volume, sinogram, stage):
    """The store's form: local patterns [y, x, q], row 0 at the largest y, origin on the rotation axis."""
    axis = pixel_centres(volume.shape[0], sinogram.attrs["step_mm"])
    return xr.Dataset(
        {"intensity": (("y", "x", "q"), volume, {"units": "counts/voxel"})},
        coords={
            "y": ("y", axis[::-1], {"units": "mm"}),
            "x": ("x", axis, {"units": "mm"}),
            "q": ("q", sinogram.q.values, {"units": "1/angstrom"}),
        },
        attrs={"stage": stage, "voxel_mm": sinogram.attrs["step_mm"]},
    )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.store,
            snakemake.input.manifest,
            snakemake.output.store,
            snakemake.output.manifest,
            geometry=snakemake.input.get("geometry"),
            **json.loads(snakemake.params.cfg),
        )

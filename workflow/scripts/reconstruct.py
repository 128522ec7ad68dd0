"""sinogram.zarr to volume.zarr."""

import json
import logging

import xarray as xr

from xrdct.geometry import pixel_centres
from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook
from xrdct.reconstruction.fbp import fbp
from xrdct.reconstruction.operator import ParallelBeam

log = logging.getLogger("xrdct")


def main(sinogram_store, sinogram_manifest, store, manifest, *, method, filter):
    sinogram = read_store(sinogram_store, "sinogram")
    log.info("%s with filter %s on the CPU", method, filter)
    A = ParallelBeam(sinogram.angle.values, sinogram.sizes["position"], sinogram.attrs["cor"])
    volume = fbp(A, sinogram.intensity.values, filter=filter)
    write_store(
        to_dataset(volume, sinogram),
        store,
        manifest,
        kind="volume",
        settings={"method": method, "filter": filter},
        inputs={"sinogram": manifest_digest(sinogram_manifest)},
    )


def to_dataset(volume, sinogram):
    """The store's form: local patterns [y, x, q], row 0 at the largest y, origin on the rotation axis."""
    axis = pixel_centres(volume.shape[0], sinogram.attrs["step_mm"])
    return xr.Dataset(
        {"intensity": (("y", "x", "q"), volume, {"units": "counts/voxel"})},
        coords={
            "y": ("y", axis[::-1], {"units": "mm"}),
            "x": ("x", axis, {"units": "mm"}),
            "q": ("q", sinogram.q.values, {"units": "1/angstrom"}),
        },
        attrs={"stage": "first", "voxel_mm": sinogram.attrs["step_mm"]},
    )


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.store,
            snakemake.input.manifest,
            snakemake.output.store,
            snakemake.output.manifest,
            **json.loads(snakemake.params.cfg),
        )

"""volume.zarr to maps.zarr: the area and the centre of what stands in each q window."""

import json

import numpy as np
import xarray as xr

from xrdct.io.store import manifest_digest, read_store, write_store
from xrdct.logbook import logbook
from xrdct.windows import window_area


def main(volume_store, volume_manifest, store, manifest, *, windows, background):
    volume = read_store(volume_store, "volume")
    patterns, q = volume.intensity.values, volume.q.values
    maps = [window_area(patterns, q, q_min=w["q_min"], q_max=w["q_max"], background=background) for w in windows]
    area, centre = (np.array(part, dtype=np.float32) for part in zip(*maps, strict=True))
    dims = ("phase", "y", "x")
    dataset = xr.Dataset(
        {
            "area": (dims, area, {"units": "counts/voxel/angstrom"}),
            "q_centre": (dims, centre, {"units": "1/angstrom"}),
        },
        coords={
            "phase": ("phase", np.array([w["name"] for w in windows], dtype=np.dtypes.StringDType())),
            "q_min": ("phase", [w["q_min"] for w in windows], {"units": "1/angstrom"}),
            "q_max": ("phase", [w["q_max"] for w in windows], {"units": "1/angstrom"}),
            "y": volume.y,
            "x": volume.x,
        },
        attrs={"source": "windows"},
    )
    write_store(
        dataset,
        store,
        manifest,
        kind="maps",
        settings={"windows": windows, "background": background},
        inputs={"volume": manifest_digest(volume_manifest)},
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

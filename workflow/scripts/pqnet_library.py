"""Phase set and instrument profile to library.zarr: noisy patterns, and the parameters that made them."""

import json

import numba
import numpy as np
import torch
import xarray as xr

from xrdct.config import PhaseSetSettings, PqNet
from xrdct.io.profile import read_profile
from xrdct.io.store import write_store
from xrdct.logbook import logbook, progress
from xrdct.pqnet.library import BLOCK, stream_library
from xrdct.pqnet.noise import add_noise, draw_doses
from xrdct.pqnet.seeds import Purpose, torch_generator
from xrdct.pqnet.task import grid_of, make_task
from xrdct.provenance import file_sha256


def main(profile_file, store, manifest, *, phase_set, grid, settings):
    task = make_task(
        PhaseSetSettings.model_validate(phase_set),
        grid_of(**grid),
        read_profile(profile_file),
        PqNet.model_validate(settings),
    )
    write_store(
        to_dataset(task),
        store,
        manifest,
        kind="library",
        settings={"phase_set": phase_set, "grid": grid, **settings},
        inputs={"profile": file_sha256(profile_file)},
    )


def to_dataset(task):
    """The store's form."""
    n, seed = task.settings.library.patterns, task.settings.seed
    patterns, level = np.empty((n, task.model.q.size), np.float32), np.empty(n, np.float32)
    dose, parameters = np.empty(n, np.float32), np.empty((n, len(task.model.names)))
    blocks = progress("library", "block")(range(0, n, BLOCK))
    for first, library in zip(blocks, stream_library(task.model, task.recipe, n, seed=seed), strict=True):
        rows = slice(first, first + len(library))
        generator = torch_generator(Purpose.LIBRARY, seed, first)
        doses = draw_doses(len(library), task.noise.doses, generator)
        noisy, levels, _ = add_noise(
            torch.from_numpy(library.patterns), doses, kind=task.noise.kind, generator=generator
        )
        patterns[rows], level[rows], dose[rows], parameters[rows] = noisy, levels, doses, library.parameters
    names = np.array([" ".join(name) for name in task.model.names], dtype=np.dtypes.StringDType())
    return xr.Dataset(
        {
            "intensity": (("pattern", "q"), patterns, {"units": "counts"}),
            "parameters": (("pattern", "parameter"), parameters, {"units": "at dose 1; angstrom, 1/nm, 1/angstrom"}),
            "dose": ("pattern", dose, {"units": "counts"}),
            "level": ("pattern", level, {"units": "counts"}),
        },
        coords={"q": ("q", task.model.q, {"units": "1/angstrom"}), "parameter": ("parameter", names)},
    )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(snakemake.threads)
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.profile,
            snakemake.output.store,
            snakemake.output.manifest,
            **json.loads(snakemake.params.cfg),
        )

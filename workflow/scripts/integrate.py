"""Frames of one subset to patterns.zarr."""

import json
import logging

import numpy as np
import xarray as xr

from xrdct.errors import RawDataError
from xrdct.integration import Integrator, integrate_frames
from xrdct.io.frames import open_frames, read_image
from xrdct.io.poni import read_poni
from xrdct.io.store import write_store
from xrdct.logbook import logbook, progress
from xrdct.provenance import file_sha256, files_fingerprint

log = logging.getLogger("xrdct")


def main(poni_path, mask_path, store, manifest, *, file, dataset, n_projections, n_positions, counters, **settings):
    geometry = read_poni(poni_path)
    with open_frames(file, dataset) as frames:
        shape = (n_projections, n_positions)
        if frames.shape[0] != np.prod(shape):
            raise RawDataError(
                f"{file}: holds {frames.shape[0]} frames, but the table says n_projections × n_positions = "
                f"{n_projections} × {n_positions} = {np.prod(shape)}"
            )
        first = frames.read(0, 1)[0]
        integrator = make_integrator(geometry, mask_path, first, **settings)
        log.info("%d frames of %s px, q %.3f–%.3f 1/Å", frames.shape[0], first.shape, *integrator.bins.q[[0, -1]])
        patterns = integrate_frames(
            frames.read,
            frames.shape[0],
            integrator,
            max_bad_share=settings["settings"]["max_bad_frames"],
            progress=progress(f"integrate {file}", "block"),
        )
        values = {name: read_counter(frames, counter, shape) for name, counter in counters.items()}
        inputs = {
            "frames": frames.describe() | {"fingerprint": files_fingerprint(frames.files)},
            "geometry": file_sha256(poni_path),
        }
    write_store(
        to_dataset(patterns, values, shape),
        store,
        manifest,
        kind="patterns",
        settings={"counters": counters, **settings},
        inputs=inputs,
    )


def make_integrator(geometry, mask_path, first, *, polarization, settings):
    """The integrator for this detector: the given mask and whatever the first frame marks as no pixel (gaps)."""
    shape = tuple(geometry.detector.shape)
    mask = read_image(mask_path).astype(bool) if mask_path else np.zeros(shape, bool)
    if first.shape == mask.shape and np.issubdtype(first.dtype, np.signedinteger):
        mask = mask | (first < 0)
    axis = {key: settings[key] for key in ("q_min", "q_max", "n_bins", "trim", "saturation")}
    return Integrator(geometry, mask, polarization=polarization, **axis)


def read_counter(frames, name, shape):
    """A counter for every frame; NaN where none is named."""
    return np.full(shape, np.nan) if name is None else frames.values(name).reshape(shape)


def to_dataset(patterns, values, shape):
    """The store's form: dims line, point, q, in acquisition order."""
    dims, counts = ("line", "point"), {"units": "counts"}
    spectra = {name: getattr(patterns, name).reshape(*shape, -1) for name in ("intensity", "sem", "spottiness")}
    return xr.Dataset(
        {name: ((*dims, "q"), data, counts) for name, data in spectra.items()}
        | {
            "valid": (dims, patterns.valid.reshape(shape), {"units": "1"}),
            "monitor": (dims, values["monitor"], {"units": "arbitrary", "note": "NaN: not recorded"}),
            "omega": (dims, values["omega"], {"units": "degree", "note": "as recorded; NaN: not recorded"}),
            "translation": (dims, values["translation"], {"units": "mm", "note": "as recorded; NaN: not recorded"}),
        },
        coords={"q": ("q", patterns.q, {"units": "1/angstrom"})},
    )


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.poni,
            snakemake.input.mask,
            snakemake.output.store,
            snakemake.output.manifest,
            **json.loads(snakemake.params.cfg),
        )

"""Frames of one subset to patterns.zarr."""

import json
import logging
from itertools import chain
from pathlib import Path

import numpy as np

from xrdct.errors import RawDataError
from xrdct.integration import (
    SAFE_MEAN_COUNT,
    Integrator,
    check_bad_share,
    integrate_series,
    low_count_share,
    spans_of,
)
from xrdct.io.frames import ThreadLocal, open_frames, read_image
from xrdct.io.poni import read_poni
from xrdct.io.store import GrowingStore
from xrdct.kernels.patterns import valid_range
from xrdct.logbook import logbook, progress
from xrdct.provenance import canonical_json, file_sha256, files_fingerprint

log = logging.getLogger("xrdct")

OPTIONAL = {
    "transmitted": {"units": "arbitrary"},
    "epoch": {"units": "s", "note": "since 1970, by the beamline's clock"},
}
"""Counters that a store holds only where they are named, with their attributes."""


def main(
    poni_path,
    mask_path,
    store,
    manifest,
    *,
    file,
    dataset,
    n_projections,
    n_positions,
    counters,
    workers=1,
    code="",
    **settings,
):
    geometry = read_poni(poni_path)
    with open_frames(file, dataset) as frames:
        shape = (n_projections, n_positions)
        if frames.shape[0] != np.prod(shape):
            raise RawDataError(
                f"{file}: holds {frames.shape[0]} frames, but the table says n_projections × n_positions = "
                f"{n_projections} × {n_positions} = {np.prod(shape)}"
            )
        gaps = marked_everywhere(frames) if settings["settings"]["centred"] else None
        integrator = make_integrator(geometry, mask_path, gaps, **settings)
        log.info("%s, %d workers", integrator.description, workers)
        log.info("%d frames of %s px, q %.3f–%.3f 1/Å", frames.shape[0], integrator.shape, *integrator.q[[0, -1]])
        values = {name: read_counter(frames, counter, shape) for name, counter in counters.items()}
        values = {name: value for name, value in values.items() if name not in OPTIONAL or counters[name] is not None}
        inputs = {
            "frames": frames.describe() | {"fingerprint": files_fingerprint(frames.files)},
            "geometry": file_sha256(poni_path),
        }
        if mask_path:
            inputs["mask"] = file_sha256(mask_path)
        # File times belong to the key of an interrupted job only: what is repaired under the same name is read again.
        stamps = [path.stat().st_mtime_ns for path in map(Path, frames.files)]
        growing = GrowingStore(
            store,
            manifest,
            kind="patterns",
            **layout(integrator, shape, settings["settings"]["groups"], optional=OPTIONAL.keys() & values),
            settings={"counters": counters, **settings},
            inputs=inputs,
            key=canonical_json([shape, settings, inputs, counters, code, stamps]),
        )
        integrate_lines(frames, integrator, growing, values, workers=workers)
    try:
        check_bad_share(growing.read("valid").ravel(), max_bad_share=settings["settings"]["max_bad_frames"])
    except RawDataError:
        growing.discard()  # what could not be read now may be readable when the job is started again
        raise
    growing.finish()


def integrate_lines(frames, integrator, growing, values, *, workers):
    """Append blocks of lines to the growing store until it is whole."""
    n_lines, n_points = values["monitor"].shape
    if growing.done:
        log.info("going on after line %d of %d", growing.done, n_lines)
    low = [low_counts_of_block(growing, start) for start in range(0, growing.done, growing.block)]
    starts = range(growing.done, n_lines, growing.block)
    spans = [spans_of(a * n_points, min(a + growing.block, n_lines) * n_points, frames.frame_bytes) for a in starts]
    done = integrate_series(
        ThreadLocal(frames).read, list(chain.from_iterable(spans)), integrator, dtype=frames.dtype, workers=workers
    )
    with progress(f"integrate {frames.path}", "frame")(total=frames.shape[0], initial=growing.done * n_points) as bar:
        for start, block in zip(starts, spans, strict=True):
            parts = []
            for _ in block:
                parts.append(next(done))
                bar.update(len(parts[-1].kept))
            lines = slice(start, min(start + growing.block, n_lines))
            growing.append(to_rows(parts, values, lines))
            low.append(low_counts_of_block(growing, start))
    if np.mean(low) > 0.01 and integrator.trim:
        log.warning(
            "%.0f %% of all bins have fewer than %d counts per pixel: there a trimmed mean of Poisson counts lies more "
            "than 1 %% below the mean; consider a smaller integrate.trim, or estimator: mean",
            100 * np.mean(low),
            SAFE_MEAN_COUNT,
        )


def low_counts_of_block(growing, start):
    """Read back from the store, so that an interrupted job knows it of the blocks before too."""
    rows = slice(start, start + growing.block)
    return low_count_share(growing.read("intensity", rows) + growing.read("spottiness", rows))


def make_integrator(geometry, mask_path, gaps, *, polarization, settings):
    """The integrator for this detector; what the frames themselves mark as no pixel (gaps) needs no mask."""
    mask = read_image(mask_path).astype(bool) if mask_path else np.zeros(geometry.detector.shape, bool)
    options = {key: value for key, value in settings.items() if key != "max_bad_frames"}
    return Integrator(geometry, mask, polarization=polarization, gaps=gaps, **options)


def marked_everywhere(frames):
    """Pixels that the first, the middle and the last frame mark as invalid, (rows, columns); None if none is read."""
    n, seen = frames.shape[0], []
    for k in sorted({0, n // 2, n - 1}):
        try:
            frame = frames.read(k, k + 1)[0]
        except RawDataError:  # said where the whole series is read
            continue
        lowest, highest = valid_range(frame.dtype, None)
        seen.append(~((frame >= lowest) & (frame <= highest)))
    return np.logical_and.reduce(seen) if seen else None


def read_counter(frames, name, shape):
    """A counter for every frame; NaN where none is named."""
    return np.full(shape, np.nan) if name is None else frames.values(name).reshape(shape)


def layout(integrator, shape, n_groups, *, optional):
    """The store's form: dims line, point, q, in acquisition order."""
    dims, n_q = ("line", "point", "q"), integrator.q.size
    counts = {"units": "counts"}
    spectra = {
        "intensity": (np.float32, counts | {"note": "NaN: no usable pixel"}),
        "sem": (np.float32, counts),
        "spottiness": (np.float32, counts | {"note": "mean minus intensity"}),
        "kept": (np.int32, {"units": "1", "note": "pixels behind each value; 0: none"}),
    }
    frames = {
        "valid": (np.bool_, {"units": "1"}),
        "monitor": (np.float64, {"units": "arbitrary", "note": "NaN: not recorded"}),
        "omega": (np.float64, {"units": "degree", "note": "as recorded; NaN: not recorded"}),
        "translation": (np.float64, {"units": "mm", "note": "as recorded; NaN: not recorded"}),
    }
    frames |= {name: (np.float64, OPTIONAL[name]) for name in sorted(optional)}
    arrays = {name: (dims, (*shape, n_q), *rest) for name, rest in spectra.items()}
    arrays |= {name: (dims[:2], shape, *rest) for name, rest in frames.items()}
    if n_groups > 1:
        arrays["group_intensity"] = (("line", "point", "group", "q"), (*shape, n_groups, n_q), np.float32, counts)
    return {"arrays": arrays, "coords": {"q": ("q", integrator.q, {"units": "1/angstrom"})}, "attrs": {}}


def to_rows(parts, values, lines):
    """Patterns of consecutive spans as rows of the store."""
    n_points = values["monitor"].shape[1]
    names = ("intensity", "sem", "spottiness", "kept", "valid")
    rows = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    if parts[0].groups is not None:
        rows["group_intensity"] = np.concatenate([part.groups for part in parts])
    rows = {name: array.reshape(-1, n_points, *array.shape[1:]) for name, array in rows.items()}
    return rows | {name: array[lines] for name, array in values.items()}


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.poni,
            snakemake.input.mask,
            snakemake.output.store,
            snakemake.output.manifest,
            workers=snakemake.threads,
            code=snakemake.params.code,
            **json.loads(snakemake.params.cfg),
        )

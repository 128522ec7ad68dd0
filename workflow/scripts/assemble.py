"""patterns.zarr of all subsets to sinogram.zarr, and quality.json: what was found on the way, and what was changed."""

import json
import logging

import numpy as np
import xarray as xr

from xrdct.alignment import find_alignment, find_strangers, find_zigzag
from xrdct.errors import GeometryError, RawDataError
from xrdct.geometry import nominal_positions
from xrdct.io.store import manifest_digest, read_store, write_json, write_store
from xrdct.logbook import logbook
from xrdct.quality import quality_sheet
from xrdct.sinogram import SubsetPatterns, aligned, columns_from_translation, merge_subsets, repair, subtract_air

UNDECIDED = 1.3
"""Noise alone makes one of the two ways of reading a scan fit better by a tenth or two."""

log = logging.getLogger("xrdct.assemble")


def main(pattern_stores, pattern_manifests, store, manifest, quality, *, subsets, settings):
    opened = [read_store(path, "patterns") for path in pattern_stores]
    for path, data in zip(pattern_stores, opened, strict=True):
        refuse_partial_records(path, data)
    q, inside = opened[0].q.values, q_range(opened[0].q.values, settings["cor_q"])
    subsets = [row | {"zigzag": way} for row, way in zip(subsets, zigzag_of(opened, subsets, inside), strict=True)]
    sinogram = merge_subsets(
        [to_subset(data, row, opened, settings) for data, row in zip(opened, subsets, strict=True)]
    )
    sinogram = repair(sinogram, max_bad_share=settings["max_bad_share"])
    sinogram, air = subtract_air(sinogram, positions=settings["air_positions"])
    alignment, misfit = align(total(sinogram.intensity, inside), sinogram, settings)
    air /= alignment.factor[sinogram.subset - 1][:, None].astype(air.dtype)
    sinogram = aligned(sinogram, alignment)
    write_store(
        to_dataset(sinogram, air, q, alignment.cor, step=subsets[0]["step_mm"]),
        store,
        manifest,
        kind="sinogram",
        settings={"subsets": subsets, **settings},
        inputs={str(path): manifest_digest(path) for path in pattern_manifests},
    )
    write_json(quality_sheet(sinogram, alignment, misfit=misfit), quality)


def refuse_partial_records(path, data):
    """Angles and positions are recorded for every frame, or for none; a few that are missing must not go unseen."""
    for name in ("omega", "translation"):
        missing = np.isnan(data[name].values)
        if missing.any() and not missing.all():
            line, point = np.argwhere(missing)[0]
            raise RawDataError(
                f"{path}: {missing.sum()} of {missing.size} values of raw.{name} are missing (first: line {line}, "
                f"point {point}); set raw.{name} to null to take the table's"
            )


def q_range(q, limits):
    """Which bins are summed where only totals are looked at."""
    inside = np.ones(q.size, bool) if limits is None else (q >= limits[0]) & (q <= limits[1])
    if not inside.any():
        raise GeometryError(f"assemble.cor_q = {limits} holds no q bin ({q[0]:.3f}–{q[-1]:.3f} 1/Å)")
    return inside


def total(intensity, inside):
    """Sum over some q bins, leaving out those that the detector does not see."""
    return np.nansum(intensity[..., inside], axis=-1)


def zigzag_of(opened, subsets, inside):
    """'yes' or 'no' for every subset; where the table says 'auto' and no positions are recorded, from the frames."""
    unknown = [
        (data, row)
        for data, row in zip(opened, subsets, strict=True)
        if row["zigzag"] == "auto" and np.isnan(data.translation.values).any()
    ]
    if not unknown:
        return [row["zigzag"] for row in subsets]
    lines = [acquired_totals(data, inside) for data, _ in unknown]
    angles = [line_angles(data, row) for data, row in unknown]
    zigzag, times = find_zigzag(
        np.concatenate(lines), np.concatenate(angles), np.concatenate([np.arange(len(own)) for own in lines])
    )
    if times < UNDECIDED:
        raise RawDataError(
            "whether every second line was driven backwards cannot be seen in the frames; say zigzag = yes or no in "
            "the scan table"
        )
    log.info("zigzag: %s, seen in the frames (the other way fits %.3g times worse)", "yes" if zigzag else "no", times)
    return [("yes" if zigzag else "no") if row["zigzag"] == "auto" else row["zigzag"] for row in subsets]


def acquired_totals(data, inside):
    """Sums per frame in the order of acquisition, per monitor, without the mean of each line's two ends."""
    frames = total(data.intensity.values, inside)
    monitor = data.monitor.values
    frames = np.where(data.valid.values, frames / (1 if np.isnan(monitor).all() else monitor), np.nan)
    return frames - np.nanmean(frames[:, [0, -1]], axis=1, keepdims=True)


def line_angles(data, row):
    """Rotation of every line: as recorded where it was, else as the table says."""
    if np.isnan(data.omega.values).any():
        return row["angle_start_deg"] + np.arange(data.sizes["line"]) * row["angle_step_deg"]
    return data.omega.values.mean(axis=1)


def to_subset(data, row, all_subsets, settings):
    """One subset with its angles and positions: as recorded where they were, else as the table says."""
    n_lines, n_points = data.monitor.shape
    translation, monitor = data.translation.values, data.monitor.values
    if np.isnan(translation).any():
        columns = nominal_positions(n_lines, n_points, zigzag=row["zigzag"] == "yes")
    else:
        origin = min(float(np.median(other.translation.values.min(axis=1))) for other in all_subsets)
        columns = columns_from_translation(translation, step=row["step_mm"], origin=origin)
    if settings["mirrored"]:
        columns = n_points - 1 - columns
    return SubsetPatterns(
        intensity=data.intensity.values,
        variance=data.sem.values**2,
        columns=columns,
        angles=line_angles(data, row),
        monitor=np.ones((n_lines, n_points)) if np.isnan(monitor).all() else monitor,
        valid=data.valid.values,
    )


def align(projections, sinogram, settings):
    """Axis, play and drift of the scan, and how well subsets agree; a stranger is refused."""
    subset, direction = sinogram.subset, sinogram.direction
    if not settings["align"]:
        subset, direction = np.ones_like(subset), np.ones_like(direction)
    alignment = find_alignment(projections, sinogram.angles, subset, direction, cor=settings["cor"])
    log.info("%s", alignment)
    if not settings["align"]:
        n_subsets = sinogram.subset.max()
        return alignment.of_one_piece(n_subsets), np.full(n_subsets, np.nan)
    misfit, strange = find_strangers(projections, sinogram.angles, subset, direction, alignment)
    if strange.any():
        raise RawDataError(
            f"subset {', '.join(map(str, np.flatnonzero(strange) + 1))} does not belong to this scan: it differs from "
            f"the others by {100 * misfit[strange].max():.0f} % of what changes from angle to angle (another sample, "
            "or one that moved); take it out of the scan table, or set assemble.align to false"
        )
    return alignment, misfit


def to_dataset(sinogram, air, q, cor, *, step):
    """The store's form: angles ascending, positions in mm from the mean place of the rotation axis."""
    n_positions = sinogram.intensity.shape[1]
    dims, counts = ("angle", "position", "q"), {"units": "counts"}
    return xr.Dataset(
        {
            "intensity": (dims, sinogram.intensity, counts),
            "variance": (dims, sinogram.variance, {"units": "counts^2"}),
            "air": (("angle", "q"), air, counts),
            "repaired": (dims[:2], sinogram.repaired, {"units": "1"}),
            "subset": (("angle",), sinogram.subset, {"units": "1"}),
            "direction": (("angle",), sinogram.direction, {"units": "1"}),
            "offset": (("angle",), sinogram.offset, {"units": "pixel"}),
        },
        coords={
            "angle": ("angle", sinogram.angles, {"units": "degree"}),
            "position": ("position", (np.arange(n_positions) - cor) * step, {"units": "mm"}),
            "q": ("q", q, {"units": "1/angstrom"}),
        },
        attrs={"cor": cor, "cor_units": "pixel from the centre of the first column", "step_mm": step},
    )


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.stores,
            snakemake.input.manifests,
            snakemake.output.store,
            snakemake.output.manifest,
            snakemake.output.quality,
            **json.loads(snakemake.params.cfg),
        )

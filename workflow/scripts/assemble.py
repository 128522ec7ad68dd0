"""patterns.zarr of all subsets to sinogram.zarr, and quality.json: what was found on the way, and what was changed."""

import json
import logging
from dataclasses import replace

import numpy as np
import xarray as xr

from xrdct.air import find_air_positions, subtract_air
from xrdct.alignment import Alignment, find_alignment, find_strangers, find_zigzag
from xrdct.bad_frames import GOOD, KINDS, find_bad_frames
from xrdct.direct_beam import direct_transmission
from xrdct.errors import GeometryError, RawDataError
from xrdct.geometry import nominal_positions
from xrdct.io.store import manifest_digest, read_store, write_json, write_store
from xrdct.logbook import logbook, progress
from xrdct.quality import quality_sheet
from xrdct.repair import repair
from xrdct.sinogram import SubsetPatterns, aligned, columns_from_translation, merge_subsets
from xrdct.stripes import remove_stripes
from xrdct.zingers import remove_zingers

UNDECIDED = 1.3
"""Noise alone makes one of the two ways of reading a scan fit better by a tenth or two."""

MOST_UNEQUAL = 10.0
"""A beam that refills does not change tenfold between the subsets of a scan; an amplifier does."""

log = logging.getLogger("xrdct.assemble")


def main(pattern_stores, pattern_manifests, store, manifest, quality, *, subsets, settings):
    opened = [read_store(path, "patterns") for path in pattern_stores]
    for path, data in zip(pattern_stores, opened, strict=True):
        refuse_partial_records(path, data)
    refuse_unequal_monitors(pattern_stores, opened)
    q, inside = opened[0].q.values, q_range(opened[0].q.values, settings["cor_q"])
    subsets = [row | {"zigzag": way} for row, way in zip(subsets, zigzag_of(opened, subsets, inside), strict=True)]
    sinogram = merge_subsets(as_acquired(opened, subsets, settings))
    rough = rough_alignment(sinogram, inside, settings)
    sinogram = aligned(sinogram, rough)
    kind = find_bad_frames(sinogram.intensity, sinogram.variance, sinogram.angles, invalid=sinogram.repaired)
    sinogram = repair(replace(sinogram, repaired=kind != GOOD), max_bad_share=settings["max_bad_share"])
    tell_of_repair(sinogram, kind)
    positions = air_positions(sinogram, settings)
    transmission = transmission_of(sinogram, positions)
    sinogram, air = subtract_air(sinogram, positions=positions, transmission=transmission)
    alignment, misfit = align(total(sinogram.intensity, inside), sinogram, settings)
    air /= alignment.factor[sinogram.subset - 1][:, None].astype(air.dtype)
    sinogram = aligned(sinogram, alignment)
    groups = assembled_groups(
        lambda k: aligned(merge_subsets(as_acquired(opened, subsets, settings, group=k)), rough),
        opened[0].sizes.get("group", 0),
        bad=kind != GOOD,
        positions=positions,
        transmission=transmission,
        alignment=alignment,
        settings=settings,
    )
    alignment = replace(alignment, factor=alignment.factor * rough.factor)
    log.info("%s", alignment)
    zingers = clean(sinogram, settings)
    write_store(
        to_dataset(
            sinogram,
            air,
            kind,
            zingers,
            q,
            alignment.cor,
            step=subsets[0]["step_mm"],
            transmission=transmission,
            groups=groups,
        ),
        store,
        manifest,
        kind="sinogram",
        settings={"subsets": subsets, **settings},
        inputs={str(path): manifest_digest(path) for path in pattern_manifests},
    )
    write_json(quality_sheet(sinogram, alignment, misfit=misfit, kind=kind, zingers=zingers), quality)


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


def refuse_unequal_monitors(paths, opened):
    """One counter at one gain for the whole scan: subsets are brought to one intensity by it."""
    means = np.array([positive_mean(data.monitor.values) for data in opened])
    recorded = np.isfinite(means)
    if recorded.any() and not recorded.all():
        raise RawDataError(
            f"{paths[int(recorded.argmin())]}: no monitor reading above 0, other subsets have one; "
            "check raw.monitor, or set it to null"
        )
    if recorded.all() and means.max() > MOST_UNEQUAL * means.min():
        raise RawDataError(
            f"the monitor reads {means.max():.3g} on average in {paths[int(means.argmax())]} and {means.min():.3g} in "
            f"{paths[int(means.argmin())]}: another counter, or another gain; set raw.monitor to null"
        )


def positive_mean(monitor):
    """Mean of the readings above 0; NaN without any."""
    usable = monitor[np.isfinite(monitor) & (monitor > 0)]
    return usable.mean() if usable.size else np.nan


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
    frames = total(read_once(data.intensity), inside)
    monitor = data.monitor.values
    frames = np.where(data.valid.values, frames / (1 if np.isnan(monitor).all() else monitor), np.nan)
    return frames - np.nanmean(frames[:, [0, -1]], axis=1, keepdims=True)


def line_angles(data, row):
    """Rotation of every line: as recorded where it was, else as the table says."""
    if np.isnan(data.omega.values).any():
        return row["angle_start_deg"] + np.arange(data.sizes["line"]) * row["angle_step_deg"]
    return data.omega.values.mean(axis=1)


def as_acquired(opened, subsets, settings, *, group=None):
    """The subsets of a scan, or those of one group of pixels."""
    return [to_subset(data, row, opened, settings, group) for data, row in zip(opened, subsets, strict=True)]


def to_subset(data, row, all_subsets, settings, group):
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
    whole = group is None
    variance = read_once(data.sem) ** 2
    return SubsetPatterns(
        intensity=read_once(data.intensity if whole else data.group_intensity.isel(group=group)),
        # A group has its share of the pixels, and so of the counts.
        variance=variance if whole else variance * data.sizes["group"],
        columns=columns,
        angles=line_angles(data, row),
        monitor=np.ones((n_lines, n_points)) if np.isnan(monitor).all() else monitor,
        valid=data.valid.values,
        transmitted=data.transmitted.values if "transmitted" in data else None,
    )


def read_once(values):
    """An array of a store that is not kept in memory: xarray would hold every one that was looked at."""
    return values.copy(deep=False).values


def rough_alignment(sinogram, inside, settings):
    """How the subsets differ as far as it can be seen before bad frames are known: lines with many take no part."""
    n_subsets = int(sinogram.subset.max())
    if not settings["align"]:
        return Alignment.none(n_subsets)
    frames = np.where(sinogram.repaired, np.nan, total(sinogram.intensity, inside))
    frames -= np.nanmedian(frames[:, [0, -1]])
    return find_alignment(frames, sinogram.angles, sinogram.subset, sinogram.direction, cor=settings["cor"])


def tell_of_repair(sinogram, kind):
    """How much was interpolated, and what no frame has."""
    bad, marked = int((kind != GOOD).sum()), int(sinogram.repaired.sum())
    if marked:
        log.warning(
            "%d of %d frames are bad, %d lack some bins; interpolated from their neighbours",
            bad,
            kind.size,
            marked - bad,
        )
    unseen = int(np.isnan(sinogram.intensity[0, 0]).sum())
    if unseen:
        log.warning("%d of %d q bins are NaN in every frame and stay so", unseen, sinogram.intensity.shape[2])


def air_positions(sinogram, settings):
    """How many positions at either edge see air alone."""
    if settings["air_positions"] is not None:
        return settings["air_positions"]
    found = find_air_positions(sinogram)
    log.info("air: %d positions at either edge see no sample", found)
    return found


def transmission_of(sinogram, positions):
    """Measured transmission of every ray; None where the direct beam was not recorded."""
    if sinogram.transmitted is None:
        return None
    found = direct_transmission(sinogram.transmitted, positions=positions)
    log.info("transmission: measured, lowest %.1f %%", 100 * found.min())
    return found


def assembled_groups(merged, n_groups, *, bad, positions, transmission, alignment, settings):
    """Patterns of each group of pixels, [angle, position, group, q], treated as the whole was; None without groups.

    Every group goes its own way, down to the air that is taken from it: no count of one can reach another.
    """
    groups = None
    for k in progress("groups", "group")(range(n_groups)):
        part = repair(replace(merged(k), repaired=bad), max_bad_share=1.0)
        part, _ = subtract_air(part, positions=positions, transmission=transmission)
        part = aligned(part, alignment)
        clean(part, settings)
        if groups is None:
            groups = np.empty((*bad.shape, n_groups, part.intensity.shape[2]), np.float32)
        groups[:, :, k] = part.intensity
    return groups


def clean(sinogram, settings):
    """Zingers and stripes taken out in place, where the settings say so; how many zingers each frame had."""
    zingers = np.zeros(sinogram.repaired.shape, np.int32)
    if settings["zingers"]:
        zingers = remove_zingers(
            sinogram.intensity, sinogram.variance, sinogram.angles, progress=progress("zingers", "line")
        )
    if settings["stripe_width"]:
        remove_stripes(sinogram.intensity, width=settings["stripe_width"], progress=progress("stripes", "block"))
    return zingers


def align(projections, sinogram, settings):
    """Axis, play and drift of the scan, and how well subsets agree; a stranger is refused."""
    subset, direction = sinogram.subset, sinogram.direction
    if not settings["align"]:
        subset, direction = np.ones_like(subset), np.ones_like(direction)
    alignment = find_alignment(projections, sinogram.angles, subset, direction, cor=settings["cor"])
    if not settings["align"]:
        n_subsets = int(sinogram.subset.max())
        one_piece = Alignment.none(n_subsets)
        return replace(one_piece, cor=alignment.cor, cor_err=alignment.cor_err), np.full(n_subsets, np.nan)
    misfit, strange = find_strangers(projections, sinogram.angles, subset, direction, alignment)
    if strange.any():
        raise RawDataError(
            f"subset {', '.join(map(str, np.flatnonzero(strange) + 1))} does not belong to this scan: it differs from "
            f"the others by {100 * misfit[strange].max():.0f} % of what changes from angle to angle (another sample, "
            "or one that moved); take it out of the scan table, or set assemble.align to false"
        )
    return alignment, misfit


def to_dataset(sinogram, air, kind, zingers, q, cor, *, step, transmission, groups):
    """The store's form: angles ascending, positions in mm from the mean place of the rotation axis."""
    n_positions = sinogram.intensity.shape[1]
    dims, counts = ("angle", "position", "q"), {"units": "counts"}
    measured = {}
    if transmission is not None:
        measured["transmission"] = (dims[:2], transmission, {"units": "1"})
    if groups is not None:
        measured["group_intensity"] = ((*dims[:2], "group", "q"), groups, counts)
    return xr.Dataset(
        {
            "intensity": (dims, sinogram.intensity, counts),
            "variance": (dims, sinogram.variance, {"units": "counts^2"}),
            "air": (("angle", "q"), air, counts),
            "repaired": (dims[:2], sinogram.repaired, {"units": "1"}),
            "bad_frame": (
                dims[:2],
                kind,
                {"units": "1", "flag_values": list(range(len(KINDS))), "flag_meanings": " ".join(KINDS)},
            ),
            "zingers": (dims[:2], zingers, {"units": "1"}),
            "subset": (("angle",), sinogram.subset, {"units": "1"}),
            "direction": (("angle",), sinogram.direction, {"units": "1"}),
            "offset": (("angle",), sinogram.offset, {"units": "pixel"}),
            **measured,
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

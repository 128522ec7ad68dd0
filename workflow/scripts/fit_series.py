"""patterns.zarr of a point or line against time to phases and cells beside the cycler's voltage, and two tables.

By the fit or by the networks; torch is imported for these only.
"""

import csv
import json
import logging

import numba
import numpy as np

from xrdct.config import PhaseSetSettings
from xrdct.cycler import align, capacities, unknown
from xrdct.fit.advice import advise
from xrdct.fit.model import PatternModel
from xrdct.fit.phase_set import load_phase_set
from xrdct.fit.series import at_one_intensity, fit_series, series_dataset, usable_frames
from xrdct.io.cycler import read_cycler
from xrdct.io.profile import read_profile
from xrdct.io.store import manifest_digest, read_store, replaced_when_whole, write_store
from xrdct.logbook import logbook
from xrdct.provenance import file_sha256

log = logging.getLogger("xrdct.fit")

COLUMNS = (
    *("line", "time_s", "voltage_V", "current_A", "charge_Ah", "cycle", "phase", "weight_percent"),
    *("weight_percent_err", "a_angstrom", "a_err_angstrom", "c_angstrom", "c_err_angstrom"),
)

READING = ("maker", "columns", "zone", "log_start")
"""Settings of how the log is read."""


def main(inputs, outputs, *, phase_set, settings, series, ty_mm, step_mm):
    patterns = read_store(inputs["patterns"], "patterns")
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    model = PatternModel(phases, patterns.q.values, read_profile(inputs["profile"]))
    beam = patterns.transmitted if "transmitted" in patterns else patterns.monitor
    usable = usable_frames(patterns.intensity.values, patterns.monitor.values, patterns.valid.values)
    corrected = at_one_intensity(patterns.intensity.values, beam.values, usable)
    if series["source"] == "fit":
        found = fit_series(model, corrected, level=settings["level"], most=settings["max_iterations"])
        flags, biased = {}, []
        fits = found.points, found.lines
        tell(fits, [part.voxels.converged.mean() for part in fits], "settled")
        log.info("lines of all phases are wider by %.2g of their q: depth along the beam, or strain", found.widening)
    else:
        found, flags, biased = by_networks(inputs["model"], model, corrected, refined=series["source"] == "pqnet+fit")
    epoch = patterns.epoch.values
    electric, cycles = beside(inputs["log"], epoch.mean(axis=1), series)
    position = ty_mm + (step_mm or 0.0) * np.arange(epoch.shape[1])
    dataset = series_dataset(found, epoch, electric, position, least_mass=series["least_mass"]).assign(flags)
    warnings = advise(found.points, level=settings["level"] if series["source"] == "fit" else "full", variance=None)
    warnings = [*biased, *warnings]
    for warning in warnings:
        log.warning(warning)
    dataset.attrs |= {"source": series["source"], "widening": found.widening, "warnings": warnings}
    write_table(outputs["table"], COLUMNS, rows_of(dataset))
    write_table(
        outputs["capacity"],
        ("cycle", "charge_Ah", "discharge_Ah", "efficiency"),
        [(*map(plain, one), plain(one.efficiency)) for one in cycles],
    )
    write_store(
        dataset,
        outputs["store"],
        outputs["manifest"],
        kind="series",
        settings={"phase_set": phase_set, "settings": settings, "series": series},
        inputs={str(inputs["manifest"]): manifest_digest(inputs["manifest"])}
        | {name: file_sha256(inputs[name]) for name in ("log", "model") if inputs[name]},
    )


def beside(path, when, series):
    """The state of the cell at every line, and the capacities of the log's cycles."""
    if not path:
        return unknown(len(when)), []
    record = read_cycler(path, **{name: series[name] for name in READING})
    electric = align(record, when, offset_s=series["offset_s"])
    outside = int(np.isnan(electric.voltage_V).sum())
    if outside:
        log.warning("%d of %d lines were measured before the cycler's log begins or after it ends", outside, len(when))
    return electric, capacities(record)


def by_networks(path, model, patterns, *, refined):
    """What the networks say, whether frames and lines are in range, and what to warn of."""
    from xrdct.denoise.unet import best_device
    from xrdct.io.pqnet import read_ensemble
    from xrdct.pqnet.series import predict_series

    ensemble, _ = read_ensemble(path, q=model.q, phases=model.phases.names, device=best_device())
    found, points, lines, biased = predict_series(ensemble, model, patterns, refined=refined)
    fits = found.points, found.lines
    tell(fits, [points[found.points.mask].mean(), lines.mean()], "in range")
    if lines.mean() < 0.5:
        log.warning(
            "most lines are out of range: are all phases in the set, with the structures that they have here, and "
            "their ranges wide enough?"
        )
    units = {"units": "1"}
    flags = {"in_range": (("line", "point"), points, units), "line_in_range": (("line",), lines, units)}
    return found, flags, biased


def rows_of(dataset):
    """One row for every line and crystalline phase; times from the first line on."""
    start = float(dataset.line_time[0])
    phases = [k for k, density in enumerate(dataset.density.values) if np.isfinite(density)]
    for line in range(dataset.sizes["line"]):
        now = dataset.isel(line=line)
        cell = [float(now.line_time) - start, *(float(now[name]) for name in ("voltage", "current", "charge"))]
        for k in phases:
            one = now.isel(phase=k)
            weight = [100 * float(one[f"line_weight_fraction{kind}"]) for kind in ("", "_err")]
            edges = [float(one[f"line_{name}{kind}"]) for name in ("a", "c") for kind in ("", "_err")]
            yield (
                line + 1,
                *map(plain, cell),
                int(now.cycle),
                one.phase.item(),
                *map(plain, [*weight, *edges]),
            )


def plain(value):
    """A number as text, empty where there is none."""
    return "" if np.isnan(value) else f"{value:.7g}"


def write_table(path, columns, rows):
    with replaced_when_whole(path) as partial, open(partial, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def tell(fits, shares, how):
    """What a user wants to know before opening the figure."""
    for what, fit, share in zip(("frames", "lines"), fits, shares, strict=True):
        log.info(
            "%d of %d %s, %.1f %% %s; Rwp %.2f %% (median)",
            fit.mask.sum(),
            fit.mask.size,
            what,
            100 * share,
            how,
            100 * np.median(fit.voxels.rwp),
        )


if __name__ == "__main__":
    numba.set_num_threads(min(snakemake.threads, numba.config.NUMBA_NUM_THREADS))
    with logbook(snakemake.log[0]):
        main(
            dict(snakemake.input.items()),
            dict(snakemake.output.items()),
            **json.loads(snakemake.params.cfg),
        )

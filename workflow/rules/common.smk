"""Reads and validates configuration and table; paths that follow from a row."""

import os
import re
import sys
from functools import cache
from pathlib import Path

# The library of this very checkout, for this process and for every job, whatever else is installed: jobs in conda
# environments have no other, and the hashes of the code must be of the code that runs.
library = str(Path(workflow.basedir) / "workflow" / "src")
sys.path.insert(0, library)
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
)

from snakemake.exceptions import WorkflowError

from xrdct import config as settings
from xrdct.errors import XrdctError
from xrdct.io.frames import files_behind, raw_path, series_stamp
from xrdct.needs import (
    Extent,
    extent_of,
    memory_mib,
    memory_of_values,
    values_of_maps,
)
from xrdct.phases import structure_path
from xrdct.provenance import canonical_json, code_hash
from xrdct.scans import missing_subsets, read_scans, scan_names, subsets_of
from xrdct.series import read_series


report: "../report/workflow.rst"


config_file = Path(workflow.configfiles[0])
try:
    cfg = settings.validate(config, origin=str(config_file))
    has_series = cfg.series.table is not None
    scans = read_scans(config_file.parent / cfg.scans, may_be_empty=has_series)
    all_series = (
        read_series(config_file.parent / cfg.series.table) if has_series else []
    )
    missing = missing_subsets(scans, expected=cfg.raw.subsets_per_scan)
    if missing:
        raise XrdctError("\n".join(missing))
except XrdctError as error:
    raise WorkflowError(
        f"{error}\n(`xrdct check {config_file}` lists every problem at once)"
    ) from None

rows = {(row.scan, str(row.subset)): row for row in scans}
series_rows = {row.series: row for row in all_series}
nothing = "(?!)"  # matches no name


wildcard_constraints:
    scan="|".join(map(re.escape, scan_names(scans))) or nothing,
    series="|".join(map(re.escape, series_rows)) or nothing,
    subset=r"\d+",
    stage=r"first|corrected|denoised|dlsr|subset\d+",


def raw_file(name):
    """Path of a raw file that the configuration or the table names; it cannot lead out of raw.root."""
    try:
        return str(raw_path(cfg.raw.root, name))
    except XrdctError as error:
        raise WorkflowError(str(error)) from None


def script_hash(name):
    """Param function: hash of a stage's script and of the modules behind it.

    Worked out only where a job of the stage is looked at: on a cluster every job reads all rules anew.
    """
    path = Path(workflow.basedir) / "workflow" / "scripts" / f"{name}.py"
    once = cache(lambda: code_hash(path))
    return lambda wildcards: once()


def memory(rule):
    """Resource function: MiB for a job of a rule, by the size of its scan, and more at every further attempt."""

    def needed(wildcards, threads, attempt):
        extent = extent_of(subsets_of(scans, wildcards.scan), cfg.integrate.n_bins)
        return memory_mib(rule, extent, threads=threads) * attempt

    return needed


def memory_for(rule, n_values):
    """Resource function: MiB for a job that holds so many values, and more at every further attempt."""
    return lambda wildcards, attempt: memory_of_values(rule, n_values) * attempt


def minutes(most):
    """Resource function: the time after which a job is lost, and more at every further attempt."""
    return lambda wildcards, attempt: most * attempt


def frame_files(wildcards):
    """The file of the table's row and the files it links to: a change in any of them is a change of the frames."""
    row = rows[wildcards.scan, wildcards.subset]
    return files_behind(raw_file(row.file), row.dataset)


def frame_stamp(wildcards):
    """What changes when a file of a series is written again in place: the time of its folder does not."""
    return series_stamp(raw_file(rows[wildcards.scan, wildcards.subset].file))


def frames_of_series(row):
    """The file of a series and the files it links to."""
    return files_behind(raw_file(row.file), row.dataset)


def log_of_series(row):
    """The cycler's log of a series, if there is one."""
    return raw_file(row.log) if row.log else []


def series_memory(wildcards, threads):
    """MiB for a job of a series: as to integrate a scan, and its patterns some times over for the fit."""
    row = series_rows[wildcards.series]
    extent = Extent(
        row.n_repeats * row.n_positions, row.n_positions, cfg.integrate.n_bins
    )
    return memory_mib("series", extent, threads=threads)


def learning_figure():
    """The learning curves, where a network is trained or taken from elsewhere."""
    denoise = cfg.denoise
    if not denoise.steps and denoise.schedule == "shared" and denoise.model is None:
        return {}
    return {
        "learning": report(
            "results/{scan}/figures/learning.png",
            caption="../report/learning.rst",
            category="{scan}",
            labels={"figure": "9b learning curves"},
        )
    }


def final_stage():
    """The stage of the volume that maps and figures are made from."""
    if cfg.denoise.apply:
        return "denoised"
    return "corrected" if cfg.absorption.correct else "first"


def final_volume(suffix):
    """Store ('zarr') or manifest ('json') of the volume that maps and figures are made from."""
    return f"results/{{scan}}/reconstruct/{final_stage()}/volume.{suffix}"


def sinogram_before(stage, suffix):
    """Store or manifest of the sinogram that a stage's volume is reconstructed from."""
    corrected = stage == "corrected" or stage == "denoised" and cfg.absorption.correct
    return f"results/{{scan}}/{'absorption' if corrected else 'assemble'}/sinogram.{suffix}"


def sinogram_of_stage(suffix):
    """Input function: `sinogram_before` of the stage that is asked for."""
    return lambda wildcards: sinogram_before(wildcards.stage, suffix).format(
        scan=wildcards.scan
    )


def fitted(suffix):
    """Store or manifest of the maps of a stage's volume."""
    return f"results/{{scan}}/fit/{{stage}}/maps.{suffix}"


def networks_maps(name, suffix):
    """Store or manifest of a stage by the networks: their answers ('maps') or two steps of the fit ('refined')."""
    return f"results/{{scan}}/pqnet/{{stage}}/{name}.{suffix}"


def taken_maps(suffix):
    """Store or manifest of the maps of a stage that figures and the beamtime take, in the form of a fit."""
    if cfg.map_source() == "fit":
        return fitted(suffix)
    return networks_maps("refined", suffix)


def taken_answers(suffix):
    """Store or manifest of the answers to put in the place of `taken_maps`, where they are what is taken."""
    return [networks_maps("maps", suffix)] if cfg.map_source() == "pqnet" else []


def shown_maps(suffix, find):
    """Input function: `find(suffix)` (see `final_maps`) of the last stage; every other stage is shown by its fit."""

    def of_stage(wildcards):
        if wildcards.stage == final_stage():
            return expand(find(suffix), **wildcards)
        return [fitted(suffix).format(**wildcards)] if find is taken_maps else []

    return of_stage


def fitted_stages():
    """Stages whose maps are shown: before any correction (where there is a fit of it), and after all of them."""
    first = "fit" in cfg.map_sources() or cfg.absorption.correct
    stages = {"first"} if first else set()
    stages |= {"dlsr"} if cfg.reconstruct.parallax == "dlsr" else set()
    return sorted(stages | {final_stage()}) if cfg.fit.chosen() else []


def refined_stage():
    """The stage whose sinogram and volume a DLSR starts from."""
    return "corrected" if cfg.absorption.correct else "first"


def geometry_for_parallax():
    """The calibrated geometry, where reconstruction needs the distance."""
    return (
        [] if cfg.reconstruct.parallax == "off" else "results/calibrate/geometry.poni"
    )


def declared_span(scan):
    """Degrees that the table says one subset of a scan turns through."""
    first = subsets_of(scans, scan)[0]
    return abs(first.angle_step_deg) * first.n_projections


def way_with_parallax():
    """What correcting for absorption does about parallax: 'undo', 'widen' lines, or 'ignore' it."""
    if cfg.reconstruct.parallax != "off":
        return "undo"
    return "widen" if cfg.fit.parallax else "ignore"


def beamtime_scans():
    """What the table says of every scan as a whole."""
    columns = {"scan", "sample", "cycle", "state", "voltage_V"}
    return [
        subsets_of(scans, scan)[0].model_dump(mode="json", include=columns)
        for scan in scan_names(scans)
    ]


def final_maps(suffix, find):
    """Stores or manifests of every scan's maps of the last stage; `find` is `taken_maps` or `taken_answers`."""
    return expand(find(suffix), scan=scan_names(scans), stage=final_stage())


def beamtime_results():
    """What is made of all scans together."""
    unrolled = rules.draw_unrolled.output if cfg.beamtime.unroll else []
    return [*rules.draw_beamtime.output, *unrolled]


def subset_volumes(suffix):
    """Input function: the volumes of every subset of a scan alone."""
    return lambda wildcards: [
        f"results/{wildcards.scan}/reconstruct/subset{row.subset}/volume.{suffix}"
        for row in subsets_of(scans, wildcards.scan)
    ]


def structure_files():
    """The CIFs of the phase set that is fitted."""
    chosen = cfg.fit.chosen()
    return (
        [str(structure_path(phase.structure or phase.name)) for phase in chosen.phases]
        if chosen
        else []
    )


def subset_paths(pattern):
    """Input function: `pattern` for every subset of the scan."""
    return lambda wildcards: [
        str(pattern).format(scan=row.scan, subset=row.subset)
        for row in subsets_of(scans, wildcards.scan)
    ]


def every_manifest():
    """Manifests of all that the figures are made from.

    A job that fails loses what it made before, and Snakemake does not miss a file in the middle when the last ones are
    there: maps of other frames, or of another setting, would pass for up to date. So each is asked for by name. A store
    whose manifest stands may go, to save space.
    """
    of_subsets = expand(
        str(rules.integrate.output.manifest),
        zip,
        scan=[row.scan for row in scans],
        subset=[row.subset for row in scans],
    )
    of_scans = [rules.assemble.output.manifest, rules.map_windows.output.manifest]
    if cfg.absorption.correct:
        of_scans.append(rules.correct_absorption.output.sinogram_manifest)
    volumes = {final_stage(), *fitted_stages()} - {"dlsr"}
    if cfg.reconstruct.parallax == "dlsr":
        volumes.add(refined_stage())
    fits = set(fitted_stages())
    if "fit" not in cfg.map_sources():
        fits.discard(final_stage())
    answered = {final_stage()} if "pqnet" in cfg.map_sources() else set()
    of_scans += [
        path
        for pattern, stages in (
            ("results/{scan}/reconstruct/{stage}/volume.json", volumes),
            (fitted("json"), fits),
            (networks_maps("maps", "json"), answered),
        )
        for path in expand(pattern, stage=sorted(stages), allow_missing=True)
    ]
    of_series = [
        rules.integrate_series.output.manifest,
        rules.fit_series.output.manifest,
    ]
    return [
        *of_subsets,
        *expand([*map(str, of_scans)], scan=scan_names(scans)),
        *expand([*map(str, of_series)], series=series_rows),
        *([rules.gather_beamtime.output.manifest] if cfg.beamtime.apply else []),
    ]


def save_record():
    """Write down, beside the results, what they were made from and how long it took."""
    from xrdct.record import (
        record_run,
        write_record,
    )  # slow to import, and no job needs it

    record = record_run(
        cfg,
        scans,
        series=all_series,
        results="results",
        benchmarks="benchmarks",
        cores=workflow.cores if workflow.local_exec else None,
    )
    write_record(record, "results/run.json")


pqnet_folder = "models/" + (
    cfg.pqnet.model or (cfg.fit.chosen().name if cfg.fit.chosen() else "none")
)
pqnet_task = {
    "phase_set": cfg.fit.chosen() and cfg.fit.chosen().model_dump(mode="json"),
    "grid": cfg.integrate.model_dump(mode="json", include={"q_min", "q_max", "n_bins"}),
}


pqnet_patterns = cfg.pqnet.library.patterns * cfg.integrate.n_bins
pqnet_held_out = cfg.pqnet.held_out * cfg.integrate.n_bins


def mapped_values():
    """Values in the maps of all scans."""
    chosen = cfg.fit.chosen()
    return values_of_maps(
        scans, len(chosen.phases) + len(chosen.peaks) if chosen else 0
    )


def pqnet_library(output):
    """Inputs of a training that is shown a stored library, the paper's way."""
    if not cfg.pqnet.library.stored:
        return {}
    return {"library_manifest": output.manifest, "library": ancient(output.store)}

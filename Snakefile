"""A whole XRD-CT beamtime: raw frames to maps and a report. Start with `snakemake -n`."""

from snakemake.utils import min_version

min_version("9.14")

if not workflow.configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/integrate.smk"
include: "workflow/rules/assemble.smk"
include: "workflow/rules/reconstruct.smk"
include: "workflow/rules/parallax.smk"
include: "workflow/rules/windows.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/absorption.smk"
include: "workflow/rules/denoise.smk"
include: "workflow/rules/dlsr.smk"
include: "workflow/rules/pqnet.smk"
include: "workflow/rules/beamtime.smk"
include: "workflow/rules/series.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.calibrate.output.cake,
        expand(rules.draw_scan.output, scan=scan_names(scans)),
        expand(rules.diagnose_parallax.output.figure, scan=scan_names(scans)),
        rules.draw_overview.output if scans else [],
        expand(rules.draw_fit.output, scan=scan_names(scans), stage=fitted_stages()),
        expand(rules.draw_absorption.output, scan=scan_names(scans))
        if cfg.absorption.correct
        else [],
        expand(rules.draw_denoised.output, scan=scan_names(scans))
        if cfg.denoise.apply
        else [],
        expand(rules.draw_pqnet.output, scan=scan_names(scans), stage=final_stage())
        if cfg.maps.source == "all"
        else [],
        expand(rules.draw_subsets.output, scan=scan_names(scans))
        if cfg.reconstruct.each_subset
        else [],
        beamtime_results() if cfg.beamtime.apply else [],
        expand(rules.draw_series.output, series=series_rows),
        every_manifest(),


onsuccess:
    save_record()

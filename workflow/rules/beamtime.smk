"""The fits of all scans to one tree on a common grid, and the figures of a paper."""


rule gather_beamtime:
    input:
        manifests=final_maps("json", taken_maps),
        maps=ancient(final_maps("zarr", taken_maps)),
        answers_manifests=final_maps("json", taken_answers),
        answers=ancient(final_maps("zarr", taken_answers)),
        masks=[region.mask for region in cfg.beamtime.all_regions() if region.mask],
    output:
        store=directory("results/beamtime.zarr"),
        manifest="results/beamtime.json",
        table="results/evolution.csv",
    log:
        "logs/gather_beamtime.log",
    benchmark:
        "benchmarks/gather_beamtime.tsv"
    conda:
        "../../envs/core.yaml"
    resources:
        mem_mb=memory_for("gather_beamtime", mapped_values()),
        runtime=minutes(60),
    params:
        cfg=canonical_json(
            {
                "scans": beamtime_scans(),
                "settings": cfg.beamtime.model_dump(
                    mode="json", exclude={"apply", "unroll"}
                ),
            }
        ),
        code=script_hash("gather_beamtime"),
    message:
        "Putting all scans on one grid"
    script:
        "../scripts/gather_beamtime.py"


rule draw_beamtime:
    input:
        manifest=rules.gather_beamtime.output.manifest,
        store=ancient(rules.gather_beamtime.output.store),
    output:
        components=report(
            "results/figures/components.png",
            caption="../report/components.rst",
            category="Beamtime",
            labels={"figure": "components of all scans"},
        ),
        shares=report(
            "results/figures/shares.png",
            caption="../report/shares.rst",
            category="Beamtime",
            labels={"figure": "phases against voltage"},
        ),
        cells=report(
            "results/figures/cells.png",
            caption="../report/cells.rst",
            category="Beamtime",
            labels={"figure": "cells against voltage"},
        ),
        uncertainty=report(
            "results/figures/uncertainty.png",
            caption="../report/uncertainty.rst",
            category="Beamtime",
            labels={"figure": "how far to trust the maps"},
        ),
        regions=report(
            "results/figures/regions.png",
            caption="../report/regions.rst",
            category="Beamtime",
            labels={"figure": "regions"},
        ),
        vector=expand(
            "results/figures/{figure}.svg",
            figure=["components", "shares", "cells", "uncertainty", "regions"],
        ),
    log:
        "logs/draw_beamtime.log",
    benchmark:
        "benchmarks/draw_beamtime.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "groups": cfg.beamtime.model_dump(mode="json")["groups"],
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_beamtime"),
    message:
        "Drawing the beamtime"
    script:
        "../scripts/draw_beamtime.py"


rule draw_unrolled:
    input:
        manifest=rules.gather_beamtime.output.manifest,
        store=ancient(rules.gather_beamtime.output.store),
    output:
        image=report(
            "results/figures/unrolled.png",
            caption="../report/unrolled.rst",
            category="Beamtime",
            labels={"figure": "the cell unrolled"},
        ),
        vector="results/figures/unrolled.svg",
    log:
        "logs/draw_unrolled.log",
    benchmark:
        "benchmarks/draw_unrolled.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "unroll": cfg.beamtime.unroll
                and cfg.beamtime.unroll.model_dump(mode="json"),
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_unrolled"),
    message:
        "Unrolling the cell"
    script:
        "../scripts/draw_unrolled.py"

"""Points and lines against time: frames to patterns, phases and cells beside the cycler's voltage, figures."""


rule integrate_series:
    input:
        frames=lambda wildcards: frames_of_series(series_rows[wildcards.series]),
        poni=rules.calibrate.output.poni,
        mask=raw_file(cfg.detector.mask) if cfg.detector.mask else [],
    output:
        store=directory("results/series/{series}/patterns.zarr"),
        manifest="results/series/{series}/patterns.json",
    log:
        "logs/series/{series}/integrate.log",
    benchmark:
        "benchmarks/series/{series}/integrate_series.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=lambda wildcards, threads, attempt: series_memory(wildcards, threads)
        * attempt,
        runtime=minutes(600),
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "file": raw_file(series_rows[wildcards.series].file),
                "dataset": series_rows[wildcards.series].dataset,
                "n_projections": series_rows[wildcards.series].n_repeats,
                "n_positions": series_rows[wildcards.series].n_positions,
                "counters": cfg.raw.model_dump(
                    include={"monitor", "omega", "translation", "transmitted"}
                )
                | {"epoch": cfg.series.epoch},
                "polarization": cfg.beam.polarization,
                "settings": cfg.integrate.model_dump(mode="json", exclude={"groups"})
                | {"groups": 1},
            }
        ),
        frames=lambda wildcards: series_stamp(
            raw_file(series_rows[wildcards.series].file)
        ),
        code=script_hash("integrate"),
    message:
        "Integrating series {wildcards.series}"
    script:
        "../scripts/integrate.py"


rule fit_series:
    input:
        manifest=rules.integrate_series.output.manifest,
        patterns=ancient(rules.integrate_series.output.store),
        profile=rules.calibrate.output.profile,
        log=lambda wildcards: log_of_series(series_rows[wildcards.series]),
        model=rules.pqnet_join.output.model if cfg.series.source != "fit" else [],
        structures=structure_files(),
    output:
        store=directory("results/series/{series}/series.zarr"),
        manifest="results/series/{series}/series.json",
        table="results/series/{series}/series.csv",
        capacity="results/series/{series}/capacity.csv",
    log:
        "logs/series/{series}/fit.log",
    benchmark:
        "benchmarks/series/{series}/fit_series.tsv"
    conda:
        "../../envs/core.yaml" if cfg.series.source == "fit" else "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=lambda wildcards, threads, attempt: series_memory(wildcards, threads)
        * attempt,
        runtime=minutes(120),
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "settings": cfg.fit.model_dump(
                    mode="json", include={"level", "max_iterations"}
                ),
                "series": cfg.series.model_dump(
                    mode="json", exclude={"table", "epoch", "groups"}
                ),
                "ty_mm": series_rows[wildcards.series].ty_mm,
                "step_mm": series_rows[wildcards.series].step_mm,
            }
        ),
        code=script_hash("fit_series"),
    message:
        "Fitting series {wildcards.series}"
    script:
        "../scripts/fit_series.py"


rule draw_series:
    input:
        manifest=rules.fit_series.output.manifest,
        store=ancient(rules.fit_series.output.store),
    output:
        evolution=report(
            "results/series/{series}/evolution.png",
            caption="../report/series.rst",
            category="Series",
            labels={"figure": "{series} against time"},
        ),
        vector="results/series/{series}/evolution.svg",
    log:
        "logs/series/{series}/draw.log",
    benchmark:
        "benchmarks/series/{series}/draw_series.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "groups": cfg.series.model_dump(mode="json")["groups"],
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_series"),
    message:
        "Drawing series {wildcards.series}"
    script:
        "../scripts/draw_series.py"

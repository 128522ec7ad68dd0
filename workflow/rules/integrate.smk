"""Raw frames to patterns, one job per subset."""


rule integrate:
    input:
        frames=frame_files,
        poni=rules.calibrate.output.poni,
        mask=raw_file(cfg.detector.mask) if cfg.detector.mask else [],
    output:
        store=directory("results/{scan}/integrate/{subset}/patterns.zarr"),
        manifest="results/{scan}/integrate/{subset}/patterns.json",
    log:
        "logs/{scan}/integrate_{subset}.log",
    benchmark:
        "benchmarks/{scan}/integrate_{subset}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 8
    resources:
        mem_mb=memory("integrate"),
        runtime=minutes(600),
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "file": raw_file(rows[wildcards.scan, wildcards.subset].file),
                "dataset": rows[wildcards.scan, wildcards.subset].dataset,
                "n_projections": rows[wildcards.scan, wildcards.subset].n_projections,
                "n_positions": rows[wildcards.scan, wildcards.subset].n_positions,
                "counters": cfg.raw.model_dump(
                    include={"monitor", "omega", "translation", "transmitted"}
                ),
                "polarization": cfg.beam.polarization,
                "settings": cfg.integrate.model_dump(mode="json"),
            }
        ),
        frames=frame_stamp,
        code=script_hash("integrate"),
    message:
        "Integrating {wildcards.scan}, subset {wildcards.subset}"
    script:
        "../scripts/integrate.py"

"""Patterns of all subsets to one sinogram."""


rule assemble:
    input:
        manifests=subset_paths(rules.integrate.output.manifest),
        stores=ancient(subset_paths(rules.integrate.output.store)),
    output:
        store=directory("results/{scan}/assemble/sinogram.zarr"),
        manifest="results/{scan}/assemble/sinogram.json",
        quality="results/{scan}/assemble/quality.json",
    log:
        "logs/{scan}/assemble.log",
    benchmark:
        "benchmarks/{scan}/assemble.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory("assemble"),
        runtime=minutes(60),
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "subsets": [
                    row.model_dump(
                        mode="json",
                        include={
                            "angle_start_deg",
                            "angle_step_deg",
                            "step_mm",
                            "zigzag",
                        },
                    )
                    for row in subsets_of(scans, wildcards.scan)
                ],
                "settings": cfg.assemble.model_dump(mode="json"),
            }
        ),
        code=script_hash("assemble"),
    message:
        "Assembling the sinogram of {wildcards.scan}"
    script:
        "../scripts/assemble.py"

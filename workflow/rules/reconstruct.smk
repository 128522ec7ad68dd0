"""Sinogram to one pattern per voxel."""


rule reconstruct:
    input:
        manifest=rules.assemble.output.manifest,
        store=ancient(rules.assemble.output.store),
    output:
        store=directory("results/{scan}/reconstruct/volume.zarr"),
        manifest="results/{scan}/reconstruct/volume.json",
    log:
        "logs/{scan}/reconstruct.log",
    benchmark:
        "benchmarks/{scan}/reconstruct.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=lambda wildcards, attempt: 12000 * attempt,
        runtime=240,
    params:
        cfg=canonical_json(cfg.reconstruct),
        code=script_hash("reconstruct"),
    message:
        "Reconstructing {wildcards.scan}"
    script:
        "../scripts/reconstruct.py"

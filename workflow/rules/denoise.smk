"""Sinogram with independent parts to a denoised volume, by Noise2Inverse."""


rule denoise:
    input:
        manifest=sinogram_before("denoised", "json"),
        store=ancient(sinogram_before("denoised", "zarr")),
        model=raw_file(cfg.denoise.model) if cfg.denoise.model else [],
    output:
        store=directory("results/{scan}/reconstruct/denoised/volume.zarr"),
        manifest="results/{scan}/reconstruct/denoised/volume.json",
        curves="results/{scan}/denoise/learning.json",
    log:
        "logs/{scan}/denoise.log",
    benchmark:
        "benchmarks/{scan}/denoise.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=memory("denoise"),
        runtime=minutes(600),
    params:
        # Trained in minutes or hours, and useful to other scans: it stays when the volume is made again.
        network="results/{scan}/denoise/network.pt",
        cfg=canonical_json(cfg.denoise.model_dump(mode="json", exclude={"apply"})),
        code=script_hash("denoise"),
    message:
        "Denoising {wildcards.scan}"
    script:
        "../scripts/denoise.py"

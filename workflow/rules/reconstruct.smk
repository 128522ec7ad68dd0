"""Sinogram to one pattern per voxel."""


rule reconstruct:
    input:
        manifest=sinogram_of_stage("json"),
        store=ancient(sinogram_of_stage("zarr")),
        geometry=geometry_for_parallax(),
    output:
        store=directory("results/{scan}/reconstruct/{stage}/volume.zarr"),
        manifest="results/{scan}/reconstruct/{stage}/volume.json",
    log:
        "logs/{scan}/reconstruct_{stage}.log",
    benchmark:
        "benchmarks/{scan}/reconstruct_{stage}.tsv"
    wildcard_constraints:
        stage=r"first|corrected|subset\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=memory("reconstruct"),
        runtime=minutes(240),
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "stage": wildcards.stage,
                "settings": cfg.reconstruct.model_dump(
                    mode="json", exclude={"each_subset", "parallax"}
                )
                | {
                    "parallax": (
                        "off" if cfg.reconstruct.parallax == "off" else "linear"
                    )
                },
            }
        ),
        code=script_hash("reconstruct"),
    message:
        "Reconstructing {wildcards.scan}, {wildcards.stage}"
    script:
        "../scripts/reconstruct.py"

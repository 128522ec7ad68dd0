"""Volume to maps of phases, cells and their errors, by full-profile fit of every voxel."""


rule fit:
    input:
        volume_manifest="results/{scan}/reconstruct/{stage}/volume.json",
        volume=ancient("results/{scan}/reconstruct/{stage}/volume.zarr"),
        sinogram_manifest=sinogram_of_stage("json"),
        sinogram=ancient(sinogram_of_stage("zarr")),
        profile=rules.calibrate.output.profile,
        poni=rules.calibrate.output.poni,
        structures=structure_files(),
    output:
        store=directory(fitted("zarr")),
        manifest=fitted("json"),
    log:
        "logs/{scan}/fit_{stage}.log",
    benchmark:
        "benchmarks/{scan}/fit_{stage}.tsv"
    wildcard_constraints:
        stage=r"first|corrected|denoised|subset\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=memory("fit"),
        runtime=minutes(120),
    params:
        cfg=canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "settings": cfg.fit.model_dump(
                    mode="json", exclude={"preset", "phase_set"}
                ),
            }
        ),
        code=script_hash("fit"),
    message:
        "Fitting the {wildcards.stage} volume of {wildcards.scan}"
    script:
        "../scripts/fit.py"

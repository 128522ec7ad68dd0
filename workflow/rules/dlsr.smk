"""Maps fitted to the sinogram itself, with parallax, from the fit of the linear volume on."""


rule refine_dlsr:
    input:
        sinogram_manifest=sinogram_before(refined_stage(), "json"),
        sinogram=ancient(sinogram_before(refined_stage(), "zarr")),
        volume_manifest=f"results/{{scan}}/reconstruct/{refined_stage()}/volume.json",
        volume=ancient(f"results/{{scan}}/reconstruct/{refined_stage()}/volume.zarr"),
        profile=rules.calibrate.output.profile,
        geometry=rules.calibrate.output.poni,
        structures=structure_files(),
    output:
        store=directory(fitted("zarr").format(scan="{scan}", stage="dlsr")),
        manifest=fitted("json").format(scan="{scan}", stage="dlsr"),
    log:
        "logs/{scan}/refine_dlsr.log",
    benchmark:
        "benchmarks/{scan}/refine_dlsr.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 16
    resources:
        mem_mb=memory("refine_dlsr"),
        runtime=minutes(600),
    params:
        # Hours of steps are not lost with a killed job; removed when the maps are written.
        checkpoint="results/{scan}/dlsr/checkpoint.npz",
        cfg=canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "fit_settings": cfg.fit.model_dump(
                    mode="json", exclude={"preset", "phase_set"}
                ),
                "settings": cfg.dlsr.model_dump(mode="json"),
            }
        ),
        code=script_hash("refine_dlsr"),
    message:
        "Refining {wildcards.scan} against its sinogram"
    script:
        "../scripts/refine_dlsr.py"

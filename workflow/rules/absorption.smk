"""First fit to an attenuation map, and to a sinogram without self-absorption."""


rule correct_absorption:
    input:
        sinogram_manifest=rules.assemble.output.manifest,
        sinogram=ancient(rules.assemble.output.store),
        maps_manifest=fitted("json").format(scan="{scan}", stage="first"),
        maps=ancient(fitted("zarr").format(scan="{scan}", stage="first")),
        profile=rules.calibrate.output.profile,
        poni=rules.calibrate.output.poni,
        structures=structure_files(),
        mask=raw_file(cfg.detector.mask) if cfg.detector.mask else [],
        masks=[item.mask for item in cfg.absorption.extra if item.mask],
    output:
        attenuation=directory("results/{scan}/absorption/attenuation.zarr"),
        attenuation_manifest="results/{scan}/absorption/attenuation.json",
        sinogram=directory("results/{scan}/absorption/sinogram.zarr"),
        sinogram_manifest="results/{scan}/absorption/sinogram.json",
    log:
        "logs/{scan}/correct_absorption.log",
    benchmark:
        "benchmarks/{scan}/correct_absorption.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 16
    resources:
        mem_mb=memory("correct_absorption"),
        runtime=minutes(120),
    params:
        cfg=canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "energy_kev": cfg.beam.energy_kev,
                "parallax": way_with_parallax(),
                "nonnegative": cfg.reconstruct.nonnegative,
                "settings": cfg.absorption.model_dump(
                    mode="json", exclude={"correct"}
                ),
            }
        ),
        code=script_hash("correct_absorption"),
    message:
        "Correcting {wildcards.scan} for self-absorption"
    script:
        "../scripts/correct_absorption.py"

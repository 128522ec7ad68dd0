"""What the thickness of the sample does to its maps; a diagnosis for every scan."""


rule diagnose_parallax:
    input:
        manifest=rules.assemble.output.manifest,
        sinogram=ancient(rules.assemble.output.store),
        geometry=rules.calibrate.output.poni,
        profile=rules.calibrate.output.profile,
        structures=structure_files(),
    output:
        report="results/{scan}/parallax/parallax.json",
        figure=report(
            "results/{scan}/figures/parallax.png",
            caption="../report/parallax.rst",
            category="{scan}",
            labels={"figure": "1c parallax"},
        ),
    log:
        "logs/{scan}/diagnose_parallax.log",
    benchmark:
        "benchmarks/{scan}/diagnose_parallax.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=lambda wildcards: canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "windows": [
                    window.model_dump(mode="json") for window in cfg.windows.all()
                ],
                "declared_span": declared_span(wildcards.scan),
                "treated": cfg.reconstruct.parallax != "off",
            }
        ),
        code=script_hash("diagnose_parallax"),
    message:
        "Judging parallax in {wildcards.scan}"
    script:
        "../scripts/diagnose_parallax.py"

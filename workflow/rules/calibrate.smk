"""Calibrant frame to geometry and instrument profile, once per beamtime."""


rule calibrate:
    input:
        frame=raw_file(cfg.calibrate.frame),
        mask=raw_file(cfg.detector.mask) if cfg.detector.mask else [],
        poni=raw_file(cfg.calibrate.poni) if cfg.calibrate.poni else [],
    output:
        poni="results/calibrate/geometry.poni",
        profile="results/calibrate/profile.json",
        rings="results/calibrate/rings.tsv",
        cake=report(
            "results/calibrate/cake.png",
            caption="../report/calibration.rst",
            category="Calibration",
            labels={"figure": "rings and residuals"},
        ),
    log:
        "logs/calibrate.log",
    benchmark:
        "benchmarks/calibrate.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=minutes(30),
    params:
        cfg=canonical_json(
            {
                "dataset": cfg.calibrate.dataset,
                "calibrant": cfg.calibrate.calibrant,
                "energy_kev": cfg.beam.energy_kev,
                "polarization": cfg.beam.polarization,
                "detector": cfg.detector.model_dump(mode="json", exclude={"mask"}),
                "max_rms_deg": cfg.calibrate.max_rms_deg,
                "trim": cfg.integrate.trim,
            }
        ),
        code=script_hash("calibrate"),
    message:
        "Calibrating the geometry with {input.frame}"
    script:
        "../scripts/calibrate.py"

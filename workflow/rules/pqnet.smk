"""PQ-Net: networks trained on simulated patterns (once for all scans), then maps of every scan with their error bars."""


rule pqnet_library:
    input:
        profile=rules.calibrate.output.profile,
        structures=structure_files(),
    output:
        store=directory(f"{pqnet_folder}/library.zarr"),
        manifest=f"{pqnet_folder}/library.json",
    log:
        "logs/pqnet_library.log",
    benchmark:
        "benchmarks/pqnet_library.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    resources:
        mem_mb=memory_for("pqnet_library", pqnet_patterns),
        runtime=minutes(30),
    params:
        cfg=canonical_json(pqnet_task | {"settings": cfg.pqnet.of_member()}),
        code=script_hash("pqnet_library"),
    message:
        "Simulating patterns with known parameters"
    script:
        "../scripts/pqnet_library.py"


rule pqnet_train:
    input:
        **pqnet_library(rules.pqnet_library.output),
        profile=rules.calibrate.output.profile,
        structures=structure_files(),
    output:
        f"{pqnet_folder}/member{{member}}.pt",
    log:
        "logs/pqnet_train_{member}.log",
    benchmark:
        "benchmarks/pqnet_train_{member}.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 1
    resources:
        mem_mb=memory_for("pqnet_train", pqnet_patterns),
        runtime=minutes(240),
        gpu=cfg.pqnet.gpu,
        # Among the resources, because another folder is no reason to train again.
        cache=cfg.pqnet.cache or "",
    params:
        cfg=canonical_json(pqnet_task | {"settings": cfg.pqnet.of_member()}),
        code=script_hash("pqnet_train"),
    message:
        "Training network {wildcards.member}"
    script:
        "../scripts/pqnet_train.py"


rule pqnet_join:
    input:
        profile=rules.calibrate.output.profile,
        members=expand(str(rules.pqnet_train.output), member=range(cfg.pqnet.members)),
        structures=structure_files(),
    output:
        model=f"{pqnet_folder}/model.pt",
        numbers=f"{pqnet_folder}/card.json",
        card=report(
            f"{pqnet_folder}/card.md",
            caption="../report/pqnet_card.rst",
            category="Beamtime",
            labels={"figure": "model card of PQ-Net"},
        ),
    log:
        "logs/pqnet_join.log",
    benchmark:
        "benchmarks/pqnet_join.tsv"
    conda:
        "../../envs/gpu.yaml"
    threads: 4
    resources:
        mem_mb=memory_for("pqnet_join", pqnet_held_out),
        runtime=minutes(60),
        gpu=cfg.pqnet.gpu,
    params:
        cfg=canonical_json(pqnet_task | {"settings": cfg.pqnet.of_ensemble()}),
        code=script_hash("pqnet_join"),
    message:
        "Calibrating the error bars of the networks"
    script:
        "../scripts/pqnet_join.py"


rule pqnet_infer:
    input:
        model=rules.pqnet_join.output.model,
        volume_manifest="results/{scan}/reconstruct/{stage}/volume.json",
        volume=ancient("results/{scan}/reconstruct/{stage}/volume.zarr"),
        sinogram_manifest=sinogram_of_stage("json"),
        sinogram=ancient(sinogram_of_stage("zarr")),
        profile=rules.calibrate.output.profile,
        poni=rules.calibrate.output.poni,
        structures=structure_files(),
    output:
        maps=directory(networks_maps("maps", "zarr")),
        manifest=networks_maps("maps", "json"),
        refined=directory(networks_maps("refined", "zarr")),
        refined_manifest=networks_maps("refined", "json"),
    log:
        "logs/{scan}/pqnet_infer_{stage}.log",
    benchmark:
        "benchmarks/{scan}/pqnet_infer_{stage}.tsv"
    wildcard_constraints:
        stage=r"first|corrected|denoised|subset\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 16
    resources:
        mem_mb=memory("pqnet_infer"),
        runtime=minutes(60),
        gpu=cfg.pqnet.gpu,
    params:
        cfg=canonical_json(
            {
                "phase_set": pqnet_task["phase_set"],
                "mask_threshold": cfg.fit.mask_threshold,
                "parallax": cfg.fit.parallax,
            }
        ),
        code=script_hash("pqnet_infer"),
    message:
        "Asking the networks about the {wildcards.stage} volume of {wildcards.scan}"
    script:
        "../scripts/pqnet_infer.py"


rule draw_pqnet:
    input:
        manifest=rules.pqnet_infer.output.manifest,
        maps=ancient(rules.pqnet_infer.output.maps),
        refined_manifest=rules.pqnet_infer.output.refined_manifest,
        refined=ancient(rules.pqnet_infer.output.refined),
        fit_manifest=fitted("json"),
        fit=ancient(fitted("zarr")),
    output:
        figure=report(
            "results/{scan}/figures/pqnet_{stage}.png",
            caption="../report/pqnet.rst",
            category="{scan}",
            labels={"figure": "8 PQ-Net beside the fit, {stage}"},
        ),
        table=report(
            "results/{scan}/pqnet/{stage}/comparison.csv",
            caption="../report/pqnet_table.rst",
            category="{scan}",
            labels={"figure": "9 PQ-Net beside the fit, {stage}, table"},
        ),
    log:
        "logs/{scan}/draw_pqnet_{stage}.log",
    benchmark:
        "benchmarks/{scan}/draw_pqnet_{stage}.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json({"colormap": cfg.report.colormap}),
        code=script_hash("draw_pqnet"),
    message:
        "Drawing PQ-Net beside the fit of {wildcards.scan}"
    script:
        "../scripts/draw_pqnet.py"

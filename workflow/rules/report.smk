"""Figures of every scan and of the whole beamtime; `snakemake --report report.html` collects them."""


rule draw_scan:
    input:
        sinogram_manifest=rules.assemble.output.manifest,
        sinogram=ancient(rules.assemble.output.store),
        quality=ancient(rules.assemble.output.quality),
        volume_manifest=final_volume("json"),
        volume=ancient(final_volume("zarr")),
        maps_manifest=rules.map_windows.output.manifest,
        maps=ancient(rules.map_windows.output.store),
    output:
        sinogram=report(
            "results/{scan}/figures/sinogram.png",
            caption="../report/sinogram.rst",
            category="{scan}",
            labels={"figure": "1 sinogram"},
        ),
        quality=report(
            "results/{scan}/figures/quality.png",
            caption="../report/quality.rst",
            category="{scan}",
            labels={"figure": "1b quality of the data"},
        ),
        pattern=report(
            "results/{scan}/figures/mean_pattern.png",
            caption="../report/mean_pattern.rst",
            category="{scan}",
            labels={"figure": "2 mean pattern"},
        ),
        maps=report(
            "results/{scan}/figures/maps.png",
            caption="../report/maps.rst",
            category="{scan}",
            labels={"figure": "3 maps"},
        ),
    log:
        "logs/{scan}/draw_scan.log",
    benchmark:
        "benchmarks/{scan}/draw_scan.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(cfg.report),
        code=script_hash("draw_scan"),
    message:
        "Drawing the figures of {wildcards.scan}"
    script:
        "../scripts/draw_scan.py"


rule draw_subsets:
    input:
        manifests=subset_volumes("json"),
        volumes=ancient(subset_volumes("zarr")),
    output:
        report(
            "results/{scan}/figures/subsets.png",
            caption="../report/subsets.rst",
            category="{scan}",
            labels={"figure": "7 subsets alone"},
        ),
    log:
        "logs/{scan}/draw_subsets.log",
    benchmark:
        "benchmarks/{scan}/draw_subsets.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "windows": [
                    window.model_dump(mode="json") for window in cfg.windows.all()
                ],
                "background": cfg.windows.background,
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_subsets"),
    message:
        "Drawing the subsets of {wildcards.scan}"
    script:
        "../scripts/draw_subsets.py"


rule draw_fit:
    input:
        manifest=shown_maps("json", taken_maps),
        maps=ancient(shown_maps("zarr", taken_maps)),
        answers_manifest=shown_maps("json", taken_answers),
        answers=ancient(shown_maps("zarr", taken_answers)),
        structures=structure_files(),
    output:
        pattern=report(
            "results/{scan}/figures/fit_{stage}_pattern.png",
            caption="../report/fit_pattern.rst",
            category="{scan}",
            labels={"figure": "4 fit of the mean pattern, {stage}"},
        ),
        phases=report(
            "results/{scan}/figures/fit_{stage}_phases.png",
            caption="../report/fit_phases.rst",
            category="{scan}",
            labels={"figure": "5 phases, {stage}"},
        ),
        cells=report(
            "results/{scan}/figures/fit_{stage}_cells.png",
            caption="../report/fit_cells.rst",
            category="{scan}",
            labels={"figure": "6 cells, {stage}"},
        ),
    log:
        "logs/{scan}/draw_fit_{stage}.log",
    benchmark:
        "benchmarks/{scan}/draw_fit_{stage}.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "phase_set": cfg.fit.chosen()
                and cfg.fit.chosen().model_dump(mode="json"),
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_fit"),
    message:
        "Drawing the fit of {wildcards.scan}"
    script:
        "../scripts/draw_fit.py"


rule draw_absorption:
    input:
        manifest=rules.correct_absorption.output.attenuation_manifest,
        attenuation=ancient(rules.correct_absorption.output.attenuation),
    output:
        image=report(
            "results/{scan}/figures/absorption.png",
            caption="../report/absorption.rst",
            category="{scan}",
            labels={"figure": "8 self-absorption, before and after"},
        ),
        vector="results/{scan}/figures/absorption.svg",
    log:
        "logs/{scan}/draw_absorption.log",
    benchmark:
        "benchmarks/{scan}/draw_absorption.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json({"colormap": cfg.report.colormap}),
        code=script_hash("draw_absorption"),
    message:
        "Drawing the attenuation of {wildcards.scan}"
    script:
        "../scripts/draw_absorption.py"


rule draw_denoised:
    input:
        sinogram_manifest=sinogram_before("denoised", "json"),
        sinogram=ancient(sinogram_before("denoised", "zarr")),
        volume_manifest=rules.denoise.output.manifest,
        volume=ancient(rules.denoise.output.store),
        curves=rules.denoise.output.curves,
    output:
        **learning_figure(),
        denoised=report(
            "results/{scan}/figures/denoised.png",
            caption="../report/denoised.rst",
            category="{scan}",
            labels={"figure": "9 denoised"},
        ),
        vector="results/{scan}/figures/denoised.svg",
    log:
        "logs/{scan}/draw_denoised.log",
    benchmark:
        "benchmarks/{scan}/draw_denoised.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "windows": [
                    window.model_dump(mode="json") for window in cfg.windows.all()
                ],
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_denoised"),
    message:
        "Drawing what denoising did to {wildcards.scan}"
    script:
        "../scripts/draw_denoised.py"


rule draw_overview:
    input:
        manifests=expand(str(rules.map_windows.output.manifest), scan=scan_names(scans)),
        maps=ancient(
            expand(str(rules.map_windows.output.store), scan=scan_names(scans))
        ),
    output:
        report(
            "results/figures/overview.png",
            caption="../report/overview.rst",
            category="Beamtime",
            labels={"figure": "maps of all scans"},
        ),
    log:
        "logs/draw_overview.log",
    benchmark:
        "benchmarks/draw_overview.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    params:
        cfg=canonical_json(
            {
                "titles": [
                    subsets_of(scans, scan)[0].model_dump(
                        mode="json", include={"scan", "state", "voltage_V"}
                    )
                    for scan in scan_names(scans)
                ],
                "colormap": cfg.report.colormap,
            }
        ),
        code=script_hash("draw_overview"),
    message:
        "Drawing the maps of all scans side by side"
    script:
        "../scripts/draw_overview.py"

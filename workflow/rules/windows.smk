"""Volume to maps of the area in q windows."""


rule map_windows:
    input:
        manifest=final_volume("json"),
        store=ancient(final_volume("zarr")),
    output:
        store=directory("results/{scan}/windows/maps.zarr"),
        manifest="results/{scan}/windows/maps.json",
    log:
        "logs/{scan}/map_windows.log",
    benchmark:
        "benchmarks/{scan}/map_windows.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=memory("map_windows"),
        runtime=minutes(30),
    params:
        cfg=canonical_json(
            {
                "windows": [
                    window.model_dump(mode="json") for window in cfg.windows.all()
                ],
                "background": cfg.windows.background,
            }
        ),
        code=script_hash("map_windows"),
    message:
        "Mapping q windows of {wildcards.scan}"
    script:
        "../scripts/map_windows.py"

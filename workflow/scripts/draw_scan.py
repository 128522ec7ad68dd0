"""Figures of one scan: sinogram, quality of the data, mean pattern with the lines of the phases, maps."""

import json
from pathlib import Path

from xrdct.figures import draw_maps, draw_mean_pattern, draw_quality, draw_sinogram, save_figure
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.phases import line_list, read_structure


def main(inputs, outputs, *, phases, colormap):
    sinogram = read_store(inputs["sinogram"], "sinogram")
    save_figure(draw_sinogram(sinogram, colormap=colormap), outputs["sinogram"])
    sheet = json.loads(Path(inputs["quality"]).read_text(encoding="utf-8"))
    save_figure(draw_quality(sinogram, sheet), outputs["quality"])
    volume = read_store(inputs["volume"], "volume")
    limits = float(volume.q[0]), float(volume.q[-1])
    lines = {name: line_list(read_structure(name), *limits) for name in phases}
    save_figure(draw_mean_pattern(sinogram, volume, lines), outputs["pattern"])
    save_figure(draw_maps(read_store(inputs["maps"], "maps"), colormap=colormap), outputs["maps"])


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(dict(snakemake.input.items()), dict(snakemake.output.items()), **json.loads(snakemake.params.cfg))

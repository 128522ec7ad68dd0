"""Figures of a fit: the mean pattern with its fit, phase maps, cell maps."""

import json

from xrdct.config import PhaseSetSettings
from xrdct.figures import draw_cell_maps, draw_fit, draw_phase_maps, save_figure
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.store import read_store
from xrdct.logbook import logbook


def main(store, outputs, *, phase_set, colormap):
    maps = read_store(store, "fit")
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    save_figure(draw_fit(maps, {phase.name: phase.lines.q for phase in phases.phases}), outputs["pattern"])
    save_figure(draw_phase_maps(maps, colormap=colormap), outputs["phases"])
    save_figure(draw_cell_maps(maps, colormap=colormap) or draw_phase_maps(maps, colormap=colormap), outputs["cells"])


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(snakemake.input.maps, dict(snakemake.output.items()), **json.loads(snakemake.params.cfg))

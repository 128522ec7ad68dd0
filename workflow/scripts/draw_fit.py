"""Figures of a fit, or of what networks say: the mean pattern with its fit, phase maps, cell maps."""

import json

from xrdct.config import PhaseSetSettings
from xrdct.figures import draw_cell_maps, draw_fit, draw_phase_maps, save_figure
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.pqnet.answers import answers_as_fit


def main(store, outputs, *, phase_set, colormap, answers=None):
    maps = read_store(store, "fit")
    if answers is not None:
        maps = answers_as_fit(read_store(answers, "pqnet"), maps)
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    save_figure(draw_fit(maps, {phase.name: phase.lines.q for phase in phases.phases}), outputs["pattern"])
    save_figure(draw_phase_maps(maps, colormap=colormap), outputs["phases"])
    save_figure(draw_cell_maps(maps, colormap=colormap) or draw_phase_maps(maps, colormap=colormap), outputs["cells"])


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            *snakemake.input.maps,
            dict(snakemake.output.items()),
            **json.loads(snakemake.params.cfg),
            answers=next(iter(snakemake.input.answers), None),
        )

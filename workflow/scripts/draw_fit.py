"""Figures of a fit, or of what networks say: the mean pattern with its fit, phase maps, cell maps."""

import json

import numpy as np

from xrdct.config import PhaseSetSettings
from xrdct.figures import draw_cell_maps, draw_fit, draw_phase_maps, save_figure
from xrdct.fit.cells import line_positions
from xrdct.fit.phase_set import load_phase_set
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.pqnet.answers import answers_as_fit


def main(store, outputs, *, phase_set, colormap, answers=None):
    maps = read_store(store, "fit")
    if answers is not None:
        maps = answers_as_fit(read_store(answers, "pqnet"), maps)
    phases = load_phase_set(PhaseSetSettings.model_validate(phase_set))
    save_figure(draw_fit(maps, {phase.name: positions(phase, maps) for phase in phases.phases}), outputs["pattern"])
    save_figure(draw_phase_maps(maps, colormap=colormap), outputs["phases"])
    save_figure(draw_cell_maps(maps, colormap=colormap) or draw_phase_maps(maps, colormap=colormap), outputs["cells"])


def positions(phase, maps):
    """Lines of a phase in 1/Å, at its mean cell: that of every voxel by how much of the phase is in it."""
    one = maps.sel(phase=phase.name)
    weight = one.scale.clip(min=0).fillna(0)
    found = {name: float(one[name].weighted(weight).mean()) for name in phase.cell if name in one}
    cell = phase.cell | {name: value for name, value in found.items() if np.isfinite(value)}
    return line_positions(phase.lines.hkl, phase.system, cell)[0]


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            *snakemake.input.maps,
            dict(snakemake.output.items()),
            **json.loads(snakemake.params.cfg),
            answers=next(iter(snakemake.input.answers), None),
        )

"""Figure of attenuation, transmission, and phases before and after the correction."""

import json

from xrdct.absorption.picture import draw_absorption
from xrdct.figures_beamtime import save_both
from xrdct.io.store import read_store
from xrdct.logbook import logbook


def main(store, png, svg, *, colormap):
    save_both(draw_absorption(read_store(store, "attenuation"), colormap=colormap), png, svg)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.attenuation,
            snakemake.output.image,
            snakemake.output.vector,
            **json.loads(snakemake.params.cfg),
        )

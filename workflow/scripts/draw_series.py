"""Figure of a point or line against time."""

import json

from xrdct.figures_beamtime import save_both
from xrdct.figures_series import draw_series
from xrdct.io.store import read_store
from xrdct.logbook import logbook


def main(store, png, svg, *, groups, colormap):
    save_both(draw_series(read_store(store, "series").load(), groups, colormap=colormap), png, svg)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.store,
            snakemake.output.evolution,
            snakemake.output.vector,
            **json.loads(snakemake.params.cfg),
        )

"""Maps of PQ-Net, its two steps and the fit to one figure and one table."""

import json

from xrdct.figures import save_figure
from xrdct.io.store import read_store, replaced_when_whole
from xrdct.logbook import logbook
from xrdct.pqnet.comparison import compare, to_table
from xrdct.pqnet.picture import draw_comparison


def main(maps, refined, fit, figure, table, *, colormap):
    stores = read_store(maps, "pqnet"), read_store(refined, "fit"), read_store(fit, "fit")
    save_figure(draw_comparison(*stores, colormap=colormap), figure)
    with replaced_when_whole(table) as partial:
        partial.write_text(to_table(compare(*stores)), encoding="utf-8")


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.maps,
            snakemake.input.refined,
            snakemake.input.fit,
            snakemake.output.figure,
            snakemake.output.table,
            **json.loads(snakemake.params.cfg),
        )

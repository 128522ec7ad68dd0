"""Maps of PQ-Net, its two steps and the fit to one figure and one table."""

import json

from xrdct.figures import save_figure
from xrdct.io.store import read_store, write_json
from xrdct.logbook import logbook
from xrdct.pqnet.comparison import compare
from xrdct.pqnet.picture import draw_comparison


def main(maps, refined, fit, figure, table, *, colormap):
    stores = read_store(maps, "pqnet"), read_store(refined, "fit"), read_store(fit, "fit")
    save_figure(draw_comparison(*stores, colormap=colormap), figure)
    write_json({"compared with the fit": compare(*stores)}, table)


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

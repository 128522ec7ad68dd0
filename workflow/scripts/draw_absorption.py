"""Figure of attenuation, transmission, and phases before and after the correction."""

import json

from xrdct.absorption.picture import draw_absorption
from xrdct.figures import save_figure
from xrdct.io.store import read_store
from xrdct.logbook import logbook


def main(store, output, *, colormap):
    save_figure(draw_absorption(read_store(store, "attenuation"), colormap=colormap), output)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(snakemake.input.attenuation, snakemake.output[0], **json.loads(snakemake.params.cfg))

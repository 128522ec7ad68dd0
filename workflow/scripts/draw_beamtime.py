"""Figures of the beamtime's tree: components, shares and cells against voltage, uncertainty, regions."""

import json

from xrdct.figures_beamtime import draw_cells, draw_components, draw_regions, draw_shares, draw_uncertainty, save_both
from xrdct.io.tree import read_tree
from xrdct.logbook import logbook


def main(store, outputs, *, groups, colormap):
    tree = read_tree(store).load()
    figures = {
        "components": draw_components(tree, colormap=colormap),
        "shares": draw_shares(tree, groups),
        "cells": draw_cells(tree),
        "uncertainty": draw_uncertainty(tree, colormap=colormap),
        "regions": draw_regions(tree, colormap=colormap),
    }
    for name, figure in figures.items():
        save_both(figure, outputs[name], outputs[name].replace(".png", ".svg"))


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(snakemake.input.store, dict(snakemake.output.items()), **json.loads(snakemake.params.cfg))

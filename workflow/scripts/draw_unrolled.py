"""The cell of every scan with its windings straightened along the spiral of one foil."""

import json
import logging

import numpy as np

from xrdct.circle import find_casing
from xrdct.figures_beamtime import draw_unrolled, save_both, titles
from xrdct.io.tree import read_tree
from xrdct.logbook import logbook
from xrdct.unroll import find_spiral, straighten

log = logging.getLogger("xrdct.unroll")


def main(store, png, svg, *, unroll, colormap):
    tree = read_tree(store).load()
    scans = [tree["scans"][name].to_dataset() for name in tree.scan.values]
    step = tree.attrs["voxel_mm"]
    # The foils of all scans lie on one another: their mean has less noise.
    layer = sum(one.scale.sel(phase=unroll["layer"]).fillna(0) for one in scans) / len(scans)
    casing = sum(one.scale.sel(phase=unroll["casing"]).fillna(0) for one in scans)
    circle = find_casing(casing.values)
    spiral = find_spiral(
        layer.values,
        circle,
        pitch_px=[value / step for value in unroll["pitch_mm"]],
        radius_px=[value / step for value in unroll["radius_mm"]],
    )
    length, turns = step * spiral.along[-1], np.ptp(spiral.turns) / (2 * np.pi)
    log.info("%.2f turns of %.1f µm, %.2f mm of tape", turns, 1000 * step * spiral.pitch, length)
    phases = unroll["phases"] or [name for name in scans[0].phase.values.tolist() if name != unroll["casing"]]
    unrolled = {
        phase: {
            title: straighten(one.scale.sel(phase=phase).fillna(0).values, spiral)[0]
            for title, one in zip(titles(tree), scans, strict=True)
        }
        for phase in phases
    }
    along = straighten(layer.values, spiral)[1]
    x = layer.x.values[0] + spiral.columns * step
    y = layer.y.values[0] - spiral.rows * step
    figure = draw_unrolled(layer, (x, y), unrolled, along * step, spiral.pitch * step, colormap=colormap)
    save_both(figure, png, svg)


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(
            snakemake.input.store,
            snakemake.output.image,
            snakemake.output.vector,
            **json.loads(snakemake.params.cfg),
        )

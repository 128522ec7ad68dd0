"""Maps of all scans side by side: one row per scan, one column per window."""

import json

from xrdct.figures import draw_overview, save_figure
from xrdct.io.store import read_store
from xrdct.logbook import logbook


def main(maps_stores, output, *, titles, colormap):
    maps = [read_store(path, "maps") for path in maps_stores]
    save_figure(draw_overview(maps, [title_of(**title) for title in titles], colormap=colormap), output)


def title_of(*, scan, state, voltage_V):
    """'charged, 4.2 V' where the table says so, else the scan's name."""
    voltage = "" if voltage_V is None else f"{voltage_V:g} V"
    return ", ".join(part for part in (state, voltage) if part) or scan


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(snakemake.input.maps, snakemake.output[0], **json.loads(snakemake.params.cfg))

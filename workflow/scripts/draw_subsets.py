"""Window maps of every interlaced subset side by side: what changed during a scan."""

import json

import numpy as np
import xarray as xr

from xrdct.figures import draw_overview, save_figure
from xrdct.io.store import read_store
from xrdct.logbook import logbook
from xrdct.windows import window_area


def main(volumes, output, *, windows, background, colormap):
    maps = [window_maps(read_store(path, "volume"), windows, background) for path in volumes]
    titles = [f"subset {k}" for k in range(1, len(maps) + 1)]
    save_figure(draw_overview(maps, titles, colormap=colormap), output)


def window_maps(volume, windows, background):
    patterns, q = volume.intensity.values, volume.q.values
    areas = [window_area(patterns, q, q_min=w["q_min"], q_max=w["q_max"], background=background)[0] for w in windows]
    names = np.array([w["name"] for w in windows], dtype=np.dtypes.StringDType())
    return xr.Dataset(
        {"area": (("phase", "y", "x"), np.array(areas))}, coords={"phase": names, "y": volume.y, "x": volume.x}
    )


if __name__ == "__main__":
    with logbook(snakemake.log[0]):
        main(snakemake.input.volumes, snakemake.output[0], **json.loads(snakemake.params.cfg))

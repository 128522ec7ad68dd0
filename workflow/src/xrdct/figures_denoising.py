"""Picture of a denoised scan: what it was before, what it is now, and whether the difference is only noise."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .figures import colour, draw_map, new_figure
from .regions import TOP


def draw_denoising(maps: xr.Dataset, *, colormap: str) -> Figure:
    """One row per q window: before, after, their difference, and a line through the axis.

    Parameters
    ----------
    maps
        before, after and spread, dims (phase, y, x), counts per voxel and bin.
    colormap
        Name of a matplotlib colour map.
    """
    names = maps.phase.values.tolist()
    figure, axes = new_figure(13, 3.0 * len(names) + 0.3, rows=len(names), columns=4, widths=(1, 1, 1, 1.3))
    axes = axes.reshape(len(names), 4)
    for row, name in zip(axes, names, strict=True):
        one = maps.sel(phase=name)
        # One range for both, from what is left of the noise.
        limits = (min(0.0, float(np.nanpercentile(one.after, 0.5))), float(np.nanpercentile(one.after, TOP)))
        for axis, image in ((row[0], one.before), (row[1], one.after)):
            draw_map(figure, axis, image, colormap, limits=limits, label="counts per voxel and bin")
        difference = one.before - one.after
        width = float(np.nanpercentile(np.abs(difference), 99)) or 1.0
        draw_map(figure, row[2], difference, "RdBu_r", limits=(-width, width), label="counts per voxel and bin")
        _draw_line(row[3], one)
        row[0].set_ylabel(name, fontsize=9)
    for axis, title in zip(axes[0], ("before", "after", "difference", "along x through the axis"), strict=True):
        axis.set_title(title, fontsize=10)
    return figure


def _draw_line(axis, one):
    middle = one.sizes["y"] // 2
    x, after, error = one.x.values, one.after.values[middle], one.spread.values[middle]
    axis.plot(x, one.before.values[middle], color=colour(0), lw=0.8, label="before")
    axis.plot(x, after, color=colour(1), lw=1.2, label="after")
    axis.fill_between(x, after - error, after + error, color=colour(1), alpha=0.3, lw=0, label="± standard error")
    axis.set(xlabel="x (mm)", ylabel="counts per voxel and bin")
    axis.legend(frameon=False, fontsize=7)

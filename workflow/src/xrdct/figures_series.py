"""Pictures of points and lines against time: the cycler, phases and cells above one another on one axis of time."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from .evolution import top_of
from .figures import colour, new_figure

HOUR = 3600.0


def draw_series(series: xr.Dataset, groups: dict[str, list[str]], *, colormap: str) -> Figure:
    """Voltage and current, weight percent in each group, cells; for a line also every phase and cell along it.

    Parameters
    ----------
    series
        Opened store of the kind 'series'.
    groups
        Phases of one electrode by its name; empty: all crystalline phases together.
    """
    names = series.phase.values.tolist()
    crystalline = [name for name, density in zip(names, series.density.values, strict=True) if np.isfinite(density)]
    groups = groups or {"all phases": crystalline}
    cells = [
        (phase, name)
        for phase in crystalline
        for name in ("a", "c")
        if np.isfinite(series[f"line_{name}_err"].sel(phase=phase)).any()
    ]
    along = [(phase, "scale") for group in groups.values() for phase in group] + cells
    line = series.sizes["point"] > 1
    along = [one for one in along if line and np.isfinite(series[one[1]].sel(phase=one[0])).any()]
    heights = [1.6] + [2.0] * len(groups) + [1.2] * len(cells) + [1.0] * len(along)
    figure, axes = new_figure(8, sum(heights) + 0.8, rows=len(heights), heights=heights, sharex=True)
    panels = iter(np.atleast_1d(axes))
    hours = (series.line_time.values - np.nanmin(series.line_time.values)) / HOUR
    _draw_cycler(next(panels), hours, series)
    for title, phases in groups.items():
        _draw_weights(next(panels), hours, series, title, phases)
    for phase, name in cells:
        _draw_cell(next(panels), hours, series.sel(phase=phase), phase, name)
    for phase, name in along:
        _draw_along(figure, next(panels), hours, series.sel(phase=phase), name, colormap)
    axis = np.atleast_1d(axes)[-1]
    axis.set_xlabel("time since the first line (h)" if line else "time since the first frame (h)")
    return figure


def weight_percent(series: xr.Dataset, phases: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Weight percent of phases in their sum, and its error, each of shape (phase, line)."""
    weight, error = (series[f"line_weight_fraction{kind}"].sel(phase=phases).values for kind in ("", "_err"))
    total = np.nansum(weight, axis=0)
    scale = np.divide(100.0, total, out=np.full(total.shape, np.nan), where=total > 0)
    return weight * scale, error * scale


def _draw_cycler(axis, hours, series):
    if np.isnan(series.voltage.values).all():
        axis.text(0.5, 0.5, "no log of a cycler", ha="center", va="center", transform=axis.transAxes, color="0.4")
        axis.set_yticks([])
        return
    axis.plot(hours, series.voltage, color=colour(6), lw=1.3)
    axis.set_ylabel("voltage (V)", fontsize=8)
    other = axis.twinx()
    other.plot(hours, 1e3 * series.current, color=colour(1), lw=1, ls="--", drawstyle="steps-mid")
    other.set_ylabel("current (mA)", fontsize=8, color=colour(1))
    other.tick_params(labelsize=7, colors=colour(1))


def _draw_weights(axis, hours, series, title, phases):
    weights, errors = weight_percent(series, phases)
    for k, phase in enumerate(phases):
        axis.errorbar(
            hours, weights[k], errors[k], fmt=".-", ms=3, lw=0.8, elinewidth=0.5, color=colour(k), label=phase
        )
    if "line_in_range" in series:
        strange = hours[~series.line_in_range.values]
        if strange.size:
            axis.errorbar(strange, np.zeros(strange.size), fmt="kx", ms=4, label="out of range")
    axis.set_ylim(-3, 103)
    axis.set_ylabel(f"{title}\nweight %", fontsize=8)
    axis.grid(color="0.9", lw=0.5)
    axis.legend(frameon=False, fontsize=7, ncols=len(phases) + 1, loc="lower left", bbox_to_anchor=(0, 0.99))


def _draw_cell(axis, hours, one, phase, name):
    axis.errorbar(
        hours, one[f"line_{name}"], one[f"line_{name}_err"], fmt=".-", ms=3, lw=0.8, elinewidth=0.5, color=colour(0)
    )
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.set_ylabel(f"{phase}\n{name} (Å)", fontsize=8)
    axis.grid(color="0.9", lw=0.5)


def _draw_along(figure, axis, hours, one, name, colormap):
    """Position against time; beside the cell and where a frame was lost is white."""
    values = one[name].values
    seen = values[np.isfinite(values)]
    limits = (0, top_of(values) or 1.0) if name == "scale" else np.percentile(seen, [1, 99])
    drawn = axis.pcolormesh(
        hours, one.position, values.T, cmap=colormap, vmin=limits[0], vmax=limits[1], shading="nearest"
    )
    axis.set_ylabel(f"{one.phase.item()}\nmm", fontsize=8)
    # Beside its axis, whatever labels others have on the right.
    bar = figure.colorbar(drawn, cax=axis.inset_axes([1.01, 0, 0.015, 1]))
    bar.set_label("scale" if name == "scale" else f"{name} (Å)", fontsize=7)
    bar.ax.tick_params(labelsize=6)
    bar.ax.ticklabel_format(useOffset=False)

"""Pictures of the stores. Each function takes opened stores and returns a figure; nothing here changes a number."""

from pathlib import Path
from textwrap import wrap

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .io.store import replaced_when_whole

# Okabe & Ito's colours, told apart by colour-blind readers too (jfly.uni-koeln.de/color).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
SOURCES = {"pqnet": "PQ-Net", "pqnet+fit": "PQ-Net + two steps of the fit"}
"""Said above maps that no plain fit made."""


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a PNG, renamed into place when whole; no date inside, so that the same figure is the same file."""
    with replaced_when_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})


def draw_sinogram(sinogram: xr.Dataset, *, colormap: str) -> Figure:
    """The sum over q with repaired frames marked, and where each subset's angles lie."""
    figure, (image, subsets) = new_figure(9, 5.2, columns=2, widths=(6, 1), sharey=True)
    total = sinogram.intensity.sum("q").values
    extent = [*_edges(sinogram.position.values), *_edges(sinogram.angle.values)]
    drawn = image.imshow(total, extent=extent, origin="lower", aspect="auto", cmap=colormap, interpolation="nearest")
    figure.colorbar(drawn, ax=image, label="sum over q (counts, air subtracted)", pad=0.01)
    image.axvline(0, color="white", lw=0.8, ls=":")
    rows, columns = np.nonzero(sinogram.repaired.values)
    image.plot(sinogram.position.values[columns], sinogram.angle.values[rows], "r.", ms=3)
    note = f", {rows.size} repaired frames (red)" if rows.size else ""
    image.set(xlabel="position from the rotation axis (mm)", ylabel="angle (°)")
    image.set_title(f"{sinogram.sizes['angle']} projections, centre at {sinogram.attrs['cor']:.2f} px{note}")
    subset = sinogram.subset.values
    for k in np.unique(subset):
        subsets.plot(
            np.full((subset == k).sum(), k), sinogram.angle.values[subset == k], "_", ms=12, color=colour(k - 1)
        )
    subsets.set(xlabel="subset", xticks=np.unique(subset), xlim=(subset.min() - 0.7, subset.max() + 0.7))
    return figure


def draw_quality(sinogram: xr.Dataset, sheet: dict) -> Figure:
    """What assembly found: where each subset sees the axis, how strong it is, the air, and the bad frames by kind.

    Parameters
    ----------
    sinogram
        Opened store.
    sheet
        From `quality.quality_sheet`.
    """
    figure, (shift, factor, air, frames) = new_figure(9, 7, rows=2, columns=2)
    subsets = sheet["subsets"]
    numbers, half = [s["subset"] for s in subsets], (sheet["backlash"] or {"value": 0.0})["value"] / 2
    values, errors = ([s["shift"][key] for s in subsets] for key in ("value", "error"))
    ways = (("forward", half, ">"), ("backward", -half, "<")) if sheet["backlash"] else (("all lines", 0.0, "o"),)
    for k, (name, offset, marker) in enumerate(ways):
        shift.errorbar(
            numbers, np.add(values, offset), errors, fmt=marker, ms=5, color=colour(k), label=name, capsize=3
        )
    shift.axhline(0, color="0.7", lw=0.8, zorder=0)
    shift.set(xlabel="subset", ylabel="axis seen farther along (pixels)", xticks=numbers)
    shift.set_title(
        f"centre {_plus_minus(sheet['centre'], 3)} px, play {_plus_minus(sheet['backlash'], 3)} px", fontsize=9
    )
    shift.legend(frameon=False, fontsize=8)
    values, errors = ([s["factor"][key] for s in subsets] for key in ("value", "error"))
    factor.errorbar(numbers, values, errors, fmt="o", ms=5, color=colour(2), capsize=3)
    factor.axhline(1, color="0.7", lw=0.8, zorder=0)
    factor.set(xlabel="subset", ylabel="intensity of the subset, undone", xticks=numbers)
    strength = sinogram.air.mean("q").values
    for k in numbers:
        own = sinogram.subset.values == k
        air.plot(sinogram.angle.values[own], strength[own], ".", ms=4, color=colour(k - 1), label=f"subset {k}")
    air.set(xlabel="angle (°)", ylabel="air, mean over q (counts)")
    air.legend(frameon=False, fontsize=7, ncols=2)
    _draw_bad_frames(frames, sinogram, sheet)
    return figure


def _plus_minus(measured, digits):
    if measured is None or measured["value"] is None:
        return "none"
    return f"{measured['value']:.{digits}f} ± {measured['error']:.{digits}f}"


def _draw_bad_frames(axis, sinogram, sheet):
    kind = sinogram.bad_frame.values
    for k, (name, count) in enumerate(sheet["bad_frames"].items()):
        number = sinogram.bad_frame.attrs["flag_meanings"].split().index(name)
        rows, columns = np.nonzero(kind == number)
        places = sinogram.position.values[columns], sinogram.angle.values[rows]
        if count:
            axis.plot(*places, "s", ms=3, color=colour(k), label=f"{name}: {count}")
    rows, columns = np.nonzero(sinogram.zingers.values)
    if rows.size:
        places = sinogram.position.values[columns], sinogram.angle.values[rows]
        axis.plot(*places, "+", ms=4, color="0.5", label=f"with zingers: {rows.size}")
    axis.set(xlim=_edges(sinogram.position.values), ylim=_edges(sinogram.angle.values))
    axis.set(xlabel="position from the rotation axis (mm)", ylabel="angle (°)")
    axis.set_title(f"{sheet['repaired_frames']} of {sheet['frames']} frames repaired", fontsize=9)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=7)


def draw_mean_pattern(sinogram: xr.Dataset, volume: xr.Dataset, lines: dict) -> Figure:
    """Mean measured pattern, the mean local pattern inside the sample, the air, and the lines of the phases.

    Parameters
    ----------
    sinogram, volume
        Opened stores.
    lines
        Line list (with fields q in 1/Å and intensity) by phase name.
    """
    figure, (patterns, ticks) = new_figure(9, 5.6, rows=2, heights=(4, max(1, 0.22 * len(lines))), sharex=True)
    q = sinogram.q.values
    mean = sinogram.intensity.mean(("angle", "position")).values
    air = sinogram.air.mean("angle").values
    local = _mean_inside(volume)
    patterns.plot(q, mean + air, color=colour(6), lw=1, label="mean of all frames")
    patterns.plot(q, air, color=colour(4), lw=1, label="air (subtracted)")
    patterns.set_ylabel("counts per pixel (square-root scale)")
    beside = patterns.twinx()
    beside.plot(q, local, color=colour(0), lw=1)
    for axis in (patterns, beside):
        axis.set_yscale("function", functions=(_signed_root, _signed_square))
    beside.set_ylabel("counts per voxel, mean inside the sample", color=colour(0))
    patterns.plot([], [], color=colour(0), lw=1, label="mean local pattern")
    patterns.legend(frameon=False, fontsize=8)
    for row, found in enumerate(lines.values()):
        strength = np.clip(np.sqrt(found.intensity / found.intensity.max()), 0.15, 1)
        ticks.vlines(found.q, -row - 0.45 * strength, -row + 0.45 * strength, color=colour(row), lw=1)
    ticks.set(yticks=-np.arange(len(lines)), yticklabels=list(lines), ylim=(-len(lines) + 0.4, 0.6))
    ticks.set(xlabel="q (1/Å)", xlim=(q[0], q[-1]))
    ticks.tick_params(axis="y", labelsize=8)
    return figure


def draw_maps(maps: xr.Dataset, *, colormap: str) -> Figure:
    """Every window's area, each with its own colour range (0 to the 99.5th percentile)."""
    n = maps.sizes["phase"]
    columns = min(4, n)
    rows = -(-n // columns)
    figure, axes = new_figure(3.1 * columns, 3.1 * rows + 0.2, rows=rows, columns=columns)
    for axis in axes[n:]:
        axis.set_visible(False)
    for k in range(n):
        one = maps.isel(phase=k)
        draw_map(figure, axes[k], one.area, colormap)
        axes[k].set_title(f"{one.phase.item()}\n{one.q_min.item():g}–{one.q_max.item():g} 1/Å", fontsize=9)
    return figure


def draw_fit(maps: xr.Dataset, lines: dict) -> Figure:
    """The mean pattern, its fit, what is left over, and where the lines of the phases are.

    Parameters
    ----------
    maps
        Opened store of kind 'fit'.
    lines
        Positions of the lines in 1/Å by name of the phase.
    """
    figure, (pattern, rest, ticks) = new_figure(9, 6.4, rows=3, heights=(4, 1.2, max(1, 0.2 * len(lines))), sharex=True)
    q, measured, fitted = maps.q.values, maps.mean_pattern.values, maps.mean_fit.values
    pattern.plot(q, measured, ".", ms=3, color=colour(6), label="mean of the fitted voxels")
    pattern.plot(q, fitted, color=colour(1), lw=1, label=f"fit, Rwp {100 * maps.attrs['mean_rwp']:.1f} %")
    pattern.plot(q, maps.mean_background.values, color=colour(2), lw=1, ls="--", label="background")
    pattern.set_yscale("function", functions=(_signed_root, _signed_square))
    pattern.set_ylabel("counts per voxel (square-root scale)")
    pattern.legend(frameon=False, fontsize=8)
    rest.plot(q, measured - fitted, color=colour(0), lw=0.8)
    rest.axhline(0, color="0.7", lw=0.8, zorder=0)
    rest.set_ylabel("difference")
    for row, positions in enumerate(lines.values()):
        ticks.vlines(positions, -row - 0.4, -row + 0.4, color=colour(row), lw=1)
    ticks.set(yticks=-np.arange(len(lines)), yticklabels=list(lines), ylim=(-len(lines) + 0.4, 0.6))
    ticks.set(xlabel="q (1/Å)", xlim=(q[0], q[-1]))
    ticks.tick_params(axis="y", labelsize=8)
    write_warnings(figure, maps, width=110)
    return figure


def write_warnings(figure: Figure, maps: xr.Dataset, *, width: int) -> None:
    """What a store warns of, below a figure; lines of `width` characters."""
    warnings = [line for text in maps.attrs.get("warnings", []) for line in wrap(text, width)]
    if warnings:
        figure.supxlabel("\n".join(warnings), x=0.02, ha="left", fontsize=7.5, color=colour(1))


def draw_phase_maps(maps: xr.Dataset, *, colormap: str) -> Figure:
    """Scale of every phase, 0 to the 99.5th percentile, and Rwp where there is one."""
    names = maps.phase.values.tolist()
    images = [(name, maps.scale.sel(phase=name).fillna(0), "scale (∝ volume)", None) for name in names]
    if maps.rwp.notnull().any():
        images.append(("fit", maps.rwp, "Rwp", None))
    return _map_grid(maps, images, colormap)


def draw_cell_maps(maps: xr.Dataset, *, colormap: str) -> Figure | None:
    """Cell parameters that were fitted in every voxel, with their standard errors; None where there are none.

    Shown where the phase is strong enough for an answer: three standard errors above 0, and a tenth of its strongest.
    """
    images = []
    for name in maps.phase.values.tolist():
        one = maps.sel(phase=name)
        strong = (one.scale > 3 * one.scale_err) & (one.scale > 0.1 * _top(one.scale.values))
        for edge in ("a", "b", "c"):
            values, error = one[edge].where(strong), one[f"{edge}_err"].where(strong)
            if int(error.notnull().sum()) > 0:
                limits = np.nanpercentile(values.values, [2, 98])
                images.append((f"{name}, {edge}", values, f"{edge} (Å)", limits))
                images.append((f"standard error of {edge}", error, "Å", (0, np.nanpercentile(error.values, 98))))
    return _map_grid(maps, images, colormap) if images else None


def _map_grid(maps, images, colormap):
    columns = min(4, len(images))
    rows = -(-len(images) // columns)
    figure, axes = new_figure(3.1 * columns, 3.1 * rows + 0.2, rows=rows, columns=columns)
    for axis in axes[len(images) :]:
        axis.set_visible(False)
    for axis, (title, image, label, limits) in zip(axes, images, strict=False):
        draw_map(figure, axis, image, colormap, limits=limits, label=label)
        axis.set_title(title, fontsize=9)
    if maps.attrs.get("source") in SOURCES:
        figure.suptitle(SOURCES[maps.attrs["source"]], fontsize=10)
    return figure


def draw_overview(all_maps: list[xr.Dataset], titles: list[str], *, colormap: str) -> Figure:
    """One row per scan, one column per window; a column shares its colour range, so that scans compare."""
    n = all_maps[0].sizes["phase"]
    figure, axes = new_figure(2.3 * n, 2.45 * len(all_maps) + 0.3, rows=len(all_maps), columns=n)
    figure.set_layout_engine("compressed")  # maps are square: else the titles leave the page
    axes = np.reshape(axes, (len(all_maps), n))
    for k in range(n):
        top = max(_top(maps.area.isel(phase=k).values) for maps in all_maps)
        for row, maps in enumerate(all_maps):
            draw_map(figure, axes[row, k], maps.area.isel(phase=k), colormap, top=top, bar=row == len(all_maps) - 1)
        axes[0, k].set_title(str(all_maps[0].phase.values[k]), fontsize=10)
    for row, title in enumerate(titles):
        axes[row, 0].set_ylabel(title, fontsize=10)
    return figure


def new_figure(width, height, *, rows=1, columns=1, widths=None, heights=None, **shared):
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, width_ratios=widths, height_ratios=heights, squeeze=False, **shared)
    return figure, axes.ravel()


def draw_map(figure, axis, area, colormap, *, top=None, bar=True, limits=None, label="area (counts/voxel/Å)"):
    extent = [*_edges(area.x.values), *_edges(area.y.values[::-1])]
    low, high = limits if limits is not None else (0, _top(area.values) if top is None else top)
    drawn = axis.imshow(area.values, extent=extent, cmap=colormap, vmin=low, vmax=high, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    if bar:
        few = MaxNLocator(3)  # cells have five digits and more
        scale = figure.colorbar(drawn, ax=axis, shrink=0.75, pad=0.02, location="bottom", ticks=few)
        scale.ax.tick_params(labelsize=7)
        scale.ax.ticklabel_format(useOffset=False)
        scale.set_label(label, fontsize=7)
    red, green, blue, opaque = drawn.cmap(drawn.norm(area.values[-1, 0]))
    bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 or opaque == 0  # where nothing was fitted is white
    _scale_bar(axis, extent, "black" if bright else "white")


def _scale_bar(axis, extent, colour):
    """A bar of 1, 2 or 5 × 10^k mm, about a fifth of the field, at the lower left."""
    width = extent[1] - extent[0]
    power = 10.0 ** np.floor(np.log10(width / 5))
    length = max(m * power for m in (1, 2, 5) if m * power <= width / 4)
    x, y = extent[0] + 0.05 * width, extent[2] + 0.05 * width
    axis.plot([x, x + length], [y, y], color=colour, lw=2.5, solid_capstyle="butt")
    text = f"{length:g} mm" if length >= 0.1 else f"{1000 * length:g} µm"
    axis.text(x + length / 2, y + 0.02 * width, text, color=colour, ha="center", va="bottom", fontsize=7)


def _signed_root(values):
    """A scale on which weak lines are seen beside strong ones and Poisson noise is even."""
    return np.sign(values) * np.sqrt(np.abs(values))


def _signed_square(values):
    return np.sign(values) * np.square(values)


def _mean_inside(volume):
    """Mean pattern of the voxels whose total is above a tenth of the strongest: the sample, roughly."""
    total = volume.intensity.sum("q").values
    return volume.intensity.values[total > 0.1 * np.nanmax(total)].mean(axis=0)


def _top(values):
    finite = values[np.isfinite(values)]
    return max(float(np.percentile(finite, 99.5)), np.finfo(float).tiny) if finite.size else 1.0


def _edges(centres):
    half = (centres[1] - centres[0]) / 2
    return centres[0] - half, centres[-1] + half


def colour(k):
    return COLOURS[k % len(COLOURS)]

"""Pictures of a beamtime's tree (`io.tree`): components, evolution against voltage, regions, the unrolled cell."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from .evolution import CELLS, ERRORS, top_of
from .figures import colour, draw_map, new_figure, save_figure
from .io.store import replaced_when_whole

MARKERS = "osD^vP*X"
"""Lines differ in marker as well as in colour."""
SHOWN = 0.1
"""Errors are shown where a phase is above this share of its highest value in all scans: elsewhere they say nothing."""
MOST_SCALES = 3
MOST_COLUMNS = 4
"""Panels side by side: more are too small to read in a report."""


def save_both(figure: Figure, png: str | Path, svg: str | Path) -> None:
    """Write a figure as PNG and as SVG, the same file for the same figure."""
    save_figure(figure, png)
    with mpl.rc_context({"svg.hashsalt": "xrdct", "svg.fonttype": "none"}), replaced_when_whole(svg) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})


def draw_components(tree: xr.DataTree, *, colormap: str) -> Figure:
    """One row per scan, one column per phase; a column shares its colour range, so that scans compare."""
    scans = [tree["scans"][name].to_dataset() for name in tree.scan.values]
    phases = scans[0].phase.values.tolist()
    figure, axes = new_figure(1.75 * len(phases), 2.1 * len(scans) + 0.5, rows=len(scans), columns=len(phases))
    axes = axes.reshape(len(scans), len(phases))
    for column, phase in enumerate(phases):
        maps = [one.scale.sel(phase=phase) for one in scans]
        top = max(top_of(image.values) for image in maps) or 1.0
        for row, image in enumerate(maps):
            last = row == len(scans) - 1
            draw_map(figure, axes[row, column], image, colormap, top=top, bar=last, label="scale (∝ volume)")
        axes[0, column].set_title(phase, fontsize=9)
    for row, title in enumerate(titles(tree)):
        axes[row, 0].set_ylabel(title, fontsize=9)
    return figure


def draw_shares(tree: xr.DataTree, groups: dict[str, list[str]]) -> Figure:
    """Share of each phase of each group against voltage, one row per region, one column per group."""
    evolution = tree["evolution"].to_dataset()
    grouped = {phase for group in groups.values() for phase in group}
    rest = [phase for phase in evolution.phase.values.tolist() if phase not in grouped]
    columns = {**groups, **({"of all phases": rest} if rest else {})}
    regions = evolution.region.values.tolist()
    figure, axes = new_figure(
        3.4 * len(columns) + 1.2, 2.1 * len(regions) + 0.4, rows=len(regions), columns=len(columns), sharex=True
    )
    axes = axes.reshape(len(regions), len(columns))
    places, label, ticks = _abscissa(tree)
    for (row, region), (column, (title, phases)) in _pairs(enumerate(regions), enumerate(columns.items())):
        axis = axes[row, column]
        for k, phase in enumerate(phases):
            one = evolution.sel(region=region, phase=phase)
            style = {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "ms": 4, "lw": 1, "capsize": 2}
            axis.errorbar(places, 100 * one.share_mean, 100 * one.share_se, label=phase, **style)
        axis.set_ylim(-3, 103)
        _label(axis, ticks, x=label if row == len(regions) - 1 else "", y=f"{region}\nshare (%)" if not column else "")
        if row == 0:
            axis.set_title(title, fontsize=9)
            axis.legend(frameon=False, fontsize=6, ncols=2)
    return figure


def draw_cells(tree: xr.DataTree) -> Figure:
    """Mean lattice parameters of each phase that has them against voltage, one line per region."""
    evolution = tree["evolution"].to_dataset()
    panels = [
        (phase, name)
        for phase in evolution.phase.values.tolist()
        for name in ("a", "c")
        if int((evolution[f"{name}_n"].sel(phase=phase) > 0).sum())
    ]
    places, label, ticks = _abscissa(tree)
    columns = min(MOST_COLUMNS, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    figure, axes = new_figure(4.4 * columns, 3.8 * rows, rows=rows, columns=columns)
    axes = axes.ravel()
    for axis in axes[max(1, len(panels)) :]:
        axis.set_visible(False)
    for axis, (phase, name) in zip(axes, panels, strict=False):
        regions = evolution.region.values.tolist()
        width = 0.006 * (np.ptp(places) or 1.0)
        for k, region in enumerate(regions):
            one = evolution.sel(region=region, phase=phase)
            beside = places + width * (k - (len(regions) - 1) / 2)  # equal values would hide one another
            style = {"color": colour(k), "marker": MARKERS[k % len(MARKERS)], "ms": 4}
            axis.errorbar(beside, one[f"{name}_mean"], one[f"{name}_sd"], color=colour(k), lw=0, elinewidth=0.7)
            axis.errorbar(
                beside, one[f"{name}_mean"], one[f"{name}_se"], lw=1, elinewidth=2.5, capsize=3, label=region, **style
            )
        axis.set_title(f"{phase}", fontsize=9)
        axis.ticklabel_format(axis="y", useOffset=False)
        _label(axis, ticks, x=label, y=f"{name} (Å)")
        axis.legend(frameon=False, fontsize=7)
    if not panels:
        axes[0].text(0.5, 0.5, "no phase has a cell that was fitted in every voxel", ha="center", va="center")
        axes[0].set_axis_off()
    return figure


def draw_uncertainty(tree: xr.DataTree, *, colormap: str) -> Figure:
    """How far to trust the maps: one row per cell or scale, for every scan the map and its standard error.

    A cell is shown where its phase is strong, as the evolution counts it; of the scales, those of the phases with the
    largest sum. The errors of a row share their colour range, so that scans compare; a cell has one for each scan, for
    it changes more from scan to scan than inside one.
    """
    scans = [tree["scans"][name].to_dataset() for name in tree.scan.values]
    rows = [
        (f"{phase}, {edge}", f"{edge} (Å)", "mÅ", *_cell_maps(scans, phase, edge))
        for phase in scans[0].phase.values.tolist()
        for edge in CELLS
        if any(int(one[f"{edge}_err"].sel(phase=phase).notnull().sum()) for one in scans)
    ] + [(f"{phase}, scale", "scale", "%", *_scale_maps(scans, phase)) for phase in _strongest(scans)]
    shape = max(1, len(rows)), 2 * len(scans)
    figure, axes = new_figure(2.5 * shape[1] + 0.5, 2.4 * shape[0] + 0.3, rows=shape[0], columns=shape[1])
    axes = axes.reshape(shape)
    for row, (title, label, unit, values, errors) in zip(axes, rows, strict=False):
        for k, (image, error) in enumerate(zip(values, errors, strict=True)):
            draw_map(figure, row[2 * k], image, colormap, limits=_limits([image], None), label=label)
            draw_map(
                figure, row[2 * k + 1], error, colormap, limits=_limits(errors, 0.0), label=f"standard error ({unit})"
            )
        row[0].set_ylabel(title, fontsize=9)
    for k, title in enumerate(titles(tree)):
        axes[0, 2 * k].set_title(title, fontsize=9, loc="left")
    return figure


def _cell_maps(scans, phase, edge):
    """Maps of a cell parameter and of its standard error in mÅ, one of each per scan."""
    maps = [one.sel(phase=phase) for one in scans]
    top = max(top_of(one.scale.values) for one in maps)
    strong = [(one.scale > ERRORS * one.scale_err) & (one.scale > SHOWN * top) for one in maps]
    return (
        [one[edge].where(where) for one, where in zip(maps, strong, strict=True)],
        [1000 * one[f"{edge}_err"].where(where) for one, where in zip(maps, strong, strict=True)],
    )


def _scale_maps(scans, phase):
    """Maps of a scale and of its standard error in per cent, one of each per scan."""
    maps = [one.sel(phase=phase) for one in scans]
    top = max(top_of(one.scale.values) for one in maps)
    strong = [one.scale > SHOWN * top for one in maps]
    return (
        [one.scale.where(where) for one, where in zip(maps, strong, strict=True)],
        [100 * (one.scale_err / one.scale).where(where) for one, where in zip(maps, strong, strict=True)],
    )


def _strongest(scans):
    total = sum(np.nansum(np.clip(one.scale.values, 0, None), axis=(1, 2)) for one in scans)
    errors = sum(one.scale_err.notnull().sum(("y", "x")).values for one in scans)
    order = [k for k in np.argsort(-total, kind="stable") if total[k] > 0 and errors[k] > 0]
    return [str(scans[0].phase.values[k]) for k in order[:MOST_SCALES]]


def _limits(images, low):
    finite = np.concatenate([image.values[np.isfinite(image.values)] for image in images])
    if not finite.size:
        return (0.0, 1.0)
    return (np.percentile(finite, 2) if low is None else low), np.percentile(finite, 98)


def draw_regions(tree: xr.DataTree, *, colormap: str) -> Figure:
    """Every region in colour over the sum of all phases, with its name and number of voxels."""
    masks = tree["regions"].to_dataset()
    total = tree["scans"][tree.attrs["reference"]].to_dataset().scale.sum("phase", min_count=1)
    count = masks.sizes["region"]
    columns = min(4, count)
    rows = -(-count // columns)
    figure, axes = new_figure(2.6 * columns, 2.75 * rows, rows=rows, columns=columns)
    for axis in axes[count:]:
        axis.set_visible(False)
    for k in range(count):
        draw_map(figure, axes[k], total, "gray", bar=False)
        mask = masks.mask.values[k]
        shown = np.where(mask, 1.0, np.nan)
        axes[k].imshow(shown, extent=axes[k].images[0].get_extent(), cmap=ListedColormap([colour(k)]), alpha=0.6)
        axes[k].set_title(f"{masks.region.values[k]}: {int(mask.sum())} voxels", fontsize=9)
    return figure


def draw_region(
    tree: xr.DataTree, mask: np.ndarray, found: dict[str, np.ndarray], *, scan: str, phase: str, quantity: str
) -> Figure:
    """A region over one map, and that map's mean in it against voltage with its standard error.

    Parameters
    ----------
    mask
        (y, x) on the common grid.
    found
        mean and se of the quantity by scan, as `evolution.evolve` gives them.
    """
    figure, (shown, axis) = new_figure(9.5, 4.2, columns=2, widths=(1, 1.2))
    image = tree["scans"][scan].to_dataset()[quantity].sel(phase=phase)
    unit = image.attrs["units"].replace("angstrom", "Å")
    label = quantity if unit == "1" else f"{quantity} ({unit})"
    draw_map(figure, shown, image, "viridis", limits=_limits([image], None), label=label)
    shown.contour(image.x.values, image.y.values, mask, levels=[0.5], colors=[colour(1)], linewidths=1.5)
    shown.set_title(f"{scan}: {phase}, {int(mask.sum())} voxels", fontsize=9)
    places, name, ticks = _abscissa(tree)
    axis.errorbar(places, found["mean"], np.nan_to_num(found["se"]), color=colour(0), marker="o", ms=4, lw=1, capsize=3)
    axis.ticklabel_format(axis="y", useOffset=False)
    _label(axis, ticks, x=name, y=f"{phase}: {label}")
    return figure


def draw_unrolled(
    total: xr.DataArray,
    line: tuple[np.ndarray, np.ndarray],
    unrolled: dict[str, dict[str, np.ndarray]],
    along_mm: np.ndarray,
    pitch_mm: float,
    *,
    colormap: str,
) -> Figure:
    """The spiral on its map, and below it every phase of every scan along the tape.

    Parameters
    ----------
    total
        Map (y, x) of the layer that was followed.
    line
        x and y of the spiral in mm.
    unrolled
        Images (depth, along) by phase and scan's title.
    along_mm
        Position along the tape of every column.
    pitch_mm
        Mean distance of two turns.
    """
    strips = [(phase, title, image) for phase, scans in unrolled.items() for title, image in scans.items()]
    figure, axes = new_figure(10, 4 + 0.85 * len(strips), rows=1 + len(strips), heights=[4] + [0.85] * len(strips))
    draw_map(figure, axes[0], total, colormap, label=f"scale of {total.phase.item()}")
    axes[0].plot(*line, color="white", lw=2.2)
    axes[0].plot(*line, color=colour(1), lw=1.2)
    extent = [along_mm[0], along_mm[-1], 1, 0]
    for axis, (phase, title, image) in zip(axes[1:], strips, strict=True):
        top = max(top_of(each) for each in unrolled[phase].values()) or 1.0
        axis.imshow(image, extent=extent, aspect="auto", cmap=colormap, vmin=0, vmax=top, interpolation="nearest")
        axis.set_yticks([0, 1], ["foil", "next"], fontsize=6)
        axis.set_ylabel(f"{phase}\n{title}", fontsize=7, rotation=0, ha="right", va="center")
        axis.tick_params(labelbottom=axis is axes[-1])
    axes[-1].set_xlabel(
        f"along the tape from its inner end (mm); across: one turn, {1000 * pitch_mm:.0f} µm on average"
    )
    return figure


def titles(tree: xr.DataTree) -> list[str]:
    """'charged, 4.2 V' where the table says so, else the scan's name."""
    found = []
    for scan in tree.scan.values.tolist():
        row = tree.sel(scan=scan)
        voltage = "" if np.isnan(float(row.voltage_V)) else f"{float(row.voltage_V):g} V"
        found.append(", ".join(part for part in (str(row.state.item()), voltage) if part) or scan)
    return found


def _abscissa(tree):
    """Voltages, or numbers of the scans where one is unknown or comes twice; label and ticks."""
    voltages = tree.voltage_V.values
    if np.isfinite(voltages).all() and np.unique(voltages).size == voltages.size:
        return voltages, "voltage (V)", None
    return np.arange(voltages.size), "scan", titles(tree)


def _label(axis, ticks, *, x, y):
    axis.set(xlabel=x, ylabel=y)
    axis.grid(color="0.9", lw=0.5)
    if ticks is not None:
        axis.set_xticks(range(len(ticks)), ticks, rotation=45, ha="right", fontsize=7)


def _pairs(first, second):
    second = list(second)
    return [(one, other) for one in first for other in second]

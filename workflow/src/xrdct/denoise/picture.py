"""Pictures of a denoised scan and of its training; nothing here changes a number."""

from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..windows import window_area

PRESENT = 5.0
"""Standard errors of its area by which a phase stands out somewhere, or is not looked at."""
STRONG = 99
"""Percentile over the voxels that says how strong a phase is."""


@dataclass(frozen=True)
class Row:
    """One channel of the figure."""

    title: str
    method: str
    """What held-out data chose (`selection.METHODS`)."""
    reconstruction: np.ndarray
    """Shape (n, n), counts per voxel; like the next two."""
    denoised: np.ndarray
    spread: np.ndarray


def shown_channels(volume: np.ndarray, spread: np.ndarray, q: np.ndarray, windows: list[dict]) -> dict[str, int]:
    """The channels at the peaks of the strongest, a medium and the weakest phase that are there, by their titles.

    Parameters
    ----------
    volume, spread
        Denoised, shape (n_y, n_x, n_q).
    q
        Bin centres, 1/Å.
    windows
        Name, q_min and q_max of every phase's peak; none: channels by their contrast instead.
    """
    if not windows:
        strength = np.nanpercentile(volume, STRONG, axis=(0, 1)) - np.nanmedian(volume, axis=(0, 1))
        found = {f"{value:.3f} 1/Å": (height, k) for k, (value, height) in enumerate(zip(q, strength, strict=True))}
    else:
        every = {window["name"]: _peak(volume, spread, q, window) for window in windows}
        found = {name: peak[1:] for name, peak in every.items() if peak[0]} or {n: p[1:] for n, p in every.items()}
    order = sorted(found, key=lambda name: found[name][0], reverse=True)
    chosen = dict.fromkeys((order[0], order[len(order) // 2], order[-1]))  # one or two phases are shown once each
    return {f"{name}, {q[found[name][1]]:.3f} 1/Å" if windows else name: found[name][1] for name in chosen}


def draw_denoised(rows: list[Row], *, colormap: str) -> Figure:
    """Reconstruction, denoised, difference and spread of a few channels, and what held-out data chose for each."""
    figure = Figure(figsize=(11, 2.75 * len(rows) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    titles = ("reconstruction", "denoised", "difference", "spread (standard error)")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for line, row in zip(axes, rows, strict=True):
        top, low = np.nanpercentile(row.denoised, (99.7, 0.3))
        difference = row.reconstruction - row.denoised
        width = float(np.nanpercentile(np.abs(difference), 99))
        images = (
            (row.reconstruction, {"vmin": low, "vmax": top, "cmap": colormap}),
            (row.denoised, {"vmin": low, "vmax": top, "cmap": colormap}),
            (difference, {"vmin": -width, "vmax": width, "cmap": "RdBu_r"}),
            (row.spread, {"vmin": 0, "vmax": np.nanpercentile(row.spread, 99.7), "cmap": colormap}),
        )
        for axis, (image, shown) in zip(line, images, strict=True):
            drawn = axis.imshow(image, interpolation="nearest", **shown)
            axis.set(xticks=[], yticks=[])
            bar = figure.colorbar(drawn, ax=axis, shrink=0.8, pad=0.02)
            bar.ax.tick_params(labelsize=7)
        line[0].set_ylabel(f"{row.title}\n{row.method}", fontsize=9)
    return figure


def draw_learning(curves: list[dict]) -> Figure:
    """Loss on pairs trained on and on held-out pairs against the step; the step that was kept is marked.

    Parameters
    ----------
    curves
        Of every training, one after the other: `name`, `best_step` and `history`, rows of `step`, `training` and
        `held_out`. Of many, as in the paper's schedule, only the held-out pairs are shown, end to end.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    axis.set(xlabel="step", ylabel="loss (units of noise)")
    if not curves:
        axis.text(0.5, 0.5, "no network was trained", ha="center", va="center", transform=axis.transAxes)
    elif len(curves) == 1:
        _draw_one(axis, curves[0])
    else:
        _draw_many(axis, curves)
    return figure


def _draw_one(axis, curve):
    history, kept = curve["history"], curve["best_step"]
    steps = [row["step"] for row in history]
    axis.plot(steps, [row["training"] for row in history], ".", color="#56B4E9", ms=3, label="one step's pairs")
    axis.plot(steps, [row["held_out"] for row in history], color="#0072B2", lw=1.5, label="held-out pairs")
    axis.axvline(kept, color="#D55E00", lw=1, ls="--", label=f"kept: step {kept}")
    axis.set_title(curve["name"], fontsize=9)
    axis.legend(fontsize=8, framealpha=1, edgecolor="none")


def _draw_many(axis, curves):
    start = 0
    for k, curve in enumerate(curves):
        steps = [start + row["step"] for row in curve["history"]]
        axis.plot(steps, [row["held_out"] for row in curve["history"]], color=("#0072B2", "#56B4E9")[k % 2], lw=1)
        start = steps[-1]
    axis.set_title(f"held-out pairs of {len(curves)} trainings, from {curves[0]['name']} on", fontsize=9)


def _peak(volume, spread, q, window):
    """Whether a phase is there, its strength, and the channel of its peak in the voxels that have most of it."""
    own = np.flatnonzero((q >= window["q_min"]) & (q <= window["q_max"]))
    area, _ = window_area(volume, q, q_min=window["q_min"], q_max=window["q_max"])
    strength = float(np.nanpercentile(area, STRONG))
    error = float(np.sqrt(np.nanmean((spread[..., own] ** 2).sum(axis=-1)))) * (q[1] - q[0])
    channel = own[np.nanmean(volume[area >= strength][:, own], axis=0).argmax()]
    return strength > PRESENT * error, strength, int(channel)

"""Pictures of a denoised scan and of a training; nothing here changes a number."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def draw_denoised(fbp: np.ndarray, denoised: np.ndarray, spread: np.ndarray, rows: dict[str, int], methods: list[str]):
    """Reconstruction, denoised, difference and spread of a few channels, and what held-out data chose for each.

    Parameters
    ----------
    fbp, denoised, spread
        Shape (n_channels, n, n), counts per voxel.
    rows
        Channel of every row by its title: the strongest, a medium and the weakest phase.
    methods
        Chosen method of every channel (`selection.METHODS`).

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = Figure(figsize=(11, 2.75 * len(rows) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 4, squeeze=False)
    titles = ("reconstruction", "denoised", "difference", "spread (standard error)")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    for line, (name, channel) in zip(axes, rows.items(), strict=True):
        top, low = np.nanpercentile(denoised[channel], (99.7, 0.3))
        difference = fbp[channel] - denoised[channel]
        width = float(np.nanpercentile(np.abs(difference), 99))
        images = (
            (fbp[channel], {"vmin": low, "vmax": top}),
            (denoised[channel], {"vmin": low, "vmax": top}),
            (difference, {"vmin": -width, "vmax": width, "cmap": "RdBu_r"}),
            (spread[channel], {"vmin": 0, "vmax": np.nanpercentile(spread[channel], 99.7)}),
        )
        for axis, (image, shown) in zip(line, images, strict=True):
            drawn = axis.imshow(image, interpolation="nearest", **shown)
            axis.set(xticks=[], yticks=[])
            bar = figure.colorbar(drawn, ax=axis, shrink=0.8, pad=0.02)
            bar.ax.tick_params(labelsize=7)
        line[0].set_ylabel(f"{name}\n{methods[channel]}", fontsize=9)
    return figure


def draw_learning(history: list[dict], *, best_step: int):
    """Loss on pairs trained on and on held-out pairs against the step; the step that was kept is marked."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    steps = [row["step"] for row in history]
    axis.plot(steps, [row["training"] for row in history], ".", color="#56B4E9", ms=3, label="one step's pairs")
    axis.plot(steps, [row["held_out"] for row in history], color="#0072B2", lw=1.5, label="held-out pairs")
    axis.axvline(best_step, color="#D55E00", lw=1, ls="--", label=f"kept: step {best_step}")
    axis.set(xlabel="step", ylabel="loss (units of noise)")
    axis.legend(frameon=False, fontsize=8)
    return figure
